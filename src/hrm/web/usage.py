"""What was used over a time, by user, queue or GPU: sums over attempts of tasks."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from hrm.model.reports import TaskAttemptReport
from hrm.model.resources import GPUS, MEMORY, VCORES

COLUMNS = ("name", "attempts", "cpu_hours", "memory_gib_hours", "gpu_hours")


class By(StrEnum):
    """What sums are made for."""

    USER = "user"
    QUEUE = "queue"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one user, queue or GPU was granted, in hours of each resource."""

    name: str
    attempts: int
    cpu_hours: float
    memory_gib_hours: float
    gpu_hours: float


def usage(attempts: Iterable[TaskAttemptReport], by: By, *, since: float, now: float) -> list[Usage]:
    """Sums of what fell between ``since`` and ``now``, the largest users of GPUs, then of CPUs, first.

    A container counts from its grant to its end: so long nobody else could have what it held.
    """
    names: dict[By, Callable[[TaskAttemptReport], list[str]]] = {
        By.USER: lambda attempt: [attempt.user],
        By.QUEUE: lambda attempt: [attempt.queue],
        By.GPU: lambda attempt: attempt.device_ids,
    }
    counts: Counter[str] = Counter()
    hours: dict[str, Counter[str]] = {}
    for attempt in attempts:
        end = now if attempt.ended_at is None else attempt.ended_at
        held_h = max(0.0, min(end, now) - max(attempt.allocated_at, since)) / 3600
        keys = names[by](attempt)
        for key in keys:
            counts[key] += 1
            sums = hours.setdefault(key, Counter())
            for resource in (VCORES, MEMORY, GPUS):
                part = attempt.resources.get(resource, 0) / (len(keys) if resource == GPUS else 1)
                sums[resource] += held_h * part  # type: ignore[assignment]
    found = [
        Usage(key, counts[key], sums[VCORES] / 1000, sums[MEMORY] / 1024, sums[GPUS] / 1000)
        for key, sums in hours.items()
    ]
    return sorted(found, key=lambda one: (-one.gpu_hours, -one.cpu_hours, one.name))


def as_csv(rows: Iterable[Usage]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_plain(row.name), row.attempts, *(f"{getattr(row, name):.6g}" for name in COLUMNS[2:])])
    return text.getvalue()


def _plain(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t")) else name
