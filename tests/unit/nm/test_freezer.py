"""Halting by cgroups of both versions. The hierarchies are ordinary files."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.nm.cgroups import machine
from hrm.nm.cgroups.freezer import Freezer, find
from hrm.nm.cgroups.hierarchies import Hierarchy
from hrm.nm.cgroups.limits import Limits
from hrm.nm.cgroups.pool import Pool
from hrm.testing.fake_cgroups import FakeCgroups


@pytest.fixture
def kernel(tmp_path: Path) -> FakeCgroups:
    return FakeCgroups(tmp_path)


def pool_of(kernel: FakeCgroups, hierarchy: Hierarchy) -> Pool:
    found = machine.find([hierarchy], "k", files=kernel, majors=tuple)
    assert found.pool is not None
    return found.pool


def test_in_version_2_a_container_is_halted_where_it_lives(kernel: FakeCgroups) -> None:
    pool = pool_of(kernel, kernel.mount(2, "cpu", "pids"))
    slot = pool.take(Limits())

    assert pool.freeze(slot, frozen=True)
    assert pool.is_frozen(slot)
    assert kernel.value(f"unified/hrm-k/{slot.name}/cgroup.freeze") == "1"
    assert pool.freeze(slot, frozen=False)
    assert not pool.is_frozen(slot)


def test_in_version_1_it_is_not(kernel: FakeCgroups) -> None:
    pool = pool_of(kernel, kernel.mount(1, "cpu"))

    assert not pool.freeze(pool.take(Limits()), frozen=True)


def test_a_freezer_takes_in_those_that_are_not_there_yet(kernel: FakeCgroups) -> None:
    freezer = Freezer(f"{kernel.mount(1, 'freezer').own}/hrm-k", kernel)
    assert (freezer.knows("c"), freezer.names()) == (False, [])

    freezer.freeze("c")

    assert (freezer.knows("c"), freezer.names()) == (True, ["c"])
    assert kernel.value("freezer/hrm-k/c/freezer.state") == "FROZEN"
    assert freezer.take_in("c", [5]) == 1
    kernel.live_in("freezer/hrm-k/c", 5)
    assert freezer.take_in("c", [5, 6]) == 1
    freezer.thaw("c")
    assert kernel.value("freezer/hrm-k/c/freezer.state") == "THAWED"


def test_the_freezer_of_an_earlier_shepherd_is_found_again(kernel: FakeCgroups) -> None:
    hierarchies = [kernel.mount(1, "freezer")]

    found = find(hierarchies, "k", [f"{hierarchies[0].top}/elsewhere/hrm-k"])

    assert found is not None
    assert found.base == f"{hierarchies[0].top}/elsewhere/hrm-k"
    assert find([kernel.mount(2, "cpu")], "k") is None
