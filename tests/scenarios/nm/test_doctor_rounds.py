"""The doctor's rounds on a node: a process each, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.rounds import Rounds as RoundsExpected
from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.findings import DoctorReport
from hrm.nm import examiner
from hrm.nm.doctor_rounds import Rounds
from hrm.nm.examiner import Examiner
from hrm.testing.conditions import eventually_async

OFTEN = Expected(rounds=RoundsExpected(every_s=0.05))
WELL = json.dumps({"node": "whoever"})


def script(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A program in the doctor's place."""
    path = tmp_path / "doctor.py"
    path.write_text(body)
    return (sys.executable, str(path))


async def test_a_round_is_a_report_of_this_node() -> None:
    report = await Examiner("box").quick()

    assert report.node == "box"
    assert report.checks_run
    assert report.facts == {}


async def test_all_checks_of_an_area_are_run_when_somebody_asks() -> None:
    report = await Examiner("box").full(["gpu"])

    assert {run.name.partition(".")[0] for run in report.checks_run} == {"gpu"}


async def test_an_area_that_there_is_not_is_the_askers_mistake() -> None:
    with pytest.raises(InvalidInput, match="no checks are called 'gpus'"):
        await Examiner("box").full(["gpus"])


async def test_the_round_is_told_what_is_expected(tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = script(tmp_path, f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read()); print({WELL!r})")

    await Examiner("box", replace(OFTEN), command=command).quick()

    assert json.loads(told.read_text())["rounds"]["every_s"] == 0.05


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("import sys; print('one'); sys.exit('it fell over')", "ended with 1: it fell over"),
        ("print('what?')", "told nonsense"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
    ],
)
async def test_a_round_that_goes_wrong_says_how(tmp_path: Path, body: str, problem: str) -> None:
    with pytest.raises(ClusterError, match=problem):
        await Examiner("box", command=script(tmp_path, body)).quick()


async def test_a_round_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examiner, "TIME_LIMIT_S", 0.3)

    with pytest.raises(ClusterError, match="did not end within"):
        await Examiner("box", command=script(tmp_path, "import time; time.sleep(600)")).quick()


async def test_rounds_are_made_again_and_again_and_end_with_the_node() -> None:
    heard: list[DoctorReport] = []
    rounds = Rounds("box", OFTEN, heard.append, first_s=0.0)

    running = asyncio.create_task(rounds.run())
    await eventually_async(lambda: len(heard) >= 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert {report.node for report in heard} == {"box"}


async def test_there_are_none_until_somebody_says_what_is_expected() -> None:
    heard: list[DoctorReport] = []
    rounds = Rounds("box", None, heard.append, first_s=0.0)

    running = asyncio.create_task(rounds.run())
    await asyncio.sleep(0)
    assert heard == []
    rounds.take(Expected(rounds=RoundsExpected(every_s=3600)))
    await eventually_async(lambda: heard)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
