"""Who opened a TCP socket on this machine, as the kernel's tables tell it (proc(5)).

For both ends of a connection, and for an end that waits for one.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

#: The user id of a socket that nobody holds any more: no user's.
GONE = -1
TCP_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: The tables are read page by page, so a row that others move about may be missed.
_LOOKS = 3
#: The state of a socket that waits for connections (TCP_LISTEN).
_LISTENS = b"0A"
Address = tuple[str, int]
Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def socket_owner(theirs: Address, ours: Address, tables: Sequence[Path] = TCP_TABLES) -> int | None:
    """Who opened the socket ``theirs`` that is connected to our end ``ours``.

    None iff that cannot be told: it is on another machine, or this system has no such tables. `GONE` for a socket on
    this machine that was closed meanwhile: what it asked for has nobody to answer to, and the kernel no owner to name
    (it says root).
    """
    their_ip, our_ip = _ip(theirs[0]), _ip(ours[0])
    ports = f"{theirs[1]:04X}", f"{ours[1]:04X}"
    # A client may have opened an IPv6 socket for an IPv4 address: then both are written in the longer form.
    forms = [(their_ip, our_ip)]
    if their_ip.version == our_ip.version == 4:
        forms.append((_embedded(their_ip), _embedded(our_ip)))
    rows = [f" {_words(one)}:{ports[0]} {_words(other)}:{ports[1]} ".encode() for one, other in forms]
    for _ in range(_LOOKS):
        for table in tables:
            if (owner := _look_up(table, rows)) is not None:
                return owner
        if not their_ip.is_loopback or not any(os.access(table, os.R_OK) for table in tables):
            return None
    return GONE


def listener_owners(at: Address, tables: Sequence[Path] = TCP_TABLES) -> set[int]:
    """Who may answer a connection of this machine's to ``at``: those who listen there, or else at any address.

    Empty iff nobody does, or this system has no such tables.
    """
    ip, port = _ip(at[0]), f"{at[1]:04X}"
    exact: list[Ip] = [ip]
    any_address: list[Ip] = [ipaddress.IPv6Address("::")]
    if ip.version == 4:
        exact.append(_embedded(ip))
        any_address.append(ipaddress.IPv4Address("0.0.0.0"))
    for hosts in (exact, any_address):
        names = {f"{_words(host)}:{port}".encode() for host in hosts}
        if found := {owner for table in tables for owner in _listening(table, names)}:
            return found
    return set()


def _listening(table: Path, names: Collection[bytes]) -> Iterator[int]:
    try:
        text = table.read_bytes()
    except OSError:
        return
    for line in text.splitlines()[1:]:
        # Number, the two addresses, state, and so on as in `_look_up`.
        fields = line.split()
        if fields[3] == _LISTENS and fields[1] in names:
            yield int(fields[7])


def _look_up(table: Path, rows: Sequence[bytes]) -> int | None:
    """None iff no row begins as one of ``rows``."""
    try:
        text = table.read_bytes()
    except OSError:
        return None
    for row in rows:
        if (at := text.find(row)) >= 0:
            # From the addresses on: state, queues, timer, retransmissions, user id, timeout, inode.
            fields = text[at : text.find(b"\n", at)].split()
            return int(fields[6]) if fields[8] != b"0" else GONE
    return None


def _ip(host: str) -> Ip:
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip


def _embedded(ip: Ip) -> Ip:
    return ipaddress.IPv6Address(f"::ffff:{ip}")


def _words(ip: Ip) -> str:
    """As the tables write it: words of 32 bits, each in the machine's own order of bytes."""
    packed = ip.packed
    return "".join(f"{int.from_bytes(packed[at : at + 4], sys.byteorder):08X}" for at in range(0, len(packed), 4))
