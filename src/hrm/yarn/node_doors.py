"""The doors of all nodes: a port of the server's for each, and where masters find it."""

from __future__ import annotations

import asyncio
import socket
import time

import structlog

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import Conflict, HrmError
from hrm.model.states import NodeState
from hrm.rm.facade import Facade
from hrm.yarn.cluster_view import LOOKS_SHARE
from hrm.yarn.containers import container_management_service
from hrm.yarn.door import bind
from hrm.yarn.grants import Grants
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.sessions import Sessions
from hrm.yarn.tokens.secrets import Expected, TokenSecrets

log = structlog.get_logger(__name__)
#: How often it is looked whether there are more nodes, and whether each is found where it was.
LOOK_S = 1.0


class NodeDoors:
    """On a machine of its own a node is found there: a port of the machine leads to that of the server's.

    Masters and their programs take the host of a node for the name of the machine that they run on.
    """

    def __init__(self, config: YarnConfig, host: str, http_address: str) -> None:
        self._config = config
        self._host = host
        self._bound: dict[str, socket.socket] = {}
        self._servers: dict[str, RpcServer] = {}
        self._troubles: dict[str, str] = {}
        #: How long the last look at all nodes held the loop.
        self._look_took_s = 0.0
        #: Nodes of which it is known where they are found.
        self._found: set[str] = set()
        self.addresses = NodeAddresses(http_address, self._bind)

    def is_found(self, node_id: str) -> bool:
        """False while a master could not yet be told where to start something there."""
        return node_id in self._found

    async def open(self, facade: Facade, secrets: TokenSecrets, sessions: Sessions, grants: Grants) -> None:
        """Answer at the doors of all nodes that are there, and of those that come, until cancelled."""
        while True:
            await self.look(facade, secrets, sessions, grants)
            await asyncio.sleep(max(LOOK_S, LOOKS_SHARE * self._look_took_s))

    async def look(self, facade: Facade, secrets: TokenSecrets, sessions: Sessions, grants: Grants) -> None:
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
            facade, node_id=node_id, secrets=secrets, sessions=sessions, nodes=self.addresses, grants=grants
        )

        def verified(data: bytes) -> Expected:
            # Its machine may have begun anew, and be found at another port.
            return secrets.nm_verifier(grants.node_message(node_id))(data)

        server = self._servers[node_id] = RpcServer([service], Authentication(tokens=verified))
        await server.start(self._bound[node_id])

    async def _find(self, node_id: str, facade: Facade) -> None:
        """Raises HrmError where its machine does not say."""
        port = self._bound[node_id].getsockname()[1]
        where = await facade.relay(node_id, (self._host, port)) or (self._host, port)
        known = self.addresses.of(node_id)
        if (known.host, known.port) != where:
            self.addresses.add(node_id, *where)
        self._found.add(node_id)

    def _tell(self, node_id: str, trouble: str) -> None:
        if trouble and trouble != self._troubles.get(node_id):
            log.warning("masters of YARN cannot start anything on a node", node=node_id, error=trouble)
        self._troubles[node_id] = trouble

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()
        for bound in self._bound.values():
            bound.close()

    def _bind(self, node_id: str) -> tuple[str, int]:
        """A port for one more node: the one that is configured and those after it, any where that is taken."""
        count, first = len(self._bound), self._config.node_port
        try:
            bound = bind(self._config.host, min(first + count, 65535) if first else 0, key="yarn.node_port")
        except Conflict:
            if count == 0:
                raise
            bound = bind(self._config.host, 0, key="yarn.node_port")
        self._bound[node_id] = bound
        return self._host, bound.getsockname()[1]
