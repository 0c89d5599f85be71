"""All that is told over HTTP at YARN's door, as one ASGI application."""

from __future__ import annotations

import html
import logging
import secrets
import time
from collections.abc import Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hrm.config.tcp_owner import Address, listener_owners, socket_owner
from hrm.model.errors import HrmError
from hrm.model.resources import MEMORY
from hrm.rm.facade import Facade
from hrm.yarn.amounts import yarn_counts
from hrm.yarn.application_messages import Links
from hrm.yarn.applications import full_queue
from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.clients import Clients
from hrm.yarn.errors import YarnError
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.rpc.simple import Accounts
from hrm.yarn.web import told
from hrm.yarn.web.activities import ActivityPages
from hrm.yarn.web.callers import Callers, Identity
from hrm.yarn.web.ended_logs import EndedLogPages
from hrm.yarn.web.formats import SEALED, NoSuchPage, error_answer
from hrm.yarn.web.labels import LabelPages
from hrm.yarn.web.node import NodePages
from hrm.yarn.web.node_ports import NodePorts
from hrm.yarn.web.options import OptionPages
from hrm.yarn.web.outputs import OutputPages
from hrm.yarn.web.page_servers import PageServers
from hrm.yarn.web.proxy import ProxyPages
from hrm.yarn.web.resource_manager import ResourceManagerPages
from hrm.yarn.web.tokens import TokenPages

logger = logging.getLogger(__name__)


class Site:
    """``app`` is the ASGI application; `close` lets go of what it holds."""

    def __init__(
        self,
        facade: Facade,
        clients: Clients,
        *,
        links: Links,
        nodes: NodeAddresses,
        verify: Callable[[str], Identity],
        tokens: ClientTokens,
        accounts: Accounts,
        hosts: Collection[str],
        source: str | None,
        owner_of: Callable[[Address, Address], int | None] = socket_owner,
        listeners_of: Callable[[Address], set[int]] = listener_owners,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``verify`` tells whose token one is; ``hosts`` are names of this server; ``source`` see `ProxyPages`."""
        self._facade = facade
        self._clients = clients
        self._nodes = nodes
        self._callers = callers = Callers(
            verify=verify, tokens=tokens, accounts=accounts, hosts=hosts, owner_of=owner_of
        )
        known, rights = clients.known, clients.rights
        self._proxy = ProxyPages(
            known, rights, callers, PageServers(accounts, listeners_of), links=links, source=source
        )
        pages = ResourceManagerPages(facade, clients, callers, links=links, nodes=nodes, clock=clock)
        outputs = OutputPages(facade, known, rights, callers)
        node = NodePages(facade, clients, callers, outputs, nodes=nodes)
        activities = ActivityPages(facade, clients, callers, nodes=nodes, clock=clock)
        handlers = {HTTPException: _http_error, YarnError: _error, HrmError: _error, Exception: _unforeseen}
        all_pages = Starlette(
            routes=[
                Route("/", self.home),
                Route("/cluster", self.home),
                Route("/cluster/app/{app}", self.page),
                Route("/jmx", self.jmx),
                *pages.routes,
                *activities.routes,
                *LabelPages(facade, callers, nodes).routes,
                *OptionPages(callers).routes,
                *TokenPages(tokens, callers).routes,
                *node.routes,
                *outputs.routes,
                *EndedLogPages(facade, known, rights, callers, nodes=nodes).routes,
                *self._proxy.routes,
            ],
            exception_handlers=handlers,
        )
        node_pages = Starlette(routes=[*node.routes, *outputs.routes], exception_handlers=handlers)
        #: Which nodes' ports are served besides the server's own.
        self.app = NodePorts(all_pages, node_pages, nodes)

    def close(self) -> None:
        self._proxy.close()

    async def home(self, request: Request) -> Response:
        return RedirectResponse("/ws/v1/cluster/info", 302)

    async def page(self, request: Request) -> Response:
        """What is known of an application, for people who followed its tracking URL."""
        caller = await self._callers.of(request)
        one = await self._clients.known.find(request.path_params["app"])
        may_look = await self._clients.rights.may_look(caller, one)
        report = one.report
        lines: dict[str, Any] = {
            "Name": report.name,
            "User": report.user,
            "Queue": one.queue,
            "State": one.state,
            "Final status": one.final_status,
            "Type": one.yarn.application_type,
            "Diagnostics": one.diagnostics if may_look else "",
        }
        if may_look and one.attempt is not None and one.attempt.container_id is not None:
            lines["Output of its master"] = self._nodes.log(one.attempt.node_id, one.attempt.container_id, report.user)
        rows = "".join(f"<tr><th>{key}<td>{html.escape(str(value))}" for key, value in lines.items())
        title = html.escape(report.application_id)
        body = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><table>{rows}</table>"
        return HTMLResponse(body, headers=SEALED)

    async def jmx(self, request: Request) -> Response:
        """The numbers that dashboards read: of the cluster, and of each queue."""
        await self._callers.of(request)
        counts = await self._facade.application_counts()
        queues = self._facade.queues()
        sums = told.metrics(self._facade.nodes(), counts, queues[0])
        beans: list[dict[str, Any]] = [
            {
                "name": "Hadoop:service=ResourceManager,name=ClusterMetrics",
                "NumActiveNMs": sums["activeNodes"],
                "NumLostNMs": sums["lostNodes"],
                "NumUnhealthyNMs": sums["unhealthyNodes"],
                "NumDecommissioningNMs": sums["decommissioningNodes"],
                "NumDecommissionedNMs": 0,
                "NumRebootedNMs": 0,
            }
        ]
        for number, queue in enumerate(queues):
            used, waiting = yarn_counts(queue.used, up=True), yarn_counts(queue.pending, up=True)
            share, reserved = yarn_counts(queue.fair_share), yarn_counts(queue.reserved, up=True)
            path = full_queue(queue.name).split(".")
            beans.append(
                {
                    "name": "Hadoop:service=ResourceManager,name=QueueMetrics,"
                    + ",".join(f"q{depth}={part}" for depth, part in enumerate(path)),
                    "tag.Queue": full_queue(queue.name),
                    "AppsSubmitted": sums["appsSubmitted"] if number == 0 else queue.applications_running,
                    "AppsRunning": queue.applications_running,
                    "AppsPending": queue.applications_pending,
                    "AllocatedMB": used["memory-mb"],
                    "AllocatedVCores": used["vcores"],
                    "AllocatedContainers": queue.containers_running,
                    "PendingMB": waiting["memory-mb"],
                    "PendingVCores": waiting["vcores"],
                    "PendingContainers": queue.containers_pending,
                    "ReservedMB": reserved["memory-mb"],
                    "ReservedVCores": reserved["vcores"],
                    "ReservedContainers": queue.containers_reserved,
                    "FairShareMB": share["memory-mb"],
                    "FairShareVCores": share["vcores"],
                    "MaxShareMB": (queue.max_share or {}).get(MEMORY, sums["totalMB"]),
                }
            )
        if wanted_bean := request.query_params.get("qry"):
            prefix = wanted_bean.removesuffix("*")
            beans = [
                bean
                for bean in beans
                if bean["name"] == wanted_bean or (prefix != wanted_bean and bean["name"].startswith(prefix))
            ]
        return JSONResponse({"beans": beans}, headers=SEALED)


async def _error(request: Request, error: Exception) -> Response:
    return error_answer(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_answer(request, NoSuchPage(f"nothing is told at {request.url.path[:200]}"))
    return Response(status_code=error.status_code, headers={**SEALED, **(error.headers or {})})


async def _unforeseen(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(6)
    logger.error("incident %s: %s %s", incident, request.method, request.url.path, exc_info=error)
    return error_answer(request, RuntimeError(f"the server failed to answer (incident {incident}); its log says more"))
