"""Checks in one line (`doctor.checks`): in words of the doctor's own, or as LBNL NHC has them in its ``nhc.conf``."""

from __future__ import annotations

import getopt
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hrm.doctor.own import probes
from hrm.doctor.own.probes import Probe
from hrm.model.findings import Severity

#: ``warning:``, ``gpu 1:``, ``gpu 1 error:``.
_PREFIX = re.compile(r"^(?:gpu (?P<gpu>[\w:.-]+))?\s*(?P<severity>info|warning|error|critical)?:\s*")
_TARGET = re.compile(r"^(\S+)\s*\|\|\s*")


@dataclass(frozen=True, slots=True)
class OwnLine:
    """One line, understood."""

    text: str
    severity: Severity
    #: The GPU that does not do well where it does not hold, by its index or id; None iff it is about the whole node.
    gpu: str | None
    #: Match string of the host names that it is for.
    target: str
    probes: tuple[Probe, ...]
    #: Whether it runs a program of the site's, which may take its time.
    slow: bool


def parse_line(line: str) -> OwnLine:
    """Raises ValueError, which says what is wrong with it."""
    rest = line.strip()
    severity = Severity.CRITICAL
    gpu = None
    if found := _PREFIX.match(rest):
        severity, gpu, rest = Severity(found["severity"] or severity), found["gpu"], rest[found.end() :]
    target = "*"
    if found := _TARGET.match(rest):
        target, rest = found[1], rest[found.end() :]
    # May raise ValueError: a quotation that does not end.
    words = shlex.split(rest, comments=True)
    if not words:
        raise ValueError("the line has no check")
    word, arguments = words[0], words[1:]
    if word in _WORDS:
        needed, most, make = _WORDS[word]
        if not needed <= len(arguments) <= most:
            raise ValueError(f"{word} takes {needed if needed == most else f'{needed} or more'} words after it")
        return OwnLine(line, severity, gpu, target, (make(arguments),), slow=word == "command")
    if word in _NHC:
        if word in ("check_cmd_output", "check_cmd_status"):
            return OwnLine(line, severity, gpu, target, (_NHC[word](arguments)), slow=True)
        if "-0" in arguments:
            severity, arguments = Severity.WARNING, [one for one in arguments if one != "-0"]
        return OwnLine(line, severity, gpu, target, _NHC[word](arguments), slow=False)
    raise ValueError(f"there is no check {word!r}; there are: {', '.join([*_WORDS, *_NHC])}")


def _mounted(words: Sequence[str]) -> Probe:
    modes = [word for word in words[1:] if word in ("rw", "ro")]
    kinds = [word for word in words[1:] if word not in ("rw", "ro")]
    if len(kinds) > 1:
        raise ValueError("mounted takes a path, a type and rw or ro")
    return probes.mounted(words[0], kind=kinds[0] if kinds else "*", mode=modes[-1] if modes else "")


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is no port")
    return int(text)


def _reachable(words: Sequence[str]) -> Probe:
    host, colon, port = words[0].rpartition(":")
    if not colon:
        raise ValueError("reachable takes HOST:PORT")
    return probes.reaches(host.strip("[]"), _port(port))


def _sized(words: Sequence[str], **how: bool) -> Probe:
    probes.amount(words[1])
    return probes.has_room(words[0], words[1], **how)


def _memory(name: str, size: str) -> Probe:
    probes.amount(size)
    return probes.has_memory(name, size)


_MANY = 99
#: By word: how many others it takes, and what it makes of them.
_WORDS: dict[str, tuple[int, int, Callable[[Sequence[str]], Probe]]] = {
    "mounted": (1, 3, _mounted),
    "file": (1, 1, lambda words: probes.tested("f", words[0])),
    "directory": (1, 1, lambda words: probes.tested("d", words[0])),
    "executable": (1, 1, lambda words: probes.tested("x", words[0])),
    "no-file": (1, 1, lambda words: probes.absent(words[0])),
    "process": (1, 2, lambda words: probes.runs(words[0], owner=words[1] if len(words) > 1 else "")),
    "no-process": (1, 1, lambda words: probes.runs(words[0], there=False)),
    "listening": (1, 2, lambda words: probes.listens(_port(words[0]), words[1] if len(words) > 1 else "")),
    "service": (1, 1, lambda words: probes.service_runs(words[0])),
    "command": (1, _MANY, lambda words: probes.command_ends_with(words)),
    "free-space": (2, 2, _sized),
    "free-inodes": (2, 2, lambda words: _sized(words, inodes=True)),
    "memory": (1, 1, lambda words: _memory("MemTotal", words[0])),
    "free-memory": (1, 1, lambda words: _memory("MemAvailable", words[0])),
    "reachable": (1, 1, _reachable),
    "ping": (1, 1, lambda words: probes.pings(words[0])),
    "lookup": (1, 1, lambda words: probes.looks_up(words[0])),
    "interface": (1, 1, lambda words: probes.has_link(words[0])),
}


def _options(words: Sequence[str], known: str) -> tuple[dict[str, list[str]], list[str]]:
    try:
        found, rest = getopt.getopt(list(words), known)
    except getopt.GetoptError as error:
        raise ValueError(str(error)) from None
    by_name: dict[str, list[str]] = {}
    for name, value in found:
        by_name.setdefault(name.lstrip("-"), []).append(value)
    return by_name, rest


def _nhc_mount(words: Sequence[str], mode: str = "") -> tuple[Probe, ...]:
    """What would be mounted or run where it is missing (-r, -e) is left to people."""
    said, rest = _options(words, "rt:s:o:O:e:E:f:F:")
    points = [*said.get("f", ()), *said.get("F", ()), *rest[:1]]
    if not points:
        raise ValueError("it names no mount point (-f)")
    by_place = dict(enumerate(rest))
    return tuple(
        probes.mounted(
            point,
            source=said.get("s", [by_place.get(1, "*")])[-1],
            kind=said.get("t", [by_place.get(2, "*")])[-1],
            option_match=said.get("o", ["*"])[-1],
            mode=mode,
        )
        for point in points
    )


def _nhc_file(words: Sequence[str]) -> tuple[Probe, ...]:
    said, paths = _options(words, "abcdefghkprstuwxOGLSN")
    unknown = [option for option in said if option not in probes.TESTS]
    if unknown or not said or not paths:
        raise ValueError(f"-{unknown[0]} is not supported" if unknown else "it takes options and files")
    return tuple(probes.tested(option, path) for path in paths for option in said)


def _nhc_process(words: Sequence[str]) -> tuple[Probe, ...]:
    said, rest = _options(words, "fSrcsku:d:m:e:E:")
    if len(rest) != 1:
        raise ValueError("it takes one service")
    name = said.get("m", said.get("d", rest))[-1]
    there = not {"s", "k"} & set(said)
    return (probes.runs(name, owner=said.get("u", [""])[-1], there=there, whole_line="f" in said),)


def _nhc_command(words: Sequence[str], *, output: bool) -> tuple[Probe, ...]:
    said, argv = _options(words, "t:r:m:e:")
    argv = shlex.split(said["e"][-1]) if "e" in said else argv
    if not argv:
        raise ValueError("it names no command")
    if not output and "r" not in said:
        raise ValueError("it needs -r STATUS")
    status, timeout_s = said.get("r", ["0"])[-1], said.get("t", ["5"])[-1]
    if not status.isdigit() or not timeout_s.isdigit():
        raise ValueError("-r and -t take numbers")
    return (probes.command_ends_with(argv, int(status), float(timeout_s), *said.get("m", ())),)


def _nhc_socket(words: Sequence[str]) -> tuple[Probe, ...]:
    said, _ = _options(words, "an:p:s:l:r:t:u:d:e:E:")
    address, _, port = said.get("l", [""])[-1].rpartition(":")
    if said.get("s", ["LISTEN"])[-1] != "LISTEN" or not port:
        raise ValueError("only -s LISTEN -l ADDRESS:PORT is supported")
    return (probes.listens(_port(port), "" if address in ("", "*", "0.0.0.0") else address),)


def _of(words: Sequence[str], count: int) -> Sequence[str]:
    if len(words) < count:
        raise ValueError(f"it takes {count} words")
    return words


#: Checks of NHC that are understood; what they would start or stop is not done.
_NHC: dict[str, Callable[[Sequence[str]], tuple[Probe, ...]]] = {
    "check_fs_mount": _nhc_mount,
    "check_fs_mount_rw": lambda words: _nhc_mount(words, "rw"),
    "check_fs_mount_ro": lambda words: _nhc_mount(words, "ro"),
    "check_fs_free": lambda words: (_sized(_of(words, 2)),),
    "check_fs_used": lambda words: (_sized(_of(words, 2), of_used=True),),
    "check_fs_ifree": lambda words: (_sized(_of(words, 2), inodes=True),),
    "check_fs_iused": lambda words: (_sized(_of(words, 2), inodes=True, of_used=True),),
    "check_file_test": _nhc_file,
    "check_ps_service": _nhc_process,
    "check_ps_daemon": lambda words: (probes.runs(_of(words, 1)[0], owner=words[1] if len(words) > 1 else ""),),
    "check_cmd_status": lambda words: _nhc_command(words, output=False),
    "check_cmd_output": lambda words: _nhc_command(words, output=True),
    "check_net_socket": _nhc_socket,
    "check_net_ping": lambda words: (probes.pings(_of(words, 1)[-1]),),
    "check_hw_eth": lambda words: (probes.has_link(_of(words, 1)[0]),),
    "check_hw_physmem": lambda words: (_memory("MemTotal", _of(words, 1)[0]),),
    "check_hw_physmem_free": lambda words: (_memory("MemAvailable", _of(words, 1)[0]),),
    "check_hw_swap": lambda words: (_memory("SwapTotal", _of(words, 1)[0]),),
    "check_hw_swap_free": lambda words: (_memory("SwapFree", _of(words, 1)[0]),),
}
