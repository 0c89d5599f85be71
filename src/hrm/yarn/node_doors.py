"""The doors of all nodes: two ports of the server's for each, for masters and for HTTP, and where they are found."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import structlog

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import Conflict, HrmError
from hrm.model.states import NodeState
from hrm.rm.facade import Facade
from hrm.yarn.cluster_view import LOOKS_SHARE
from hrm.yarn.containers import container_management_service
from hrm.yarn.door import bind
from hrm.yarn.grants import Grants
from hrm.yarn.nodes import NodeAddress, NodeAddresses
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.sessions import Sessions
from hrm.yarn.tokens.secrets import Expected, TokenSecrets

log = structlog.get_logger(__name__)
#: Answers at a socket over HTTP what concerns a node.
Web = Callable[[socket.socket, str], Awaitable[None]]
#: How often it is looked whether there are more nodes, and whether each is found where it was.
LOOK_S = 1.0


class NodeDoors:
    """On a machine of its own a node is found there: a port of the machine leads to that of the server's.

    Masters and their programs take the host of a node for the name of the machine that they run on.
    """

    def __init__(self, config: YarnConfig, host: str, http_address: str) -> None:
        self._config = config
        self._host = host
        self._bound: dict[str, tuple[socket.socket, socket.socket]] = {}
        self._servers: dict[str, RpcServer] = {}
        self._troubles: dict[str, str] = {}
        #: How long the last look at all nodes held the loop.
        self._look_took_s = 0.0
        #: Nodes of which it is known where they are found, and of those the ones of the server's own machine.
        self._found: set[str] = set()
        self._here: set[str] = set()
        self.addresses = NodeAddresses(http_address, self._bind)

    def is_found(self, node_id: str) -> bool:
        """False while a master could not yet be told where to start something there."""
        return node_id in self._found

    def is_here(self, node_id: str) -> bool:
        """True iff its ports are the server's own, and not others that lead to them."""
        return node_id in self._here

    async def open(self, facade: Facade, secrets: TokenSecrets, sessions: Sessions, grants: Grants, web: Web) -> None:
        """Answer at the doors of all nodes that are there, and of those that come, until cancelled."""
        while True:
            await self.look(facade, secrets, sessions, grants, web)
            await asyncio.sleep(max(LOOK_S, LOOKS_SHARE * self._look_took_s))

    async def look(self, facade: Facade, secrets: TokenSecrets, sessions: Sessions, grants: Grants, web: Web) -> None:
        """Open the doors that are missing."""
        began = time.perf_counter()
        reports = facade.nodes()
        self._look_took_s = time.perf_counter() - began
        for report in reports:
            node_id = report.node_id
            if report.state is NodeState.LOST or not report.total:
                continue
            if node_id not in self._servers:
                await self._answer(node_id, facade, secrets, sessions, grants)
                await web(self._bound[node_id][1], node_id)
            try:
                await self._find(node_id, facade)
            except HrmError as error:
                self._tell(node_id, error.message)
            else:
                self._tell(node_id, "")

    async def _answer(
        self, node_id: str, facade: Facade, secrets: TokenSecrets, sessions: Sessions, grants: Grants
    ) -> None:
        self.addresses.of(node_id)
        service = container_management_service(
            facade,
            node_id=node_id,
            secrets=secrets,
            sessions=sessions,
            nodes=self.addresses,
            grants=grants,
            services=self._config.auxiliary_services,
        )

        def verified(data: bytes) -> Expected:
            # Its machine may have begun anew, and be found at another port.
            return secrets.nm_verifier(grants.node_message(node_id))(data)

        server = self._servers[node_id] = RpcServer([service], Authentication(tokens=verified))
        await server.start(self._bound[node_id][0])

    async def _find(self, node_id: str, facade: Facade) -> None:
        """Raises HrmError where its machine does not say."""
        rpc, web = ((self._host, bound.getsockname()[1]) for bound in self._bound[node_id])
        led_rpc, led_web = await facade.relay(node_id, rpc), await facade.relay(node_id, web, "web")
        (self._here.add if led_web is None else self._here.discard)(node_id)
        self._place(node_id, led_rpc or rpc, led_web or web)
        self._found.add(node_id)

    def _place(self, node_id: str, rpc: tuple[str, int], web: tuple[str, int]) -> NodeAddress:
        host = f"[{web[0]}]" if ":" in web[0] else web[0]
        return self.addresses.add(node_id, NodeAddress(*rpc, f"{host}:{web[1]}"))

    def _tell(self, node_id: str, trouble: str) -> None:
        if trouble and trouble != self._troubles.get(node_id):
            log.warning("masters of YARN cannot start anything on a node", node=node_id, error=trouble)
        self._troubles[node_id] = trouble

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()
        for both in self._bound.values():
            for bound in both:
                bound.close()

    def _bind(self, node_id: str) -> NodeAddress:
        """Ports for one more node."""
        rpc = self._port(self._config.node_port, "yarn.node_port")
        try:
            web = self._port(self._config.node_web_port, "yarn.node_web_port")
        except Conflict:
            rpc.close()
            raise
        self._bound[node_id] = rpc, web
        return self._place(node_id, (self._host, rpc.getsockname()[1]), (self._host, web.getsockname()[1]))

    def _port(self, first: int, key: str) -> socket.socket:
        """The one that is configured for the first node, each second after it for others; any where that is taken."""
        count = len(self._bound)
        try:
            return bind(self._config.host, min(first + 2 * count, 65535) if first else 0, key=key)
        except Conflict:
            if count == 0:
                raise
            return bind(self._config.host, 0, key=key)
