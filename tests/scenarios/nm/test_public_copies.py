"""Copies of PUBLIC files on a node of root's: made once for all users, by somebody without rights, and cleared away."""

from __future__ import annotations

import asyncio
import http.server
import os
import pwd
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.config.tcp_owner import socket_owner
from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import LaunchSpec
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.launch_contexts import LaunchContext, LocalResource, ResourceKind, Visibility
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.public_cache import FOLDER, PublicCache
from hrm.nm.shepherd import records
from hrm.testing import EngineHarness, started

pytestmark = pytest.mark.root

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
USER, OTHER = "nobody", "daemon"
APPLICATIONS = {USER: "application_1763900000000_0001", OTHER: "application_1763900000000_0002"}


@pytest.fixture(autouse=True)
def _a_python_that_every_user_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the tests may lie in somebody's home."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")


@pytest.fixture
async def run(public_dir: Path) -> AsyncIterator[EngineHarness]:
    settings = IsolationSettings(mode=IsolationMode.NONE)
    async with started(EmbeddedEngine(NODE, public_dir / "node", isolation=settings)) as harness:
        yield harness


class Web:
    """A web server that counts who asks it, by user id."""

    def __init__(self, body: bytes) -> None:
        self.askers: list[int | None] = []
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.askers.append(socket_owner(self.client_address, self.connection.getsockname()))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/lib.jar"
        self._thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(b"from the web\n") as web:
        yield web


def made(path: Path, text: str = "of the disk\n", *, mode: int = 0o644, owner: str = "root") -> LocalResource:
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, pwd.getpwnam(owner).pw_uid, -1)
    return LocalResource(
        url=path.as_uri(), timestamp_ms=path.stat().st_mtime_ns // 1_000_000, visibility=Visibility.PUBLIC
    )


async def shown(run: EngineHarness, resource: LocalResource, user: str, *, name: str = "file") -> list[str]:
    """Where the container finds it, whose it is and what it holds."""
    context = LaunchContext(
        commands=(f"readlink -f {name}; stat -L -c %U {name}; cat {name}",), local_resources={"file": resource}
    )
    container_id = run.launch(*context.command, env=context.variables(), application_id=APPLICATIONS[user], user=user)
    record = await run.ended(container_id)
    return (await run.log(container_id)).splitlines() or [record.detail]


async def test_what_is_public_is_fetched_once_for_all_users(run: EngineHarness, web: Web) -> None:
    resource = LocalResource(url=web.url, timestamp_ms=0, visibility=Visibility.PUBLIC)
    first, second = [await shown(run, resource, user) for user in (USER, OTHER)]

    assert first == second
    assert first[1:] == ["root", "from the web"], "no user can change it"
    assert len(web.askers) == 1


async def test_it_is_fetched_by_somebody_who_may_do_nothing(run: EngineHarness, web: Web) -> None:
    await shown(run, LocalResource(url=web.url, timestamp_ms=0, visibility=Visibility.PUBLIC), OTHER)

    assert web.askers == [pwd.getpwnam("nobody").pw_uid]


async def test_what_is_private_each_user_has_a_copy_of(run: EngineHarness, web: Web) -> None:
    resource = LocalResource(url=web.url, timestamp_ms=0, visibility=Visibility.PRIVATE)
    first, second = [await shown(run, resource, user) for user in (USER, OTHER)]

    assert first[0] != second[0]
    assert (first[1], second[1]) == (USER, OTHER)


async def test_what_not_everybody_may_read_is_no_copy_for_all(run: EngineHarness, public_dir: Path) -> None:
    resource = made(public_dir / "secret", mode=0o400, owner=OTHER)

    assert (await shown(run, resource, OTHER))[1:] == [OTHER, "of the disk"]
    assert "Permission denied" in (await shown(run, resource, USER))[0]


async def test_another_version_than_that_submitted_is_refused(run: EngineHarness, public_dir: Path) -> None:
    resource = made(public_dir / "lib")
    os.utime(public_dir / "lib", (1, 1))

    assert "changed on src filesystem" in (await shown(run, resource, USER))[0]


async def test_a_new_version_is_another_copy(run: EngineHarness, public_dir: Path) -> None:
    first = await shown(run, made(public_dir / "lib", "old\n"), USER)
    resource = made(public_dir / "lib", "new\n")
    os.utime(public_dir / "lib", (1, 1))
    second = await shown(run, replace(resource, timestamp_ms=1000), USER)

    assert (first[2], second[2]) == ("old", "new")
    assert first[0] != second[0]


async def test_archives_are_unpacked_for_all_and_those_that_lead_out_are_not(
    run: EngineHarness, public_dir: Path
) -> None:
    for name, member in (("good.zip", "deep/inside"), ("bad.zip", "../outside")):
        with zipfile.ZipFile(public_dir / name, "w") as archive:
            archive.writestr(member, "unpacked\n")
    good, bad = [
        LocalResource(
            url=(public_dir / name).as_uri(),
            timestamp_ms=(public_dir / name).stat().st_mtime_ns // 1_000_000,
            kind=ResourceKind.ARCHIVE,
            visibility=Visibility.PUBLIC,
        )
        for name in ("good.zip", "bad.zip")
    ]

    assert (await shown(run, good, USER, name="file/deep/inside"))[1:] == ["root", "unpacked"]
    assert "outside" in (await shown(run, bad, USER))[0]
    assert not list((public_dir / "node").rglob("outside"))


async def test_what_is_too_much_goes_and_what_is_used_stays(public_dir: Path) -> None:
    now = [1e9]
    cache = PublicCache(public_dir, max_bytes=0, clock=lambda: now[0])
    for number in (1, 2):
        resource = made(public_dir / f"lib{number}")
        await cache.get(spec(number, resource))
    for folder in (records.RUNNING, records.EXITS):
        (public_dir / folder).mkdir()
    (public_dir / records.RUNNING / "container_1").touch()
    (public_dir / records.EXITS / "container_2").touch()
    await cache.clean()

    assert [path.name for path in (public_dir / FOLDER).glob("*/copy/*")] == ["lib1"]
    (public_dir / records.RUNNING / "container_1").unlink()
    now[0] += 1e9
    await cache.clean()
    assert list((public_dir / FOLDER).glob("*/copy/*")) == []


def spec(number: int, resource: LocalResource) -> LaunchSpec:
    context = LaunchContext(commands=("true",), local_resources={"file": resource})
    return LaunchSpec(
        container_id=f"container_{number}",
        application_id=APPLICATIONS[USER],
        user=USER,
        command=context.command,
        env=context.variables(),
        resources=Resources(64, 1000),
        device_ids=(),
    )


async def test_several_who_want_the_same_at_once_have_it_made_once(public_dir: Path, web: Web) -> None:
    cache = PublicCache(public_dir)
    resource = LocalResource(url=web.url, timestamp_ms=0, visibility=Visibility.PUBLIC)
    await asyncio.gather(*(cache.get(spec(number, resource)) for number in range(8)))

    assert len(web.askers) == 1
    assert len({cache.variables(f"container_{number}")["HRM_PUBLIC_COPIES"] for number in range(8)}) == 1
