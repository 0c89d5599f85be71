"""``/ws/v1/cluster``: node labels, told to everybody and changed by admins (RMWebServices)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hrm.model.inventory import NodeLabel
from hrm.model.reports import NodeLabelReport, NodeReport
from hrm.rm.facade import Facade
from hrm.yarn.calls import Caller
from hrm.yarn.errors import AccessDenied
from hrm.yarn.node_words import nodes_at
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.web.bodies import many, text, truth
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import BadRequest, NoSuchPage, answer, body_of
from hrm.yarn.web.queries import words

_BASE = "/ws/v1/cluster"


class LabelPages:
    """Nodes are named as YARN does, ``HOST:PORT``, or by HRM's ids; port 0 means all nodes of the host."""

    def __init__(self, facade: Facade, callers: Callers, nodes: NodeAddresses) -> None:
        self._facade = facade
        self._words = facade.node_words
        self._callers = callers
        self._nodes = nodes
        self.routes = [
            Route(f"{_BASE}/get-node-labels", self.labels),
            Route(f"{_BASE}/get-node-to-labels", self.by_node),
            Route(f"{_BASE}/label-mappings", self.by_label),
            Route(f"{_BASE}/nodes/{{node}}/get-labels", self.of_node),
            Route(f"{_BASE}/add-node-labels", self.add, methods=["POST"]),
            Route(f"{_BASE}/remove-node-labels", self.remove, methods=["POST"]),
            Route(f"{_BASE}/replace-node-to-labels", self.replace_all, methods=["POST"]),
            Route(f"{_BASE}/nodes/{{node}}/replace-labels", self.replace, methods=["POST"]),
        ]

    async def labels(self, request: Request) -> Response:
        await self._callers.of(request)
        return answer(request, "nodeLabelsInfo", _infos(self._words.labels()))

    async def by_node(self, request: Request) -> Response:
        await self._callers.of(request)
        entries = [
            {"key": self._id(report), "value": {"nodeLabelInfo": [_plain(report.label, report.exclusive)]}}
            for report in self._facade.nodes()
            if report.label
        ]
        return answer(request, "nodeToLabelsInfo", {"nodeToLabels": {"entry": entries}})

    async def by_label(self, request: Request) -> Response:
        """Of all labels, or of those in ``labels``."""
        await self._callers.of(request)
        wanted, reports = words(request, "labels"), self._facade.nodes()
        entries = [
            {
                "key": _plain(label.name, label.exclusive),
                "value": {"nodes": [self._id(report) for report in reports if report.label == label.name]},
            }
            for label in self._words.labels()
            if not wanted or label.name in wanted
        ]
        return answer(request, "labelsToNodesInfo", {"labelsToNodes": {"entry": entries}})

    async def of_node(self, request: Request) -> Response:
        await self._callers.of(request)
        (first, *_) = self._named(request.path_params["node"])
        found = [label for label in self._words.labels() if label.name == first.label]
        return answer(request, "nodeLabelsInfo", _infos(found))

    async def add(self, request: Request) -> Response:
        caller = await self._admin(request, "add-node-labels")
        new = [_label(one) for one in _inside(await body_of(request), "nodeLabelsInfo", "nodeLabelInfo")]
        if not new:
            raise BadRequest("names no node label")
        await self._words.add_labels(new, by=caller.user)
        return Response(status_code=200)

    async def remove(self, request: Request) -> Response:
        caller = await self._admin(request, "remove-node-labels")
        names = words(request, "labels")
        if not names:
            raise BadRequest("labels: is missing")
        await self._words.remove_labels(names, by=caller.user)
        return Response(status_code=200)

    async def replace_all(self, request: Request) -> Response:
        caller = await self._admin(request, "replace-node-to-labels")
        wanted: dict[str, str | None] = {}
        for one in _inside(await body_of(request), "nodeToLabelsName", "nodeToLabels"):
            if not isinstance(one, Mapping):
                raise BadRequest("nodeToLabels: an entry is no object")
            label = _only([str(name) for name in many(one.get("labels"))])
            wanted |= {report.node_id: label for report in self._named(text(one, "nodeId"))}
        await self._words.set_labels(wanted, by=caller.user)
        return Response(status_code=200)

    async def replace(self, request: Request) -> Response:
        caller = await self._admin(request, "replace-labels")
        label = _only(words(request, "labels"))
        named = self._named(request.path_params["node"])
        await self._words.set_labels({report.node_id: label for report in named}, by=caller.user)
        return Response(status_code=200)

    async def _admin(self, request: Request, what: str) -> Caller:
        caller = await self._callers.of(request)
        if not caller.admin:
            raise AccessDenied(f"User {caller.user} not authorized for post to {what}")
        return caller

    def _named(self, name: str) -> list[NodeReport]:
        """At least one. Raises NoSuchPage."""
        host, _, port = name.rpartition(":")
        reports = self._facade.nodes()
        found = [report for report in reports if report.node_id == name]
        if not found and port.isdecimal() and len(port) < 6:
            found = nodes_at(reports, self._nodes, host, int(port))
        if not found:
            raise NoSuchPage(f"nodeId, {name[:80]}, is not found")
        return found

    def _id(self, report: NodeReport) -> str:
        place = self._nodes.of(report.node_id)
        return f"{place.host}:{place.port}"


def _inside(body: Mapping[str, Any], outer: str, key: str) -> list[Any]:
    """What stands under the key; JSON may have the element around it that XML has."""
    inner = body.get(outer, body)
    return many(inner.get(key)) if isinstance(inner, Mapping) else []


def _label(value: Any) -> NodeLabel:
    if not isinstance(value, Mapping):
        raise BadRequest("nodeLabelInfo: not an object")
    exclusive = truth(value, "exclusivity") if "exclusivity" in value else True
    return NodeLabel(text(value, "name"), exclusive)


def _only(labels: Iterable[str]) -> str:
    """ "" iff none. Raises BadRequest for several."""
    named = [label for label in labels if label]
    if len(named) > 1:
        raise BadRequest(f"a node has at most one label: {', '.join(named)[:80]}")
    return named[0] if named else ""


def _infos(labels: Iterable[NodeLabelReport]) -> dict[str, Any] | None:
    infos = [{**_plain(label.name, label.exclusive), "activeNMs": len(label.nodes)} for label in labels]
    return {"nodeLabelInfo": infos} if infos else None


def _plain(name: str, exclusive: bool) -> dict[str, Any]:
    return {"name": name, "exclusivity": exclusive}
