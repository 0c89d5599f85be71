"""Whose the processes on a GPU are: HRM's containers', another engine's containers', or somebody's own."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterable, Mapping

from hrm.model.devices import DeviceProcess
from hrm.nm.shepherd import processes

_MAX_ANCESTORS = 64
#: ``/docker/ID`` (cgroupfs) and ``docker-ID.scope`` (systemd), and the same of podman, containerd and CRI-O.
_FOREIGN_CONTAINER = re.compile(r"(docker|libpod|cri-containerd|crio)[-/]([0-9a-f]{64})")
_ENGINES = {"libpod": "podman", "cri-containerd": "containerd"}


def identify(pids: Iterable[int], containers: Mapping[str, int]) -> dict[int, DeviceProcess]:
    """Each process by its pid. ``containers`` are HRM's own by id, each with the pid of its first process."""
    owners = {pid: container_id for container_id, pid in containers.items()}
    return {pid: _identify(pid, owners) for pid in pids}


def _identify(pid: int, owners: Mapping[int, str]) -> DeviceProcess:
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        # Gone meanwhile, or of another pid namespace.
        return DeviceProcess(pid=pid)
    name = (processes.read_file(f"/proc/{pid}/comm") or b"").decode(errors="replace").strip()
    cgroups = (processes.read_file(f"/proc/{pid}/cgroup") or b"").decode(errors="replace")
    container_id = _own(pid, cgroups, owners)
    return DeviceProcess(
        pid=pid,
        name=name,
        user=_user(uid),
        container_id=container_id,
        within=_within(cgroups) if container_id is None else "",
    )


def _own(pid: int, cgroups: str, owners: Mapping[int, str]) -> str | None:
    """The HRM container that a process belongs to: by its session or an ancestor, else by its cgroup."""
    ancestor = processes.look_up(pid)
    for _ in range(_MAX_ANCESTORS):
        if ancestor is None:
            break
        # A container's first process leads a session; a child that was left behind stays in it.
        for leader in (ancestor.pid, ancestor.session):
            if leader in owners:
                return owners[leader]
        ancestor = processes.look_up(ancestor.ppid)
    return next((container_id for container_id in owners.values() if container_id in cgroups), None)


def _within(cgroups: str) -> str:
    if found := _FOREIGN_CONTAINER.search(cgroups):
        engine, container_id = found.groups()
        return f"{_ENGINES.get(engine, engine)} {container_id[:12]}"
    return ""


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
