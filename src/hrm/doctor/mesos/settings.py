"""What Mesos is told on this machine: its files of settings, and the command lines of what runs.

Mesos takes a flag from its command line, or from the environment as ``MESOS_flag`` (the part after the prefix in any
case: stout's ``FlagsBase::extract``). Its own scripts source ``mesos-agent-env.sh``; Mesosphere's packages have one
file for each flag beneath ``/etc/mesos-agent``, and ``/etc/default/mesos``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.mounts import mounts
from hrm.doctor.processes import Running, command_line, pids, process
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence
from hrm.model.mounts import mount_of

MASTER = "master"
AGENT = "agent"
#: Names of programs, by what they are; "slave" is the agent's name of before Mesos 1.0, "lt-" that of libtool.
_PROGRAMS = {"mesos-master": MASTER, "mesos-agent": AGENT, "mesos-slave": AGENT}
_PROGRAM = re.compile(r"(?:^|[\s/])(?:lt-)?(mesos-(?:master|agent|slave))(?=\s|$)")
_ROLE_OF_FILE = {"master": MASTER, "agent": AGENT, "slave": AGENT}
#: Where installations put their directory ``etc/mesos``, besides those of programs that run or are on the PATH.
DIRECTORIES = ("/etc/mesos", "/usr/local/etc/mesos", "/usr/etc/mesos", "/opt/mesos/etc/mesos")
#: Names that Mesosphere's start script takes from ``/etc/default``.
_IN_DEFAULT = {"MASTER": "master", "ZK": "master", "PORT": "port", "CLUSTER": "cluster", "IP": "ip", "LOGS": "log_dir"}
_ASSIGNMENT = re.compile(r"^\s*(export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")
_FLAG = re.compile(r"--(no-)?([A-Za-z_]+)(?:=(.*))?", re.DOTALL)
DEFAULT_PORTS = {MASTER: 5050, AGENT: 5051}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of one flag, where it is said."""

    role: str
    #: In lower case, without prefix: ``work_dir``.
    flag: str
    value: str
    #: As it is written: ``MESOS_CLUSTER``, ``--work_dir``.
    spelled: str
    evidence: Evidence
    #: False where a shell sets it for itself alone, so that Mesos never sees it.
    exported: bool = True
    #: Of a process that runs, not of a file.
    running: bool = False


@dataclass(frozen=True, slots=True)
class Daemon:
    """A master or an agent that runs."""

    role: str
    process: Running


@dataclass(frozen=True, slots=True)
class Mesos:
    """All that is told on one machine."""

    settings: tuple[Setting, ...]
    daemons: tuple[Daemon, ...]
    #: Directories with settings, or lists of masters and agents.
    directories: tuple[str, ...]
    #: Those that lie on a server, which may not answer: nothing is read there.
    remote: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Master, agent, or both, by what is set or runs."""
        told = {setting.role for setting in self.settings} | {daemon.role for daemon in self.daemons}
        return tuple(role for role in (MASTER, AGENT) if role in told)

    def runs(self, role: str) -> bool:
        """Whether such a one runs."""
        return any(daemon.role == role for daemon in self.daemons)

    def get(self, role: str, flag: str) -> Setting | None:
        """What counts: of what runs if it runs, and the last that files say. None where nothing says it."""
        of_flag = [one for one in self.settings if (one.role, one.flag) == (role, flag) and one.exported]
        of_running = [one for one in of_flag if one.running]
        return next(reversed(of_running or of_flag), None)

    def value(self, role: str, flag: str) -> str:
        """The same, or ""."""
        found = self.get(role, flag)
        return found.value if found else ""

    def port(self, role: str) -> int:
        """Where it listens."""
        said = self.value(role, "port")
        return int(said) if said.isdigit() else DEFAULT_PORTS[role]


def mesos(system: System, expected: Expected) -> Mesos:
    """All that is told on this machine. Without Mesos it is empty. Raises CannotSee."""
    daemons = tuple(_daemons(system))
    places = _places(system, expected, daemons)
    remote = tuple(place for place in places if is_remote(system, place))
    directories = tuple(place for place in places if place not in remote and system.list(place))
    settings: list[Setting] = []
    for directory in directories:
        for name in system.list(directory):
            if (found := re.fullmatch(r"mesos-(master|agent|slave)-env\.sh", name)) is not None:
                settings += _of_shell(system, f"{directory}/{name}", _ROLE_OF_FILE[found[1]], needs_export=True)
    for word, role in _ROLE_OF_FILE.items():
        settings += _of_default(system, f"/etc/default/mesos-{word}", role)
        settings += _of_directory(system, f"/etc/mesos-{word}", role)
    zk = system.read("/etc/mesos/zk")
    if zk and zk.strip():
        # Mesosphere's start script gives it to both.
        evidence = line_of("/etc/mesos/zk", 1, zk.strip())
        settings += [Setting(AGENT, "master", zk.strip(), "zk", evidence)]
    told = {setting.role for setting in settings}
    for role in sorted(told):
        # Of both: only where one of them is there at all.
        settings[:0] = _of_default(system, "/etc/default/mesos", role)
    settings += _of_scripts(system, expected)
    for daemon in daemons:
        settings += _of_process(system, daemon)
    return Mesos(tuple(settings), daemons, directories, remote)


def _daemons(system: System) -> Iterator[Daemon]:
    for pid in pids(system):
        try:
            one = process(system, pid) if "mesos-" in command_line(system, pid) else None
        except CannotSee:
            continue
        if one is None:
            continue
        # The program itself, or its name as an argument of an interpreter: what a shell was told to run is none.
        words = one.command_line.split()[:2]
        names = [word.rpartition("/")[2].removeprefix("lt-") for word in words]
        role = next((_PROGRAMS[name] for name in names if name in _PROGRAMS), None)
        if role is not None:
            yield Daemon(role, one)


def is_remote(system: System, path: str) -> bool:
    """Whether ``path`` lies on a server, which may not answer."""
    mount = mount_of(path, mounts(system))
    return mount is not None and mount.network


def _places(system: System, expected: Expected, daemons: Sequence[Daemon]) -> list[str]:
    """Where settings may be: of the configuration, DIRECTORIES, and beside programs that run or are on the PATH."""
    places = [*expected.mesos.directories, *DIRECTORIES]
    programs = [word for daemon in daemons for word in daemon.process.command_line.split()[:2]]
    programs += [path for name in _PROGRAMS if (path := system.which(name)) is not None]
    for program in programs:
        prefix = re.sub(r"/(?:s?bin|libexec)(?:/.*)?$", "", program)
        if prefix.startswith("/") and prefix != program:
            places.append(f"{prefix}/etc/mesos")
    return list(dict.fromkeys(places))


def _of_shell(system: System, path: str, role: str, *, needs_export: bool) -> Iterator[Setting]:
    lines = (system.read(path) or "").splitlines()
    exports = [line for line in lines if re.match(r"\s*export\s", line)]
    exported = {name for line in exports for name in re.findall(r"\bMESOS_\w+(?!\w*=)", line)}
    needs_export &= not any(re.match(r"\s*set\s+-(a|o\s+allexport)\b", line) for line in lines)
    for number, line in enumerate(lines, 1):
        found = _ASSIGNMENT.match(line)
        if found is None:
            continue
        name, value = found[2], _unquoted(found[3])
        if name[:6].upper() != "MESOS_":
            continue
        is_exported = bool(found[1]) or not needs_export or name in exported
        evidence = line_of(path, number, line.strip())
        yield Setting(role, name[6:].lower(), value, name, evidence, exported=is_exported and name[:6] == "MESOS_")


def _of_default(system: System, path: str, role: str) -> Iterator[Setting]:
    yield from _of_shell(system, path, role, needs_export=False)
    for number, line in enumerate((system.read(path) or "").splitlines(), 1):
        found = _ASSIGNMENT.match(line)
        if found and (flag := _IN_DEFAULT.get(found[2])) is not None and (role == AGENT or flag != "master"):
            yield Setting(role, flag, _unquoted(found[3]), found[2], line_of(path, number, line.strip()))


def _of_directory(system: System, path: str, role: str) -> Iterator[Setting]:
    """One file for each flag: ``?quiet`` is one that is true, ``?no-quiet`` one that is not."""
    for name in system.list(path):
        flag, value = name, ""
        if name.startswith("?"):
            value = "false" if name.startswith("?no-") else "true"
            flag = name[1:].removeprefix("no-")
        elif re.fullmatch(r"[A-Za-z_]+", name):
            value = (system.read(f"{path}/{name}") or "").strip()
        else:
            continue
        shown = value if "\n" not in value else value.splitlines()[0]
        yield Setting(role, flag.lower(), value, flag, line_of(f"{path}/{name}", 1, shown))


def _of_scripts(system: System, expected: Expected) -> Iterator[Setting]:
    """Command lines in what starts Mesos with the machine."""
    units = "/etc/systemd/system"
    paths = [*expected.mesos.scripts, "/etc/rc.local"]
    paths += [f"{units}/{name}" for name in system.list(units) if name.startswith("mesos") and name.endswith("service")]
    for path in paths:
        for number, line in _joined((system.read(path) or "").splitlines()):
            found = _PROGRAM.search(line)
            if found and not line.lstrip().startswith("#"):
                yield from _of_words(
                    _split(line[found.end() :]), _PROGRAMS[found[1]], line_of(path, number, line.strip())
                )


def _of_process(system: System, daemon: Daemon) -> Iterator[Setting]:
    pid, shown = daemon.process.pid, daemon.process.command_line
    try:
        for entry in (system.read(f"/proc/{pid}/environ") or "").split("\0"):
            name, _, value = entry.partition("=")
            if name.startswith("MESOS_"):
                evidence = Evidence(f"/proc/{pid}/environ", entry)
                yield Setting(daemon.role, name[6:].lower(), value, name, evidence, running=True)
    except CannotSee:
        # Of another user's process: its command line is there all the same, and counts more.
        pass
    words = (system.read(f"/proc/{pid}/cmdline") or "").rstrip("\0").split("\0")
    yield from _of_words(words[1:], daemon.role, Evidence(f"/proc/{pid}/cmdline", shown), running=True)


def _of_words(words: Sequence[str], role: str, evidence: Evidence, *, running: bool = False) -> Iterator[Setting]:
    for word in words:
        if word == "--":
            # What comes after it is no flag to Mesos.
            return
        if (found := _FLAG.fullmatch(word)) is not None:
            value = found[3] if found[3] is not None else "false" if found[1] else "true"
            yield Setting(role, found[2].lower(), value, f"--{found[2]}", evidence, running=running)


def _joined(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Lines with those that go on (a backslash at the end) made one, each with the number of its first."""
    began, text = 0, ""
    for number, line in enumerate(lines, 1):
        began = began if text else number
        text += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        yield began, text
        text = ""
    if text:
        yield began, text


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _unquoted(text: str) -> str:
    """The value of an assignment, as a shell would take it: without quotes and comment."""
    words = _split(text)
    return words[0] if words else ""
