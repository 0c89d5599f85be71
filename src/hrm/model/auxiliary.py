"""Auxiliary services: programs that run on every node beside containers and serve them (YARN's AuxiliaryService)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hrm.model.errors import InvalidInput

#: What a node offers that has one which runs (`hrm.model.nodes.NodeSpec.offers`) begins with this.
_OFFER = "auxiliary service "
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuxiliaryService:
    """A program, and how containers find it. Raises InvalidInput.

    In ``command`` and the values of ``env``, ``{{LOCAL_DIRS}}`` is the folder of the applications' directories on the
    node, ``{{PWD}}`` its own, where it begins each time, and ``{{PORT}}`` its port.
    """

    #: By which containers ask for it: ``spark_shuffle``.
    name: str
    #: Program and arguments; no shell reads them.
    command: tuple[str, ...]
    #: Added to what every container finds.
    env: Mapping[str, str] = field(default_factory=dict)
    #: The TCP port on which it listens when it is ready; None iff it listens on none.
    port: int | None = None
    #: As whom it runs; None iff as the server's own user.
    user: str | None = None
    #: Bytes kept of each of its stdout and stderr, for each of its lives.
    log_limit_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"not a name of a service: {self.name!r:.80}",
                next_step="letters, digits and underscores, no digit first, as spark_shuffle",
            )
        if not self.command or not self.command[0]:
            raise InvalidInput("is empty", field="command", next_step="name the program and its arguments")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise InvalidInput(f"not a variable: {name!r:.80}", field="env")
        if any("\0" in word for word in self.command):
            raise InvalidInput("has a NUL byte", field="command")

    @property
    def digest(self) -> str:
        """Of all that it is started with: what runs under another one is not it."""
        fields = [self.command, sorted(self.env.items()), self.port, self.user, self.log_limit_bytes]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:12]

    @property
    def meta_data(self) -> bytes:
        """What masters are told of it: its port, four bytes, the highest first (Hadoop's ShuffleHandler); b"": none."""
        return b"" if self.port is None else self.port.to_bytes(4, "big")

    @property
    def offer(self) -> str:
        """What a node offers on which it runs."""
        return f"{_OFFER}{self.name}"


def running_services(offers: Iterable[str]) -> list[str]:
    """Names of the services that run on a node that offers this."""
    return sorted(offer.removeprefix(_OFFER) for offer in offers if offer.startswith(_OFFER))
