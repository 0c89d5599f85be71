"""Whose each part of each GPU is: what containers hold, by device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

from hrm.model.reports import ContainerReport, DeviceReport
from hrm.model.resources import GPUS

#: For so long a container may hold a GPU before a process of it is to be seen there.
GRACE_S = 120.0
#: Hues that the style sheet has.
HUES = 12


@dataclass(frozen=True, slots=True)
class Held:
    """A part of one device, in thousandths, and who holds it."""

    milli: int
    user: str
    application_id: str
    container_id: str
    #: The user's.
    hue: int
    #: Since when, in epoch seconds.
    since: float


def hues_of(users: Iterable[str]) -> dict[str, int]:
    """Each user's own hue by their name, so that it stays the same; where two would have one, the next that is free."""
    found: dict[str, int] = {}
    taken: set[int] = set()
    for user in sorted(set(users)):
        first = crc32(user.encode()) % HUES
        free = (hue % HUES for hue in range(first, first + HUES) if hue % HUES not in taken)
        found[user] = next(free, first)
        taken.add(found[user])
    return found


def held_by_device(containers: Iterable[ContainerReport], users: Mapping[str, str]) -> dict[str, list[Held]]:
    """What is held of each device, by its id; ``users`` says whose an application is."""
    found: dict[str, list[Held]] = {}
    hues = hues_of(users.values())
    for container in containers:
        devices = container.device_ids
        for device_id in devices:
            milli = container.resources.get(GPUS, 0) // len(devices)
            user = users.get(container.application_id, "")
            since = container.allocated_at if container.started_at is None else container.started_at
            held = Held(milli, user, container.application_id, container.container_id, hues.get(user, 0), since)
            found.setdefault(device_id, []).append(held)
    return found


def unused(devices: Iterable[DeviceReport], held: Mapping[str, list[Held]], now: float) -> set[str]:
    """Devices that somebody has held for a while without a process on them, as far as the driver tells of processes."""
    return {
        device.device_id
        for device in devices
        if device.utilisation_percent is not None
        and not any(process.container_id for process in device.processes)
        and (parts := held.get(device.device_id))
        and all(now - part.since > GRACE_S for part in parts)
    }
