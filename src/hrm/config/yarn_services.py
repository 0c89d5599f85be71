"""The key `yarn.auxiliary_services` of ``hrm.yaml``: programs that run on every node beside containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from hrm.config.documents import Document
from hrm.config.fields import Strict
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.errors import InvalidInput

_KEY = ("yarn", "auxiliary_services")


class ServiceShape(Strict):
    """One of them as it is written."""

    command: list[str] = Field(description="Program and arguments.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Port on which it listens when it is ready.")
    env: dict[str, str] | None = Field(default=None, description="Variables of its environment.")
    user: str | None = Field(default=None, min_length=1, description="As whom it runs; default: the server's own user.")


def auxiliary_services(shapes: Mapping[str, ServiceShape]) -> tuple[AuxiliaryService, ...]:
    """Raises InvalidInput."""
    return tuple(_service(name, shape) for name, shape in shapes.items())


def _service(name: str, shape: ServiceShape) -> AuxiliaryService:
    return AuxiliaryService(
        name=name, command=tuple(shape.command), port=shape.port, env=shape.env or {}, user=shape.user
    )


def plain_services(services: tuple[AuxiliaryService, ...]) -> dict[str, Any]:
    """In the keys of the file."""
    return {
        one.name: {
            "command": list(one.command),
            **({} if one.port is None else {"port": one.port}),
            **({"env": dict(one.env)} if one.env else {}),
            **({} if one.user is None else {"user": one.user}),
        }
        for one in services
    }


def check_services(document: Document, shapes: Mapping[str, ServiceShape]) -> None:
    """Add a finding for each rule that they break."""
    ports: dict[int, str] = {}
    users: set[str] = set()
    for name, shape in shapes.items():
        try:
            _service(name, shape)
        except InvalidInput as error:
            document.add_error((*_KEY, name), error)
        if shape.port is not None and (other := ports.setdefault(shape.port, name)) != name:
            document.add((*_KEY, name, "port"), f"{other} listens on {shape.port}", next_step="choose another")
        if shape.user is not None:
            users.add(shape.user)
        if len(users) > 1:
            document.add(
                (*_KEY, name, "user"),
                f"services run as {' and '.join(sorted(users))}: what containers leave for them one group can read",
                next_step="have them run as one user",
            )
