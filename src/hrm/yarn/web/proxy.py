"""The way to masters' pages: ``/proxy/APP/…`` is fetched from where the application's master said that its page is.

Nothing else is ever fetched, on this machine only from programs of the application's user (`PageServers`); redirects
are passed on and not followed, and neither tokens nor cookies of the caller go there. Such a page is somebody's
program: it is shown only to whom the application's ACLs name, and its scripts may talk to nothing here but that page.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from hrm.config.tcp_owner import Address
from hrm.yarn.application_messages import Links
from hrm.yarn.applications import Applications
from hrm.yarn.rights import Rights
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import MAX_BODY_BYTES, BadGateway, NoSuchPage
from hrm.yarn.web.page_servers import PageServers

TIMEOUT_S = 30.0
#: Pages that are fetched at once; others wait.
AT_ONCE = 16
_CHUNK_BYTES = 64 << 10
_PASSED_ON = ("accept", "accept-language", "content-type", "if-modified-since", "if-none-match", "x-requested-with")
_PASSED_BACK = (
    "content-type",
    "content-disposition",
    "content-encoding",
    "etag",
    "last-modified",
    "cache-control",
    "expires",
)


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a master said that its page is."""

    host: str
    port: int
    netloc: str
    path: str
    url: str


@dataclass(frozen=True, slots=True)
class _Page:
    status: int
    headers: dict[str, str]
    response: http.client.HTTPResponse
    connection: http.client.HTTPConnection


class ProxyPages:
    """``source`` is the address that pages are asked for from: masters let in their proxy alone, by its address."""

    def __init__(
        self,
        applications: Applications,
        rights: Rights,
        callers: Callers,
        servers: PageServers,
        *,
        links: Links,
        source: str | None,
    ) -> None:
        self._applications = applications
        self._rights = rights
        self._callers = callers
        self._servers = servers
        self._links = links
        self._source = source
        # Threads of its own: a master that does not answer must not hold up what others ask.
        self._threads = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="hrm-yarn-proxy")
        methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
        self.routes = [
            Route("/proxy/redirect/{app}", self.redirect),
            Route("/proxy/redirect/{app}/{path:path}", self.redirect),
            Route("/proxy/{app}", self.page, methods=methods),
            Route("/proxy/{app}/{path:path}", self.page, methods=methods),
        ]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def redirect(self, request: Request) -> Response:
        """A master sent a browser here that asked it directly."""
        rest = request.path_params.get("path", "")
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/proxy/{_name(request)}/{urllib.parse.quote(rest)}{query}", 302)

    async def page(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        name = _name(request)
        application = await self._applications.find(name)
        await self._rights.check_look(caller, application)
        attempt = application.attempt
        if application.is_over or attempt is None or not attempt.tracking_url:
            return RedirectResponse(self._links.page(name), 302)
        there = _page_at(attempt.tracking_url, name)
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise BadGateway("the body is too large to be passed on")
        path = urllib.parse.quote(request.path_params.get("path", ""), safe="/:@!$&'()*+,;=~-._")
        target = f"{there.path.rstrip('/')}/{path}" + (f"?{request.url.query}" if request.url.query else "")
        headers = {key: value for key in _PASSED_ON if (value := request.headers.get(key)) is not None}
        # By this cookie masters know whom their proxy speaks for (Hadoop's AmIpFilter).
        headers["Cookie"] = f"proxy-user={urllib.parse.quote(caller.user)}"
        loop = asyncio.get_running_loop()
        try:
            places = await loop.run_in_executor(self._threads, self._servers.places, there.host, there.port)
            for each in places:
                await self._servers.check(each, application.report.user)
            # Asked for at these addresses, whatever the name leads to by then.
            fetched = await loop.run_in_executor(
                self._threads,
                self._fetch,
                there,
                [each.address for each in places],
                request.method,
                target,
                bytes(body),
                headers,
            )
        except (OSError, http.client.HTTPException) as error:
            raise BadGateway(f"the page of {name} at {there.netloc} cannot be had: {error}") from None
        back = {key: value for key, value in fetched.headers.items() if key in _PASSED_BACK}
        if (place := fetched.headers.get("location")) is not None:
            back["location"] = _place_here(place, there, name)
        return StreamingResponse(
            self._pieces(fetched), fetched.status, headers={**back, **_walls(name, self._links.web)}
        )

    def _fetch(
        self,
        there: _Address,
        addresses: Sequence[Address],
        method: str,
        target: str,
        body: bytes,
        headers: dict[str, str],
    ) -> _Page:
        """In a thread."""
        connection = http.client.HTTPConnection(there.host, there.port, timeout=TIMEOUT_S)
        connection.sock = self._connected(addresses)
        try:
            connection.request(method, target, body=body or None, headers=headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        found = {key.lower(): value for key, value in response.getheaders()}
        return _Page(response.status, found, response, connection)

    def _connected(self, addresses: Sequence[Address]) -> socket.socket:
        """From the address that masters know as their proxy's, where that leads there."""
        failure = OSError("its name leads nowhere")
        for address in addresses:
            for source in [None] if self._source is None else [(self._source, 0), None]:
                try:
                    return socket.create_connection(address, TIMEOUT_S, source)
                except OSError as error:
                    failure = error
        raise failure

    async def _pieces(self, page: _Page) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        try:
            while piece := await loop.run_in_executor(self._threads, page.response.read1, _CHUNK_BYTES):
                yield piece
        finally:
            page.connection.close()


def _name(request: Request) -> str:
    name: str = request.path_params["app"]
    if not name.startswith("application_"):
        raise NoSuchPage(f"not an application: {name[:80]}")
    return name


def _page_at(tracking_url: str, name: str) -> _Address:
    """Raises BadGateway for what is no address, or not to be fetched."""
    try:
        found = urllib.parse.urlsplit(tracking_url if "://" in tracking_url else f"http://{tracking_url}")
        host, port = found.hostname, found.port or 80
    except ValueError:
        raise BadGateway(f"the page of {name} is at {tracking_url[:200]!r}, which is no address") from None
    if found.scheme != "http" or not host:
        raise BadGateway(f"the page of {name} is at {tracking_url[:200]!r}: only http is fetched")
    return _Address(host, port, found.netloc, found.path, found.geturl())


def _place_here(place: str, there: _Address, name: str) -> str:
    """Where a redirect of the page's leads by way of the proxy; elsewhere it leads where it leads.

    Raises BadGateway for a master that sends its own proxy back.
    """
    try:
        found = urllib.parse.urlsplit(urllib.parse.urljoin(there.url, place))
    except ValueError:
        raise BadGateway(f"the page redirects to {place[:200]!r}, which is no address") from None
    base = f"/proxy/{name}"
    if found.path.startswith(f"/proxy/redirect/{name}"):
        raise BadGateway("its master does not take this server for its proxy: it lets in another address alone")
    if found.path == base or found.path.startswith(f"{base}/"):
        path = found.path
    elif found.netloc == there.netloc:
        path = f"{base}/{found.path.removeprefix(there.path.rstrip('/')).lstrip('/')}"
    else:
        return place
    return path + (f"?{found.query}" if found.query else "")


def _walls(name: str, web: str) -> dict[str, str]:
    """Scripts of the page talk to it alone, and show nothing else of here in frames."""
    own = f"{web}/proxy/{name}/"
    policy = (
        f"connect-src {own}; frame-src {own}; form-action {own}; worker-src 'none'; object-src 'none'; base-uri {own}"
    )
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
