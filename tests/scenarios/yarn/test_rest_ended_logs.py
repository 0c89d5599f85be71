"""Logs of what is over, shown in the place and form in which Hadoop's clients look for aggregated ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hrm.yarn.proto import records_pb2 as records
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest
from tests.unit.yarn.tfile_reader import logs_of


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


async def printed(rest: Rest) -> tuple[str, str]:
    """An application whose master printed, and its container."""
    spec = records.ContainerLaunchContextProto(command=["echo hello; echo trouble >&2; sleep 1000"])
    app = await rest.door.submit(am_container_spec=spec)
    (container,) = rest.door.life.containers(app)
    return app, container


async def over(rest: Rest) -> tuple[str, str]:
    app, container = await printed(rest)
    await rest.door.life.service.kill(app, by="ada")
    await rest.door.life.ended(app)
    return app, container


def folder(app: str, user: str = "ada") -> str:
    return f"/webhdfs/v1/logs/{user}/bucket-logs-tfile/0001/{app}"


async def test_an_application_is_a_folder_with_a_file_for_each_node(rest: Rest) -> None:
    app, container = await over(rest)
    assert (await rest.told(f"{folder(app)}?op=GETFILESTATUS"))["FileStatus"]["type"] == "DIRECTORY"
    (file,) = (await rest.told(f"{folder(app)}?op=LISTSTATUS&user.name=eve"))["FileStatuses"]["FileStatus"]
    assert (file["pathSuffix"], file["type"], file["owner"]) == ("127.0.0.1_8041", "FILE", "ada")
    path = f"{folder(app)}/{file['pathSuffix']}"
    assert (await rest.told(f"{path}?op=GETFILESTATUS"))["FileStatus"]["length"] == file["length"]
    whole = (await rest(f"{path}?op=OPEN")).content
    assert len(whole) == file["length"]
    assert logs_of(whole) == {container: {"stdout": b"hello\n", "stderr": b"trouble\n"}}
    assert (await rest(f"{path}?op=OPEN&offset=7&length=60")).content == whole[7:67]
    assert (await rest(f"{path}?op=OPEN&offset={len(whole) - 5}")).content == whole[-5:]


async def test_it_is_also_where_hadoop_2_had_it(rest: Rest) -> None:
    app, _ = await over(rest)
    listed = await rest.told(f"/webhdfs/v1/logs/ada/logs/{app}?op=LISTSTATUS")
    assert [one["pathSuffix"] for one in listed["FileStatuses"]["FileStatus"]] == ["127.0.0.1_8041"]


async def test_a_client_may_ask_where_its_home_is_and_how_large_its_buffers_are(rest: Rest) -> None:
    defaults = await rest.told("/webhdfs/v1/?op=GETSERVERDEFAULTS")
    assert defaults["FsServerDefaults"]["fileBufferSize"] == 4096
    assert await rest.told("/webhdfs/v1/?op=GETHOMEDIRECTORY") == {"Path": "/user/ada"}
    assert (await rest("/webhdfs/v1/?op=GETHOMEDIRECTORY", user=None)).status_code == 401


async def test_what_runs_and_what_is_not_there_has_no_folder(rest: Rest) -> None:
    running, _ = await printed(rest)
    app, _ = await over(rest)
    for path in (
        folder(running),
        folder(app, "bob"),
        folder("application_1_0001"),
        f"{folder(app)}/n9_1",
        f"/webhdfs/v1/logs/ada/logs-tfile/{app}",
        "/webhdfs/v1/etc/passwd",
        "/webhdfs/v1/",
    ):
        answer = await rest(f"{path}?op=LISTSTATUS")
        assert (answer.status_code, answer.json()["RemoteException"]["exception"]) == (404, "FileNotFoundException"), (
            path
        )


async def test_it_is_its_owners_and_nobody_writes(rest: Rest) -> None:
    app, _ = await over(rest)
    assert (await rest(f"{folder(app)}?op=LISTSTATUS", user="bob")).status_code == 403
    assert (await rest(f"{folder(app)}?op=LISTSTATUS", user=None)).status_code == 401
    assert (await rest(f"{folder(app)}?op=DELETE")).status_code == 400
    assert (await rest(f"{folder(app)}?op=CREATE", method="PUT")).status_code == 405
