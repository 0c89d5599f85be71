"""How the page writes points in time: in UTC, as it does not know where who looks is."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: float | None) -> str:
    """``2026-03-01 12:00:05 UTC``; a dash for none."""
    return "–" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at: float) -> str:
    """As machines read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def hour(at: float) -> str:
    """``14:05``."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")
