"""The built-in master: what it asks for, starts, retries and concludes."""

from __future__ import annotations

import pytest

from hrm.am.master import MAX_LOSSES, Actions, AttemptEnd, Task
from hrm.am.protocol import AllocateResponse, Container
from hrm.am.task_set import TaskSetMaster
from hrm.model.containers import ExitReason, ExitRecord, Preemption
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.masters import FinalStatus
from hrm.model.resources import Resources
from hrm.model.states import TaskState

APP = ApplicationId(1_700_000_000_000, 1)
ATTEMPT = AttemptId(APP, 1)
SMALL = Resources(memory_mib=100, vcores_milli=500)


class Drive:
    """A master and the containers that a test grants it."""

    def __init__(self, *groups: TaskGroupSpec, **job: object) -> None:
        spec = JobSpec(groups=groups, **job)  # type: ignore[arg-type]
        self.master = TaskSetMaster(APP, spec, user="ada", queue="research")
        self._next = 0

    def grant(self, group: int = 0) -> tuple[str, Actions]:
        self._next += 1
        container = Container(
            container_id=str(ContainerId(ATTEMPT, 1, self._next)),
            node_id="n1",
            resources=SMALL,
            device_ids=(),
            priority=0,
            allocation_request_id=group,
        )
        return container.container_id, self.master.receive(AllocateResponse(allocated=(container,)), now=0.0)

    def end(self, container_id: str, code: int | None = 0, *, lost: bool = False) -> Actions:
        record = ExitRecord(
            container_id=container_id,
            reason=ExitReason.LOST if lost else ExitReason.EXITED,
            exit_code=None if lost else code,
            started_at=1.0,
            ended_at=2.0,
        )
        return self.master.receive(AllocateResponse(completed=(record,)), now=2.0)

    def run(self, code: int | None = 0, *, lost: bool = False) -> Actions:
        container_id, _ = self.grant()
        return self.end(container_id, code, lost=lost)

    @property
    def asked(self) -> list[int]:
        return [ask.count for ask in self.master.next_request().asks]


def tasks(count: int, **fields: object) -> TaskGroupSpec:
    return TaskGroupSpec(command=("work",), tasks=count, resources=SMALL, **fields)  # type: ignore[arg-type]


def test_it_asks_once_for_each_group_with_absolute_counts():
    drive = Drive(tasks(3, name="prepare"), tasks(2, name="train"))
    assert drive.asked == [3, 2]
    assert drive.asked == []


def test_a_container_starts_the_first_waiting_task_of_its_group():
    drive = Drive(tasks(2, name="prepare"), tasks(2, name="train", env={"A": "1"}, workdir="/data"))
    _, actions = drive.grant(group=1)
    (launch,) = actions.launches
    assert (launch.task_index, launch.attempt) == (2, 1)
    assert launch.spec.env["HRM_TASK_INDEX"] == "2"
    assert launch.spec.env["HRM_TASK_COUNT"] == "4"
    assert launch.spec.env["HRM_QUEUE"] == "research"
    assert launch.spec.env["HRM_APPLICATION_ID"] == str(APP)
    assert launch.spec.env["A"] == "1"
    assert launch.spec.workdir == "/data"


def test_hrm_variables_win_over_those_of_an_outer_job():
    drive = Drive(tasks(1, env={"HRM_TASK_INDEX": "99"}))
    _, actions = drive.grant()
    assert actions.launches[0].spec.env["HRM_TASK_INDEX"] == "0"


def test_a_container_too_many_is_given_back():
    drive = Drive(tasks(1))
    drive.grant()
    surplus, actions = drive.grant()
    assert actions.launches == []
    assert drive.master.next_request().releases == (surplus,)


def test_it_succeeds_when_every_task_did():
    drive = Drive(tasks(2))
    drive.run(0)
    assert drive.master.verdict is None
    drive.run(0)
    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")
    assert drive.master.exit_code == 0
    assert drive.master.progress == 1.0


def test_a_failed_task_fails_the_job_after_the_others_ran():
    drive = Drive(tasks(2))
    drive.run(3)
    assert drive.master.verdict is None
    drive.run(0)
    assert drive.master.verdict == (FinalStatus.FAILED, "1 of 2 tasks failed; task 0: exit code 3")
    assert drive.master.exit_code == 3


def test_a_failed_task_is_tried_again_as_often_as_it_may():
    drive = Drive(tasks(1, retries=2))
    _ = drive.asked
    drive.run(1)
    assert drive.asked == [1]
    drive.run(1)
    assert drive.master.verdict is None
    drive.run(0)
    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")
    assert drive.master.task(0).attempt == 3


def test_a_lost_attempt_costs_no_retry():
    drive = Drive(tasks(1))
    drive.run(lost=True)
    assert drive.master.task(0).state is TaskState.PENDING
    drive.run(0)
    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")


def test_a_task_that_is_lost_again_and_again_comes_to_an_end():
    drive = Drive(tasks(1))
    for _ in range(MAX_LOSSES + 1):
        assert drive.master.verdict is None
        drive.run(lost=True)
    assert drive.master.verdict is not None
    assert drive.master.verdict[0] is FinalStatus.FAILED
    assert drive.master.exit_code == 1


def test_more_failures_than_allowed_stop_the_rest():
    drive = Drive(tasks(3), max_failures=0)
    first, _ = drive.grant()
    second, _ = drive.grant()
    actions = drive.end(first, 7)
    assert [container_id for container_id, _ in actions.stops] == [second]
    assert drive.master.task(2).state is TaskState.KILLED
    assert drive.master.verdict is None
    drive.end(second, 143)
    assert drive.master.verdict is not None
    assert drive.master.verdict[0] is FinalStatus.FAILED


def test_killing_drops_what_waits_and_stops_what_runs():
    drive = Drive(tasks(2))
    running, _ = drive.grant()
    actions = drive.master.kill("killed by ada")
    assert actions.stops == [(running, "killed by ada")]
    assert drive.asked == [0]
    assert drive.master.verdict is None
    ended = drive.end(running, 143).ended
    assert [(end.state, end.message) for end in ended] == [(TaskState.KILLED, "killed by ada")]
    assert drive.master.verdict == (FinalStatus.KILLED, "killed by ada")
    assert drive.master.exit_code == 143


def test_killing_what_only_waits_ends_at_once():
    drive = Drive(tasks(2))
    drive.master.kill("no longer needed")
    assert drive.master.verdict == (FinalStatus.KILLED, "no longer needed")


def test_a_task_over_its_time_is_stopped_and_counts_as_failed():
    drive = Drive(tasks(1, timeout_s=5.0))
    container_id, _ = drive.grant()
    drive.master.started(container_id, at=100.0)
    assert drive.master.next_deadline() == 105.0
    assert drive.master.expire(104.9).stops == []
    assert drive.master.expire(105.0).stops == [(container_id, "timed out after 5.0s")]
    drive.end(container_id, 143)
    assert drive.master.verdict == (FinalStatus.FAILED, "timed out after 5.0s")


def test_progress_counts_the_parts_that_running_tasks_report():
    drive = Drive(tasks(4))
    drive.run(0)
    container_id, _ = drive.grant()
    drive.master.report_progress(container_id, 0.5)
    assert drive.master.progress == pytest.approx(0.375)


def test_the_same_end_told_twice_counts_once():
    drive = Drive(tasks(2))
    container_id, _ = drive.grant()
    drive.end(container_id, 0)
    assert drive.end(container_id, 0).ended == []
    assert drive.master.counts.succeeded == 1


def test_a_second_life_goes_on_where_the_first_was():
    drive = Drive(tasks(3))
    drive.run(0)
    running, _ = drive.grant()
    spec = JobSpec(groups=(tasks(3),))
    known = list(drive.master.begun.values())
    drive.master = TaskSetMaster(APP, spec, user="ada", queue="research", tasks=known)
    assert drive.asked == [1]
    drive.end(running, 0)
    drive._next = 10
    drive.run(0)
    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")


def test_a_second_life_knows_the_time_limits_and_the_reasons_of_stops():
    spec = JobSpec(groups=(tasks(2, timeout_s=60.0),))
    names = [str(ContainerId(ATTEMPT, 1, number)) for number in (1, 2)]
    known = [
        Task(index=index, state=TaskState.RUNNING, attempt=1, container_id=name) for index, name in enumerate(names)
    ]
    drive = Drive(tasks(1))
    drive.master = TaskSetMaster(APP, spec, user="ada", queue="research", tasks=known)
    drive.master.recovered(names[0], started_at=100.0, stopping=None, preemption=None)
    drive.master.recovered(names[1], started_at=None, stopping="its node is needed", preemption=None)
    assert drive.master.next_deadline() == 160.0
    assert [end.message for end in drive.end(names[1], 143).ended] == ["its node is needed"]
    assert drive.master.expire(160.0).stops == [(names[0], "timed out after 1m00s")]


def test_a_group_is_asked_for_when_all_that_it_depends_on_succeeded():
    drive = Drive(
        tasks(2, name="train"), tasks(1, name="clean"), tasks(3, name="report", depends_on=("train", "clean"))
    )
    assert drive.asked == [2, 1]
    assert drive.master.held_back == [("report", ["train", "clean"])]
    assert drive.master.task(3).message == "waits for train, clean"
    drive.run(0)
    clean, _ = drive.grant(group=1)
    drive.end(clean, 0)
    assert drive.asked == []
    drive.run(0)
    assert drive.asked == [3]
    assert drive.master.held_back == []
    assert drive.master.verdict is None


def test_a_retry_that_succeeds_frees_the_groups_behind_it():
    drive = Drive(tasks(1, name="train", retries=1), tasks(1, name="report", depends_on=("train",)))
    drive.run(1)
    assert drive.asked == [1]
    drive.run(0)
    assert drive.asked == [1]


def test_a_failure_lets_no_group_behind_it_begin_but_the_others_run_on():
    drive = Drive(
        tasks(2, name="train"),
        tasks(3, name="report", depends_on=("train",)),
        tasks(1, name="mail", depends_on=("report",)),
        tasks(1, name="clean"),
    )
    drive.run(3)
    assert [drive.master.task(index).state for index in range(7)] == [
        TaskState.FAILED,
        TaskState.PENDING,
        *[TaskState.KILLED] * 4,
        TaskState.PENDING,
    ]
    assert drive.master.task(2).message == "never began: it runs only after train succeeded"
    drive.run(0)
    assert drive.master.verdict is None
    clean, _ = drive.grant(group=3)
    drive.end(clean, 0)
    assert drive.master.verdict == (
        FinalStatus.FAILED,
        "1 of 7 tasks failed; task 0: exit code 3; never began for it: report, mail",
    )
    assert drive.master.counts.killed == 4
    assert drive.master.progress == 1.0


def test_a_second_life_knows_which_groups_may_begin():
    spec = JobSpec(groups=(tasks(1, name="train"), tasks(2, name="report", depends_on=("train",))))
    for state, asked, killed in ((TaskState.SUCCEEDED, [2], 0), (TaskState.FAILED, [], 2), (TaskState.PENDING, [1], 0)):
        known = Task(index=0, state=state, attempt=1)
        master = TaskSetMaster(APP, spec, user="ada", queue="research", tasks=[known])
        assert [ask.count for ask in master.next_request().asks] == asked
        assert master.counts.killed == killed


def test_killing_a_job_kills_the_groups_that_wait_for_others():
    drive = Drive(tasks(1, name="train"), tasks(2, name="report", depends_on=("train",)))
    running, _ = drive.grant()
    drive.master.kill("enough")
    assert drive.master.held_back == []
    drive.end(running, 143)
    assert drive.master.verdict == (FinalStatus.KILLED, "enough")
    assert drive.master.counts.killed == 3


def warning(**more: object) -> Preemption:
    return Preemption(warned_at=0.0, kill_at=15.0, reason="others are due", beneficiary="application_1_2", **more)  # type: ignore[arg-type]


def end_after_warning(drive: Drive, code: int, preemption: Preemption, **how: object) -> AttemptEnd:
    """How the attempt of a task ends that was warned."""
    container_id, _ = drive.grant()
    drive.master.receive(AllocateResponse(preemptions=((container_id, preemption),)), now=1.0)
    (ended,) = drive.end(container_id, code, **how).ended  # type: ignore[arg-type]
    return ended


def test_an_attempt_that_ends_for_others_costs_no_retry_however_often():
    drive = Drive(tasks(1))
    for _ in range(3 * MAX_LOSSES):
        ended = end_after_warning(drive, 143, warning())
        assert (ended.state, ended.message) == (TaskState.PREEMPTED, "others are due")
    task = drive.master.task(0)
    assert (task.state, task.failures, task.losses, task.attempt) == (TaskState.PENDING, 0, 0, 3 * MAX_LOSSES)
    assert drive.asked == [1]
    drive.run(0)
    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")


def test_an_attempt_that_was_killed_for_others_is_preempted_though_it_never_began():
    drive = Drive(tasks(1))
    container_id, _ = drive.grant()
    record = ExitRecord(
        container_id=container_id, reason=ExitReason.NOT_STARTED, exit_code=None, started_at=None, ended_at=2.0
    )
    preemption = warning(killed=True)
    actions = drive.master.receive(
        AllocateResponse(preemptions=((container_id, preemption),), completed=(record,)), now=2.0
    )
    assert [one.state for one in actions.ended] == [TaskState.PREEMPTED]


def test_a_task_whose_time_is_over_while_it_is_warned_has_failed():
    drive = Drive(tasks(1, timeout_s=5.0))
    container_id, _ = drive.grant()
    drive.master.started(container_id, 0.0)
    drive.master.receive(AllocateResponse(preemptions=((container_id, warning()),)), now=1.0)
    drive.master.expire(5.0)
    (ended,) = drive.end(container_id, 143).ended
    assert (ended.state, ended.message) == (TaskState.FAILED, "timed out after 5.0s")


def test_the_last_task_of_a_job_that_is_being_killed_does_not_begin_again_for_having_been_warned():
    drive = Drive(tasks(1))
    container_id, _ = drive.grant()
    drive.master.receive(AllocateResponse(preemptions=((container_id, warning()),)), now=1.0)
    drive.master.kill("killed by ada")
    (ended,) = drive.end(container_id, 143).ended
    assert ended.state is TaskState.KILLED
    assert drive.master.verdict == (FinalStatus.KILLED, "killed by ada")


def test_where_its_inputs_are_is_asked_for_besides_and_taken_back_when_they_go() -> None:
    places = {"/scratch/set": ["n1", "/r1"]}
    group = TaskGroupSpec(command=("true",), tasks=2, inputs=("/scratch/set",))
    master = TaskSetMaster(
        APP, JobSpec(groups=(group,)), user="ada", queue="q", places=lambda inputs: places[inputs[0]]
    )

    first = {ask.resource_name: ask.count for ask in master.next_request().asks}
    places["/scratch/set"] = ["n2", "/r1"]
    master.places_changed()
    moved = {ask.resource_name: ask.count for ask in master.next_request().asks}
    master.kill("enough")
    over = {ask.resource_name: ask.count for ask in master.next_request().asks}

    assert first == {"n1": 2, "/r1": 2, "*": 2}
    assert moved == {"n2": 2, "/r1": 2, "n1": 0, "*": 2}
    assert over == {"n2": 0, "/r1": 0, "*": 0}
