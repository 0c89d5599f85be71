"""``/ws/v1/cluster/scheduler/…activities``: who waits for what, and why, as trees of YARN's.

YARN notes what its scheduler does at the next visits and tells it when it is asked again. The scheduler here can say at
any time what a visit would come to (`hrm.core.explain`), so the first answer has it already: ``maxTime`` and
``actions=refresh`` are read and change nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hrm.model.explanations import Explanation, NodeVerdict, RequestReason
from hrm.model.queues import ROOT
from hrm.model.reports import WorkReport
from hrm.rm.facade import Facade
from hrm.yarn.amounts import yarn_counts
from hrm.yarn.application_messages import format_time
from hrm.yarn.applications import Application, full_queue
from hrm.yarn.asks import request_id_of
from hrm.yarn.calls import Caller
from hrm.yarn.clients import Clients
from hrm.yarn.errors import ApplicationNotFound
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import BadRequest, NoSuchPage, answer
from hrm.yarn.web.queries import choice, seconds, whole, words

_BASE = "/ws/v1/cluster/scheduler"
#: Applications that one tree of the cluster tells of: the oldest that wait. Each is worked out by a dry run.
MAX_APPS = 20
#: YARN's ActivityState: what waits was looked at and passed over, and what its own limits keep from being looked at.
SKIPPED, REJECTED, ACCEPTED = "SKIPPED", "REJECTED", "ACCEPTED"
_FITS = "fits"
#: The partition of nodes without labels.
_PARTITION = "DEFAULT_PARTITION"


class ActivityPages:
    """Diagnostics of an application show to whom the rest of it shows."""

    def __init__(
        self,
        facade: Facade,
        clients: Clients,
        callers: Callers,
        *,
        nodes: NodeAddresses,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._facade = facade
        self._applications = clients.known
        self._rights = clients.rights
        self._callers = callers
        self._nodes = nodes
        self._clock = clock
        self.routes = [
            Route(f"{_BASE}/activities", self.cluster),
            Route(f"{_BASE}/app-activities/{{app}}", self.application),
        ]

    # --- one application

    async def application(self, request: Request) -> Response:
        """What it asks for, each with why it waits; of what is worst off, each node with its verdict."""
        caller = await self._callers.of(request)
        one = await self._applications.find(request.path_params["app"])
        await self._rights.check_look(caller, one)
        grouped, priorities, ids = _grouped(request), _numbers(request, "requestPriorities"), _ids(request)
        limit, _ = whole(request, "limit"), seconds(request, "maxTime")
        if limit is not None and limit <= 0:
            raise BadRequest("limit must be greater than 0")
        actions = {word.upper() for word in words(request, "actions")}
        if unknown := actions - {"REFRESH", "GET"}:
            raise BadRequest(f"Got invalid action: {sorted(unknown)[0][:40]}")
        now = self._clock()
        value: dict[str, Any] = {"applicationId": one.report.application_id}
        if actions == {"REFRESH"}:
            value["diagnostic"] = f"Successfully received action: refresh for application: {value['applicationId']}"
            return answer(request, "appActivities", value | _at(now))
        explanation = await self._facade.explain(one.report.application_id, nodes=True)
        value |= {"diagnostic": explanation.reason if one.is_over else explanation.message, **_at(now)}
        requests = [
            (number, reason)
            for number, reason in enumerate(explanation.requests)
            if (not priorities or reason.priority in priorities)
            and (not ids or request_id_of(reason.allocation_request_id) in ids)
        ][:limit]
        if requests:
            told = [
                self._request(reason, explanation.nodes if number == 0 else (), grouped=grouped)
                for number, reason in requests
            ]
            allocation = {
                "queueName": one.queue,
                "appPriority": str(one.report.priority),
                **_at(now),
                "allocationState": SKIPPED,
                "diagnostic": explanation.message,
                "requestAllocation": told,
            }
            value["allocations"] = [allocation]
        return answer(request, "appActivities", value)

    def _request(self, reason: RequestReason, verdicts: Iterable[NodeVerdict], *, grouped: bool) -> dict[str, Any]:
        told: dict[str, Any] = {
            "requestPriority": reason.priority,
            "allocationRequestId": request_id_of(reason.allocation_request_id),
            "allocationState": SKIPPED,
            "diagnostic": reason.message,
        }
        if children := self._verdicts(verdicts, grouped=grouped):
            told["children"] = children
        return told

    def _verdicts(self, verdicts: Iterable[NodeVerdict], *, grouped: bool) -> list[dict[str, Any]]:
        """Node by node, or with ``grouped`` those together that say the same."""
        if not grouped:
            return [
                {
                    "allocationState": _state(one.verdict),
                    "diagnostic": f"{_say(one.verdict)}; free: {_amounts(one.free)} of {_amounts(one.total)}",
                    "nodeId": self._node_id(one.node_id),
                }
                for one in verdicts
            ]
        groups: dict[str, list[str]] = {}
        for one in verdicts:
            groups.setdefault(one.verdict, []).append(self._node_id(one.node_id))
        return [
            {
                "allocationState": _state(verdict),
                "diagnostic": _say(verdict),
                "count": len(names),
                "nodeIds": names,
            }
            for verdict, names in groups.items()
        ]

    # --- the cluster

    async def cluster(self, request: Request) -> Response:
        """The queues in which something waits, from the root down; with ``nodeId`` as that one node sees it."""
        caller = await self._callers.of(request)
        node_id, grouped = self._meant(request), _grouped(request)
        now = self._clock()
        value: dict[str, Any] = {} if node_id is None else {"nodeId": self._node_id(node_id)}
        value |= _at(now)
        leaves: dict[str, list[dict[str, Any]]] = {}
        waiting = sorted((work for work in self._facade.work() if work.waiting), key=lambda one: one.submitted_at)
        for work in waiting[:MAX_APPS]:
            if (told := await self._waits(work, caller, node_id, grouped=grouped)) is not None:
                leaves.setdefault(work.queue, []).append(told)
            # Each is a dry run over all nodes: others have their turn in between.
            await asyncio.sleep(0)
        if not leaves:
            value["diagnostic"] = "nothing waits"
            return answer(request, "activities", value)
        if len(waiting) > MAX_APPS:
            value["diagnostic"] = f"{len(waiting)} applications wait; told are the {MAX_APPS} oldest"
        allocation = {
            "partition": _PARTITION,
            "updatedContainerId": "N/A",
            "finalAllocationState": SKIPPED,
            "root": _tree(leaves),
        }
        return answer(request, "activities", value | {"allocations": [allocation]})

    async def _waits(
        self, work: WorkReport, caller: Caller, node_id: str | None, *, grouped: bool
    ) -> dict[str, Any] | None:
        try:
            one: Application = await self._applications.find(work.application_id)
        except ApplicationNotFound:
            return None
        told: dict[str, Any] = {"name": work.application_id, "appPriority": work.priority, "allocationState": SKIPPED}
        if not await self._rights.may_look(caller, one):
            return told
        explanation: Explanation = await self._facade.explain(work.application_id, nodes=True)
        verdicts = [verdict for verdict in explanation.nodes if node_id in (None, verdict.node_id)]
        told["diagnostic"] = explanation.message
        told["children"] = [
            {"name": str(number), **self._request(reason, verdicts if number == 0 else (), grouped=grouped)}
            for number, reason in enumerate(explanation.requests)
        ]
        return told

    def _meant(self, request: Request) -> str | None:
        """Raises NoSuchPage for a node that is not there."""
        name = request.query_params.get("nodeId")
        if not name:
            return None
        for report in self._facade.nodes():
            place = self._nodes.of(report.node_id)
            # YARN takes a host alone, too.
            if name in (report.node_id, f"{place.host}:{place.port}", place.host):
                return report.node_id
        raise NoSuchPage(f"Cannot find node manager with given node id: {name[:80]}")

    def _node_id(self, node_id: str) -> str:
        place = self._nodes.of(node_id)
        return f"{place.host}:{place.port}"


def _tree(leaves: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Queues with what waits in them, below the queues that they belong to."""
    made: dict[str, dict[str, Any]] = {}

    def node(path: str) -> dict[str, Any]:
        if path not in made:
            made[path] = {"name": full_queue(path), "allocationState": SKIPPED, "children": []}
            if path != ROOT:
                node(path.rpartition(".")[0] or ROOT)["children"].append(made[path])
        return made[path]

    for path, applications in leaves.items():
        node(path)["children"].extend(applications)
    return node(ROOT)


def _grouped(request: Request) -> bool:
    """Raises BadRequest."""
    return choice(request, "groupBy", ("DIAGNOSTIC",)) is not None


def _numbers(request: Request, key: str) -> frozenset[int]:
    found = words(request, key)
    if bad := [word for word in found if not word.removeprefix("-").isdecimal() or len(word) > 20]:
        raise BadRequest(f"{key} must be numbers: {bad[0][:40]!r}")
    return frozenset(int(word) for word in found)


def _ids(request: Request) -> frozenset[int]:
    return _numbers(request, "allocationRequestIds")


def _at(now: float) -> dict[str, Any]:
    return {"timestamp": int(now * 1000), "dateTime": format_time(now)}


def _state(verdict: str) -> str:
    return ACCEPTED if verdict == _FITS else REJECTED


def _say(verdict: str) -> str:
    """``insufficient memory`` for the code of a reason."""
    return "would take it" if verdict == _FITS else verdict.replace("_", " ")


def _amounts(amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in yarn_counts(amounts).items() if count or name == "memory-mb")
