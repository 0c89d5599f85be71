"""Which container has which CPUs for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.nm.cpus.pins import Cpu, Pins, format_cpus, parse_cpus
from hrm.nm.cpus.topology import cpus_of

#: Two NUMA nodes of two cores with two hardware threads each, numbered as Linux does: second threads last.
MACHINE = [Cpu(number, (number % 4 // 2, number % 4)) for number in range(8)]
FIRST_NODE, SECOND_NODE = {0, 1, 4, 5}, {2, 3, 6, 7}


def test_the_threads_of_one_core_are_given_together() -> None:
    assert Pins(MACHINE).take("a", 2) == (0, 4)


def test_a_single_cpu_leaves_whole_cores_to_others() -> None:
    pins = Pins(MACHINE)

    assert pins.take("a", 1) == (0,)
    assert pins.take("b", 1) == (4,), "the other thread of the core that is broken up already"
    assert pins.take("c", 2) == (1, 5)


def test_a_container_stays_in_one_numa_node_where_it_fits_and_breaks_up_the_fuller_one() -> None:
    pins = Pins(MACHINE)
    pins.take("a", 1)

    assert set(pins.take("b", 3)) <= FIRST_NODE
    assert set(pins.take("c", 4)) == SECOND_NODE


def test_one_that_fits_in_no_node_fills_one_before_it_takes_of_the_next() -> None:
    pins = Pins(MACHINE)

    own = set(pins.take("a", 6))

    assert len(own) == 6
    assert own > FIRST_NODE or own > SECOND_NODE


def test_who_has_none_of_its_own_shares_what_is_left() -> None:
    pins = Pins(MACHINE)
    pins.take("a", 6)

    assert pins.take("b", 0) == ()
    assert pins.shared == pins.free
    assert len(pins.free) == 2


def test_where_no_room_is_left_a_container_shares_and_no_last_cpu_is_taken_from_those_who_do() -> None:
    pins = Pins(MACHINE[:4])

    assert pins.take("a", 5) == ()
    assert pins.take("b", 4) == (), "one stays for those that share"
    assert len(pins.take("c", 3)) == 3
    pins.give_back("a")
    pins.give_back("b")
    assert len(pins.take("d", 1)) == 1, "nobody shares any more"
    assert pins.shared == (0, 1, 2, 3), "a late one runs on all: nothing else is left"


def test_what_is_given_back_can_be_given_again() -> None:
    pins = Pins(MACHINE)
    own = pins.take("a", 8)

    pins.give_back("a")

    assert pins.take("b", 8) == own


def test_what_another_life_gave_is_not_given_again() -> None:
    pins = Pins(MACHINE)
    pins.restore("a", [4, 0, 99])

    assert pins.take("b", 2) == (1, 5)
    assert 99 not in pins.free


@pytest.mark.parametrize(("numbers", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 5, 7, 8), "0-2,5,7-8")])
def test_lists_of_cpus_are_written_and_read_as_the_kernels(numbers: tuple[int, ...], text: str) -> None:
    assert format_cpus(numbers) == text
    assert parse_cpus(f"{text}\n") == numbers


def test_sys_tells_nodes_and_cores(tmp_path: Path) -> None:
    for name, text in {
        "node/node0/cpulist": "0-1,4",
        "node/node1/cpulist": "2-3",
        "node/online": "0-1",
        "cpu/cpu0/topology/thread_siblings_list": "0,4",
        "cpu/cpu4/topology/thread_siblings_list": "0,4",
        "cpu/cpu2/topology/thread_siblings_list": "2",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    found = cpus_of({4, 0, 2, 3}, str(tmp_path))

    assert found == [Cpu(0, (0, 0)), Cpu(2, (1, 2)), Cpu(3, (1, 3)), Cpu(4, (0, 0))]
    assert cpus_of({1, 0}, str(tmp_path / "none")) == [Cpu(0, (-1, 0)), Cpu(1, (-1, 1))]
