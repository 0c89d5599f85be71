"""Which CPUs of this machine are near each other, as /sys tells."""

from __future__ import annotations

import os
from collections.abc import Iterable

from hrm.nm.cpus.pins import Cpu, parse_cpus

_SYS = "/sys/devices/system"


def cpus_of(numbers: Iterable[int], sys: str = _SYS) -> list[Cpu]:
    """These CPUs, each with its NUMA node and its core. What /sys does not tell counts as one node, or a core of its
    own.
    """
    nodes = _nodes(sys)
    return [Cpu(number, (nodes.get(number, -1), _core(sys, number))) for number in sorted(numbers)]


def _nodes(sys: str) -> dict[int, int]:
    """NUMA node by CPU."""
    found: dict[int, int] = {}
    try:
        names = os.listdir(f"{sys}/node")
    except OSError:
        return found
    for name in names:
        number = name.removeprefix("node")
        if number != name and number.isdigit():
            found.update(dict.fromkeys(_read_cpus(f"{sys}/node/{name}/cpulist"), int(number)))
    return found


def _core(sys: str, number: int) -> int:
    """The first CPU of its core. Numbers that /sys gives to cores are told apart by package only."""
    return min(_read_cpus(f"{sys}/cpu/cpu{number}/topology/thread_siblings_list"), default=number)


def _read_cpus(path: str) -> tuple[int, ...]:
    try:
        with open(path, encoding="ascii") as file:
            return parse_cpus(file.read())
    except (OSError, ValueError):
        return ()
