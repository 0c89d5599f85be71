"""``/ws/v1/cluster``: what YARN has as options and this server has not, answered as where nobody has switched it on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hrm.yarn.errors import FeatureNotEnabled
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import answer

_BASE = "/ws/v1/cluster"
#: Lists that are empty: node labels.
_EMPTY: dict[str, tuple[str, dict[str, Any] | None]] = {
    "get-node-labels": ("nodeLabelsInfo", None),
    "get-node-to-labels": ("nodeToLabelsInfo", {"nodeToLabels": {"entry": []}}),
    "label-mappings": ("labelsToNodesInfo", {"labelsToNodes": {"entry": []}}),
    "nodes/{node}/get-labels": ("nodeLabelsInfo", None),
}
#: What is refused: changing the configuration or a node from outside, and reservations.
_REFUSED = {
    "scheduler-conf": ["GET", "PUT"],
    "nodes/{node}/resource": ["POST"],
    "reservation/{what}": ["GET", "POST"],
    "add-node-labels": ["POST"],
    "remove-node-labels": ["POST"],
    "replace-node-to-labels": ["POST"],
    "nodes/{node}/replace-labels": ["POST"],
}


class OptionPages:
    """Asked by whoever may come in."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self.routes = [Route(f"{_BASE}/{path}", self._empty(path)) for path in _EMPTY]
        self.routes += [Route(f"{_BASE}/{path}", self.refuse, methods=methods) for path, methods in _REFUSED.items()]

    def _empty(self, path: str) -> Callable[[Request], Awaitable[Response]]:
        name, value = _EMPTY[path]

        async def page(request: Request) -> Response:
            await self._callers.of(request)
            return answer(request, name, value)

        return page

    async def refuse(self, request: Request) -> Response:
        """YARN's FairScheduler refuses the same."""
        await self._callers.of(request)
        raise FeatureNotEnabled(
            f"{request.url.path[len(_BASE) :][:80]}: not here. Queues and nodes are configured by hrm.yaml; there are "
            "no node labels and no reservations"
        )
