"""Helpers for tests that are shipped, so that engines made elsewhere are held to the same suite."""

from __future__ import annotations

from hrm.testing.clock import ManualClock
from hrm.testing.conditions import eventually, eventually_async
from hrm.testing.engine import ENGINE_CHECKS, check_engine
from hrm.testing.engine_harness import EngineHarness, started
from hrm.testing.fake_cluster import FakeCluster
from hrm.testing.fake_engine import FakeEngine
from hrm.testing.recording import RecordingListener
from hrm.testing.shepherds import kill_herd, kill_shepherd, shepherd_pid

__all__ = [
    "ENGINE_CHECKS",
    "EngineHarness",
    "FakeCluster",
    "FakeEngine",
    "ManualClock",
    "RecordingListener",
    "check_engine",
    "eventually",
    "eventually_async",
    "kill_herd",
    "kill_shepherd",
    "shepherd_pid",
    "started",
]
