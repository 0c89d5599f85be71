"""What runs of NFS on this node, and what servers say that they export."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from hrm.doctor.listening import listeners
from hrm.doctor.processes import processes
from hrm.doctor.system import Output, System

PORT = 2049
THREADS = "/proc/fs/nfsd/threads"
#: How long a server has to say what it exports.
SHOW_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of ``showmount -e``."""

    path: str
    #: As they are written: ``*``, ``172.19.0.0/24``, ``slave01``; none where it is for everybody.
    clients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownExports:
    """What a server says that it exports."""

    output: Output
    entries: tuple[Shown, ...]

    @property
    def reason(self) -> str:
        """Why it says nothing, in its own words."""
        if self.output.timed_out:
            return f"{' '.join(self.output.argv)}: no answer in {SHOW_LIMIT_S:g} s"
        return self.output.text.strip() or f"{' '.join(self.output.argv)} ended with {self.output.status}"


def kernel_serves(system: System) -> bool:
    """Whether the kernel's NFS server has threads."""
    threads = (system.read(THREADS) or "0").strip()
    return threads.isdigit() and int(threads) > 0


def ganesha_runs(system: System) -> bool:
    """Whether nfs-ganesha runs, which has a configuration of its own."""
    return any(process.name == "ganesha.nfsd" for process in processes(system))


def nfs_is_served(system: System) -> bool:
    """Whether this machine serves NFS at all."""
    return kernel_serves(system) or bool(listeners(system, PORT))


def shown_exports(system: System, server: str) -> ShownExports:
    """Ask a server what it exports; one that hangs is left behind."""
    output = system.run("showmount", "-e", "--no-headers", server, timeout_s=SHOW_LIMIT_S)
    return ShownExports(output, tuple(parse_showmount(output.stdout)) if output.ok else ())


def parse_showmount(text: str) -> list[Shown]:
    """``/data *``, ``/home 172.19.0.0/24,slave01``, ``/opt (everyone)``; a headline is passed over."""
    found = []
    for line in text.splitlines():
        words = re.match(r"(/.*?)\s+(\S+)\s*$", line) or re.match(r"(/\S*)()\s*$", line)
        if words is None:
            continue
        clients = tuple(name for name in words[2].split(",") if name and name != "(everyone)")
        found.append(Shown(words[1].rstrip("/") or "/", clients))
    return found


def admits(clients: Sequence[str], addresses: Sequence[str], name: str) -> bool | None:
    """Whether a machine with these addresses is among the clients; None where that cannot be told from here."""
    if not clients or "*" in clients:
        return True
    unknown = False
    for client in clients:
        try:
            if any(ip_address(own) in ip_network(client, strict=False) for own in addresses):
                return True
        except ValueError:
            # A name, a pattern of names, or a netgroup: whom the server means by it only it knows.
            if client == name or client.partition(".")[0] == name.partition(".")[0]:
                return True
            unknown = True
    return None if unknown else False
