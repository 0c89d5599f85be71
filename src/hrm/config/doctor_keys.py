"""The section `doctor` of ``hrm.yaml``: its keys are the fields of `hrm.doctor.expected.Expected`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import Field, create_model

from hrm.config.documents import Document
from hrm.config.fields import Age, MemoryMib, PartOfAll, Strict
from hrm.doctor.expected import Expected
from hrm.doctor.expected.about import ABOUT
from hrm.doctor.own.checks import MAX_SCRIPT_S
from hrm.doctor.own.lines import parse_line

#: By the unit at the end of a field: how the value is written, and how it is shown. The key goes without the unit.
_UNITS: Mapping[str, tuple[Any, Callable[[Any], str]]] = {
    "_s": (Age, lambda value: f"{value:.15g}s"),
    "_mib": (MemoryMib, lambda value: f"{value}M"),
    "_part": (PartOfAll, lambda value: f"{value * 100:.15g}%"),
}


def expected_of(shape: Strict | None) -> Expected:
    """What the section says, defaults filled in."""
    said = {} if shape is None else shape.model_dump(exclude_none=True)
    return msgspec.convert(_with_units(Expected, said), Expected)


def check_doctor(document: Document, shape: Any) -> None:
    """Add a finding for each line of `doctor.checks` that the doctor would not understand."""
    if shape is None:
        return
    for number, line in enumerate(shape.checks or ()):
        try:
            parse_line(line)
        except ValueError as error:
            document.add(("doctor", "checks", number), str(error), next_step="see docs/doctor.md for all words")
    script = shape.health_script
    if script is not None and script.timeout is not None and script.timeout > MAX_SCRIPT_S:
        document.add(
            ("doctor", "health_script", "timeout"),
            f"{script.timeout:g} s: at most {MAX_SCRIPT_S:g}s",
            next_step="have a slow script write its answer to a file, and print that",
        )


def plain_doctor(expected: Expected) -> dict[str, Any]:
    """In the keys of the file; what is as by default is left out."""
    return _differing(expected, Expected())


def _with_units(kind: type, said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass from keys of the file."""
    hints = get_type_hints(kind)
    named = {_key(one.name): one.name for one in fields(kind)}
    return {named[key]: _inner_units(hints[named[key]], value) for key, value in said.items()}


def _inner_units(hint: Any, value: Any) -> Any:
    if isinstance(value, Mapping) and is_dataclass(hint) and isinstance(hint, type):
        return _with_units(hint, value)
    if isinstance(value, list):
        return [_inner_units(get_args(hint)[0], inner) for inner in value]
    return value


def _differing(said: Any, default: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for one in fields(said):
        value, usual = getattr(said, one.name), getattr(default, one.name)
        if value == usual:
            continue
        if is_dataclass(value) and is_dataclass(usual):
            plain[_key(one.name)] = _differing(value, usual)
        else:
            plain[_key(one.name)] = _plain(one.name, value)
    return plain


def _plain(name: str, value: Any) -> Any:
    if is_dataclass(value):
        inner = ((one.name, getattr(value, one.name)) for one in fields(value))
        return {_key(key): _plain(key, held) for key, held in inner if held is not None}
    if isinstance(value, tuple | list):
        return [_plain("", inner) for inner in value]
    if isinstance(value, Mapping):
        return dict(value)
    unit = _unit(name)
    return _UNITS[unit][1](value) if unit and value is not None else value


def _unit(name: str) -> str:
    return next((unit for unit in _UNITS if name.endswith(unit)), "")


def _key(name: str) -> str:
    return name.removesuffix(_unit(name)) if _unit(name) else name


def _shape(kind: type, title: str) -> type[Strict]:
    """A pydantic model with the fields of a dataclass, each of which may be left out if it has a default there."""
    hints = get_type_hints(kind)
    keys: dict[str, Any] = {}
    for one in fields(kind):
        hint = _UNITS[_unit(one.name)][0] if _unit(one.name) else _hint(hints[one.name])
        about = _about(one.metadata, hints[one.name])
        if one.default is MISSING and one.default_factory is MISSING:
            keys[_key(one.name)] = (hint, Field(description=about))
        else:
            keys[_key(one.name)] = (hint | None, Field(default=None, description=about))
    return create_model(title, __base__=Strict, __doc__=kind.__doc__, **keys)


def _about(metadata: Mapping[str, str], hint: Any) -> str:
    return metadata.get(ABOUT) or (hint.__doc__ or "").partition("\n")[0].replace("``", "`")


def _hint(hint: Any) -> Any:
    """The same for pydantic: lists for tuples, models for dataclasses."""
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _shape(hint, hint.__name__)
    if origin is tuple:
        return list[_hint(inner[0])]  # type: ignore[misc]
    if origin in (Union, UnionType):
        return Union[tuple(_hint(one) for one in inner)]  # noqa: UP007 (of a tuple that is known at run time)
    if inner and isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, _hint(inner[1])]  # type: ignore[misc]
    return hint


DoctorShape = _shape(Expected, "DoctorShape")
