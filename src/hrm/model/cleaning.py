"""What is cleared away on nodes, and what that freed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPolicy:
    """How long and how much a node keeps of containers that are over and acknowledged.

    Ages are seconds since a container's end, sizes bytes of all of a kind together; beyond them the oldest go first.
    None is no limit.
    """

    #: The containers' own directories.
    scratch_age_s: float | None = None
    scratch_bytes: int | None = None
    #: Their output.
    logs_age_s: float | None = None
    logs_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What was cleared away, or would be. Counts are of containers."""

    scratch: int = 0
    scratch_bytes: int = 0
    logs: int = 0
    logs_bytes: int = 0
    #: True iff the time was over before all was done: there is more.
    more: bool = False

    def __add__(self, other: Freed) -> Freed:
        return Freed(
            scratch=self.scratch + other.scratch,
            scratch_bytes=self.scratch_bytes + other.scratch_bytes,
            logs=self.logs + other.logs,
            logs_bytes=self.logs_bytes + other.logs_bytes,
            more=self.more or other.more,
        )
