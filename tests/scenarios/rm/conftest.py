"""One fake cluster and one database per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.testing.lives import Lives


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    """One node of 4 vcores and 8 GiB, queues default and research."""
    async with Lives(tmp_path) as lives:
        yield lives
