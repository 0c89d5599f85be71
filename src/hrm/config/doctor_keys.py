"""The section `doctor` of ``hrm.yaml``: its keys are the fields of `hrm.doctor.expected.Expected`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import Field, create_model

from hrm.config.fields import Strict
from hrm.doctor.expected import Expected
from hrm.doctor.expected.about import ABOUT


def expected_of(shape: Strict | None) -> Expected:
    """What the section says, defaults filled in."""
    return msgspec.convert({} if shape is None else shape.model_dump(exclude_none=True), Expected)


def plain_doctor(expected: Expected) -> dict[str, Any]:
    """In the keys of the file; what is as by default is left out."""
    return _differing(asdict(expected), asdict(Expected()))


def _differing(said: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for key, value in said.items():
        if isinstance(value, Mapping) and isinstance(default.get(key), Mapping):
            value = _differing(value, default[key])
            if value:
                plain[key] = value
        elif value != default.get(key):
            plain[key] = _listed(value)
    return plain


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(inner) for key, inner in value.items() if inner is not None}
    return [_listed(inner) for inner in value] if isinstance(value, tuple | list) else value


def _shape(kind: type, title: str) -> type[Strict]:
    """A pydantic model with the fields of a dataclass, each of which may be left out if it has a default there."""
    hints = get_type_hints(kind)
    keys: dict[str, Any] = {
        one.name: (
            _hint(hints[one.name]) | None,
            Field(default=None, description=_about(one.metadata, hints[one.name])),
        )
        for one in fields(kind)
    }
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
