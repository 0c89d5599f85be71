"""A server that may die, with a home and a ledger of its own. Nothing of it is left behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing.mortal import Ledger, MortalServer

ROOMY, NARROW = ({"vcores": cores, "memory": "8G"} for cores in (40, 2))


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's own: its paths are too long for a Unix socket.
    folder = Path(tempfile.mkdtemp(prefix="hrm-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(home: Path) -> Iterator[MortalServer]:
    """It runs 40 tasks of a ledger at a time."""
    yield from mortal(home, ROOMY)


@pytest.fixture
def narrow_server(home: Path) -> Iterator[MortalServer]:
    """It runs two tasks of a ledger at a time."""
    yield from mortal(home, NARROW)


def mortal(home: Path, node: dict[str, object]) -> Iterator[MortalServer]:
    server = MortalServer(home, json.dumps({"node": node, "server": {"port": 0}}))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")
