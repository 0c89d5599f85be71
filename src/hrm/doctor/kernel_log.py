"""What the kernel has logged since it booted, as lines with their times."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from hrm.doctor.evidence import line_of
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence

#: The kernel's own memory of it; whoever is not root may be kept from it (`kernel.dmesg_restrict`).
DMESG = ("dmesg",)
#: systemd's copy of this boot, for members of the groups adm and systemd-journal.
JOURNAL = ("journalctl", "-k", "-b", "0", "-q", "--no-pager", "-o", "short-unix")
#: syslog's copies, with those of earlier boots before them.
FILES = ("/var/log/kern.log", "/var/log/messages", "/var/log/syslog")
#: What some systems keep of dmesg when they have booted.
SAVED = "/var/log/dmesg"
#: "[ 1234.567890] ", with the thread or the processor that logged it where the kernel is built so.
_SINCE_BOOT = re.compile(r"^(?:\w+ *: *\w+ *: *)?\[ *(\d+\.\d+)\](?: ?\[ *[TC]\d+\])? ?")
#: What ``dmesg -T`` says instead: "[Mon Aug  3 06:18:58 2020] ".
_CTIME = re.compile(r"^\[(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\] ?")
_UNIX = re.compile(r"^(\d+\.\d+) \S+ kernel: ?")
_SYSLOG = re.compile(r"^(?:(\w{3} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT\S+)) \S+ kernel: ?")
#: What a kernel logs first of all.
_BOOT = re.compile(r"\bLinux version \d")
_DAY_S = 86400.0
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One line of the kernel's."""

    #: Without the time.
    text: str
    #: Seconds since the epoch; None where that cannot be told.
    at: float | None
    evidence: Evidence


def kernel_lines(
    system: System, pattern: str, *, within_s: float | None = None
) -> Iterator[tuple[KernelLine, re.Match[str]]]:
    """Lines since the machine booted in which ``pattern`` (a regular expression) is found, the oldest first.

    ``within_s``: only those of the last so many seconds, and those whose time cannot be told. Raises CannotSee where
    nobody who looks may see the log, or none is kept.
    """
    looked = re.compile(pattern)
    earliest = None if within_s is None else system.now() - within_s
    booted_at = boot_time(system)
    # Checks run side by side, and a log may be large: one at a time holds it.
    with _ONE_AT_A_TIME:
        lines = list(_since_boot(system, looked, booted_at))
    for line in lines:
        found = looked.search(line.text)
        if found and (earliest is None or line.at is None or line.at >= earliest):
            yield line, found


def boot_time(system: System) -> float | None:
    """When the machine booted, in seconds since the epoch; None where that cannot be told, as of a disk alone."""
    for line in (system.read("/proc/stat") or "").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    uptime = (system.read("/proc/uptime") or "").split()
    return system.now() - float(uptime[0]) if uptime else None


def _since_boot(system: System, pattern: re.Pattern[str], booted_at: float | None) -> Iterator[KernelLine]:
    """Lines of the first place that can be looked at; only those that ``pattern`` may be found in."""
    hidden: list[str] = []
    empty = False
    for argv, parse in ((DMESG, _of_dmesg), (JOURNAL, _of_journal)):
        try:
            output = system.run(*argv, tail=True)
        except CannotSee as error:
            hidden.append(str(error))
            continue
        if output.ok and output.stdout.strip():
            source = " ".join(argv)
            for line in _lines(output.stdout):
                if pattern.search(line):
                    yield parse(source, line, booted_at)
            return
        # Emptied by somebody, and a copy may have more. A journal that says nothing may only be hidden.
        empty = empty or (output.ok and argv == DMESG)
        if not output.missing:
            said = output.stderr.strip().partition("\n")[0] or ("no answer in time" if output.timed_out else "")
            hidden += [said] if said else []
    for path in (*FILES, SAVED):
        try:
            content = system.read(path, tail=True)
        except CannotSee as error:
            hidden.append(str(error))
            continue
        if content is not None and path == SAVED:
            for line in content.splitlines():
                if pattern.search(line):
                    yield _of_dmesg(path, line.replace("kernel: ", "", 1), booted_at)
            return
        if content is not None:
            yield from _of_file(system, path, content, pattern, booted_at)
            return
    if empty:
        return
    why = "; ".join(hidden) or "there is no dmesg, no journal and no kern.log"
    needs_root = " (needs root)" if system.uid != 0 and "root" not in why else ""
    raise CannotSee(f"the kernel's log: {why}{needs_root}")


def _of_dmesg(source: str, line: str, booted_at: float | None) -> KernelLine:
    at = None
    text = line
    if found := _SINCE_BOOT.match(line):
        at = None if booted_at is None else booted_at + float(found[1])
        text = line[found.end() :]
    elif found := _CTIME.match(line):
        at = time.mktime(time.strptime(found[1], "%a %b %d %H:%M:%S %Y"))
        text = line[found.end() :]
    return KernelLine(text, at, Evidence(source, _short(line)))


def _of_journal(source: str, line: str, booted_at: float | None) -> KernelLine:
    found = _UNIX.match(line)
    text = line[found.end() :] if found else line
    return KernelLine(text, float(found[1]) if found else None, Evidence(source, _short(line)))


def _of_file(
    system: System, path: str, content: str, pattern: re.Pattern[str], booted_at: float | None
) -> Iterator[KernelLine]:
    """Lines after the last boot that the file tells of, and not from before the boot of the machine that looks."""
    lines = content.splitlines()
    boots = [number for number, line in enumerate(lines) if _BOOT.search(line) and _SYSLOG.match(line)]
    # Only a file that was read from its beginning can be numbered.
    whole = (about := system.stat(path)) is not None and about.size_bytes == len(content.encode(errors="replace"))
    for number in range(boots[-1] if boots else 0, len(lines)):
        line = lines[number]
        if not pattern.search(line) or not (found := _SYSLOG.match(line)):
            continue
        at = _syslog_time(found[1], found[2], system.now())
        if booted_at is not None and at is not None and at < booted_at - 60.0:
            continue
        text = _SINCE_BOOT.sub("", line[found.end() :], count=1)
        yield KernelLine(text, at, line_of(path, number + 1, line) if whole else Evidence(path, _short(line)))


def _syslog_time(short: str | None, iso: str | None, now: float) -> float | None:
    """``short`` ("Aug  3 05:45:12") has no year: it is the last one that has been."""
    try:
        if iso is not None:
            return datetime.fromisoformat(iso).timestamp()
        year = time.localtime(now).tm_year
        at = time.mktime(time.strptime(f"{year} {short}", "%Y %b %d %H:%M:%S"))
        return at if at <= now + _DAY_S else time.mktime(time.strptime(f"{year - 1} {short}", "%Y %b %d %H:%M:%S"))
    except ValueError:
        return None


def _lines(text: str) -> Iterator[str]:
    """One after the other, without all of them in memory a second time."""
    return (found[0] for found in re.finditer(r"[^\n]+", text))


def _short(line: str) -> str:
    return line_of("", 1, line).text
