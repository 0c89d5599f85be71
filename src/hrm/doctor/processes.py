"""Processes of a machine, from ``/proc``: what they are, their state, and which files they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.system import CannotSee, System

#: In which the kernel tells times to programs, on every machine (USER_HZ).
_TICKS_PER_S = 100


@dataclass(frozen=True, slots=True)
class Running:
    """One process, as it was when it was looked at."""

    pid: int
    #: At most 15 characters, as the kernel keeps it.
    name: str
    #: As ``ps`` shows it: R, S, D (waits in the kernel and cannot be ended), T, Z …
    state: str
    parent_pid: int
    #: Arguments joined by spaces, as in `hrm.model.findings.Process`; "" of a kernel thread.
    command_line: str

    @property
    def shown(self) -> str:
        """Its command line; ``[name]`` of a kernel thread, as ``ps`` has it."""
        return self.command_line or f"[{self.name}]"

    @property
    def hangs(self) -> bool:
        """Whether it waits in the kernel, where no signal reaches it."""
        return self.state == "D"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process and the files, of those that were asked for, that it has open or mapped."""

    process: Running
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds files; incomplete where open files of some processes could not be looked at."""

    found: tuple[Holder, ...]
    #: Processes of which it cannot be said: whoever looks is not root.
    unseen: int = 0

    @property
    def what_is_unseen(self) -> str:
        """For `hrm.doctor.checks.Unseen`; "" where all was seen."""
        return f"open files of {self.unseen} processes (needs root)" if self.unseen else ""


def process(system: System, pid: int) -> Running | None:
    """The process with this pid; None where there is none. Raises CannotSee."""
    about = system.read(f"/proc/{pid}/stat")
    if not about:
        return None
    # A name may contain spaces and parentheses; what follows the last one does not.
    head, _, tail = about.rpartition(")")
    fields = tail.split()
    if len(fields) < 2:
        return None
    return Running(
        pid=pid,
        name=head.partition("(")[2],
        state=fields[0],
        parent_pid=int(fields[1]),
        command_line=command_line(system, pid),
    )


def runs(system: System, pid: int) -> bool:
    """Whether a process has not ended; one that ended and was not waited for (a zombie) has. Raises CannotSee."""
    one = process(system, pid)
    return one is not None and one.state not in ("Z", "X")


def processes(system: System) -> Iterator[Running]:
    """All that can be seen, by pid. One that ends meanwhile, or that hides from whoever looks, is left out."""
    for pid in pids(system):
        try:
            one = process(system, pid)
        except CannotSee:
            continue
        if one is not None:
            yield one


def pids(system: System) -> list[int]:
    """Of all processes, in order."""
    return sorted(int(name) for name in system.list("/proc") if name.isdecimal())


def command_line(system: System, pid: int) -> str:
    """As in `Running.command_line`; "" where there is no such process. Raises CannotSee."""
    return " ".join((system.read(f"/proc/{pid}/cmdline") or "").rstrip("\0").split("\0"))


def open_files(system: System, pid: int) -> dict[str, str]:
    """What each descriptor of a process leads to: a path, ``socket:[1234]`` …; none where it ends. Raises CannotSee."""
    places = {number: system.link(f"/proc/{pid}/fd/{number}") for number in system.list(f"/proc/{pid}/fd")}
    return {number: place for number, place in places.items() if place is not None}


def holders(system: System, pattern: str, *, mapped: bool = False) -> Holders:
    """Processes that have a file open whose path ``pattern`` (a regular expression) matches from its beginning.

    With ``mapped`` also those that have it in their memory after they closed it, which keeps a device or a file system
    in use just the same.
    """
    wanted = re.compile(pattern)
    found = []
    unseen = 0
    for pid in pids(system):
        try:
            places = set(open_files(system, pid).values())
            if mapped:
                places |= _mapped_files(system, pid)
            paths = tuple(sorted(place for place in places if wanted.match(place)))
            one = process(system, pid) if paths else None
        except CannotSee:
            unseen += 1
            continue
        if one is not None:
            found.append(Holder(one, paths))
    return Holders(tuple(found), unseen)


def waits_in(system: System, pid: int) -> str:
    """The function of the kernel that a process waits in; "" where it runs, or the kernel does not say."""
    try:
        place = (system.read(f"/proc/{pid}/wchan") or "").strip()
    except CannotSee:
        return ""
    return "" if place == "0" else place


def age_s(system: System, pid: int) -> float | None:
    """How long ago a process began; None where that cannot be told. Raises CannotSee."""
    fields = (system.read(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    uptime = (system.read("/proc/uptime") or "").split()
    # The 22nd field of all; two stand before the parenthesis.
    if len(fields) < 20 or not uptime:
        return None
    return float(uptime[0]) - int(fields[19]) / _TICKS_PER_S


def _mapped_files(system: System, pid: int) -> set[str]:
    # address perms offset dev inode path
    parts = (line.split(None, 5) for line in (system.read(f"/proc/{pid}/maps") or "").splitlines())
    return {words[5] for words in parts if len(words) == 6 and words[5].startswith("/")}
