"""A port for each node: what comes in there is about that node, as at a NodeManager of YARN's.

All of them are ports of the server's. To a node on a machine of its own a port of that machine leads, and whoever comes
by it looks to the server like the program that passes it on. So there the socket proves nothing: who brings no
token is sent to the server's own port, where it may.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.web.callers import brings_token, names_host

#: In the scope of a request at a node's port: which one.
_NODE = "hrm.node"


def node_of(request: Request) -> str | None:
    """The node at whose port it came in; None at the server's own."""
    node_id: str | None = request.scope.get(_NODE)
    return node_id


class NodePorts:
    """Passes requests on: to ``node_pages`` what comes in at a node's port, to ``all_pages`` all else.

    ``is_here`` says of a node whether its port is reached without going through another's program.
    """

    def __init__(self, all_pages: ASGIApp, node_pages: ASGIApp, nodes: NodeAddresses) -> None:
        self._all_pages = all_pages
        self._node_pages = node_pages
        self._nodes = nodes
        self._of: dict[int, str] = {}
        self.is_here: Callable[[str], bool] = lambda node_id: True

    def add(self, port: int, node_id: str) -> None:
        """What comes in at this port of the server's is about the node from now on."""
        self._of[port] = node_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            # Hadoop's clients begin with one and take a 200 for leave to go on (AuthenticatedURL); who asks is told by
            # the request that follows. Without headers for it a browser's question for leave gets none.
            await Response(headers={"Allow": "GET, HEAD, OPTIONS"})(scope, receive, send)
            return
        server = scope.get("server")
        node_id = self._of.get(server[1]) if scope["type"] == "http" and server else None
        if node_id is None:
            await self._all_pages(scope, receive, send)
            return
        request = Request(scope)
        # By the node's address it is found; to the server's pages that is one name more.
        if not self.is_here(node_id) and not brings_token(request):
            query = urlencode([*request.query_params.multi_items(), ("node", node_id)])
            place = f"http://{self._nodes.http_address}{quote(request.url.path)}?{query}"
            await RedirectResponse(place, 307)(scope, receive, send)
            return
        host = names_host(self._nodes.of(node_id).http_address)
        await self._node_pages({**scope, _NODE: node_id, "hrm.host": host}, receive, send)
