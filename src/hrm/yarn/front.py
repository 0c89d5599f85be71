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
from hrm.config.yarn.client_files import client_files
from hrm.config.yarn_values import YarnConfig
from hrm.model.ids import AttemptId
from hrm.rm.facade import Facade
from hrm.yarn.administration import administration_service
from hrm.yarn.application_messages import Links
from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.clients import Clients, application_client_service
from hrm.yarn.cluster_view import ClusterView
from hrm.yarn.door import Door, bind
from hrm.yarn.grants import Grants
from hrm.yarn.launching import master_variables
from hrm.yarn.masters import application_master_service
from hrm.yarn.node_doors import NodeDoors
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.rpc.simple import Accounts
from hrm.yarn.sessions import Sessions
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.web.callers import Identity
from hrm.yarn.web.server import serving
from hrm.yarn.web.site import Site

#: By this name Spark's executors ask for their shuffle service.
SPARK = "spark_shuffle"
_ANY_ADDRESS = ("0.0.0.0", "::")


class FrontDoor:
    """Of one server. Raises Conflict where a port is in use, and what `TokenSecrets.open` raises."""

    def __init__(self, config: YarnConfig, home: Home, accounts: Accounts) -> None:
        self._config = config
        self._accounts = accounts
        #: What proves masters and clients.
        self.secrets = TokenSecrets.open(home)
        #: By what clients on other machines find this one.
        self.host = socket.gethostname() if config.host in _ANY_ADDRESS else config.host
        self._door = Door(config, self.secrets, accounts)
        #: For REST and browsers.
        self.web = bind(config.host, config.web_port, key="yarn.web_port")
        self._node_doors = NodeDoors(config, self.host, self._address(self.web.getsockname()[1]))
        self.nodes.client_files = client_files(self.facts)

    @property
    def nodes(self) -> NodeAddresses:
        return self._node_doors.addresses

    async def close(self) -> None:
        """Give the ports back."""
        await self._node_doors.close()
        await self._door.close()
        self.web.close()

    @property
    def addresses(self) -> dict[str, str]:
        """``host:port`` of each port, by what it is for."""
        return {
            "clients": self._address(self._door.client_address[1]),
            "masters": self._address(self._door.master_address[1]),
            "web": self.nodes.http_address,
        }

    @property
    def facts(self) -> dict[str, str]:
        """What clients have to know: addresses, how often a master is started, where classes and services are."""
        config = self._config
        shuffle = next((one.port for one in config.auxiliary_services if one.name == SPARK), None)
        return {
            **self.addresses,
            "max_attempts": str(config.max_attempts),
            "classpath": config.classpath,
            "shuffle_port": str(shuffle or ""),
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
            self.nodes,
            node_id,
            token=self.secrets.issue_amrm(attempt),
            submitted_at=submitted_at,
            max_attempts=max_attempts,
        )

    @contextlib.asynccontextmanager
    async def open(
        self,
        facade: Facade,
        check_submitter: Callable[[str], Awaitable[None]],
        verify: Callable[[str], Identity],
        reload: Callable[[], Awaitable[object]],
    ) -> AsyncIterator[None]:
        """Calls are answered while the block runs. ``verify`` tells whose a token of the server's is; ``reload`` reads
        the queues of hrm.yaml anew."""
        sessions = Sessions(lambda: facade.masters)
        grants = Grants(self.secrets, self.nodes, self._node_doors.is_found)
        links = Links(web=f"http://{self.nodes.http_address}")
        desk = Clients(
            facade,
            config=self._config,
            secrets=self.secrets,
            nodes=self.nodes,
            links=links,
            check_submitter=check_submitter,
        )
        tokens = ClientTokens(self.secrets, service=self.addresses["clients"])
        clients = application_client_service(desk, tokens)
        site = Site(
            facade,
            desk,
            links=links,
            nodes=self.nodes,
            verify=verify,
            tokens=tokens,
            accounts=self._accounts,
            hosts=(self.host, self._config.host, socket.gethostname()),
            source=None if self._config.host in _ANY_ADDRESS else self._config.host,
        )
        masters = application_master_service(
            facade,
            config=self._config,
            secrets=self.secrets,
            sessions=sessions,
            cluster=ClusterView(facade, self._config, self.nodes),
            grants=grants,
        )
        site.app.is_here = self._node_doors.is_here
        async with serving(site, self.web) as server:

            async def listen(bound: socket.socket, node_id: str) -> None:
                site.app.add(bound.getsockname()[1], node_id)
                await server.listen(bound)

            await self._node_doors.look(facade, self.secrets, sessions, grants, listen)
            administration = administration_service(facade, reload, self.nodes)
            await self._door.open(clients=[clients, administration], masters=[masters], is_live=sessions.is_live)
            going_on = [
                asyncio.create_task(self._node_doors.open(facade, self.secrets, sessions, grants, listen)),
                asyncio.create_task(desk.brought.run()),
            ]
            try:
                yield
            finally:
                for task in going_on:
                    task.cancel()
                await asyncio.gather(*going_on, return_exceptions=True)
