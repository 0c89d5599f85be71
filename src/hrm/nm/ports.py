"""TCP ports that a container's own processes listen on, and connections to those and no others.

Who listens is in ``/proc/net/tcp`` and ``tcp6`` (proc(5)), by the inodes of sockets; whose they are, in the descriptors
of processes. A port counts only where everything that a connection to loopback could reach there is the container's.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hrm.model.errors import ClusterError, Conflict
from hrm.nm.shepherd import processes

_TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_LISTENS = "0A"
_CONNECT_S = 10.0
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Ports that are lent lie from here up to the ephemeral ones.
_LOWEST, _HIGHEST = 15_000, 32_768
#: How long until a port may be lent again, and how many are tried.
_LENT_S = 600.0
_TRIED = 1_000
_PIECE_BYTES = 64 << 10
#: Addresses to listen on, as a connection to each loopback address finds them.
_REACHED = {
    "127.0.0.1": {"127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"},
    "::1": {"::1", "::"},
}


def listening_ports(pid: int) -> dict[int, list[str]]:
    """Ports of the container whose first process is ``pid``, each with the loopback addresses that lead to it alone.

    A daemon that made a session of its own, and whose parent has ended, does not count.
    """
    session = [process.pid for process in processes.everyone() if process.session == pid]
    inodes = {inode for process in processes.family([pid, *session]) for inode in _sockets(process.pid)}
    listeners = list(_listeners())
    found: dict[int, list[str]] = {}
    for port in sorted({port for _, port, inode, _ in listeners if inode in inodes}):
        for address, reached in _REACHED.items():
            there = [inode for ip, at, inode, _ in listeners if at == port and ip in reached]
            if there and all(inode in inodes for inode in there):
                found.setdefault(port, []).append(address)
    return found


def listeners_on(port: int) -> set[int]:
    """Who listens on ``port`` of any address of this machine, by user id."""
    return {uid for _, at, _, uid in _listeners() if at == port}


async def connect(pid: int, port: int) -> TcpStream:
    """To ``port`` of the container whose first process is ``pid``. Raises Conflict if none of it listens there."""
    ports = await asyncio.to_thread(listening_ports, pid)
    for address in ports.get(port, ()):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _CONNECT_S)
        except (OSError, TimeoutError):
            continue
        # Another process may have taken the port between the look and the connection.
        if address in (await asyncio.to_thread(listening_ports, pid)).get(port, ()):
            return TcpStream(reader, writer)
        writer.transport.abort()
    others = ", ".join(map(str, ports))
    raise Conflict(
        f"no process of the container listens on port {port} of its node's loopback",
        next_step=f"it listens on {others}" if ports else "it listens on none; it may not have come so far",
    )


class Lender:
    """Finds ports on which nobody listens, for programs that are to listen on them soon.

    None of the ephemeral ones, which the kernel may give to anybody meanwhile; and each only once in a while.
    """

    def __init__(self, ports: Sequence[int] | None = None) -> None:
        self._ports = ports if ports is not None else range(_LOWEST, _lowest_ephemeral())
        #: When each was lent (seconds of the monotonic clock), the oldest first.
        self._lent: dict[int, float] = {}

    def lend(self) -> int:
        """Raises ClusterError where all are taken."""
        now = time.monotonic()
        self._lent = {port: at for port, at in self._lent.items() if now - at < _LENT_S}
        # Not the same for two servers on one machine.
        for port in random.sample(self._ports, min(len(self._ports), _TRIED)):
            if port not in self._lent and _is_free(port):
                self._lent[port] = now
                return port
        raise ClusterError("no TCP port is free", next_step="end programs of the node that listen on many")


def _lowest_ephemeral() -> int:
    try:
        lowest = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest = _HIGHEST
    return min(max(lowest, _LOWEST + _TRIED), _HIGHEST)


def _is_free(port: int) -> bool:
    """True iff a program may listen there on all addresses, of IPv4 and IPv6 where there is such."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                return False
    return True


class TcpStream:
    """A connection of asyncio's as `hrm.model.streams.ByteStream`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_PIECE_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return  # it is gone, and reading says so

    async def end(self) -> None:
        try:
            self._writer.write_eof()
        except OSError:
            return

    async def close(self) -> None:
        self._writer.transport.abort()


def _sockets(pid: int) -> Iterator[int]:
    """Inodes of the sockets that a process holds; none if it is gone or not ours to look at."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _listeners() -> Iterator[tuple[str, int, int, int]]:
    """Address, port, inode and user id of every socket that listens."""
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue  # a kernel without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS:
                address, _, port = fields[1].partition(":")
                yield _ip(address), int(port, 16), int(fields[9]), int(fields[7])


def _ip(words: str) -> str:
    """The tables write words of 32 bits, each in the machine's own order of bytes."""
    packed = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    ip = ipaddress.ip_address(packed)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return f"::ffff:{ip.ipv4_mapped}"
    return str(ip)
