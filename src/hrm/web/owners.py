"""Whose each part of each GPU is: what containers hold, by device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

from hrm.model.reports import ContainerReport
from hrm.model.resources import GPUS

#: Hues that the style sheet has for owners.
HUES = 8


@dataclass(frozen=True, slots=True)
class Held:
    """A part of one device, in thousandths, and who holds it."""

    milli: int
    user: str
    application_id: str
    container_id: str

    @property
    def hue(self) -> int:
        """The same for the same user on every page and after a restart."""
        return crc32(self.user.encode()) % HUES


def held_by_device(containers: Iterable[ContainerReport], users: Mapping[str, str]) -> dict[str, list[Held]]:
    """What is held of each device, by its id; ``users`` says whose an application is."""
    found: dict[str, list[Held]] = {}
    for container in containers:
        devices = container.device_ids
        for device_id in devices:
            milli = container.resources.get(GPUS, 0) // len(devices)
            user = users.get(container.application_id, "")
            held = Held(milli, user, container.application_id, container.container_id)
            found.setdefault(device_id, []).append(held)
    return found
