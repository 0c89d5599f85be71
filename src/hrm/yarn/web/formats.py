"""Answers and bodies as JSON and XML, from one value: in XML each key, and each thing in a list, is an element."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response

from hrm.config.yarn.xml import Element, parse_xml
from hrm.model.errors import CallerError, Forbidden, HrmError, NotFound, TooLarge, Unauthenticated
from hrm.yarn.errors import (
    AccessDenied,
    ApplicationAttemptNotFound,
    ApplicationNotFound,
    ContainerNotFound,
    IllegalArgument,
    InvalidToken,
    Retriable,
    Unsupported,
    YarnError,
)

MAX_BODY_BYTES = 8 << 20
#: Of which release this interface is.
HADOOP_VERSION = "3.3 (HRM)"
_WEB = "org.apache.hadoop.yarn.webapp."
#: Nothing that is told here is a page: no script of a master's page may read it in a window or frame of its own.
SEALED = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class BadRequest(YarnError):
    """What was sent cannot be read, or says what cannot be."""

    java_class = f"{_WEB}BadRequestException"


class NoSuchPage(YarnError):
    """Nothing is told here."""

    java_class = f"{_WEB}NotFoundException"


class NoIdentity(YarnError):
    """Nothing proves who asks."""

    java_class = "org.apache.hadoop.security.authorize.AuthorizationException"


class BadGateway(YarnError):
    """The master's page cannot be had."""

    java_class = "java.io.IOException"


def wants_xml(request: Request) -> bool:
    """JSON unless XML alone, or XML first, is asked for."""
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    for kind in accepted:
        if kind in ("application/xml", "text/xml"):
            return True
        if kind in ("application/json", "*/*", "application/*"):
            return False
    return False


def answer(
    request: Request, name: str, value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """``{name: value}``, or an element ``name``."""
    if wants_xml(request):
        body, kind = f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>{xml(name, value)}', "application/xml"
    else:
        body, kind = json.dumps({name: value}, separators=(",", ":")), "application/json"
    return Response(body, status, headers={**SEALED, **(headers or {})}, media_type=kind)


def plain_answer(request: Request, name: str, value: Mapping[str, Any], status: int = 200) -> Response:
    """The keys themselves in JSON, as YARN answers to changes; in XML an element ``name``."""
    if wants_xml(request):
        return answer(request, name, value, status)
    return Response(json.dumps(value, separators=(",", ":")), status, headers=SEALED, media_type="application/json")


def xml(name: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case dict():
            return f"<{name}>{''.join(xml(key, inner) for key, inner in value.items())}</{name}>"
        case list():
            return "".join(xml(name, inner) for inner in value)
        case bool():
            return f"<{name}>{'true' if value else 'false'}</{name}>"
        case _:
            # What XML cannot hold at all.
            text = "".join(char if char >= " " or char in "\t\n\r" else "�" for char in str(value))
            return f"<{name}>{escape(text)}</{name}>"


def error_answer(request: Request, error: Exception) -> Response:
    """As Hadoop's: the name of a Java class with the message."""
    status, java_class = _status(error)
    message = str(error)
    remote = {
        "exception": java_class.rpartition(".")[2],
        "message": message,
        "javaClassName": java_class,
    }
    return answer(request, "RemoteException", remote, status)


def _status(error: Exception) -> tuple[int, str]:
    match error:
        case ApplicationNotFound() | ApplicationAttemptNotFound() | ContainerNotFound() | NoSuchPage():
            return 404, NoSuchPage.java_class
        case NoIdentity():
            return 401, error.java_class
        case AccessDenied():
            return 403, error.java_class
        case Retriable():
            return 503, error.java_class
        case BadGateway():
            return 502, error.java_class
        case IllegalArgument():
            return 400, BadRequest.java_class
        case InvalidToken():
            return 401, error.java_class
        case Unsupported():
            return 405, error.java_class
        case YarnError():
            return 400, error.java_class
        case NotFound():
            return 404, NoSuchPage.java_class
        case Unauthenticated():
            return 401, NoIdentity.java_class
        case Forbidden():
            return 403, AccessDenied.java_class
        case TooLarge():
            return 413, BadRequest.java_class
        case CallerError():
            return 400, BadRequest.java_class
        case HrmError():
            return 503, Retriable.java_class
        case _:
            return 500, f"{_WEB}WebApplicationException"


async def body_of(request: Request) -> dict[str, Any]:
    """What was sent, without the outermost element of XML. Raises BadRequest and TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/xml"):
        # Forms of other sites' pages can send neither of the two.
        raise BadRequest(f"send application/json or application/xml, not {kind or 'nothing said'!r:.60}")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes", next_step="pass large input as files")
    if kind == "application/xml":
        found = _value(parse_xml(bytes(raw), "the body"))
    else:
        try:
            found = json.loads(bytes(raw))
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadRequest("the body is no object with named values")
    return found


def _value(element: Element) -> Any:
    if not element.children:
        return element.text
    found: dict[str, Any] = {}
    for child in element.children:
        value = _value(child)
        if child.name not in found:
            found[child.name] = value
        elif isinstance(found[child.name], list):
            found[child.name].append(value)
        else:
            found[child.name] = [found[child.name], value]
    return found
