"""What the shepherd tells of containers, as the records that the ResourceManager knows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hrm.model.containers import ExitReason, ExitRecord, StartRecord
from hrm.nm import prepared
from hrm.nm.usage import Running


def running(entry: dict[str, Any]) -> Running:
    return Running(entry["id"], entry["pid"], entry["dropped"], entry["limits"])


def start_record(entry: dict[str, Any]) -> StartRecord:
    return StartRecord(
        container_id=entry["id"],
        pid=entry["pid"],
        started_at=entry["started_at"],
        # Shepherds of protocol 6 know of no others.
        launch=entry.get("launch", 1),
        message=entry.get("message", ""),
    )


def exit_record(state_dir: Path, entry: dict[str, Any]) -> ExitRecord:
    return ExitRecord(
        container_id=entry["id"],
        reason=ExitReason(entry["reason"]),
        exit_code=entry["code"],
        started_at=entry["started_at"],
        ended_at=entry["ended_at"],
        detail=entry["detail"] or prepared.failure(state_dir, entry["id"], entry["code"]),
        cpu_s=entry["cpu_s"],
        max_rss_mib=entry["max_rss_mib"],
    )


def never_began(container_id: str, why: str) -> dict[str, Any]:
    """As the shepherd would tell of one that it was not told of, because of ``why``; "": it was stopped before."""
    return {
        "id": container_id,
        "reason": ExitReason.NOT_STARTED,
        "code": 126 if why else None,
        "started_at": None,
        "ended_at": time.time(),
        "detail": why or "stopped before it could begin",
        "cpu_s": 0.0,
        "max_rss_mib": 0,
        "dropped": [0, 0],
    }


def forgotten_record(container_id: str) -> ExitRecord:
    return ExitRecord(
        container_id=container_id,
        reason=ExitReason.LOST,
        exit_code=None,
        started_at=None,
        ended_at=time.time(),
        detail="the node's state was deleted",
    )
