"""Files that jobs bring along and leave, over machines that share no disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing.ray_server import RayServer, ray_server

pytestmark = [pytest.mark.ray, pytest.mark.real]
NODES = ("left", "right")


@pytest.fixture(scope="module")
def server() -> Iterator[RayServer]:
    with ray_server() as server:
        server.up(more="scheduler: {placement_strategy: spread}\n")
        for name in NODES:
            server.machines.add(name, "--cpus=4", "--memory-mib=2048")
        server.all_up(NODES)
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    (folder / "main").write_text(
        '#!/bin/sh\ncat data/word; mkdir out; echo "$HRM_NODE_ID" >out/node; cp data/large out/\n'
    )
    (folder / "main").chmod(0o755)
    (folder / "data" / "word").write_text("hello\n")
    (folder / "data" / "large").write_bytes(bytes(range(256)) * 40_000)
    return folder


def test_what_was_uploaded_is_on_each_node_and_what_was_left_there_comes_back(
    server: RayServer, source: Path, tmp_path: Path
) -> None:
    app = server.hrm("submit", "--wait", "--upload", source, "--tasks", 4, "--memory", "64M", "--", "./main").split()[
        -1
    ]

    server.hrm("get", app, "out", "-o", tmp_path / "here")

    tasks = sorted((tmp_path / "here").iterdir())
    assert [task.name for task in tasks] == [f"task-{index}" for index in range(4)]
    assert {(task / "out" / "node").read_text().strip() for task in tasks} == set(NODES)
    large = (source / "data" / "large").read_bytes()
    assert all((task / "out" / "large").read_bytes() == large for task in tasks)
