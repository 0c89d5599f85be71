"""What is put into containers' directories before they begin: by a node with a real shepherd."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.files.reading import PieceStream
from hrm.files.scan import Scan
from hrm.model.containers import ExitReason
from hrm.model.errors import ClusterError, NotFound
from hrm.model.files import FileSettings
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.model.streams import ByteStream
from hrm.rm.uploads import Uploads
from hrm.testing import eventually_async, kill_herd
from hrm.testing.engine_harness import EngineHarness, started

_NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
USER = getpass.getuser()


class Server:
    """Has uploads, and sends them when it is let."""

    def __init__(self, folder: Path) -> None:
        self.uploads = Uploads(folder, FileSettings())
        self.asked: list[list[str]] = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.problem = ""
        #: Contents that are other on their way than they were.
        self.damaged: set[str] = set()

    async def upload(self, folder: Path) -> str:
        scan = Scan(folder)
        report = await self.uploads.begin(scan.manifest, user=USER)
        if report.missing:
            pieces = list(scan.pack(report.missing))

            async def sent() -> AsyncIterator[bytes]:
                for piece in pieces:
                    yield piece

            report = await self.uploads.receive(report.upload_id, sent(), user=USER)
        assert not report.missing
        return report.upload_id

    async def contents(self, user: str, digests: Sequence[str]) -> ByteStream:
        self.asked.append([*digests])
        await self.may_send.wait()
        if self.problem:
            raise ClusterError(self.problem)
        stream = await self.uploads.contents(user, digests)
        return DamagedStream(stream) if self.damaged & set(digests) else stream


class DamagedStream:
    """Its last byte is another."""

    def __init__(self, inner: PieceStream) -> None:
        self._inner = inner
        self.write, self.end, self.close = inner.write, inner.end, inner.close

    async def read(self) -> bytes:
        data = await self._inner.read()
        return data[:-1] + b"?" if data else data


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "server")


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    kill_herd(tmp_path / "state")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "word").write_text("hello\n")
    return folder


@asynccontextmanager
async def node(state_dir: Path, server: Server, **settings: int) -> AsyncIterator[EngineHarness]:
    engine = EmbeddedEngine(
        _NODE, state_dir, heartbeat_interval_s=0.05, files=FileSettings(**settings), contents=server
    )
    async with started(engine) as run:
        yield run


def launch(run: EngineHarness, upload: str, *command: str) -> str:
    return run.launch(*command, upload=upload)


async def test_it_is_fetched_once_and_each_container_has_a_copy_of_its_own(
    server: Server, state_dir: Path, source: Path
) -> None:
    upload = await server.upload(source)
    async with node(state_dir, server) as run:
        several = [launch(run, upload, "sh", "-c", "cat word; echo changed >word") for _ in range(5)]
        for one in several:
            await run.ended(one)
        later = launch(run, upload, "cat", "word")
        await run.ended(later)

        assert [await run.log(one) for one in (*several, later)] == ["hello\n"] * 6
        # Its manifest, then its contents.
        assert len(server.asked) == 2
        assert os.listdir(state_dir / "staged") == []


async def test_one_that_is_stopped_before_its_files_have_come_never_begins(
    server: Server, state_dir: Path, source: Path
) -> None:
    upload = await server.upload(source)
    server.may_send.clear()
    async with node(state_dir, server) as run:
        one = launch(run, upload, "true")
        await eventually_async(lambda: server.asked)
        run.stop(one)
        ended = await run.ended(one)
        server.may_send.set()
        other = launch(run, upload, "true")
        await run.ended(other)

        assert (ended.reason, ended.exit_code, ended.detail) == (
            ExitReason.NOT_STARTED,
            None,
            "stopped before it could begin",
        )
        assert [start.container_id for start in run.heard.starts] == [other]


async def test_what_is_said_to_a_container_meanwhile_is_done_when_it_has_begun(
    server: Server, state_dir: Path, source: Path
) -> None:
    upload = await server.upload(source)
    server.may_send.clear()
    async with node(state_dir, server) as run:
        one = launch(run, upload, "sleep", "600")
        await eventually_async(lambda: server.asked)
        run.engine.signal(run.node_id, one, signal.SIGUSR1)
        server.may_send.set()

        assert (await run.ended(one, timeout_s=30)).exit_code == 128 + signal.SIGUSR1


async def test_what_goes_wrong_on_the_way_is_told_as_why_it_did_not_start(
    server: Server, state_dir: Path, source: Path
) -> None:
    upload = await server.upload(source)
    async with node(state_dir, server) as run:
        unknown = await run.ended(launch(run, "0" * 64, "true"))
        server.problem = "the disk is full"
        refused = await run.ended(launch(run, upload, "true"))
        server.problem, server.damaged = "", set(Scan(source).manifest.contents)
        damaged = await run.ended(launch(run, upload, "true"))

        assert {one.reason for one in (unknown, refused, damaged)} == {ExitReason.NOT_STARTED}
        assert "is not here" in unknown.detail
        assert refused.detail == "the disk is full"
        assert "did not arrive whole" in damaged.detail and "not what its hash says" in damaged.detail
        assert run.heard.starts == []


async def test_what_was_not_used_for_longest_makes_room(
    server: Server, state_dir: Path, source: Path, tmp_path: Path
) -> None:
    first = await server.upload(source)
    (source / "word").write_text("w" * 1000)
    second = await server.upload(source)
    async with node(state_dir, server, node_cache_bytes=1003) as run:
        for upload in (first, second, first):
            await run.ended(launch(run, upload, "cat", "word"))

        # The second did not fit beside the first, which was fetched anew.
        assert len(server.asked) == 6
        assert (
            sum(path.stat().st_size for path in (state_dir / "uploads" / "blobs").rglob("*") if path.is_file()) <= 1003
        )


async def test_a_node_without_a_server_to_ask_says_so(state_dir: Path) -> None:
    engine = EmbeddedEngine(_NODE, state_dir, heartbeat_interval_s=0.05)
    async with started(engine) as run:
        ended = await run.ended(launch(run, "0" * 64, "true"))

        assert ended.detail == "nobody sends uploads to this node"


async def test_what_a_node_before_laid_out_and_never_started_is_cleared_away(state_dir: Path, server: Server) -> None:
    (state_dir / "staged" / "container_e01_1_0001_01_000001" / "deep").mkdir(parents=True)
    async with node(state_dir, server):
        assert os.listdir(state_dir / "staged") == []


async def test_another_users_upload_is_not_found(server: Server, source: Path) -> None:
    upload = await server.upload(source)

    with pytest.raises(NotFound):
        await server.uploads.contents("eve", [upload])
