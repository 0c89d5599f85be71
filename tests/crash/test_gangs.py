"""Whoever dies between any two steps of a gang's way, no part of it runs on alone, and all of it comes to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.jobs import GangSpec, JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, TaskState
from hrm.testing.mortal import MortalServer

SIZE = 3
#: Ends when all members of the same attempt of the gang are there; a part of one would wait for ever.
_TOGETHER = """\
touch "$MEETING/$HRM_TASK_ATTEMPT.$HRM_NODE_RANK"
until [ "$(ls "$MEETING" | grep -c "^$HRM_TASK_ATTEMPT\\\\.")" -eq "$HRM_GANG_SIZE" ]; do sleep 0.05; done
"""
_POINTS = [
    ("store.commit", 2),
    ("store.committed", 2),
    ("store.commit", 3),
    ("store.committed", 3),
    ("node.launch", 1),
    ("node.sent", 1),
    ("node.ended", 2),
    ("shepherd.claim", 2),
    ("shepherd.spawned", 2),
    ("shepherd.exit_written", 2),
]
#: In a run of everything one of the cases is enough.
_ALWAYS = [("shepherd.spawned", 2)]


def moments() -> list[object]:
    return [
        pytest.param(
            point,
            nth,
            id=f"{point}-{nth}",
            marks=[pytest.mark.crash] if (point, nth) in _ALWAYS else [pytest.mark.crash, pytest.mark.real],
        )
        for point, nth in _POINTS
    ]


@pytest.mark.parametrize(("point", "nth"), moments())
def test_a_gang_comes_to_its_end_as_a_whole(server: MortalServer, tmp_path: Path, point: str, nth: int) -> None:
    struck, meeting = tmp_path / "struck", tmp_path / "meeting"
    meeting.mkdir()
    group = TaskGroupSpec(
        command=("sh", "-c", _TOGETHER),
        tasks=SIZE,
        env={"MEETING": str(meeting)},
        resources=Resources(memory_mib=16, vcores_milli=100),
    )
    server.start(fault=f"{point}:{nth}:kill:{struck}")
    application_id = server.submit(JobSpec(groups=(group,), gang=GangSpec()), "job")

    report = server.ended(application_id)

    assert struck.exists(), "the point was never reached"
    assert report.state is ApplicationState.FINISHED, report
    with server.client() as client:
        history = client.history(application_id)
        assert client.containers() == []
    succeeded = {one.task_index: one.attempt for one in history if one.state is TaskState.SUCCEEDED}
    last = max(one.attempt for one in history)
    assert succeeded == dict.fromkeys(range(SIZE), last), "all of one attempt of the gang"
    of_each = [sorted(one.task_index for one in history if one.attempt == attempt) for attempt in range(1, last + 1)]
    assert of_each == [list(range(SIZE))] * last, "each attempt began with all of them"
