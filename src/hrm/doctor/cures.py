"""Does what cures a finding: step by step, and no further than the first surprise."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hrm.doctor.processes import command_line, runs
from hrm.doctor.system import System
from hrm.model.findings import Finding, Process, Risk, Step

#: Steps build kernel modules and restart services.
STEP_TIMEOUT_S = 900.0
#: How long a process has to end after SIGTERM.
GRACE_S = 10.0
_LOOK_S = 0.05


class Result(StrEnum):
    """What came of a step."""

    DONE = "done"
    #: It was so already.
    ALREADY = "already"
    #: It is not a program's to do, or more than was allowed.
    LEFT = "left"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepDone:
    """What came of one step, and what was printed or went wrong."""

    step: Step
    result: Result
    said: str = ""


class Hands(Protocol):
    """Changes a machine. Apart from `System`, which only looks."""

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Its exit status and all it printed."""

    def end(self, process: Process) -> str:
        """End it; "" where it has ended, else why not. Raises ProcessLookupError where it is no longer there."""

    def write(self, path: str, content: str, mode: int) -> None:
        """Write a file whole. Raises OSError."""


class LocalHands:
    """Of this machine, as whoever runs the doctor."""

    def __init__(self, system: System) -> None:
        self._system = system

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        output = self._system.run(*argv, timeout_s=STEP_TIMEOUT_S)
        return output.status, output.text if not output.timed_out else f"no end after {STEP_TIMEOUT_S:g} s"

    def end(self, process: Process) -> str:
        # Held before it is looked at: whoever gets the pid afterwards is not meant by it.
        held = os.pidfd_open(process.pid)
        try:
            found = command_line(self._system, process.pid)
            if found != process.command_line:
                return f"pid {process.pid} is now {found!r}, no longer {process.command_line!r}"
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(held, number)
                until_s = time.monotonic() + GRACE_S
                while time.monotonic() < until_s:
                    if not runs(self._system, process.pid):
                        return ""
                    time.sleep(_LOOK_S)
            return f"pid {process.pid} does not end (it may wait in the kernel)"
        finally:
            os.close(held)

    def write(self, path: str, content: str, mode: int) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        beside = f"{path}.hrm-new"
        with open(beside, "w", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, mode)
        os.replace(beside, path)


def cure(
    finding: Finding, hands: Hands, *, allowed: frozenset[Risk], on_step: Callable[[Step], None] | None = None
) -> list[StepDone]:
    """Do the steps of ``finding`` in their order, as far as they go by themselves.

    It stops after a step that failed, and before one that is done by hand or is riskier than ``allowed``: what comes
    later rests on it. ``on_step`` hears of each step before it is done.
    """
    done: list[StepDone] = []
    for step in finding.cure:
        if step.by_hand or step.risk not in allowed:
            done.append(StepDone(step, Result.LEFT))
            break
        if on_step is not None:
            on_step(step)
        done.append(_do(step, hands))
        if done[-1].result is Result.FAILED:
            break
    return done


def _do(step: Step, hands: Hands) -> StepDone:
    if step.ends is not None:
        try:
            problem = hands.end(step.ends)
        except ProcessLookupError:
            return StepDone(step, Result.ALREADY)
        return StepDone(step, Result.FAILED if problem else Result.DONE, problem)
    if step.writes is not None:
        try:
            hands.write(step.writes.path, step.writes.content, step.writes.mode)
        except OSError as error:
            return StepDone(step, Result.FAILED, f"{step.writes.path}: {error.strerror}")
        return StepDone(step, Result.DONE)
    status, said = hands.run(step.argv)
    if status == 0:
        return StepDone(step, Result.DONE, said)
    already = any(words.lower() in said.lower() for words in step.done_if)
    return StepDone(step, Result.ALREADY if already else Result.FAILED, said or f"it ended with {status}")
