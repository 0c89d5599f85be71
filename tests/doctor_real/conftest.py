"""What tests of real components share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doctor_real.namespaces import wired_namespaces


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two machines on one wire: each has one interface, eth0."""
    yield from wired_namespaces()
