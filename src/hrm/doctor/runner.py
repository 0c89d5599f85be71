"""Runs checks side by side, none longer than its limit, and makes a report of what they tell."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hrm.doctor.checks import Check, Fact, Unseen
from hrm.doctor.expected import Expected
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import CheckRun, DoctorReport, Finding

#: At once: most of them wait for a command.
_WORKERS = 8
#: All together. What has not ended by then is reported as unseen.
TIME_LIMIT_S = 15.0


@dataclass(slots=True)
class _Told:
    """What one check has told so far. Its thread adds to it, and may be left behind at it."""

    check: Check
    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    started_s: float = 0.0
    ended_s: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


def examine(
    node: str,
    system: System,
    expected: Expected,
    checks: Sequence[Check],
    facts: Sequence[Fact] = (),
    *,
    time_limit_s: float = TIME_LIMIT_S,
    on_done: Callable[[CheckRun], None] | None = None,
) -> DoctorReport:
    """Run ``checks`` and tell what they found. ``on_done`` hears of each when it has ended, from this thread.

    Threads of checks that hang are left behind: they hold the process at nothing, and end with it.
    """
    began_s = time.monotonic()
    told = [_Told(check) for check in checks]
    waiting: queue.SimpleQueue[_Told] = queue.SimpleQueue()
    for one in told:
        waiting.put(one)
    known: dict[str, str] = {}
    gathering = threading.Thread(target=_gather, args=(facts, system, known), daemon=True)
    gathering.start()
    for _ in range(min(_WORKERS, len(told))):
        threading.Thread(target=_work, args=(waiting, system, expected), daemon=True).start()
    runs = []
    for one in told:
        run = _wait_for(one, waiting, system, expected, deadline_s=began_s + time_limit_s)
        runs.append(run)
        if on_done is not None:
            on_done(run)
    gathering.join(max(0.0, began_s + time_limit_s - time.monotonic()))
    findings = [finding for one in told for finding in list(one.findings)]
    findings.sort(key=lambda finding: -finding.severity.rank)
    return DoctorReport(node=node, checks_run=tuple(runs), findings=tuple(findings), facts=dict(known))


def _wait_for(
    one: _Told, waiting: queue.SimpleQueue[_Told], system: System, expected: Expected, *, deadline_s: float
) -> CheckRun:
    """Its limit counts from when it began; while it has not begun, others before it have not ended yet."""
    while not one.done.wait(0.02):
        now_s = time.monotonic()
        limit_s = min(deadline_s, (one.started_s or now_s) + one.check.timeout_s)
        if now_s >= limit_s:
            if one.started_s:
                # The worker hangs with it; another takes its place.
                threading.Thread(target=_work, args=(waiting, system, expected), daemon=True).start()
            spent_s = now_s - (one.started_s or now_s)
            return CheckRun(name=one.check.name, time_s=spent_s, unseen=(f"it did not end within {spent_s:.1f} s",))
    return CheckRun(name=one.check.name, time_s=one.ended_s - one.started_s, unseen=tuple(one.unseen))


def _work(waiting: queue.SimpleQueue[_Told], system: System, expected: Expected) -> None:
    while True:
        try:
            one = waiting.get_nowait()
        except queue.Empty:
            return
        one.started_s = time.monotonic()
        try:
            for item in one.check.look(system, expected):
                if isinstance(item, Unseen):
                    one.unseen.append(item.what)
                else:
                    one.findings.append(replace(item, check=one.check.name))
        except CannotSee as error:
            one.unseen.append(str(error))
        except Exception as error:  # noqa: BLE001
            # A defect of one check, or of what it was told, must not take the others' findings with it.
            one.unseen.append(f"the check failed: {type(error).__name__}: {error}")
        finally:
            one.ended_s = time.monotonic()
            one.done.set()


def _gather(facts: Sequence[Fact], system: System, known: dict[str, str]) -> None:
    """Add to ``known`` what can be seen."""
    for fact in facts:
        try:
            value = fact.tell(system)
        except CannotSee:
            continue
        if value is not None:
            known[fact.name] = value
