"""Where a master's page may be fetched from: whoever answers there must be the application's own user.

The server asks for pages in its own name, and on this machine its name opens doors: its own ports take a connection of
root's for root. So of the programs that listen on this machine only those of the application's user are asked.
What is on other machines cannot be told apart; addresses that mean something else to each machine (of one link, of a
group) are never asked.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

from hrm.config.tcp_owner import Address, listener_owners
from hrm.yarn.rpc.simple import Accounts
from hrm.yarn.web.formats import BadGateway


@dataclass(frozen=True, slots=True)
class Place:
    """One of the addresses that a name leads to, and who listens there if it is on this machine."""

    address: Address
    #: None iff it is on another machine.
    owners: frozenset[int] | None


class PageServers:
    """Looks them up. ``owners_of`` is asked in a thread."""

    def __init__(self, accounts: Accounts, owners_of: Callable[[Address], set[int]] = listener_owners) -> None:
        self._accounts = accounts
        self._owners_of = owners_of

    def places(self, host: str, port: int) -> list[Place]:
        """In a thread. Raises OSError where the name leads nowhere, BadGateway where nothing is ever asked."""
        found = []
        for *_, told in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = str(told[0]), int(told[1])
            ip = ipaddress.ip_address(address[0].partition("%")[0])
            if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
                ip = ip.ipv4_mapped
            if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
                raise BadGateway(f"{host} is {ip}, where no page is asked for")
            found.append(Place(address, frozenset(self._owners_of(address)) if _is_here(address[0]) else None))
        return found

    async def check(self, place: Place, user: str) -> None:
        """Raises BadGateway where somebody else than ``user`` would answer."""
        for owner in sorted(place.owners or ()):
            if (await self._accounts.identity(owner)).user != user:
                raise BadGateway(
                    f"what listens at {place.address[0]} port {place.address[1]} is not a process of {user}'s"
                )


def _is_here(host: str) -> bool:
    """Whether an address is one of this machine's: then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
