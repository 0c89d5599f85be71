"""YARN's front door as a whole: the ports for clients and masters, one for browsers, and one for each node.

The ports are taken before anything else is begun, so that one that is in use ends the start of the server and nothing
else; calls are answered while `FrontDoor.open` lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from hrm.config.home import Home
from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import Conflict
from hrm.model.ids import AttemptId
from hrm.rm.facade import Facade
from hrm.yarn.application_messages import Links
from hrm.yarn.clients import application_client_service
from hrm.yarn.cluster_view import ClusterView
from hrm.yarn.containers import container_management_service
from hrm.yarn.door import Door, bind
from hrm.yarn.grants import Grants
from hrm.yarn.launching import master_variables
from hrm.yarn.masters import application_master_service
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto.records_pb2 import NodeIdProto
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.rpc.simple import Accounts
from hrm.yarn.sessions import Sessions
from hrm.yarn.tokens.secrets import TokenSecrets

_ANY_ADDRESS = ("0.0.0.0", "::")


class FrontDoor:
    """Of one server. Raises Conflict where a port is in use, and what `TokenSecrets.open` raises."""

    def __init__(self, config: YarnConfig, home: Home, accounts: Accounts) -> None:
        self._config = config
        #: What proves masters and clients.
        self.secrets = TokenSecrets.open(home)
        #: By what clients on other machines find this one.
        self.host = socket.gethostname() if config.host in _ANY_ADDRESS else config.host
        self._door = Door(config, self.secrets, accounts)
        self._nodes: dict[str, socket.socket] = {}
        #: Those that nobody answers yet.
        self._unanswered: list[str] = []
        self._answer_node: Callable[[str], Awaitable[None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: For REST and browsers.
        self.web = bind(config.host, config.web_port, key="yarn.web_port")
        self.nodes = NodeAddresses(self._address(self.web.getsockname()[1]), self._open_node)

    async def close(self) -> None:
        """Give the ports back."""
        await self._door.close()
        for bound in (self.web, *self._nodes.values()):
            bound.close()

    @property
    def addresses(self) -> dict[str, str]:
        """``host:port`` of each port, by what it is for."""
        return {
            "clients": self._address(self._door.client_address[1]),
            "masters": self._address(self._door.master_address[1]),
            "web": self.nodes.http_address,
        }

    def _address(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{port}"

    def master_variables(
        self, attempt: AttemptId, node_id: str, *, submitted_at: float, max_attempts: int
    ) -> dict[str, str]:
        """What a master of YARN's finds in its environment besides what every master finds."""
        return master_variables(
            attempt,
            self.nodes.of(node_id),
            token=self.secrets.issue_amrm(attempt),
            submitted_at=submitted_at,
            max_attempts=max_attempts,
        )

    @contextlib.asynccontextmanager
    async def open(self, facade: Facade, check_submitter: Callable[[str], Awaitable[None]]) -> AsyncIterator[None]:
        """Calls are answered while the block runs."""
        sessions = Sessions(lambda: facade.masters)
        grants = Grants(self.secrets, self.nodes)
        clients = application_client_service(
            facade,
            config=self._config,
            secrets=self.secrets,
            nodes=self.nodes,
            links=Links(web=f"http://{self.nodes.http_address}"),
            address=self.addresses["clients"],
            check_submitter=check_submitter,
        )
        masters = application_master_service(
            facade,
            config=self._config,
            secrets=self.secrets,
            sessions=sessions,
            cluster=ClusterView(facade, self._config, self.nodes),
            grants=grants,
        )
        async with contextlib.AsyncExitStack() as servers:

            async def answer_node(node_id: str) -> None:
                address = self.nodes.of(node_id)
                service = container_management_service(
                    facade,
                    node_id=node_id,
                    secrets=self.secrets,
                    sessions=sessions,
                    nodes=self.nodes,
                    grants=grants,
                )
                tokens = self.secrets.nm_verifier(NodeIdProto(host=address.host, port=address.port))
                server = RpcServer([service], Authentication(tokens=tokens))
                await server.start(self._nodes[node_id])
                servers.push_async_callback(server.close)

            await self._door.open(clients=[clients], masters=[masters], is_live=sessions.is_live)
            self._answer_node = answer_node
            while self._unanswered:
                await answer_node(self._unanswered.pop())
            try:
                yield
            finally:
                self._answer_node = None
                await asyncio.gather(*self._tasks)

    def _open_node(self, node_id: str) -> tuple[str, int]:
        """A port for one more node: the one that is configured and those after it, any where that is taken."""
        count, first = len(self._nodes), self._config.node_port
        try:
            bound = bind(self._config.host, min(first + count, 65535) if first else 0, key="yarn.node_port")
        except Conflict:
            if count == 0:
                raise
            bound = bind(self._config.host, 0, key="yarn.node_port")
        self._nodes[node_id] = bound
        if self._answer_node is None:
            self._unanswered.append(node_id)
        else:
            task = asyncio.ensure_future(self._answer_node(node_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self.host, bound.getsockname()[1]
