"""The ASGI application of the site: routes for pages, what keeps them up to date, forms, and the login.

It stands beside the API behind the same guards (`hrm.api.guards`), with two differences: a session's cookie counts as
a bearer token, and errors are pages.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from hrm.api.accounts import Accounts
from hrm.api.guards import IDENTITY, Authentication, BodyLimit, Boundary, HostGuard, RateLimit
from hrm.api.settings import ApiSettings
from hrm.api.streams import EventStream, StreamGate
from hrm.api.tokens import Identity, TokenAuthority
from hrm.api.wire import check_known, error_response
from hrm.model.errors import CallerError, Forbidden, HrmError, InvalidInput, NotFound, Unauthenticated
from hrm.web import logs, session
from hrm.web.actions import ACTIONS, Action
from hrm.web.desk import Desk
from hrm.web.language import Language, preferred
from hrm.web.live import Live, Topic
from hrm.web.page import ROOT, Page, Site, Visit
from hrm.web.pages import SITE
from hrm.web.pages.application import LOG, log_of
from hrm.web.pages.history import HISTORY, summed_up
from hrm.web.rendering import environment, render, render_live
from hrm.web.usage import as_csv

LOGIN, LOGOUT, LIVE, STATIC = f"{ROOT}/login", f"{ROOT}/logout", f"{ROOT}/live", f"{ROOT}/static"
_MAX_FORM_FIELDS = 50
#: Sizes in bytes. Compressing some ten kB takes less time than asking a thread to.
_COMPRESSED_FROM, _COMPRESSED_APART_FROM, _COMPRESSION = 2_000, 50_000, 4
#: Scripts, styles and pictures of our own alone, nobody frames us, forms come back here.
_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Door:
    """Sends requests below ``/ui`` (and ``/``) to the site, all others to the API."""

    def __init__(self, api: ASGIApp, site: ASGIApp) -> None:
        self._api = api
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        here = scope["type"] == "http" and (path == "/" or path == ROOT or path.startswith(f"{ROOT}/"))
        await (self._site if here else self._api)(scope, receive, send)


def create_site(
    desk: Desk,
    *,
    tokens: TokenAuthority,
    settings: ApiSettings,
    accounts: Accounts,
    gate: StreamGate,
    site: Site = SITE,
) -> Starlette:
    """The site over ``desk``; ``gate`` is the API's, so that streams of both are counted and ended together."""
    live = Live()
    forms = session.Forms()

    def visit_of(request: Request, page: Page, path: str, params: Mapping[str, str], query: Mapping[str, str]) -> Visit:
        for name in query:
            check_known(name, page.query, what="query parameter")
        identity = _identity(request)
        return Visit(
            identity=identity,
            language=_language(request),
            path=path,
            params=params,
            query=query,
            form_word=forms.word(identity),
        )

    def show(page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            visit = visit_of(request, page, request.scope["path"], request.path_params, request.query_params)
            found = await page.gather(desk, visit)
            return await _html(await asyncio.to_thread(render, page, visit, found), request)

        return endpoint

    async def watch(request: Request) -> Response:
        try:
            url = request.query_params.get("url", "")
            parts = urlsplit(url)
            found = site.find(parts.path)
            if found is None or not found[0].period_s:
                raise NotFound(f"no page that changes by itself: {url[:200]!r}", next_step="name the page's own path")
            page, params = found
            visit = visit_of(request, page, parts.path, params, dict(parse_qsl(parts.query, keep_blank_values=True)))
        except HrmError as error:
            return error_response(error)

        async def draw() -> str:
            found = await page.gather(desk, visit)
            # In a thread: 500 nodes take tens of milliseconds, which the loop can use in between.
            return await asyncio.to_thread(render_live, page, visit, found)

        topic = Topic(url, visit.language.code, visit.identity.user, visit.identity.admin)
        frames = live.watch(topic, draw, period_s=page.period_s)
        return EventStream(
            frames, gate=gate, user=visit.identity.user, heartbeat_interval_s=settings.heartbeat_interval_s
        )

    def act(action: Action) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            fields = await _form(request)
            forms.check(_identity(request), fields.get("form_word", ""))
            onward = await action(desk, _identity(request), request.path_params, fields)
            desk.look_anew()
            return _go(onward)

        return endpoint

    async def follow_log(request: Request) -> Response:
        who, (task, stream) = _identity(request), log_of(request.query_params)
        frames = await logs.follow(desk, who, request.path_params, task, stream)
        return EventStream(frames, gate=gate, user=who.user, heartbeat_interval_s=settings.heartbeat_interval_s)

    async def download_log(request: Request) -> Response:
        return await logs.download(desk, _identity(request), request.path_params, *log_of(request.query_params))

    async def history_csv(request: Request) -> Response:
        for name in request.query_params:
            check_known(name, HISTORY.query, what="query parameter")
        by, span, rows, _ = await summed_up(desk, request.query_params)
        disposition = f'attachment; filename="hrm-usage-by-{by}-{span}.csv"'
        return Response(as_csv(rows), media_type="text/csv", headers={"content-disposition": disposition})

    async def login(request: Request) -> Response:
        language = _language(request)
        if request.method == "GET":
            return await _html(_login_page(language, _safe_path(request.query_params.get("next")), ""), request)
        fields = await _form(request)
        onward = _safe_path(fields.get("next"))
        try:
            identity = tokens.verify(fields.get("token", "").strip())
            if identity.attempt_id is not None:
                raise Forbidden("this is a master's token, which is for its own calls alone")
        except (Unauthenticated, Forbidden) as error:
            return await _html(_login_page(language, onward, error.message), request, HTTPStatus.UNAUTHORIZED)
        response = _go(onward)
        session.begin(response, tokens, identity, now=desk.clock(), secure=request.url.scheme == "https")
        return response

    async def logout(request: Request) -> Response:
        fields = await _form(request)
        forms.check(_identity(request), fields.get("form_word", ""))
        response = _go(LOGIN)
        session.end(response)
        return response

    async def home(request: Request) -> Response:
        return _go(ROOT)

    static = StaticFiles(packages=[("hrm.web", "static")])
    routes = [
        Route("/", home),
        Route(LOGIN, login, methods=["GET", "POST"]),
        Route(LOGOUT, logout, methods=["POST"]),
        Route(LIVE, watch),
        Mount(STATIC, static),
        Route(f"{HISTORY.path}.csv", history_csv),
        Route(f"{LOG.path}/follow", follow_log),
        Route(f"{LOG.path}/download", download_log),
        *(Route(path, act(action), methods=["POST"]) for path, action in ACTIONS.items()),
        *(Route(page.path, show(page)) for page in site.pages),
    ]
    middleware = [
        Middleware(Boundary, refuse=refuse_with_page),
        Middleware(HostGuard, hosts=settings.allowed_hosts, origins=settings.allowed_origins, refuse=refuse_with_page),
        Middleware(session.CookieAsToken),
        Middleware(
            Authentication,
            tokens=tokens,
            accounts=accounts,
            check_socket_owner=settings.check_socket_owner,
            public=("/", LOGIN, *(f"{STATIC}/{file.name}" for file in (files("hrm.web") / "static").iterdir())),
            refuse=refuse_with_page,
        ),
        Middleware(RateLimit, requests_per_s=settings.requests_per_s, burst=settings.burst, refuse=refuse_with_page),
        Middleware(BodyLimit, max_bytes=settings.max_body_bytes, refuse=refuse_with_page),
    ]
    application = Starlette(routes=routes, middleware=middleware)
    application.add_exception_handler(HTTPException, _on_http_error)
    application.add_exception_handler(HrmError, _on_error)
    application.router.redirect_slashes = False
    return application


async def refuse_with_page(error: HrmError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with ``error`` as a page; who is not logged in goes to the login, and from there to where they wanted."""
    request = Request(scope)
    if scope["path"] == LIVE:
        response = error_response(error)
    elif isinstance(error, Unauthenticated) and request.method == "GET":
        wanted = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        response = _go(f"{LOGIN}?next={quote(wanted)}")
    else:
        response = await _error_page(request, error, None)
    await response(scope, receive, send)


async def _error_page(request: Request, error: HrmError, identity: Identity | None) -> Response:
    page = environment().get_template("error.html")
    found = {"t": _language(request), "identity": identity, "section": "", "live": False, "error": error, "visit": None}
    return await _html(page.render(found), request, error.http_status)


async def _on_error(request: Request, error: Exception) -> Response:
    """Of a page that somebody asked for who may look around: the menu stays."""
    assert isinstance(error, HrmError)
    return await _error_page(request, error, _identity(request))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        raise NotFound(f"no such page: {request.url.path[:200]}", next_step=f"{ROOT} is the first one")
    raise CallerError(str(error.detail))


def _language(request: Request) -> Language:
    return preferred(request.headers.get("accept-language", ""), request.cookies.get(session.LANGUAGE_COOKIE))


def _identity(request: Request) -> Identity:
    identity: Identity = request.scope[IDENTITY]
    return identity


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises InvalidInput for what a browser does not send."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        raise InvalidInput("not a form of this site", next_step="programs use the API")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS)
    except ValueError as error:  # bytes that are no text, too many fields
        raise InvalidInput(f"not a form: {error}") from None
    return dict(pairs)


def _login_page(language: Language, onward: str, problem: str) -> str:
    found = {"t": language, "identity": None, "section": "login", "live": False, "onward": onward, "problem": problem}
    return environment().get_template("login.html").render({**found, "visit": None})


def _safe_path(path: str | None) -> str:
    """Where to go after the login: a page of this site, nothing else."""
    return path if path is not None and (path == ROOT or path.startswith((f"{ROOT}/", f"{ROOT}?"))) else ROOT


async def _html(text: str, request: Request, status: int = 200) -> Response:
    """Compressed where the browser takes it: a map of 500 nodes is most of a megabyte of the same few words."""
    body, headers = text.encode(), {**_SECURITY, "vary": "accept-encoding, accept-language, cookie"}
    if len(body) >= _COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        compress = partial(gzip.compress, body, _COMPRESSION, mtime=0)
        body = compress() if len(body) < _COMPRESSED_APART_FROM else await asyncio.to_thread(compress)
        headers["content-encoding"] = "gzip"
    return HTMLResponse(body, status, headers)


def _go(path: str) -> Response:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, {"cache-control": "no-store"})
