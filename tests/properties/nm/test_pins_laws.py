"""What holds of CPUs whatever containers come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hrm.nm.cpus.pins import Cpu, Pins, format_cpus, parse_cpus

MACHINES = st.builds(
    lambda nodes, cores, threads: [
        Cpu(number, (number % (nodes * cores) // cores, number % (nodes * cores)))
        for number in range(nodes * cores * threads)
    ],
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 2),
)
#: CPUs that the next container asks for, or which of those that run (counted round) ends.
STEPS = st.lists(st.tuples(st.sampled_from(["begin", "end"]), st.integers(0, 9)), max_size=40)


@given(MACHINES, STEPS)
def test_no_cpu_is_given_twice_and_all_come_back(machine: list[Cpu], steps: list[tuple[str, int]]) -> None:
    pins, own, sharing = Pins(machine), dict[str, tuple[int, ...]](), set[str]()
    everything = {cpu.number for cpu in machine}
    for serial, (step, number) in enumerate(steps):
        if step == "begin":
            room = len(pins.free) - bool(sharing)
            given_to = pins.take(name := str(serial), number)
            assert len(given_to) == (number if number <= room else 0)
            if given_to:
                own[name] = given_to
            else:
                sharing.add(name)
        elif running := [*own, *sharing]:
            pins.give_back(over := running[number % len(running)])
            own.pop(over, None)
            sharing.discard(over)
        taken = [cpu for cpus in own.values() for cpu in cpus]
        assert len(taken) == len(set(taken))
        assert set(pins.free) == everything - set(taken)
        assert set(pins.shared) == (set(pins.free) or everything)
    for name in [*own, *sharing]:
        pins.give_back(name)
    assert set(pins.free) == everything


@given(MACHINES, st.data())
def test_where_the_node_lends_what_it_has_each_container_of_whole_cpus_gets_them(
    machine: list[Cpu], data: st.DataObject
) -> None:
    pins, left_milli, shared_milli = Pins(machine), len(machine) * 1000, 0
    for serial in range(data.draw(st.integers(1, 12))):
        asked = data.draw(st.integers(1, 3 * 2).map(lambda halves: halves * 500))
        if asked > left_milli:
            continue
        left_milli -= asked
        own = pins.take(str(serial), 0 if asked % 1000 else asked // 1000)
        assert len(own) * 1000 == (0 if asked % 1000 else asked)
        shared_milli += asked if asked % 1000 else 0
        assert len(pins.shared) * 1000 >= shared_milli


@given(st.sets(st.integers(0, 300)))
def test_a_list_of_cpus_reads_back_as_written(numbers: set[int]) -> None:
    assert set(parse_cpus(format_cpus(numbers))) == numbers
