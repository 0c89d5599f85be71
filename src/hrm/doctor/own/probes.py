"""What one line of `doctor.checks` asks of a machine: each probe tells what is wrong, or "" where all is well.

What may lie on a server that does not answer is asked by a command, which has a limit.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

from hrm.doctor.addresses import interfaces, lookup
from hrm.doctor.listening import listeners
from hrm.doctor.mounts import mounts, topmost
from hrm.doctor.processes import Running, processes
from hrm.doctor.system import CannotSee, Reached, System
from hrm.doctor.units import systemd_runs, unit

#: Raises CannotSee.
Probe = Callable[[System], str]

COMMAND_S = 5.0
_SIZES = {"": 1, "k": 1, "m": 1024, "g": 1024**2, "t": 1024**3, "p": 1024**4}
#: Options of test(1), with what they ask for.
TESTS = {
    "e": "does not exist",
    "a": "does not exist",
    "f": "is no file",
    "d": "is no directory",
    "x": "cannot be run",
    "r": "cannot be read",
    "w": "cannot be written",
    "s": "is empty or missing",
    "L": "is no link",
    "h": "is no link",
    "S": "is no socket",
    "b": "is no block device",
    "c": "is no character device",
    "p": "is no pipe",
}


def mounted(point: str, *, kind: str = "*", source: str = "*", mode: str = "", option_match: str = "*") -> Probe:
    """Something is mounted there, of this type and source (match strings), ``rw`` or ``ro``, with these options."""

    def look(system: System) -> str:
        found = topmost(mounts(system)).get(point.rstrip("/") or "/")
        if found is None:
            return f"nothing is mounted at {point}"
        # A user thinks of nfs, whatever the version.
        if not (matches(found.kind, kind) or (kind == "nfs" and found.nfs)):
            return f"{point} is {found.kind}, not {kind}"
        if not matches(found.source, source):
            return f"{point} is {found.source}, not {source}"
        is_now = "ro" if found.read_only else "rw"
        if mode and mode != is_now:
            return f"{point} is mounted {is_now}"
        said = ",".join([is_now, *dict.fromkeys([*found.options, *found.fs_options])])
        return "" if matches(said, option_match) else f"{point} has the options {said}"

    return look


def tested(option: str, path: str) -> Probe:
    """test(1) says yes to ``-option path``."""

    def look(system: System) -> str:
        output = system.run("test", f"-{option}", path, timeout_s=COMMAND_S)
        if output.timed_out:
            return f"{path} does not answer"
        return "" if output.ok else f"{path} {TESTS[option]}"

    return look


def absent(path: str) -> Probe:
    """Nothing is there."""

    def look(system: System) -> str:
        output = system.run("test", "-e", path, timeout_s=COMMAND_S)
        return f"{path} is there" if output.ok else f"{path} does not answer" if output.timed_out else ""

    return look


def runs(name: str, *, owner: str = "", there: bool = True, whole_line: bool = False) -> Probe:
    """A process of this name (a match string) runs, of that user; or, with ``there=False``, none."""

    def look(system: System) -> str:
        uid = _uid(system, owner) if owner else None
        found = [
            one
            for one in processes(system)
            if _is_called(one, name, whole_line) and (uid is None or _uid_of(system, one) == uid)
        ]
        if there:
            return "" if found else f"no process {name}{f' of {owner}' if owner else ''} runs"
        return f"{found[0].shown} (pid {found[0].pid}) runs" if found else ""

    return look


def listens(port: int, address: str = "") -> Probe:
    """Something listens there."""

    def look(system: System) -> str:
        found = listeners(system, port)
        return "" if any(not address or one.takes(address) for one in found) else f"nothing listens on port {port}"

    return look


def service_runs(name: str) -> Probe:
    """systemd says so."""

    def look(system: System) -> str:
        if not systemd_runs(system):
            raise CannotSee(f"service {name}: systemd does not run here")
        one = unit(system, name)
        return "" if one.runs else f"{one.name} is {one.active or 'not installed'}"

    return look


def command_ends_with(argv: Sequence[str], status: int = 0, timeout_s: float = COMMAND_S, *mstrs: str) -> Probe:
    """A program ends with this status in time, and some line of its output matches each match string."""

    def look(system: System) -> str:
        output = system.run(*argv, timeout_s=timeout_s)
        if output.timed_out:
            return f"it did not end within {timeout_s:g} s"
        if output.status != status:
            said = next((line.strip() for line in output.text.splitlines() if line.strip()), "")
            return f"it ended with {output.status}" + (f": {said}" if said else "")
        for mstr in mstrs:
            wanted = mstr.removeprefix("!")
            if any(matches(line, wanted) for line in output.text.splitlines()) is mstr.startswith("!"):
                return f"its output has {'' if mstr.startswith('!') else 'no '}line {wanted}"
        return ""

    return look


def has_room(path: str, least: str, *, inodes: bool = False, of_used: bool = False) -> Probe:
    """A file system has so many KiB or inodes left, or so many percent; or uses no more than that (``of_used``)."""

    def look(system: System) -> str:
        output = system.run("df", "-Pi" if inodes else "-Pk", path, timeout_s=COMMAND_S)
        words = output.lines[-1].split() if output.ok and len(output.lines) > 1 else []
        if len(words) < 6 or not words[2].isdigit() or not words[3].isdigit():
            return f"{path}: {'no answer' if output.timed_out else output.stderr.strip() or 'its size is not known'}"
        used, free = int(words[2]), int(words[3])
        value = used if of_used else free
        limit = amount(least)
        if least.endswith("%"):
            value = round(100 * value / (used + free)) if used + free else 100
        if (value > limit) if of_used else (value < limit):
            unit_name = "%" if least.endswith("%") else " inodes" if inodes else " KiB"
            return f"{path} has {value}{unit_name} {'used' if of_used else 'left'}, not {least}"
        return ""

    return look


def has_memory(name: str, least: str) -> Probe:
    """A figure of ``/proc/meminfo`` (``MemTotal``) is at least so large."""

    def look(system: System) -> str:
        found = re.search(rf"^{name}:\s+(\d+)", system.read("/proc/meminfo") or "", re.MULTILINE)
        value = int(found[1]) if found else 0
        return "" if value >= amount(least) else f"{name} is {value // 1024} MiB, not {least}"

    return look


def reaches(host: str, port: int) -> Probe:
    """Something takes connections there."""

    def look(system: System) -> str:
        reached = system.connect(host, port)
        return "" if reached is Reached.OPEN else f"{host}:{port} is not reached: {reached}"

    return look


def pings(host: str) -> Probe:
    """A host answers."""
    return command_ends_with(("ping", "-c", "1", "-W", "2", host))


def looks_up(name: str) -> Probe:
    """A name has an address."""
    return lambda system: "" if lookup(system, name) else f"{name} has no address"


def has_link(name: str) -> Probe:
    """A network interface is up and has a link."""

    def look(system: System) -> str:
        one = next((one for one in interfaces(system) if one.name == name), None)
        if one is None:
            return f"there is no interface {name}"
        return "" if one.up and one.carrier else f"{name} {'has no link' if one.up else 'is down'}"

    return look


def amount(text: str) -> int:
    """``10G``, ``128MB`` in KiB, ``5%`` as 5. Raises ValueError."""
    found = re.fullmatch(r"(\d+)(?:%|([kmgtp]?)(?:i?b)?)", text.lower())
    if found is None:
        raise ValueError(f"{text!r} is no size: write 10G, 500M or 5%")
    return int(found[1]) * _SIZES[found[2] or ""]


def matches(text: str, mstr: str) -> bool:
    """A match string of NHC's: a glob, ``/regular expression/``, ``{n[01-09],m1}``, each with ``!`` for not."""
    if mstr.startswith("!"):
        return not matches(text, mstr[1:])
    if len(mstr) > 1 and mstr.startswith("/") and mstr.endswith("/"):
        return re.search(mstr[1:-1], text) is not None
    if mstr.startswith("{") and mstr.endswith("}"):
        return any(_in_range(text, part) for part in mstr[1:-1].split(","))
    return fnmatch.fnmatchcase(text, mstr)


def _in_range(text: str, part: str) -> bool:
    found = re.fullmatch(r"(.*)\[(\d+)-(\d+)\](.*)", part)
    if found is None:
        return text == part
    number = re.fullmatch(rf"{re.escape(found[1])}(\d+){re.escape(found[4])}", text)
    return number is not None and len(number[1]) == len(found[2]) and int(found[2]) <= int(number[1]) <= int(found[3])


def _is_called(one: Running, name: str, whole_line: bool) -> bool:
    if whole_line:
        return matches(one.command_line, name)
    # A script's name is the word after its interpreter.
    words = [one.name, *(word.rpartition("/")[2] for word in one.command_line.split()[:2])]
    return any(matches(word.rstrip(":"), name) for word in words)


def _uid(system: System, owner: str) -> str:
    output = system.run("id", "-u", owner)
    return output.stdout.strip() if output.ok else "nobody of this name"


def _uid_of(system: System, one: Running) -> str:
    found = re.search(r"^Uid:\s+(\d+)", system.read(f"/proc/{one.pid}/status") or "", re.MULTILINE)
    return found[1] if found else ""
