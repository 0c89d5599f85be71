"""``/ws/v1/node``: what a NodeManager of YARN's tells of itself, its applications and its containers.

At a node's own port it is that node. The server's own answers for all: ``?node=`` says which is meant, by HRM's name or
as ``host:port``; without it all of them are, or the first one where only one can be told.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import hrm
from hrm.model.auxiliary import running_services
from hrm.model.devices import DeviceState
from hrm.model.reports import ContainerReport, NodeReport
from hrm.model.resources import GPUS
from hrm.model.states import NodeState
from hrm.model.yarn_amounts import YARN_NAMES
from hrm.rm.facade import Facade
from hrm.yarn.amounts import yarn_counts
from hrm.yarn.applications import Application
from hrm.yarn.calls import Caller
from hrm.yarn.clients import Clients
from hrm.yarn.errors import ApplicationNotFound, Unsupported
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.web import told
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import HADOOP_VERSION, NoSuchPage, answer
from hrm.yarn.web.node_ports import node_of
from hrm.yarn.web.outputs import OutputPages
from hrm.yarn.web.queries import choice

_BASE = "/ws/v1/node"
#: Of an application at a node (NodeManager's ApplicationState): of one that is over containers may still end.
RUNNING, ENDING = "RUNNING", "FINISHING_CONTAINERS_WAIT"
_STATES = (
    "NEW",
    "INITING",
    RUNNING,
    ENDING,
    "APPLICATION_RESOURCES_CLEANINGUP",
    "FINISHED",
)


class NodePages:
    """Everybody who may come in sees nodes; applications and containers show to whom they show elsewhere."""

    def __init__(
        self,
        facade: Facade,
        clients: Clients,
        callers: Callers,
        outputs: OutputPages,
        *,
        nodes: NodeAddresses,
    ) -> None:
        self._facade = facade
        self._applications = clients.known
        self._rights = clients.rights
        self._services = clients.services
        self._callers = callers
        self._outputs = outputs
        self._nodes = nodes
        self.routes = [
            Route(_BASE, self.info),
            Route(f"{_BASE}/info", self.info),
            Route(f"{_BASE}/apps", self.apps),
            Route(f"{_BASE}/apps/{{app}}", self.app),
            Route(f"{_BASE}/containers", self.containers),
            Route(f"{_BASE}/containers/{{container}}", self.container),
            Route(f"{_BASE}/resources/{{name:path}}", self.resource),
            Route(f"{_BASE}/auxiliaryservices", self.services),
            Route(f"{_BASE}/auxiliaryservices", self.no_new_services, methods=["PUT"]),
        ]

    async def info(self, request: Request) -> Response:
        await self._callers.of(request)
        for report in self._meant(request):
            return answer(request, "nodeInfo", self._node(report))
        raise NoSuchPage("there is no node yet")

    def _node(self, report: NodeReport) -> dict[str, Any]:
        place, total = self._nodes.of(report.node_id), yarn_counts(report.total)
        return {
            "id": f"{place.host}:{place.port}",
            "nodeHostName": place.host,
            "nodeHealthy": report.state in (NodeState.RUNNING, NodeState.DRAINING),
            "healthReport": report.message,
            "lastNodeUpdateTime": int((report.last_heartbeat_at or 0) * 1000),
            "nmStartupTime": int(self._facade.server().started_at * 1000),
            "totalPmemAllocatedContainersMB": total["memory-mb"],
            "totalVmemAllocatedContainersMB": total["memory-mb"],
            "totalVCoresAllocatedContainers": total["vcores"],
            "pmemCheckEnabled": True,
            "vmemCheckEnabled": False,
            "resourceTypes": ", ".join(total),
            "nodeManagerVersion": hrm.__version__,
            "nodeManagerBuildVersion": f"HRM {hrm.__version__}",
            "hadoopVersion": HADOOP_VERSION,
            "hadoopBuildVersion": HADOOP_VERSION,
        }

    # --- applications

    async def apps(self, request: Request) -> Response:
        """Of which something is here that is not over; narrowed down by ``state`` and ``user``."""
        caller = await self._callers.of(request)
        state, user = choice(request, "state", _STATES), request.query_params.get("user")
        found = []
        for application, containers in await self._here(request, caller):
            value = self._app(application, containers)
            if state in (None, value["state"]) and user in (None, "", value["user"]):
                found.append(value)
        return answer(request, "apps", {"app": found} if found else None)

    async def app(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        name = request.path_params["app"]
        application = await self._applications.find(name)
        await self._rights.check_look(caller, application)
        for one, containers in await self._here(request, caller):
            if one.report.application_id == application.report.application_id:
                return answer(request, "app", self._app(one, containers))
        raise ApplicationNotFound(f"app with id {name[:80]} not found")

    @staticmethod
    def _app(application: Application, containers: list[ContainerReport]) -> dict[str, Any]:
        return {
            "id": application.report.application_id,
            "state": ENDING if application.is_over else RUNNING,
            "user": application.report.user,
            "containerids": [report.container_id for report in containers],
        }

    # --- containers

    async def containers(self, request: Request) -> Response:
        """All that are not over."""
        caller = await self._callers.of(request)
        found = [
            told.node_container(report, application.report.user, nodes=self._nodes)
            for application, containers in await self._here(request, caller)
            for report in containers
        ]
        return answer(request, "containers", {"container": found} if found else None)

    async def container(self, request: Request) -> Response:
        """Also one that is over."""
        application, ended = await self._outputs.found(request)
        user = application.report.user
        for live in self._facade.containers(application.report.application_id):
            if live.container_id == ended.container_id:
                value = told.node_container(live, user, nodes=self._nodes)
                return answer(request, "container", value)
        value = told.ended_node_container(ended, nodes=self._nodes)
        return answer(request, "container", value)

    # --- devices

    async def resource(self, request: Request) -> Response:
        """Of ``yarn.io/gpu``: the GPUs that are lent, and which container has which (NMGpuResourceInfo)."""
        caller = await self._callers.of(request)
        name = request.path_params["name"]
        if name != YARN_NAMES[GPUS]:
            # YARN knows devices by its plugins; of all else there is nothing to tell.
            return answer(request, "nmResourceInfo", None)
        meant = self._meant(request)
        numbers = {one.device_id: one.index for report in meant for one in report.devices}
        lent = [one for report in meant for one in report.devices if one.state is DeviceState.LENT]
        assigned = [
            {"index": numbers[device_id], "minorNumber": numbers[device_id], "containerId": live.container_id}
            for _, containers in await self._here(request, caller)
            for live in containers
            for device_id in live.device_ids
            if device_id in numbers
        ]
        value = {
            "totalGpuDevices": [{"index": one.index, "minorNumber": one.index} for one in lent],
            "assignedGpuDevices": assigned,
        }
        return answer(request, "nmGpuResourceInfo", value)

    # --- auxiliary services

    async def services(self, request: Request) -> Response:
        """Each that is configured, for each node that is meant: YARN tells those alone that began."""
        await self._callers.of(request)
        told = [
            {
                "name": name,
                "version": "",
                "node": report.node_id,
                "state": "STARTED" if name in running_services(report.offers) else "STOPPED",
            }
            for report in self._meant(request)
            for name in self._services
        ]
        return answer(request, "services", {"service": told})

    async def no_new_services(self, request: Request) -> Response:
        await self._callers.of(request)
        raise Unsupported("which auxiliary services nodes run is said by yarn.auxiliary_services in hrm.yaml")

    # ---

    async def _here(self, request: Request, caller: Caller) -> list[tuple[Application, list[ContainerReport]]]:
        """Applications at the node that is meant, with their containers there: those that the caller may look into."""
        meant = {report.node_id for report in self._meant(request)}
        by_app: dict[str, list[ContainerReport]] = {}
        for live in self._facade.containers():
            if live.node_id in meant:
                by_app.setdefault(live.application_id, []).append(live)
        found = []
        for name, containers in by_app.items():
            try:
                application = await self._applications.find(name)
            except ApplicationNotFound:
                continue  # cleared away meanwhile
            if await self._rights.may_look(caller, application):
                found.append((application, containers))
        return found

    def _meant(self, request: Request) -> list[NodeReport]:
        """Raises NoSuchPage."""
        name, reports = node_of(request) or request.query_params.get("node"), self._facade.nodes()
        if name is None:
            return reports
        for report in reports:
            place = self._nodes.of(report.node_id)
            if name in (report.node_id, f"{place.host}:{place.port}"):
                return [report]
        raise NoSuchPage(f"no such node: {name[:80]}")
