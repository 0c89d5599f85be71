"""What holds for tests of every kind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from hrm.testing.other_user import OtherUser


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def nobody() -> Iterator[OtherUser]:
    """A process of the user nobody. Name this fixture before one that starts threads: it forks."""
    with OtherUser("nobody") as other:
        yield other


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are shown in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
