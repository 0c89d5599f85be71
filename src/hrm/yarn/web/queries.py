"""What stands behind the question mark of a request."""

from __future__ import annotations

import math

from starlette.requests import Request

from hrm.yarn.web.formats import BadRequest


def words(request: Request, key: str) -> list[str]:
    """Given once with commas, or again and again."""
    return [word.strip() for text in request.query_params.getlist(key) for word in text.split(",") if word.strip()]


def whole(request: Request, key: str) -> int | None:
    """Raises BadRequest for what is no whole number."""
    value = request.query_params.get(key)
    if value is None or value == "":
        return None
    if not value.removeprefix("-").isdecimal() or len(value) > 20:
        raise BadRequest(f"{key}: not a whole number: {value[:40]!r}")
    return int(value)


def seconds(request: Request, key: str) -> float | None:
    """Raises BadRequest for what is no number."""
    value = request.query_params.get(key)
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise BadRequest(f"{key}: not a number: {value[:40]!r}")
    return found


def choice(request: Request, key: str, allowed: tuple[str, ...]) -> str | None:
    """One of ``allowed``, in capitals; None where it is not said. Raises BadRequest."""
    value = request.query_params.get(key, "").strip().upper()
    if value and value not in allowed:
        raise BadRequest(f"{key}: {value[:40]!r} is none of {', '.join(allowed)}")
    return value or None
