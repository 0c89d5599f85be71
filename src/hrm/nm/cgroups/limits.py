"""What one container may use, as the kernel is to hold it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

#: Less is not enforced: below this the kernel's own bookkeeping for a program that starts may be all there is.
MIN_MEMORY_MIB = 8


#: Of `Limits.processes`: not even one.
NO_MORE = -1


class Limits(NamedTuple):
    """Of one container."""

    #: 0 iff not limited.
    memory_mib: int = 0
    #: Thousandths of a CPU: its share when others want them too.
    cpus_milli: int = 1000
    #: True iff ``cpus_milli`` is all it gets, also on an idle machine.
    strict_cpus: bool = False
    #: Processes and threads; 0 iff not limited, `NO_MORE` iff there may be no new ones.
    processes: int = 0
    #: (major, minor) of the GPUs' character devices that it may open; all others are denied.
    devices: tuple[tuple[int, int], ...] = ()
    #: So many CPUs it is to have for itself; 0 iff it shares what others leave; None iff nobody is pinned.
    own_cpus: int | None = None
    #: Numbers of the CPUs that it may run on, as the shepherd decides; () iff on all.
    cpus: tuple[int, ...] = ()

    @property
    def held_memory_mib(self) -> int:
        """What the kernel is told."""
        return max(self.memory_mib, MIN_MEMORY_MIB) if self.memory_mib else 0

    def as_fields(self) -> dict[str, Any]:
        """For a message or a record."""
        return self._asdict()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Limits:
        """From `as_fields`, JSON between. Raises KeyError, TypeError and ValueError."""
        return cls(
            memory_mib=int(fields["memory_mib"]),
            cpus_milli=int(fields["cpus_milli"]),
            strict_cpus=bool(fields["strict_cpus"]),
            processes=int(fields["processes"]),
            devices=tuple((int(major), int(minor)) for major, minor in fields["devices"]),
            # A record of an earlier version has none of these.
            own_cpus=None if (own := fields.get("own_cpus")) is None else int(own),
            cpus=tuple(map(int, fields.get("cpus", ()))),
        )
