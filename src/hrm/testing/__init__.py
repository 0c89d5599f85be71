"""Helpers for tests that are shipped, so that engines made elsewhere are held to the same suite."""

from __future__ import annotations

from hrm.testing.conditions import eventually, eventually_async

__all__ = ["eventually", "eventually_async"]
