"""What a node holds its containers to: from the settings and a container's resources to what the shepherd is told."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hrm.model.containers import ContainerUsage, LaunchSpec
from hrm.model.errors import ClusterError
from hrm.model.isolation import Guard, Isolation, IsolationMode, IsolationSettings, Means
from hrm.model.resources import Resources
from hrm.nm.cgroups.limits import Limits

#: What `IsolationMode.FULL` insists on.
_ESSENTIAL = ("memory", "cpus", "processes", "gpus")
#: The shepherd's word for each resource that has another one here.
_NAMES = {"devices": "gpus"}
_POLLED = {"memory": "resident memory, each heartbeat", "processes": "counted each heartbeat"}


class Rules:
    """See the module. What the kernel enforces is known once a shepherd has answered (`learn`)."""

    def __init__(self, settings: IsolationSettings, *, as_users: bool) -> None:
        """``as_users``: containers run as whoever submitted them."""
        self.settings = settings
        self.as_users = as_users
        self.isolation = Isolation()

    def learn(self, told: Sequence[Sequence[str]]) -> None:
        """What the shepherd's kernel keeps: (resource, means, by or why not). Raises ClusterError if it is too little.

        That it is too little matters for `IsolationMode.FULL` alone.
        """
        guards = [
            Guard(resource=_NAMES.get(resource, resource), means=Means(means), by=by) for resource, means, by in told
        ]
        if self.settings.mode is IsolationMode.NONE:
            guards = [
                Guard(resource=name, means=Means.ADVICE, by="node.isolation is none") for name in (*_ESSENTIAL, "io")
            ]
        else:
            guards = [
                Guard(resource=guard.resource, means=Means.POLLED, by=_POLLED[guard.resource])
                if guard.means is Means.ADVICE and guard.resource in _POLLED
                else guard
                for guard in guards
            ]
        if self.settings.pin_cpus:
            guards = [_by_affinity(guard) for guard in guards]
        self.isolation = Isolation(guards=(*guards, self._disk(), self._users()))
        if self.settings.mode is IsolationMode.FULL and (missing := self.isolation.missing(*_ESSENTIAL)):
            reasons = {guard.resource: guard.by for guard in guards}
            reasons.update({resource: by for resource, _, by in told})
            why = "; ".join(f"{guard.resource}: {reasons[guard.resource]}" for guard in missing)
            raise ClusterError(
                f"node.isolation is full, but this machine cannot enforce {why}",
                next_step="run it as root or in a unit with Delegate=yes, or set node.isolation: auto",
            )

    def _disk(self) -> Guard:
        quota = self.settings.disk_quota_mib
        if quota is None or self.settings.mode is IsolationMode.NONE:
            return Guard(resource="disk", means=Means.ADVICE, by="no node.disk_quota")
        return Guard(resource="disk", means=Means.POLLED, by="its directory is walked now and then")

    def _users(self) -> Guard:
        if self.as_users:
            return Guard(resource="users", means=Means.ENFORCED, by="setuid")
        return Guard(resource="users", means=Means.ADVICE, by="without root all containers run as one user")

    def limits(self, spec: LaunchSpec, device_nodes: Iterable[Path]) -> dict[str, Any] | None:
        """For the shepherd; None iff nothing is to be enforced."""
        if self.settings.mode is IsolationMode.NONE:
            return None
        return Limits(
            memory_mib=spec.resources.memory_mib,
            cpus_milli=spec.resources.vcores_milli,
            strict_cpus=self.settings.strict_cpus,
            own_cpus=_whole(spec.resources.vcores_milli) if self.settings.pin_cpus else None,
            processes=self.settings.max_processes,
            devices=tuple(sorted({number for path in device_nodes if (number := _device_number(path))})),
        ).as_fields()

    def resized(self, limits: dict[str, Any], resources: Resources) -> dict[str, int]:
        """What of a container's limits is other than so much; CPUs that it has for itself stay those that it has."""
        now = {"memory_mib": resources.memory_mib, "cpus_milli": resources.vcores_milli}
        return {name: value for name, value in now.items() if limits[name] != value}

    def is_polled(self, resource: str) -> bool:
        """True iff nobody but us looks whether a container has too much of it."""
        return any(guard.resource == resource and guard.means is Means.POLLED for guard in self.isolation.guards)

    def breach(self, usage: ContainerUsage, limits: dict[str, Any] | None) -> str:
        """Why a container has to end that uses so much; "" iff it may go on."""
        if limits is None:
            return ""
        memory_mib = limits["memory_mib"]
        if memory_mib and usage.memory_mib > memory_mib and self.is_polled("memory"):
            return f"out of memory: used {usage.memory_mib} MiB of {memory_mib} MiB"
        if usage.processes > limits["processes"] > 0 and self.is_polled("processes"):
            return f"too many processes: {usage.processes} of {limits['processes']}"
        quota_mib = self.settings.disk_quota_mib
        if quota_mib is not None and usage.disk_mib > quota_mib and self.is_polled("disk"):
            return f"disk quota exceeded: its directory holds {usage.disk_mib} MiB of {quota_mib} MiB"
        return ""


def _whole(vcores_milli: int) -> int:
    """CPUs that a container can have for itself: a fraction of one is shared, and so are all that come with it."""
    return 0 if vcores_milli % 1000 else vcores_milli // 1000


def _by_affinity(guard: Guard) -> Guard:
    if guard.resource != "pinning" or guard.means is not Means.ADVICE:
        return guard
    return Guard(resource="pinning", means=Means.ADVICE, by=f"affinity, which a program can change: {guard.by}")


def _device_number(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (os.major(status.st_rdev), os.minor(status.st_rdev)) if stat.S_ISCHR(status.st_mode) else None
