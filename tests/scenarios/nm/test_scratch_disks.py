"""A node whose directories lie on a disk that is full, or that cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import LogStream
from hrm.model.errors import ClusterError
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.shepherd import records
from hrm.testing import eventually_async, kill_herd, started

pytestmark = pytest.mark.root

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))


def mount(*arguments: object) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where a file system of 1 MiB is mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m,mode=0755", "none", folder)
    yield folder
    kill_herd(folder / "node")
    subprocess.run(["umount", "--recursive", folder], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


async def test_a_full_disk_holds_containers_back_until_there_is_room(small_disk: Path) -> None:
    async with started(EmbeddedEngine(NODE, small_disk / "node")) as run:
        filler = fill(small_disk)
        first, second = run.launch("sh", "-c", "exit 3"), run.launch("sh", "-c", "exit 4")
        log = small_disk / "node" / records.LOG
        await eventually_async(lambda: "nothing can begin" in log.read_text() or log.stat().st_size == 0)
        assert not run.heard.ends
        filler.unlink()

        assert (await run.ended(first)).exit_code == 3
        assert (await run.ended(second)).exit_code == 4


async def test_a_container_that_fills_the_disk_is_told_and_what_it_prints_is_counted(small_disk: Path) -> None:
    async with started(EmbeddedEngine(NODE, small_disk / "node")) as run:
        script = "head -c 9000000 /dev/zero > file; echo lost; exit 5"
        container_id = run.launch("sh", "-c", script)

        assert (await run.ended(container_id)).exit_code == 5
        chunk = await run.engine.read_log("node1", container_id, LogStream.STDOUT, offset=0, max_bytes=100)
        assert (chunk.data, chunk.dropped_bytes) == (b"", len("lost\n"))


async def test_a_read_only_directory_holds_containers_back_until_it_can_be_written(small_disk: Path) -> None:
    async with started(EmbeddedEngine(NODE, small_disk / "node")) as run:
        scratch = small_disk / "node" / records.CONTAINERS
        mount("--bind", scratch, scratch)
        mount("-o", "remount,ro,bind", scratch)
        container_id = run.launch("sh", "-c", "exit 3")
        log = small_disk / "node" / records.LOG
        await eventually_async(lambda: "Read-only file system" in log.read_text())
        assert not run.heard.ends
        mount("-o", "remount,rw,bind", scratch)

        assert (await run.ended(container_id)).exit_code == 3


async def test_a_node_on_a_read_only_disk_does_not_start_and_says_so(small_disk: Path) -> None:
    mount("-o", "remount,ro", small_disk)

    with pytest.raises(ClusterError, match="Read-only file system"):
        async with started(EmbeddedEngine(NODE, small_disk / "node")):
            pass
    assert os.listdir(small_disk) == []
