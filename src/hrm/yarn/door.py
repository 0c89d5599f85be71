"""The two ports of the ResourceManager that YARN's programs come in by: one for clients, one for masters.

They are bound before anything is answered, because services have to name their own addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import Conflict
from hrm.model.ids import AttemptId
from hrm.yarn.calls import Service
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.limits import RpcLimits
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.rpc.simple import Accounts, SimpleDoor
from hrm.yarn.tokens.secrets import TokenSecrets


def bind(host: str, port: int, *, key: str) -> socket.socket:
    """A socket for a server, 0 for any free port. Raises Conflict, naming the ``key`` of hrm.yaml."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise Conflict(
            f"cannot listen on {host} port {port}: {error.strerror}",
            next_step=f"choose another {key} in hrm.yaml, or 0 for any free one",
        ) from None
    return bound


def simple_door(config: YarnConfig, accounts: Accounts) -> SimpleDoor:
    """Who may come in without a token: users of this machine as themselves, others as they are listed."""
    networks = [ipaddress.ip_network(host, strict=False) for host in config.hosts]
    return SimpleDoor(accounts, allowed=dict.fromkeys(config.users, networks))


class Door:
    """Both ports of one server. Raises Conflict where one of them is taken."""

    def __init__(
        self, config: YarnConfig, secrets: TokenSecrets, accounts: Accounts, *, limits: RpcLimits | None = None
    ) -> None:
        self._secrets = secrets
        self._simple = simple_door(config, accounts)
        self._limits = limits
        self._servers: list[RpcServer] = []
        self._rolling: asyncio.Task[None] | None = None
        self._clients = bind(config.host, config.client_port, key="yarn.client_port")
        try:
            self._masters = bind(config.host, config.master_port, key="yarn.master_port")
        except Conflict:
            self._clients.close()
            raise

    @property
    def client_address(self) -> tuple[str, int]:
        """Where clients come in."""
        host, port = self._clients.getsockname()[:2]
        return host, port

    @property
    def master_address(self) -> tuple[str, int]:
        """Where masters come in."""
        host, port = self._masters.getsockname()[:2]
        return host, port

    async def open(
        self, *, clients: Sequence[Service], masters: Sequence[Service], is_live: Callable[[AttemptId], bool]
    ) -> None:
        """Answer calls, and change keys when they are due, until it is closed.

        ``is_live``: whether an attempt's master may still speak. Keys that cannot be written are tried again: those
        that are there go on.
        """
        by_delegation = Authentication(tokens=self._secrets.delegation_verifier(), simple=self._simple)
        by_attempt = Authentication(tokens=self._secrets.amrm_verifier(is_live))
        for services, authentication, bound in (
            (clients, by_delegation, self._clients),
            (masters, by_attempt, self._masters),
        ):
            server = RpcServer(services, authentication, self._limits)
            self._servers.append(server)
            await server.start(bound)
        self._rolling = asyncio.create_task(self._secrets.run())

    async def close(self) -> None:
        """End all calls and connections."""
        if self._rolling is not None:
            self._rolling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rolling
        for server in self._servers:
            await server.close()
        self._clients.close()
        self._masters.close()
