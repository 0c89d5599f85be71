"""TCP ports that are listened on, and by which process, from ``/proc/net/tcp``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from hrm.doctor.processes import Running, open_files, pids, process
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket that waits for connections."""

    port: int
    #: ``0.0.0.0`` and ``::`` are all addresses.
    address: str
    inode: str
    #: In words: the kernel's line is in hexadecimal.
    evidence: Evidence

    @property
    def at_all_addresses(self) -> bool:
        """Whether it takes connections from everywhere."""
        return self.address in ("0.0.0.0", "::")

    def takes(self, address: str) -> bool:
        """Whether another program cannot listen at ``address``, or at all of them, with the same port."""
        return self.at_all_addresses or address in ("", "0.0.0.0", self.address)


def listeners(system: System, port: int | None = None) -> list[Listener]:
    """All of this machine, or those of one port. Raises CannotSee."""
    return [one for table in _TABLES for one in _of_table(system, table) if port is None or one.port == port]


def owner(system: System, listener: Listener) -> Running | None:
    """The process that listens (the first, where several share it). None where it has gone.

    Raises CannotSee where it was not found and some processes could not be looked at.
    """
    wanted = f"socket:[{listener.inode}]"
    unseen = 0
    for pid in pids(system):
        try:
            if wanted in open_files(system, pid).values() and (found := process(system, pid)) is not None:
                return found
        except CannotSee:
            unseen += 1
    if unseen:
        raise CannotSee(f"who listens on port {listener.port}: open files of {unseen} processes (needs root)")
    return None


def _of_table(system: System, path: str) -> Iterator[Listener]:
    for line in (system.read(path) or "").splitlines()[1:]:
        words = line.split()
        if len(words) < 10 or words[3] != _LISTEN:
            continue
        host, _, port = words[1].partition(":")
        address = _address(host)
        yield Listener(int(port, 16), address, words[9], Evidence(path, f"{address}:{int(port, 16)} LISTEN"))


def _address(hexadecimal: str) -> str:
    """Words of four bytes, each in the order of the processor (little endian)."""
    words = [bytes.fromhex(hexadecimal[at : at + 8])[::-1] for at in range(0, len(hexadecimal), 8)]
    packed = b"".join(words)
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))
