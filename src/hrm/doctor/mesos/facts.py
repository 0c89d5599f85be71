"""What machines of one Mesos cluster have alike."""

from __future__ import annotations

from collections.abc import Callable

from hrm.doctor.checks import Fact
from hrm.doctor.expected import Expected
from hrm.doctor.mesos.lists import LISTS, entries
from hrm.doctor.mesos.settings import AGENT, MASTER, mesos
from hrm.doctor.system import System

#: Flags that are the same on all agents of a cluster; address and name are each one's own.
_OF_AGENTS = ("master", "port", "work_dir", "log_dir", "logging_level", "isolation", "containerizers")
_OF_MASTERS = ("cluster", "offer_timeout")


def _flag(role: str, flag: str) -> Fact:
    def tell(system: System) -> str | None:
        told = mesos(system, Expected())
        return told.value(role, flag) or None if role in told.roles else None

    return Fact(f"mesos.{flag.replace('_', '-')}", tell)


def _list(name: str) -> Callable[[System], str | None]:
    def tell(system: System) -> str | None:
        directories = mesos(system, Expected()).directories
        hosts = [one.host for place in directories for one in entries(system, place) if one.path.endswith(f"/{name}")]
        return ", ".join(hosts) or None

    return tell


FACTS: tuple[Fact, ...] = (
    *(_flag(AGENT, flag) for flag in _OF_AGENTS),
    *(_flag(MASTER, flag) for flag in _OF_MASTERS),
    *(Fact(f"mesos.{name}", _list(name)) for name in LISTS),
)
