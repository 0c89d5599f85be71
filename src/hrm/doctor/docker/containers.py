"""Containers as the daemon tells of them, those that do not run above all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hrm.doctor.docker.engine import Engine, Trouble, look_away, trouble_of
from hrm.model.findings import Evidence

#: At most so many are looked at: the newest. What one call tells of 50 fits into what is read of a command.
MAX_CONTAINERS = 150
_AT_ONCE = 50
_ENDED = ("created", "exited", "dead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One that does not run."""

    id: str
    name: str
    #: ``created`` (it never ran), ``exited`` or ``dead``.
    status: str
    exit_code: int = 0
    oom_killed: bool = False
    #: What kept it from starting; "".
    error: str = ""
    #: Seconds since the epoch; 0 for never.
    started_at: float = 0.0
    finished_at: float = 0.0
    #: ``no``, ``always``, ``unless-stopped`` or ``on-failure``.
    restart_policy: str = "no"
    #: By ``--gpus``.
    wants_gpus: bool = False
    #: ``runc``, ``nvidia``…; "" for the daemon's own.
    runtime: str = ""
    memory_bytes: int = 0

    @property
    def evidence(self) -> Evidence:
        """How it ended, as ``docker inspect`` tells it."""
        said = f"ExitCode={self.exit_code} OOMKilled={str(self.oom_killed).lower()}"
        if self.finished_at:
            said += f" FinishedAt={datetime.fromtimestamp(self.finished_at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if self.error:
            said += f" Error={self.error}"
        return Evidence(f"docker inspect {self.name}", f"{said} RestartPolicy={self.restart_policy}")


def ended_containers(engine: Engine) -> list[Container]:
    """Those that do not run, the newest first. None where the daemon does not run. Raises CannotSee."""
    filters = [word for status in _ENDED for word in ("--filter", f"status={status}")]
    output = engine.run("ps", "--all", "--quiet", "--no-trunc", *filters)
    if (trouble := trouble_of(output)) is not Trouble.NONE:
        look_away(output, trouble)
        return []
    ids = [line.strip() for line in output.lines][:MAX_CONTAINERS]
    found: list[Container] = []
    for first in range(0, len(ids), _AT_ONCE):
        # One that was removed meanwhile makes it fail, and all others are told of just the same.
        inspected = engine.run("inspect", "--type", "container", *ids[first : first + _AT_ONCE])
        found += (_container(said) for said in _objects(inspected.stdout))
    return [container for container in found if container.status in _ENDED]


def _objects(text: str) -> list[Mapping[str, Any]]:
    try:
        said = json.loads(text or "[]")
    except ValueError:
        return []
    return [one for one in said if isinstance(one, Mapping)] if isinstance(said, list) else []


def _container(said: Mapping[str, Any]) -> Container:
    state = said.get("State") or {}
    host = said.get("HostConfig") or {}
    return Container(
        id=said.get("Id", ""),
        name=str(said.get("Name", "")).lstrip("/"),
        status=state.get("Status", ""),
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        started_at=as_time(state.get("StartedAt", "")),
        finished_at=as_time(state.get("FinishedAt", "")),
        restart_policy=(host.get("RestartPolicy") or {}).get("Name") or "no",
        wants_gpus=any(
            "gpu" in group for ask in host.get("DeviceRequests") or () for group in ask["Capabilities"] or ()
        ),
        runtime=host.get("Runtime") or "",
        memory_bytes=host.get("Memory") or 0,
    )


def as_time(text: str) -> float:
    """Seconds since the epoch of Docker's way to write a time; 0 for its zero (the year 1), and for no time."""
    # It writes nanoseconds, which Python does not read.
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$", text)
    if found is None or text.startswith("0001"):
        return 0.0
    whole = datetime.fromisoformat(found[1] + ("+00:00" if found[3] == "Z" else found[3])).timestamp()
    return whole + float(found[2] or 0)
