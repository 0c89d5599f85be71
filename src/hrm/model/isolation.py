"""What keeps a container from using more than it was granted, and from seeing what is not its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IsolationMode(StrEnum):
    """How far a node goes."""

    AUTO = "auto"  #: enforce what this machine can enforce
    FULL = "full"  #: that, and do not start where memory, CPUs, processes or GPUs could not be enforced
    NONE = "none"  #: no cgroups and no limits; users and private directories stay


class Means(StrEnum):
    """How a limit is kept, the strongest first."""

    ENFORCED = "enforced"  #: the kernel refuses, or ends the container
    POLLED = "polled"  #: it is looked at now and then, and a container that is over is ended
    ADVICE = "advice"  #: nothing keeps a container from using more


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """How one resource is kept on a node."""

    #: memory, cpus, processes, gpus, io, pinning, disk or users.
    resource: str
    means: Means
    #: By what (``cgroup v1``), or why not.
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """All guards of a node."""

    guards: tuple[Guard, ...] = ()

    def __str__(self) -> str:
        """One line: ``enforced: memory, cpus (cgroup v1); polled: disk; advice: io``."""
        parts = []
        for means in Means:
            guards = [guard for guard in self.guards if guard.means is means]
            if guards:
                by = sorted({guard.by for guard in guards}) if means is Means.ENFORCED else []
                names = ", ".join(guard.resource for guard in guards)
                parts.append(f"{means}: {names} ({', '.join(by)})" if by else f"{means}: {names}")
        return "; ".join(parts) or "nothing is known"

    def missing(self, *resources: str) -> tuple[Guard, ...]:
        """Those of ``resources`` that the kernel does not enforce."""
        return tuple(
            guard for guard in self.guards if guard.resource in resources and guard.means is not Means.ENFORCED
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationSettings:
    """What a node is to do for isolation."""

    mode: IsolationMode = IsolationMode.AUTO
    #: True iff a container never gets more CPU time than it asked for, not even on an idle machine (YARN's
    #: ``strict-resource-usage``). False: its share counts only where others want the CPUs too.
    strict_cpus: bool = False
    #: True iff a container that asks for whole CPUs has them for itself (as Slurm's ``task/affinity``).
    pin_cpus: bool = False
    #: Processes and threads of one container.
    max_processes: int = 8192
    #: What a container's own directory may hold; None iff not limited.
    disk_quota_mib: int | None = None
    #: Taken from the rights of new files.
    umask: int = 0o022
