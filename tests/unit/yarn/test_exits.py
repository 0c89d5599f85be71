"""Exit statuses and messages of preemption, as YARN's programs read them."""

from __future__ import annotations

import pytest

from hrm.model.masters import EndedContainer, GrantedContainer, WarnedContainer
from hrm.model.states import TaskState
from hrm.yarn.exits import exit_status
from hrm.yarn.preempting import STRICT_WITHIN_S, preemption_message

NAMES = [f"container_e01_1763900000000_0001_01_{number:06d}" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("state", "code", "message", "status"),
    [
        (TaskState.SUCCEEDED, 0, "", 0),
        (TaskState.FAILED, 3, "exit code 3", 3),
        (TaskState.FAILED, 137, "exit code 137", 137),
        (TaskState.FAILED, 137, "out of memory: used 64 MiB of 64 MiB", -104),
        (TaskState.FAILED, 137, "disk quota exceeded: its directory holds 9 MiB of 8 MiB", -101),
        (TaskState.FAILED, None, "its node was lost", -100),
        (TaskState.LOST, None, "given back", -100),
        (TaskState.PREEMPTED, 143, "for another", -102),
        (TaskState.KILLED, 143, "stopped by its master", -105),
        (TaskState.KILLED, 143, "killed by ada", -106),
        (TaskState.KILLED, 143, "its master failed", -106),
        (TaskState.KILLED, 143, "its master has finished", -107),
    ],
)
def test_each_end_has_the_status_that_yarn_gives_it(
    state: TaskState, code: int | None, message: str, status: int
) -> None:
    ended = EndedContainer(container_id=NAMES[0], state=state, exit_code=code, message=message)
    assert exit_status(ended) == status
    assert exit_status(ended, released=True) == -100


def test_what_can_be_negotiated_names_what_is_needed_and_what_is_due_now_is_strict() -> None:
    granted = {
        name: GrantedContainer(
            container_id=name,
            node_id="n1",
            resources={"memory_mib": 512, "vcores_milli": 1500},
            device_ids=(),
            priority=4,
            allocation_request_id=0,
        )
        for name in NAMES[:2]
    }
    warned = [
        WarnedContainer(container_id=name, kill_at=at, reason="", beneficiary="")
        for name, at in zip(NAMES, (100.0, STRICT_WITHIN_S - 1, 100.0), strict=True)
    ]
    message = preemption_message(warned, granted, 0.0)
    assert message is not None
    assert [one.id.id & 0xFF for one in message.strictContract.container] == [2]
    assert [one.id.id & 0xFF for one in message.contract.container] == [1, 3]
    (needed,) = message.contract.resource
    assert (needed.resource.capability.memory, needed.resource.capability.virtual_cores) == (512, 2)
    assert (needed.resource.priority.priority, needed.resource.num_containers) == (4, 1)


def test_without_warnings_there_is_no_message() -> None:
    assert preemption_message([], {}, 0.0) is None
