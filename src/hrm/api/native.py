"""HRM's own REST interface, ``/api/v1``: translation between HTTP and the facade, nothing else.

All routes need to know who calls (`hrm.api.guards`), save ``/healthz`` (says only "ok") and the OpenAPI document (says
what the source says; tools fetch it before they know a token). The interactive pages of FastAPI are off: they load
scripts from elsewhere and would ask for a token on the same page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from hrm import __version__
from hrm.api.accounts import Accounts
from hrm.api.applications import add_application_routes
from hrm.api.cluster import add_cluster_routes
from hrm.api.files import add_file_routes
from hrm.api.guards import Authentication, BodyLimit, Boundary, HostGuard, RateLimit
from hrm.api.logs import add_log_routes
from hrm.api.masters import add_master_routes
from hrm.api.metrics import add_metrics_route
from hrm.api.node_words import add_node_word_routes
from hrm.api.schemas import install_openapi
from hrm.api.settings import PREFIX, ApiSettings
from hrm.api.streams import StreamGate
from hrm.api.tokens import TokenAuthority
from hrm.api.wire import check_known, error_response
from hrm.model.errors import CallerError, HrmError, InvalidInput, NotFound
from hrm.model.reports import ReloadReport
from hrm.rm.facade import Facade

OPENAPI_PATH = f"{PREFIX}/openapi.json"
HEALTH_PATH = "/healthz"
#: Paths that need no token.
PUBLIC = (HEALTH_PATH, OPENAPI_PATH)


def create_app(
    facade: Facade,
    *,
    tokens: TokenAuthority,
    settings: ApiSettings,
    reload: Callable[[], Awaitable[ReloadReport]],
    configuration: Callable[[], dict[str, Any]],
    accounts: Accounts | None = None,
) -> FastAPI:
    """The ASGI application over ``facade``; serve it with `ApiSettings.uvicorn_options`.

    ``accounts`` None: the system's. ``reload`` reads the operator's file anew and hands the queues to the facade;
    ``configuration`` says what is in force of it, in the keys of the file.
    ``app.state.streams`` is the `StreamGate`: call its ``end_all`` when the server begins to end, so that open streams
    do not hold it up.
    """
    app = FastAPI(
        title="HRM",
        version=__version__,
        description="Applications, containers, queues and nodes of one HRM server.",
        docs_url=None,
        redoc_url=None,
        openapi_url=OPENAPI_PATH,
        redirect_slashes=False,
        dependencies=[Depends(_known_query)],
    )
    accounts = accounts or Accounts()
    gate = StreamGate(settings)
    app.state.streams = gate

    # On the application itself, not by included routers: its table of routes stays flat, and a test can walk it.
    add_application_routes(app, facade, gate, accounts)
    add_log_routes(app, facade, gate, settings)
    add_file_routes(app, facade, accounts)
    add_master_routes(app, facade)
    add_cluster_routes(app, facade, gate, settings, reload, configuration, tokens)
    add_node_word_routes(app, facade)
    add_metrics_route(app, facade)
    app.add_api_route(HEALTH_PATH, _health, methods=["GET"], summary="Is it there?", include_in_schema=False)

    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    # The last one added is the outermost; the order and its reasons are told in `hrm.api.guards`.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RateLimit, requests_per_s=settings.requests_per_s, burst=settings.burst)
    app.add_middleware(
        Authentication,
        tokens=tokens,
        accounts=accounts,
        check_socket_owner=settings.check_socket_owner,
        public=PUBLIC,
    )
    app.add_middleware(HostGuard, hosts=settings.allowed_hosts, origins=settings.allowed_origins)
    app.add_middleware(Boundary)
    install_openapi(app)
    return app


async def _health() -> Response:
    return PlainTextResponse("ok")


async def _known_query(connection: HTTPConnection) -> None:
    """A query parameter nobody knows is an error: a misspelt filter must not list everything."""
    if connection.query_params:
        dependant = connection.scope["route"].dependant
        known = [parameter.alias for parameter in dependant.query_params]
        for name in connection.query_params:
            check_known(name, known, what="query parameter")


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("query", "path", "header")]
    return error_response(InvalidInput(f"{first['msg']}: {first.get('input')!r:.100}", field=".".join(place)))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known: dict[int, HrmError] = {
        404: NotFound(f"no such page: {request.url.path[:200]}", next_step=f"{OPENAPI_PATH} lists them"),
    }
    response = error_response(known.get(error.status_code) or CallerError(str(error.detail)))
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response
