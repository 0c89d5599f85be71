"""The same store over a real PostgreSQL, started here over a Unix socket. Needs its programs and psycopg."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.model.errors import StoreError
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, ContainerState, TaskState
from hrm.rm.store import open_store
from tests.scenarios.store.store_rows import application, container, event, submission, task

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    pytest.importorskip("psycopg")
    # Debian keeps the programs of each version apart, off the PATH.
    places = [
        *os.environ["PATH"].split(":"),
        *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
    ]
    programs = {name: shutil.which(name, path=":".join(places)) for name in ("initdb", "postgres")}
    if not all(programs.values()):
        pytest.skip("no PostgreSQL here")
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="hrm-postgres-"))
    try:
        if user:
            shutil.chown(directory, user)
        data = directory / "data"
        subprocess.run(
            [programs["initdb"], "--no-sync", "-A", "trust", "-U", "hrm", "-D", str(data)],
            check=True,
            capture_output=True,
            user=user,
            cwd=directory,
        )
        command = [programs["postgres"], "-D", str(data), "-k", str(directory), "-c", "listen_addresses="]
        with subprocess.Popen(command, user=user, cwd=directory, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            said = ""
            while "ready to accept connections" not in said:
                said = server.stderr.readline()
                assert said, "PostgreSQL ended before it was ready"
            yield f"postgresql+psycopg://hrm@/postgres?host={directory}"
            server.terminate()
            server.stderr.read()
    finally:
        shutil.rmtree(directory)


def test_commits_queries_recovery_and_epochs_are_the_same(url: str) -> None:
    live = container(2, 1, device_ids=("GPU-1",), resources=Resources(1, 2, 3, (("licences", 4),)))
    done = container(2, 2, state=ContainerState.COMPLETED, task_state=TaskState.SUCCEEDED, exit_code=0, ended_at=9.5)
    orphan = container(1, 1, state=ContainerState.STOPPING)

    async def story() -> None:
        store = open_store(url, now=1_763_900_000.123)
        assert (store.epoch, store.cluster_timestamp) == (1, 1_763_900_000_123)
        waiting = [store.commit(submission(seq, submit_id=f"s{seq}"), must=False) for seq in (1, 2, 3)]
        waiting.append(
            store.commit([application(1, state=ApplicationState.FINISHED, submit_id="s1", kill_requested=True)])
        )
        waiting.append(store.commit([task(2, index, message="ä\n") for index in range(500)]))
        waiting.append(store.commit([live, done, orphan, event(7, detail={"a": [1, 2.5, None]})]))
        await asyncio.gather(*waiting)
        with pytest.raises(StoreError):
            await store.commit(submission(4, submit_id="s2"), must=False)
        await store.close()

        store = open_store(url, now=2.0)
        assert (store.epoch, store.cluster_timestamp) == (2, 1_763_900_000_123)
        loaded = await store.load()
        assert [saved.row.seq for saved in loaded.applications] == [2, 3]
        assert loaded.applications[0].containers == [live] and loaded.orphans == [orphan]
        assert loaded.finished == {ApplicationState.FINISHED: 1}
        assert (loaded.next_application_seq, loaded.next_event_seq) == (4, 8)
        assert [one.row for one in await store.history(2)] == [live, done]
        assert await store.tasks(2, first=499) == [task(2, 499, message="ä\n")]
        assert await store.events() == [event(7, detail={"a": [1, 2.5, None]})]
        found = await store.find_submit_id("ann", "s1")
        assert found is not None and found.kill_requested
        await store.close()

    asyncio.run(story())


def test_what_is_not_kept_is_deleted_there_too(url: str) -> None:
    async def story() -> None:
        store = open_store(url, now=2.0)
        over = {"state": ApplicationState.FINISHED, "ended_at": 5.0}
        await store.commit([*submission(20, **over), *submission(21, **over), *submission(22)])
        await store.commit([task(20, index) for index in range(600)])
        await store.commit([container(20, 1, state=ContainerState.COMPLETED), container(21, 1)])
        await store.commit([event(seq) for seq in range(20, 30)])
        assert await store.applications_over(ended_before=6.0, keep=None, limit=10) == [20]
        assert await store.applications_over(ended_before=None, keep=1, limit=10) == [20]
        assert await store.places(20) == {"box": ["container_e01_1_0020_01_000001"]}
        assert await store.delete_application(20) == 602
        assert await store.application(20) is None and await store.application(21) is not None
        assert await store.last_event(before=3025.0, keep=None) == 24
        assert await store.last_event(before=None, keep=2) == 27
        await store.delete_events(29)
        await store.close()

        store = open_store(url, now=2.0)
        loaded = await store.load()
        assert (loaded.next_application_seq, loaded.next_event_seq) == (23, 30)
        await store.close()

    asyncio.run(story())


def test_the_revisions_make_the_same_schema_there(url: str) -> None:
    import sqlalchemy as sa
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from hrm.rm.store.migrations import upgrade
    from hrm.rm.store.schema import metadata

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA revised"))
        connection.execute(sa.text("SET search_path TO revised"))
        upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()
