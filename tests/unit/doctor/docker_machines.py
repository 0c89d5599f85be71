"""Machines with Docker, as its own commands tell of them."""

from __future__ import annotations

import json
from typing import Any

from hrm.testing.machines import Machine

VERSION = ("docker", "version", "--format", "{{.Server.Version}}")
INFO = ("docker", "info", "--format", "{{json .}}")
ENDED = (
    "docker",
    "ps",
    "--all",
    "--quiet",
    "--no-trunc",
    *("--filter", "status=created", "--filter", "status=exited", "--filter", "status=dead"),
)
#: Of the notebook's container bb, whole.
ID = "534917b1443a5c4bd0f1a3e7b9d2c6f80a1e2d3c4b5a69788796a5b4c3d2e1f0"
NOW = 1_600_000_000.0
NO_DRIVER = 'could not select device driver "" with capabilities: [[gpu]]'


def with_docker(machine: Machine, **info: Any) -> Machine:
    """Docker runs."""
    said = {"ServerVersion": "20.10.24", "DockerRootDir": "/var/lib/docker", "CgroupDriver": "systemd", **info}
    machine.file("/usr/bin/dockerd", mode=0o755).command(*VERSION, stdout=f"{said['ServerVersion']}\n")
    return machine.command(*INFO, stdout=json.dumps(said)).service("docker")


def container(name: str = "bb", container_id: str = ID, **state: Any) -> dict[str, Any]:
    """As `docker inspect` tells of one that does not run."""
    host = {key: state.pop(key) for key in ("RestartPolicy", "DeviceRequests", "Runtime", "Memory") if key in state}
    return {
        "Id": container_id,
        "Name": f"/{name}",
        "State": {
            "Status": "exited",
            "OOMKilled": False,
            "ExitCode": 0,
            "Error": "",
            "StartedAt": "2020-09-10T09:08:10.802832Z",
            "FinishedAt": "2020-09-13T11:26:40.123456789Z",
            **state,
        },
        "HostConfig": {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "DeviceRequests": None, **host},
    }


def with_containers(machine: Machine, *containers: dict[str, Any]) -> Machine:
    """Those that do not run."""
    ids = [str(one["Id"]) for one in containers]
    machine.command(*ENDED, stdout="".join(f"{one}\n" for one in ids))
    return machine.command("docker", "inspect", "--type", "container", *ids, stdout=json.dumps(containers))


def with_daemon_process(machine: Machine, started_s_ago: float, *, path: str = "", program: str = "") -> Machine:
    """The daemon itself, as /proc shows it on a machine that booted a day ago."""
    booted = NOW - 86_400
    machine.process(812, f"{program or '/usr/bin/dockerd'} -H fd:// --containerd=/run/containerd/containerd.sock")
    ticks = int((NOW - started_s_ago - booted) * 100)
    machine.file("/proc/812/stat", f"812 (dockerd) S 1 812 812 {'0 ' * 15}{ticks} 0\n")
    machine.file("/proc/812/environ", f"LANG=C\0PATH={path or '/usr/sbin:/usr/bin:/sbin:/bin'}\0")
    return machine.file("/proc/stat", f"cpu 1 2 3\nbtime {booted:.0f}\n").at(NOW)
