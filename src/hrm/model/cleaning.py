"""What is cleared away on nodes, and what that freed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


class Cleanable(StrEnum):
    """What can be cleared away."""

    APPS = "apps"  #: applications that are over, with tasks and history, and all that they left on nodes
    LOGS = "logs"  #: output of containers of applications that are over
    SCRATCH = "scratch"  #: directories of such containers
    UPLOADS = "uploads"  #: what was uploaded for applications that are over


_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """How long and how much is kept of what is over. Ages are seconds since its end."""

    applications_age_s: float = 30 * _DAY_S
    #: Of applications that are over, the newest so many.
    applications: int = 100_000
    #: The newest so many lines of the event log; older than an application may be, they go too.
    events: int = 1_000_000
    #: Of the output on each node.
    logs_age_s: float = 14 * _DAY_S
    logs_bytes: int = 10 << 30
    #: Of containers' directories on each node.
    scratch_age_s: float = 3 * _DAY_S
    scratch_bytes: int = 10 << 30
    #: Of uploads, since an application was submitted with them last; of those of all users.
    uploads_age_s: float = 7 * _DAY_S
    uploads_bytes: int = 50 << 30

    @property
    def on_nodes(self) -> CleanPolicy:
        return CleanPolicy(
            scratch_age_s=self.scratch_age_s,
            scratch_bytes=self.scratch_bytes,
            logs_age_s=self.logs_age_s,
            logs_bytes=self.logs_bytes,
        )
