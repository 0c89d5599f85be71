"""The master of a gang: all of it begins together, and ends together when one ends too early."""

from __future__ import annotations

from collections.abc import Sequence

from hrm.am.gang import GangMaster
from hrm.am.master import MAX_LOSSES, Actions, Task
from hrm.am.protocol import AllocateRequest, AllocateResponse, Container
from hrm.model.containers import ExitReason, ExitRecord, Preemption
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.jobs import GangSpec, JobSpec, TaskGroupSpec
from hrm.model.masters import FinalStatus
from hrm.model.resources import Resources
from hrm.model.states import TaskState

APP = ApplicationId(1_700_000_000_000, 1)
ATTEMPT = AttemptId(APP, 1)
SMALL = Resources(memory_mib=100, vcores_milli=500)
HOSTS = {"n1": "10.0.0.1", "n2": "10.0.0.2"}


class Drive:
    """A master, and the gangs that a test grants it."""

    def __init__(
        self,
        count: int,
        *,
        gang: GangSpec | None = None,
        second_group: int = 0,
        tasks: Sequence[Task] = (),
        **group: object,
    ) -> None:
        groups = [TaskGroupSpec(command=("work",), tasks=count, resources=SMALL, **group)]  # type: ignore[arg-type]
        if second_group:
            groups.append(TaskGroupSpec(command=("serve",), name="more", tasks=second_group, resources=SMALL))
        job = JobSpec(groups=tuple(groups), gang=gang or GangSpec())
        self.master = GangMaster(APP, job, user="ada", queue="research", tasks=tasks)
        self.sizes = [one.tasks for one in groups]
        self._next = 0

    def container(self, group: int, node_id: str) -> Container:
        self._next += 1
        return Container(
            container_id=str(ContainerId(ATTEMPT, 1, self._next)),
            node_id=node_id,
            resources=SMALL,
            device_ids=(),
            priority=0,
            allocation_request_id=group,
        )

    def grant(self, node_ids: tuple[str, ...] = ("n2", "n1")) -> tuple[list[Container], Actions]:
        """All of it, over the nodes in turn."""
        numbers = [group for group, size in enumerate(self.sizes) for _ in range(size)]
        granted = [self.container(group, node_ids[at % len(node_ids)]) for at, group in enumerate(numbers)]
        return granted, self.master.receive(AllocateResponse(allocated=tuple(granted)), now=0.0)

    def begin(self) -> list[str]:
        """Granted, and met: all run."""
        _, actions = self.grant()
        assert actions.rendezvous is not None
        launches = self.master.meet(actions.rendezvous.number, HOSTS, 29_500, 1.0).launches
        return [launch.container.container_id for launch in launches]

    def end(self, container_id: str, code: int | None = 0, *, lost: bool = False) -> Actions:
        record = ExitRecord(
            container_id=container_id,
            reason=ExitReason.LOST if lost else ExitReason.EXITED,
            exit_code=None if lost else code,
            started_at=1.0,
            ended_at=2.0,
        )
        return self.master.receive(AllocateResponse(completed=(record,)), now=2.0)

    def fail(self, code: int = 1, *, lost: bool = False) -> None:
        """It runs, one fails, and the others are stopped for it."""
        first, *others = self.begin()
        self.end(first, code, lost=lost)
        for one in others:
            self.end(one, 143)

    @property
    def asked(self) -> list[int]:
        return [ask.count for ask in self.request().asks]

    def request(self) -> AllocateRequest:
        return self.master.next_request()

    @property
    def states(self) -> list[str]:
        return [self.master.task(index).state.value for index in range(self.master.task_count)]


# ---- beginning


def test_it_asks_for_all_of_it_as_one_gang():
    drive = Drive(3, second_group=2, gang=GangSpec(tasks_per_node=2))

    asks = drive.request().asks

    assert [(ask.count, ask.allocation_request_id) for ask in asks] == [(3, 0), (2, 1)]
    assert {(ask.gang.gang_id, ask.gang.tasks_per_node) for ask in asks if ask.gang} == {(0, 2)}


def test_nothing_begins_before_it_is_known_where_members_meet():
    drive = Drive(2)

    _, actions = drive.grant()

    assert actions.launches == []
    assert actions.rendezvous is not None
    assert actions.rendezvous.node_id == "n2", "that of rank 0"
    assert drive.states == ["PENDING", "PENDING"]


def test_all_begin_at_once_and_know_each_other():
    drive = Drive(2)
    _, granted = drive.grant()
    assert granted.rendezvous is not None

    launches = drive.master.meet(granted.rendezvous.number, HOSTS, 29_500, 1.0).launches

    environments = [launch.spec.env for launch in launches]
    assert [env["HRM_NODE_RANK"] for env in environments] == ["0", "1"]
    assert {env["HRM_GANG_SIZE"] for env in environments} == {"2"}
    assert {env["HRM_HOSTS"] for env in environments} == {"10.0.0.2,10.0.0.1"}
    assert {(env["MASTER_ADDR"], env["MASTER_PORT"]) for env in environments} == {("10.0.0.2", "29500")}


def test_ranks_go_on_through_the_groups():
    drive = Drive(2, second_group=1)
    _, granted = drive.grant()
    assert granted.rendezvous is not None

    launches = drive.master.meet(granted.rendezvous.number, HOSTS, 29_500, 1.0).launches

    assert [(launch.spec.command[0], launch.spec.env["HRM_NODE_RANK"]) for launch in launches] == [
        ("work", "0"),
        ("work", "1"),
        ("serve", "2"),
    ]


def test_where_no_port_is_found_all_is_given_back_and_asked_for_again():
    drive = Drive(2)
    drive.request()
    granted, actions = drive.grant()
    assert actions.rendezvous is not None

    drive.master.meet(actions.rendezvous.number, HOSTS, None, 1.0)

    request = drive.request()
    assert set(request.releases) == {one.container_id for one in granted}
    assert [ask.count for ask in request.asks] == [2]


def test_an_answer_that_comes_too_late_begins_nothing():
    drive = Drive(2)
    granted, actions = drive.grant()
    assert actions.rendezvous is not None
    drive.end(granted[0].container_id, lost=True)
    _, again = drive.grant()

    late = drive.master.meet(actions.rendezvous.number, HOSTS, 29_500, 1.0)

    assert late.launches == []
    assert again.rendezvous is not None
    assert len(drive.master.meet(again.rendezvous.number, HOSTS, 29_500, 1.0).launches) == 2


def test_one_that_is_lost_before_it_begins_gives_the_others_back():
    drive = Drive(2)
    drive.request()
    granted, _ = drive.grant()

    drive.end(granted[0].container_id, lost=True)

    request = drive.request()
    assert request.releases == (granted[1].container_id,)
    assert [ask.count for ask in request.asks] == [2]


def test_a_part_of_it_is_given_back():
    drive = Drive(2)
    part = drive.container(0, "n1")

    actions = drive.master.receive(AllocateResponse(allocated=(part,)), now=0.0)

    assert actions.rendezvous is None
    assert drive.request().releases == (part.container_id,)


def test_killed_before_it_begins_it_gives_all_back():
    drive = Drive(2)
    granted, _ = drive.grant()

    drive.master.kill("killed by ada")

    assert set(drive.request().releases) == {one.container_id for one in granted}
    assert drive.master.verdict == (FinalStatus.KILLED, "killed by ada")


def test_suspended_before_it_begins_it_gives_all_back_and_asks_again_later():
    drive = Drive(2)
    granted, actions = drive.grant()
    assert actions.rendezvous is not None
    drive.master.pause()

    drive.master.meet(actions.rendezvous.number, HOSTS, 29_500, 1.0)

    request = drive.request()
    assert set(request.releases) == {one.container_id for one in granted}
    assert [ask.count for ask in request.asks] == [0]
    drive.master.go_on({})
    assert drive.asked == [2]


# ---- ending


def test_it_succeeds_when_all_have():
    drive = Drive(2)
    first, second = drive.begin()

    drive.end(first)
    assert drive.master.verdict is None
    drive.end(second)

    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")


def test_one_that_fails_has_the_others_stopped():
    drive = Drive(3)
    first, second, third = drive.begin()

    actions = drive.end(second, 7)

    assert actions.stops == [(name, "task 1 of its gang: exit code 7") for name in (first, third)]
    assert drive.states == ["RUNNING", "FAILED", "RUNNING"]


def test_without_a_retry_left_the_job_has_failed_by_the_one_that_was_first():
    drive = Drive(3)
    first, second, third = drive.begin()
    drive.end(second, 7)

    ends = [drive.end(one, 143).ended[0] for one in (first, third)]

    assert [(end.state, end.message) for end in ends] == [(TaskState.KILLED, "task 1 of its gang: exit code 7")] * 2
    assert drive.states == ["KILLED", "FAILED", "KILLED"]
    assert drive.master.verdict == (FinalStatus.FAILED, "1 of 3 tasks failed; task 1: exit code 7")
    assert drive.master.exit_code == 7, "the others have 143, for they were stopped"


def test_with_a_retry_left_all_of_it_is_asked_for_again_when_the_last_has_ended():
    drive = Drive(2, retries=1)
    drive.request()
    first, second = drive.begin()
    drive.end(first, 1)
    assert drive.asked == [], "one still runs"

    drive.end(second, 143)

    assert drive.asked == [2]
    assert drive.states == ["PENDING", "PENDING"]


def test_retries_count_failures_of_the_gang_whoever_fails():
    drive = Drive(2, retries=1)
    drive.fail()
    first, second = drive.begin()
    drive.end(second, 1)
    drive.end(first, 143)

    assert drive.master.verdict is not None
    assert drive.master.verdict[0] is FinalStatus.FAILED


def test_one_that_had_succeeded_runs_again_with_the_others():
    drive = Drive(2, retries=1)
    first, second = drive.begin()
    drive.end(first, 0)

    drive.end(second, 1)

    assert drive.states == ["PENDING", "PENDING"]
    for one in drive.begin():
        drive.end(one)
    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")


def test_one_that_is_lost_counts_as_no_failure_and_all_begin_again():
    drive = Drive(2)
    drive.fail(lost=True)

    assert drive.states == ["PENDING", "PENDING"]


def test_a_node_that_is_lost_with_several_members_is_one_loss_of_the_gang():
    drive = Drive(MAX_LOSSES + 5)
    for name in drive.begin():
        drive.end(name, lost=True)

    assert set(drive.states) == {"PENDING"}


def test_a_gang_that_is_lost_again_and_again_has_failed_in_the_end():
    drive = Drive(2)
    for _ in range(MAX_LOSSES + 1):
        drive.fail(lost=True)

    assert drive.master.verdict is not None
    assert drive.master.verdict[0] is FinalStatus.FAILED


def test_one_that_is_preempted_has_all_begin_again_and_costs_no_retry():
    drive = Drive(2)
    first, second = drive.begin()
    notice = Preemption(warned_at=1.0, kill_at=5.0, reason="for others", beneficiary="application_1_0002")
    drive.master.receive(AllocateResponse(preemptions=((first, notice),)), now=1.0)

    ended = drive.end(first, 143).ended[0]
    drive.end(second, 143)

    assert ended.state is TaskState.PREEMPTED
    assert drive.states == ["PENDING", "PENDING"]


def test_one_whose_time_is_over_ends_them_all():
    drive = Drive(2, timeout_s=10)
    first, second = drive.begin()
    drive.master.started(first, 1.0)

    actions = drive.master.expire(11.0)
    assert [name for name, _ in actions.stops] == [first]
    assert [name for name, _ in drive.end(first, 143).stops] == [second]
    drive.end(second, 143)

    assert drive.master.verdict == (FinalStatus.FAILED, "1 of 2 tasks failed; task 0: timed out after 10s")


def test_killed_while_it_is_ending_all_of_it_is_over():
    drive = Drive(3, retries=1)
    first, second, third = drive.begin()
    drive.end(first, 1)

    drive.master.kill("killed by ada")
    for one in (second, third):
        drive.end(one, 143)

    assert drive.states == ["KILLED"] * 3
    assert drive.master.verdict == (FinalStatus.KILLED, "killed by ada")


# ---- waiting


def test_a_gang_that_could_not_begin_in_its_time_has_failed_and_says_so():
    drive = Drive(4, gang=GangSpec(timeout_s=600))
    assert drive.master.next_deadline() == 0.0
    drive.master.expire(100.0)
    assert drive.master.next_deadline() == 700.0

    drive.master.expire(700.0)

    assert drive.master.verdict == (FinalStatus.FAILED, "its 4 containers were not to be had at once within 10m00s")
    assert drive.master.exit_code == 1
    assert drive.asked == [0]


def test_its_time_does_not_run_while_it_runs_and_begins_anew_when_it_waits_again():
    drive = Drive(2, gang=GangSpec(timeout_s=600), retries=1)
    drive.master.expire(100.0)
    drive.fail()

    assert drive.master.next_deadline() == 0.0
    drive.master.expire(5000.0)
    assert drive.master.next_deadline() == 5600.0


def test_without_a_time_limit_it_waits_as_long_as_it_takes():
    assert Drive(2).master.next_deadline() is None


# ---- after a restart


def task(index: int, state: TaskState, container: int | None = None) -> Task:
    name = None if container is None else str(ContainerId(ATTEMPT, 1, container))
    return Task(index=index, state=state, attempt=1, container_id=name)


def test_a_gang_that_runs_goes_on_after_a_restart():
    drive = Drive(2, tasks=[task(0, TaskState.RUNNING, 101), task(1, TaskState.SUCCEEDED, 102)])

    assert drive.master.resume(0.0).stops == []
    drive.end(str(ContainerId(ATTEMPT, 1, 101)))

    assert drive.master.verdict == (FinalStatus.SUCCEEDED, "")


def test_a_gang_that_waits_asks_for_all_of_it_after_a_restart():
    drive = Drive(2, tasks=[task(0, TaskState.PENDING), task(1, TaskState.PENDING)])

    drive.master.resume(0.0)

    assert drive.asked == [2]


def test_a_gang_that_was_ending_goes_on_to_end_after_a_restart_and_is_tried_again():
    drive = Drive(
        3, retries=1, tasks=[task(0, TaskState.PENDING), task(1, TaskState.RUNNING, 101), task(2, TaskState.SUCCEEDED)]
    )

    actions = drive.master.resume(0.0)
    assert [name for name, _ in actions.stops] == [str(ContainerId(ATTEMPT, 1, 101))]
    drive.end(str(ContainerId(ATTEMPT, 1, 101)), 143)

    assert drive.states == ["PENDING"] * 3
    assert drive.asked == [3]


def test_a_gang_of_which_none_runs_any_more_is_asked_for_anew_after_a_restart():
    drive = Drive(2, retries=1, tasks=[task(0, TaskState.PENDING), task(1, TaskState.SUCCEEDED)])

    actions = drive.master.resume(0.0)

    assert [one.index for one in actions.changed] == [1]
    assert drive.asked == [2]


def test_a_gang_that_had_failed_ends_after_a_restart():
    drive = Drive(2, tasks=[task(0, TaskState.FAILED), task(1, TaskState.RUNNING, 101)])

    drive.master.resume(0.0)
    drive.end(str(ContainerId(ATTEMPT, 1, 101)), 143)

    assert drive.states == ["FAILED", "KILLED"]
    assert drive.master.verdict is not None
    assert drive.master.verdict[0] is FinalStatus.FAILED
