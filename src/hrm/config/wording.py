"""Puts what pydantic found into our words: paths of keys, plain sentences, the nearest right key or value."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel, ValidationError

from hrm.config.keys import KeyPath, suggest

_WANTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
}
_BOUNDS = {
    "greater_than_equal": ("must be at least", "ge"),
    "greater_than": ("must be above", "gt"),
    "less_than_equal": ("must be at most", "le"),
    "less_than": ("must be below", "lt"),
}


def word_findings(errors: ValidationError, shape: type[BaseModel]) -> Iterator[tuple[KeyPath, str, str]]:
    """Each error as (path, problem, next step)."""
    for error in errors.errors(include_url=False):
        path = tuple(error["loc"])
        kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
        if kind == "extra_forbidden":
            outer = shape_at(shape, path[:-1])
            yield path, "unknown key", suggest(str(path[-1]), outer.model_fields if outer else ())
        elif kind == "missing":
            yield path, "is missing", "add it"
        elif kind == "enum":
            yield path, f"not known: {_shown(given)}", suggest(str(given), _choices(shape, path))
        elif kind == "hrm":
            yield path, str(context["problem"]), str(context["next_step"])
        elif kind in _BOUNDS:
            words, bound = _BOUNDS[kind]
            yield path, f"{words} {context[bound]}, not {_shown(given)}", ""
        elif kind in _WANTED:
            yield path, f"{_WANTED[kind]}, not {_shown(given)}", ""
        else:
            message = error["msg"]
            yield path, f"{message[:1].lower()}{message[1:]}: {_shown(given)}", ""


def inner_shape(annotation: Any) -> tuple[type[BaseModel] | None, KeyPath]:
    """The model inside ``X``, ``X | None``, ``list[X]`` or ``dict[str, X]``, and "*" where a name or index comes."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ()
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        found = [inner_shape(arg) for arg in args if arg is not type(None)]
        return found[0] if found else (None, ())
    if origin in (dict, list) and args:
        return inner_shape(args[-1])[0], ("*",)
    return None, ()


def shape_at(shape: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model that the keys at ``path`` belong to."""
    current: type[BaseModel] | None = shape
    rest = list(path)
    while rest and current is not None:
        field = current.model_fields.get(str(rest.pop(0)))
        if field is None:
            return None
        current, wild = inner_shape(field.annotation)
        del rest[: len(wild)]
    return current


def _choices(shape: type[BaseModel], path: KeyPath) -> list[str]:
    outer = shape_at(shape, path[:-1])
    field = outer.model_fields.get(str(path[-1])) if outer else None
    pending = [field.annotation] if field else []
    while pending:
        kind: Any = pending.pop()
        if isinstance(kind, type) and issubclass(kind, Enum):
            return [str(member.value) for member in kind]
        pending += typing.get_args(kind)
    return []


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
