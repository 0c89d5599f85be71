"""``/ws/v1/cluster``: what YARN has as options and this server has not, answered as where nobody has switched it on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hrm.yarn.errors import FeatureNotEnabled
from hrm.yarn.web.callers import Callers

_BASE = "/ws/v1/cluster"
#: What is refused: changing the configuration or a node from outside, and reservations.
_REFUSED = {
    "scheduler-conf": ["GET", "PUT"],
    "scheduler-conf/{what}": ["GET", "POST"],
    "nodes/{node}/resource": ["POST"],
    "reservation/{what}": ["GET", "POST"],
}


class OptionPages:
    """Asked by whoever may come in."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self.routes = [Route(f"{_BASE}/{path}", self.refuse, methods=methods) for path, methods in _REFUSED.items()]

    async def refuse(self, request: Request) -> Response:
        """YARN's FairScheduler refuses the same."""
        await self._callers.of(request)
        raise FeatureNotEnabled(
            f"{request.url.path[len(_BASE) :][:80]}: not here. Queues and nodes are configured by hrm.yaml; there are "
            "no reservations"
        )
