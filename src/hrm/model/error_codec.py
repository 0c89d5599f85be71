"""Errors as plain JSON values, so that a client raises what the server raised.

``{"error": {"code": "invalid_input", "message": "groups[0].tasks: must be from 1 to 100000: 0",
"field": "groups[0].tasks", "next_step": ""}}``; ``field`` is there iff the error names one.
"""

from __future__ import annotations

from typing import Any

from hrm.model.errors import BY_CODE, HrmError, InvalidInput


def error_to_dict(error: HrmError) -> dict[str, Any]:
    """The form above."""
    body: dict[str, Any] = {"code": error.code, "message": error.message, "next_step": error.next_step}
    if isinstance(error, InvalidInput) and error.field:
        body["field"] = error.field
    return {"error": body}


def error_from_dict(data: object) -> HrmError | None:
    """The error that ``data`` describes; None iff it describes none, as when something else than HRM answered.

    A code that this version does not know becomes a plain HrmError with the same words.
    """
    body = data.get("error") if isinstance(data, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        return None
    message, field, next_step = (str(body.get(name) or "") for name in ("message", "field", "next_step"))
    kind = BY_CODE.get(body["code"], HrmError)
    if issubclass(kind, InvalidInput):
        return kind(message.removeprefix(f"{field}: ") if field else message, field=field, next_step=next_step)
    return kind(message, next_step=next_step)
