"""JSON in and out. msgspec encodes the reports as they are: no second set of models, 10,000 rows in milliseconds."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hrm.model.error_codec import error_to_dict
from hrm.model.errors import CallerError, HrmError, InvalidInput, TooManyRequests, Unauthenticated

_encoder = msgspec.json.Encoder()
#: Rows encoded in one go; between two goes others have their turn on the loop.
_SLICE = 500
#: Of a text that says why.
MAX_MESSAGE_CHARS = 1000


def to_json(value: Any) -> bytes:
    """``value`` (reports, dicts, lists) as JSON."""
    return _encoder.encode(value)


def json_response(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


async def json_list_response(rows: Sequence[Any]) -> Response:
    """A list of reports; a long one is encoded in slices, so that it does not hold the loop."""
    if len(rows) <= _SLICE:
        return json_response(rows)
    parts = []
    for start in range(0, len(rows), _SLICE):
        parts.append(to_json(rows[start : start + _SLICE])[1:-1])
        await asyncio.sleep(0)
    return Response(b"[" + b",".join(parts) + b"]", media_type="application/json")


def error_response(error: HrmError) -> Response:
    """The one form in which every error leaves, see `hrm.model.error_codec`."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, TooManyRequests):
        headers["retry-after"] = "1"
    return Response(to_json(error_to_dict(error)), error.http_status, headers, media_type="application/json")


async def read_object(request: Request, known: Collection[str]) -> Mapping[str, Any]:
    """The body as a JSON object with none but ``known`` names; no body is an empty one. Raises CallerError."""
    body = await request.body()
    if not body:
        return {}
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise CallerError(f"the body is not JSON: {problem}", next_step="send one JSON object in UTF-8") from None
    if not isinstance(data, dict):
        raise InvalidInput("the body must be a JSON object", next_step=f"known fields: {', '.join(known)}")
    for name in data:
        check_known(name, known, what="field")
    return data


def check_known(name: str, known: Collection[str], *, what: str) -> None:
    """Raises InvalidInput, with the nearest right name, iff ``name`` is none of ``known``."""
    if name in known:
        return
    near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
    raise InvalidInput(f"unknown {what} {name[:40]!r}", next_step=hint)


def text_in(body: Mapping[str, Any], name: str, max_chars: int) -> str | None:
    """The text under ``name``, None where there is none. Raises InvalidInput."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > max_chars or not value.isprintable():
        raise InvalidInput(f"must be 1 to {max_chars} printable characters", field=name)
    return value
