"""What the connections of one server share: its methods, its door, its limits, and the room that is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hrm.yarn.calls import Handler, Method, Service
from hrm.yarn.rpc.answers import KeptAnswers
from hrm.yarn.rpc.limits import RpcLimits
from hrm.yarn.rpc.refusals import Refusals
from hrm.yarn.rpc.simple import SimpleDoor
from hrm.yarn.tokens.secrets import TokenVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How callers may come in at one port: at least one of the two."""

    tokens: TokenVerifier | None = None
    simple: SimpleDoor | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A method as this server answers it."""

    protocol: str
    method: Method
    handler: Handler | None
    #: It must not be done twice for one call.
    changes: bool


class Guest(Protocol):
    """A connection, as those see it who share the room with it."""

    def room_again(self) -> None:
        """It may begin a call that it could not begin before."""

    def sweep(self, now: float) -> None:
        """End what has lasted too long by ``now``."""

    def abort(self) -> None: ...


class Hub:
    """Of one server. ``clock`` is the loop's."""

    def __init__(
        self,
        services: Sequence[Service],
        authentication: Authentication,
        limits: RpcLimits,
        clock: Callable[[], float],
    ) -> None:
        self.authentication = authentication
        self.limits = limits
        self.clock = clock
        self.kept = KeptAnswers(limits, clock)
        self.refusals = Refusals(clock)
        #: By the protocol's name, then the method's.
        self.routes = {service.protocol.name: _routes(service) for service in services}
        self.guests: set[Guest] = set()
        #: Calls under way.
        self.calls = 0
        #: Bytes that came and were not yet taken, of all connections.
        self.buffered_bytes = 0
        self._per_host: Counter[str] = Counter()
        #: In order, each once.
        self._waiting: dict[Guest, None] = {}

    def enter(self, guest: Guest, host: str) -> bool:
        """Whether there is room for one more, of this host."""
        limits = self.limits
        if len(self.guests) >= limits.max_connections or self._per_host[host] >= limits.max_connections_per_address:
            self.refusals.note("yarn_connection_refused", host=host, connections=len(self.guests))
            return False
        self.guests.add(guest)
        self._per_host[host] += 1
        return True

    def leave(self, guest: Guest, host: str) -> None:
        if guest in self.guests:
            self.guests.remove(guest)
            self._waiting.pop(guest, None)
            self._per_host[host] -= 1
            if not self._per_host[host]:
                del self._per_host[host]

    def room_for_call(self, guest: Guest) -> bool:
        """Whether one more call may begin; if not, the guest is told when one may."""
        if self.calls < self.limits.max_calls:
            return True
        self._waiting[guest] = None
        return False

    def end_call(self) -> None:
        self.calls -= 1
        while self._waiting and self.calls < self.limits.max_calls:
            guest = next(iter(self._waiting))
            del self._waiting[guest]
            guest.room_again()

    async def sweep(self, every_s: float) -> None:
        """Look after all of them, until it is cancelled."""
        while True:
            await asyncio.sleep(every_s)
            now = self.clock()
            for guest in list(self.guests):
                guest.sweep(now)
            self.kept.sweep()


def _routes(service: Service) -> dict[str, Route]:
    name = service.protocol.name
    return {
        method.name: Route(name, method, service.handlers.get(method.name), method.name in service.changes)
        for method in service.protocol.methods
    }
