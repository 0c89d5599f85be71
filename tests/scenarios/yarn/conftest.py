"""One fake cluster, one life and YARN's door to it per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.testing.lives import Lives
from tests.scenarios.yarn.client_door import Door


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    """One node of 4 vcores and 8 GiB, queues default and research."""
    async with Lives(tmp_path) as lives:
        yield lives


@pytest.fixture
async def door(lives: Lives) -> Door:
    return Door(await lives.begin())
