"""One container that was started and is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hrm.nm.shepherd.launches import Launches
from hrm.nm.shepherd.pump import Stream
from hrm.nm.shepherd.terminal import Terminal

if TYPE_CHECKING:
    from hrm.nm.cgroups.pool import Slot


class Container:
    """The shepherd's memory of it. What must outlive the shepherd is in its record."""

    __slots__ = (
        "account",
        "by_signals",
        "code",
        "cpu_s",
        "cpus",
        "failure",
        "frozen",
        "id",
        "identity",
        "keeper_fd",
        "lapsed",
        "launch",
        "launches",
        "limits",
        "localized",
        "log_limit_bytes",
        "max_rss_mib",
        "notice",
        "own_cpus",
        "pid",
        "pidfd",
        "record_fd",
        "slot",
        "started_at",
        "stopped",
        "streams",
        "telling_dropped",
        "terminal",
        "told_fd",
        "verdict",
        "write_fds",
    )

    def __init__(self, container_id: str) -> None:
        self.id = container_id
        self.pid = -1
        self.started_at = 0.0
        self.record_fd = -1
        self.streams: list[Stream] = []
        #: A write end of its input, so that a NodeManager that dies does not look like the end of input; -1 if none.
        self.keeper_fd = -1
        self.terminal: Terminal | None = None
        #: Set iff another shepherd started it: it can be watched but not waited for. Else -1.
        self.pidfd = -1
        #: Whose it is ({"name", "uid", "gid", "groups"}), None iff the shepherd's own user's.
        self.account: dict[str, Any] | None = None
        #: What it may use, in the fields of `hrm.nm.cgroups.limits.Limits`; None iff nothing is to be enforced.
        self.limits: dict[str, Any] | None = None
        #: What its run record says of it, to be written anew when that changes; None iff it has none.
        self.identity: dict[str, Any] | None = None
        #: CPUs that it has for itself; () iff none.
        self.own_cpus: tuple[int, ...] = ()
        #: CPUs that it runs on; () iff on any.
        self.cpus: tuple[int, ...] = ()
        #: Its cgroups, None iff it has none.
        self.slot: Slot | None = None
        #: Why it was killed, if not by somebody's wish: that is how it ended then, whatever its exit code.
        self.verdict = ""
        #: Why it is to end for others, and when, as it was told; None iff it is not, or nobody here said so.
        self.notice: dict[str, Any] | None = None
        #: True iff it is killed because its lease has run out.
        self.lapsed = False
        #: True iff all of it is halted, or about to be; and whether by signals, not by a cgroup.
        self.frozen = False
        self.by_signals = False
        #: True iff it was told to end.
        self.stopped = False
        #: True iff the count of what was dropped is about to be told.
        self.telling_dropped = False
        #: The number of the launch that runs or ran last, and how it stands with those to come; None iff there are
        #: none, as far as anybody said.
        self.launch = 1
        self.launches: Launches | None = None
        #: Of the launches that are over: how the last one ended, their CPU time, and the most memory of any of them.
        self.code = 0
        self.cpu_s = 0.0
        self.max_rss_mib = 0
        #: Ends of its output's pipes that the next launch writes to; [] iff none were kept.
        self.write_fds: list[int] = []
        self.log_limit_bytes = 0
        #: Of a launch but the first: says why it does not become its program, and ends when it has; -1 after that.
        self.told_fd = -1
        self.failure: dict[str, Any] | None = None
        #: (state, why) of files that were asked for while it ran, by the names under which they are found.
        self.localized: dict[str, tuple[str, str]] = {}

    @property
    def owner(self) -> tuple[int, int] | None:
        """User and group of what is made for it; None iff the shepherd's own."""
        return (self.account["uid"], self.account["gid"]) if self.account else None

    @property
    def dropped(self) -> list[int]:
        """Bytes of stdout and of stderr that the limit dropped."""
        return ([stream.dropped_bytes for stream in self.streams] + [0, 0])[:2]

    def report(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "pid": self.pid,
            "started_at": self.started_at,
            "dropped": self.dropped,
            "limits": self.limits,
            "launch": self.launch,
            "message": self.launches.notes[-1] if self.launches and self.launches.notes else "",
        }
