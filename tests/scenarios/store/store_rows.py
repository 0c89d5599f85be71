"""Rows with just what a test is about."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, ContainerState, TaskState
from hrm.rm.records import ApplicationRow, ContainerRow, EventRow, JobRow, Row, TaskRow
from hrm.rm.store import Store, open_store


def application(seq: int, **fields: Any) -> ApplicationRow:
    defaults: dict[str, Any] = {
        "user": "ann",
        "name": f"job {seq}",
        "queue": "research",
        "state": ApplicationState.SUBMITTED,
        "priority": 0,
        "submitted_at": 1000.0 + seq,
    }
    return ApplicationRow(seq=seq, **defaults | fields)


def submission(seq: int, **fields: Any) -> list[Row]:
    """An application and its job, as they are committed before the submitter gets an answer."""
    return [application(seq, **fields), JobRow(application_seq=seq, spec={"command": ["true"], "seq": seq})]


def task(application_seq: int, index: int, state: TaskState = TaskState.PENDING, **fields: Any) -> TaskRow:
    return TaskRow(application_seq=application_seq, task_index=index, state=state, **fields)


def container(application_seq: int, number: int, **fields: Any) -> ContainerRow:
    defaults: dict[str, Any] = {
        "attempt_number": 1,
        "node_id": "box",
        "resources": Resources(memory_mib=1024, vcores_milli=1000),
        "device_ids": (),
        "priority": 0,
        "state": ContainerState.RUNNING,
        "allocated_at": 2000.0 + number,
        "task_index": number,
        "task_attempt": 1,
    }
    container_id = f"container_e01_1_{application_seq:04d}_01_{number:06d}"
    return ContainerRow(container_id=container_id, application_seq=application_seq, **defaults | fields)


def event(seq: int, **fields: Any) -> EventRow:
    return EventRow(seq=seq, at=3000.0 + seq, kind="said", **fields)


def opened(directory: Path, fault: Any = None) -> Store:
    return open_store(directory / "hrm.db", now=1_763_900_000.123, fault=fault)


class FailingDisk:
    """Fails ``times`` times in a row, beginning with the nth step of writing (connect, write, commit, committed)."""

    def __init__(self, *, nth: int, times: int = 1, error: int = errno.ENOSPC) -> None:
        self.steps = 0
        self._failing = range(nth, nth + times)
        self._error = error

    @property
    def reached(self) -> bool:
        return self.steps >= self._failing.start

    def __call__(self, step: str) -> None:
        self.steps += 1
        if self.steps in self._failing:
            raise OSError(self._error, f"made to fail at step {self.steps} ({step})")


class SickDisk:
    """Fails for as long as ``failures_left`` is not used up."""

    def __init__(self, error: int = errno.ENOSPC) -> None:
        self.failures_left = 1_000_000
        self._error = error

    def recover(self) -> None:
        self.failures_left = 0

    def __call__(self, step: str) -> None:
        if step == "write" and self.failures_left > 0:
            self.failures_left -= 1
            raise OSError(self._error, "no space left on device")


class HeldDisk:
    """Holds the writer at its first transaction until `let_go`; counts transactions."""

    def __init__(self) -> None:
        self.transactions = 0
        self._go = threading.Event()
        self.holding = threading.Event()

    def let_go(self) -> None:
        self._go.set()

    def __call__(self, step: str) -> None:
        if step == "commit":
            self.transactions += 1
            self.holding.set()
            assert self._go.wait(timeout=60)
