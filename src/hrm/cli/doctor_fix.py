"""`hrm doctor --fix`: shows each cure, asks, does it step by step, looks again, and writes down what was done."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import typer

from hrm.cli.doctor_output import step_in_words
from hrm.cli.output import clean, note
from hrm.config.home import Home
from hrm.doctor.cures import Result, StepDone, by_itself, cure
from hrm.doctor.hands import LocalHands
from hrm.doctor.system import System
from hrm.model.errors import Conflict
from hrm.model.findings import DoctorReport, Finding, Risk, Severity, Step

LOG = "doctor.log"
#: Of what a step printed so much is written down.
_KEPT = 500
_STOPPED = "Stopped: nothing more is done."


class Fixing:
    """One run of ``--fix``. ``look`` examines the machine again, by some checks or (``()``) by all."""

    def __init__(
        self,
        system: System,
        look: Callable[[Sequence[str]], DoctorReport],
        language: str,
        *,
        yes: bool,
        disruptive: bool,
    ) -> None:
        self._hands = LocalHands(system)
        self._is_root = system.uid == 0
        self._look = look
        self._language = language
        self._yes = yes
        # Who is asked sees what each step does; who is not must say beforehand that it may be more than safe.
        self._allowed = frozenset({Risk.SAFE} | ({Risk.DISRUPTIVE} if disruptive or not yes else set()))
        #: What was done, for programs: of each cure its code and steps.
        self.done: list[dict[str, Any]] = []

    def fix(self, report: DoctorReport) -> DoctorReport:
        """Cure one finding after the other, the worst first, and stop at the first surprise.

        Returns what there is afterwards. Raises Conflict while another run is at it.
        """
        if not self._is_root:
            note("Not root: most cures need it.")
        before = report
        with _log() as log:
            for finding in report.findings:
                # A cure before may have changed pids, and whether it is there at all.
                before = self._look([finding.check]) if self.done else before
                now = next((one for one in before.findings if one.subject == finding.subject), None)
                if now is None:
                    note(f"{finding.code} has gone meanwhile.")
                elif self._agreed(now) and not self._cure(now, before, log):
                    note(_STOPPED)
                    break
        after = self._look(())
        left = sum(finding.severity is not Severity.INFO for finding in after.findings)
        note(f"Findings that are left: {left}." if left else "Nothing is left to cure.")
        return after

    def _agreed(self, finding: Finding) -> bool:
        """Show the plan; whether it is to be carried out."""
        if self._yes and finding.severity is Severity.INFO:
            return False
        note(clean(f"{finding.code}  {finding.title.of(self._language)}"))
        for number, step in enumerate(finding.cure, 1):
            note(clean(f"  {number}. {step_in_words(step, self._language)}"))
        steps = by_itself(finding)
        if not steps:
            note("  Nothing of this goes by itself: it is left to you.")
            return False
        if any(step.risk not in self._allowed for step in steps):
            note("  Left to you: this may end or restart what others use; --disruptive allows it.")
            return False
        return self._yes or typer.confirm("Do these steps?", err=True)

    def _cure(self, finding: Finding, before: DoctorReport, log: TextIO) -> bool:
        """Do it, and look whether it helped; False at a surprise."""
        steps: list[dict[str, Any]] = []
        self.done.append({"code": finding.code, "steps": steps})

        def begins(step: Step) -> None:
            _write(log, finding, "begins", step)
            note(clean(f"+ {step_in_words(step, self._language)}"))

        def ended(one: StepDone) -> None:
            _write(log, finding, str(one.result), one.step, one.said)
            steps.append({"command": one.step.command or None, "result": str(one.result), "said": one.said.strip()})

        done = cure(finding, self._hands, allowed=self._allowed, on_step=begins, on_done=ended)
        last = done[-1]
        if last.result is Result.FAILED:
            note(clean(f"failed: {last.step.command}: {last.said.strip()}"))
            return False
        after = self._look([finding.check])
        unseen = sorted(_unseen(after, finding.check) - _unseen(before, finding.check))
        if unseen:
            note(clean(f"{finding.code}: whether it is cured cannot be seen: {unseen[0]}"))
            return False
        kinds = {_kind(one) for one in before.findings}
        new = next(
            (one for one in after.findings if _kind(one) not in kinds and one.severity is not Severity.INFO), None
        )
        if new is not None:
            note(clean(f"{finding.code}: after its cure there is something else: {new.title.of(self._language)}"))
            return False
        # By number: it may be told in other words now, since values have changed.
        if _alike(after, finding) < _alike(before, finding):
            note(f"{finding.code} is cured.")
            return True
        if last.result is Result.LEFT:
            note(clean(f"{finding.code}: left to you: {step_in_words(last.step, self._language)}"))
            return True
        note(f"{finding.code} is still there after its cure.")
        return False


def _kind(finding: Finding) -> tuple[str, str | None]:
    return finding.code, finding.gpu


def _alike(report: DoctorReport, finding: Finding) -> int:
    """How many findings of one check are of the same kind."""
    return sum(one.check == finding.check and _kind(one) == _kind(finding) for one in report.findings)


def _unseen(report: DoctorReport, check: str) -> set[str]:
    return {what for run in report.checks_run if run.name == check for what in run.unseen}


@contextlib.contextmanager
def _log() -> Iterator[TextIO]:
    """``doctor.log`` of the home directory, for this run alone."""
    home = Home.locate()
    home.create()
    with open(home.path / LOG, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict("another hrm doctor --fix is at work", next_step="wait until it has ended") from None
        yield log


def _write(log: TextIO, finding: Finding, what: str, step: Step, said: str = "") -> None:
    """One line, on disk at once: a step may be the last thing that this machine does."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    words = " ".join(said.split())[:_KEPT]
    log.write(clean(f"{at} {finding.code} {what} {step.command or step.about.en} {words}").rstrip() + "\n")
    log.flush()
    os.fsync(log.fileno())
