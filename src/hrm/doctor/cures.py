"""Does what cures a finding: step by step, and no further than the first surprise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from hrm.doctor.hands import Hands
from hrm.model.findings import Finding, Risk, Step


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


def by_itself(finding: Finding) -> tuple[Step, ...]:
    """The steps that a program can do: those before the first that is a person's, or that restarts the node."""
    steps: list[Step] = []
    for step in finding.cure:
        if step.by_hand or step.risk is Risk.REBOOT:
            break
        steps.append(step)
    return tuple(steps)


def cure(
    finding: Finding,
    hands: Hands,
    *,
    allowed: frozenset[Risk],
    on_step: Callable[[Step], None] | None = None,
    on_done: Callable[[StepDone], None] | None = None,
) -> list[StepDone]:
    """Do the steps of ``finding`` in their order, as far as they go by themselves.

    It stops after a step that failed, and before one that is done by hand or is riskier than ``allowed``: what comes
    later rests on it. Where a step that would go by itself is riskier than ``allowed``, nothing is begun. ``on_step``
    hears of each step before it is done, ``on_done`` after.
    """
    done: list[StepDone] = []

    def note(one: StepDone) -> None:
        done.append(one)
        if on_done is not None:
            on_done(one)

    steps = by_itself(finding)
    risky = next((step for step in steps if step.risk not in allowed), None)
    if risky is not None:
        note(StepDone(risky, Result.LEFT))
        return done
    for step in steps:
        if on_step is not None:
            on_step(step)
        note(_do(step, hands))
        if done[-1].result is Result.FAILED:
            return done
    if len(steps) < len(finding.cure):
        note(StepDone(finding.cure[len(steps)], Result.LEFT))
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
            changed = hands.write(step.writes)
        except OSError as error:
            return StepDone(step, Result.FAILED, f"{step.writes.path}: {error.strerror}")
        return StepDone(step, Result.DONE if changed else Result.ALREADY)
    status, said = hands.run(step.argv)
    if status == 0:
        return StepDone(step, Result.DONE, said)
    already = any(words.lower() in said.lower() for words in step.done_if)
    return StepDone(step, Result.ALREADY if already else Result.FAILED, said or f"it ended with {status}")
