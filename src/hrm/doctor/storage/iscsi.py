"""iSCSI as the kernel and open-iscsi have it: the initiator's name, sessions, their disks, and recorded targets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.evidence import MAX_CHARACTERS, line_of
from hrm.doctor.system import System
from hrm.model.findings import Evidence

INITIATOR = "/etc/iscsi/initiatorname.iscsi"
SESSIONS = "/sys/class/iscsi_session"
_CONNECTIONS = "/sys/class/iscsi_connection"
#: Debian's place first, then that of Red Hat's family.
RECORDS = ("/etc/iscsi/nodes", "/var/lib/iscsi/nodes")
PORT = 3260
_SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A block device that a session brought."""

    #: ``sdb``.
    name: str
    #: ``running``, ``offline``, ``transport-offline``, ``blocked``…
    state: str
    size_bytes: int
    #: Directory of the kernel that tells of it.
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One login of this machine at one portal of a target."""

    number: int
    target: str
    #: ``172.19.0.208:3260``; "" where it is not known.
    portal: str
    #: ``LOGGED_IN``, ``FAILED``, ``FREE``.
    state: str
    evidence: Evidence
    #: None where only the command told of the session, which does not name disks.
    disks: tuple[Disk, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What open-iscsi keeps of a target that was discovered at a portal."""

    target: str
    portal: str
    #: ``manual``, ``automatic`` or ``onboot``.
    startup: str
    #: The line that says so.
    evidence: Evidence

    @property
    def automatic(self) -> bool:
        """Whether it is logged in to when the machine starts."""
        return self.startup in ("automatic", "onboot")


@dataclass(frozen=True, slots=True)
class Initiator:
    """The name of this machine's initiator."""

    #: "" where there is none.
    name: str
    #: What the file says of it; None where there is no file.
    evidence: Evidence | None
    #: Lines that set it; of several the last counts.
    lines: int = 1


def initiator(system: System) -> Initiator:
    """Raises CannotSee: the file is for root on some distributions."""
    content = system.read(INITIATOR)
    if content is None:
        return Initiator("", None, 0)
    found = [
        (number, line.strip(), named[1].strip().strip("\"'"))
        for number, line in enumerate(content.splitlines(), 1)
        if (named := re.match(r"\s*InitiatorName\s*=(.*)", line))
    ]
    if not found:
        return Initiator("", Evidence(INITIATOR, "it has no line InitiatorName=…"), 0)
    number, line, name = found[-1]
    return Initiator(name, line_of(INITIATOR, number, line), len(found))


def sessions(system: System) -> list[Session]:
    """Those that are there, whatever their state. Raises CannotSee.

    By the kernel's files; where those are not there, by what ``iscsiadm`` says.
    """
    names = [name for name in system.list(SESSIONS) if re.fullmatch(r"session\d+", name)]
    if names:
        return [_session(system, name) for name in names]
    if system.which("iscsiadm") is None or system.stat("/sys/class/iscsi_transport") is None:
        return []
    return list(parse_sessions(system.run("iscsiadm", "-m", "session").stdout))


def parse_sessions(text: str) -> Iterator[Session]:
    """From what ``iscsiadm -m session`` prints: ``tcp: [2] 172.19.0.208:3260,4 iqn.… (non-flash)``."""
    for line in text.splitlines():
        if found := re.match(r"\w+: \[(\d+)\] (\S+?),-?\d+ (\S+)", line):
            evidence = Evidence("iscsiadm -m session", line.strip()[:MAX_CHARACTERS])
            yield Session(number=int(found[1]), target=found[3], portal=found[2], state="LOGGED_IN", evidence=evidence)


def records(system: System) -> list[Record]:
    """Targets that were discovered. Raises CannotSee: they hold passwords, and are for root."""
    found = []
    for top in RECORDS:
        for target in system.list(top):
            for portal in system.list(f"{top}/{target}"):
                host, _, rest = portal.partition(",")
                port = rest.partition(",")[0] or str(PORT)
                place = f"{top}/{target}/{portal}"
                # One file for each interface, or the record itself.
                files = [f"{place}/{name}" for name in system.list(place)] or [place]
                read = ((file, system.read(file)) for file in files)
                found += [_record(target, f"{host}:{port}", file, said) for file, said in read if said is not None]
        if found:
            break
    return found


def with_port(portal: str) -> str:
    """``172.19.0.208`` is ``172.19.0.208:3260``."""
    host, colon, port = portal.rpartition(":")
    known = colon and port.isdigit() and (":" not in host or host.endswith("]"))
    return portal if known else f"{portal}:{PORT}"


def host_and_port(portal: str) -> tuple[str, int]:
    """The parts of a portal."""
    host, _, port = with_port(portal).rpartition(":")
    return host.strip("[]"), int(port)


def devices(found: Sequence[Session]) -> frozenset[str]:
    """Names of all disks that sessions brought: ``sdb``."""
    return frozenset(disk.name for session in found for disk in session.disks or ())


def _session(system: System, name: str) -> Session:
    place = f"{SESSIONS}/{name}"
    number = int(name.removeprefix("session"))
    state = _word(system, f"{place}/state")
    portal = ""
    for connection in system.list(_CONNECTIONS):
        if connection.startswith(f"connection{number}:"):
            # The persistent ones are what was asked for, before the array sent it elsewhere.
            at = f"{_CONNECTIONS}/{connection}"
            address = _word(system, f"{at}/persistent_address") or _word(system, f"{at}/address")
            port = _word(system, f"{at}/persistent_port") or _word(system, f"{at}/port") or str(PORT)
            portal = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return Session(
        number=number,
        target=_word(system, f"{place}/targetname"),
        portal=portal,
        state=state,
        evidence=Evidence(f"{place}/state", state),
        disks=tuple(_disks(system, f"{place}/device")),
    )


def _disks(system: System, place: str) -> Iterator[Disk]:
    """Of ``session2/device/target3:0:0/3:0:0:1/block/sdb``."""
    for target in system.list(place):
        if not target.startswith("target"):
            continue
        for unit in system.list(f"{place}/{target}"):
            for name in system.list(f"{place}/{target}/{unit}/block"):
                block = f"{place}/{target}/{unit}/block/{name}"
                sectors = _word(system, f"{block}/size")
                yield Disk(
                    name=name,
                    state=_word(system, f"{place}/{target}/{unit}/state"),
                    size_bytes=int(sectors) * _SECTOR_BYTES if sectors.isdigit() else 0,
                    place=f"{place}/{target}/{unit}",
                )


def _record(target: str, portal: str, file: str, content: str) -> Record:
    startup, evidence = "manual", Evidence(file, "it has no line node.startup, which means manual")
    for number, line in enumerate(content.splitlines(), 1):
        key, equals, value = line.partition("=")
        if equals and key.strip() == "node.startup":
            startup, evidence = value.strip(), line_of(file, number, line.strip())
    return Record(target=target, portal=portal, startup=startup, evidence=evidence)


def _word(system: System, path: str) -> str:
    return (system.read(path) or "").strip()
