"""Containers end for those who have been below their share: warned, spared, killed, begun again, and never counted."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.model.containers import ExitReason
from hrm.model.ids import ContainerId
from hrm.model.jobs import MasterSpec
from hrm.model.masters import GrantedContainer
from hrm.model.queues import QueueSpec
from hrm.model.reports import TaskAttemptReport
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, TaskState
from hrm.testing.builders import queue, queues
from hrm.testing.lives import Life, Lives, tasks
from hrm.testing.played_masters import Master, ask, begun

TIMEOUT_S = 30.0
WAIT_S = 15.0
#: A task that saves its work when it is told to end.
SAVES = ("sh", "-c", "trap 'exit 7' TERM; wait")


def hungry(name: str, **more: Any) -> QueueSpec:
    return queue(name, fair_share_preemption_timeout_s=TIMEOUT_S, fair_share_preemption_threshold=1.0, **more)


@pytest.fixture
def greedy_and_hungry(lives: Lives) -> Lives:
    """A node of 4 vcores and 8 GiB; queue "research" bears to be below its half for half a minute."""
    lives.root = queues(queue("batch"), hungry("research"))
    return lives


async def full_and_starved(life: Life, *command: str, starved: int = 2, **group: Any) -> tuple[str, str]:
    """Batch takes all of the node by four tasks; research wants more than what is left. Just before it is due."""
    batch = await life.submit(tasks(*command, count=4, memory="2G", **group), queue="batch")
    await life.settle()
    research = await life.submit(tasks(count=starved, memory="2G"), queue="research")
    # From the first look on it counts.
    await life.pass_time(0)
    await life.pass_time(TIMEOUT_S - 1)
    return batch, research


async def warned(life: Life, *command: str, **group: Any) -> tuple[str, str, list[str]]:
    """The same, and two of batch's containers are warned."""
    batch, research = await full_and_starved(life, *command, **group)
    await life.pass_time(2)
    return batch, research, [name for name in life.containers(batch) if life.engine.notice_of(name)]


async def attempts(life: Life, app: str, state: str) -> list[TaskAttemptReport]:
    return [one for one in await life.service.history(app) if one.state == state]


async def test_before_the_timeout_nobody_is_warned(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, _ = await full_and_starved(life)
    assert [life.engine.notice_of(name) for name in life.containers(batch)] == [None] * 4


async def test_the_warned_are_told_for_whom_why_and_when_they_are_killed(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    _, research, victims = await warned(life)

    notices = [life.engine.notice_of(name) for name in victims]

    assert len(notices) == 2
    assert {notice.beneficiary for notice in notices if notice} == {research}
    assert {notice.kill_at for notice in notices if notice} == {greedy_and_hungry.clock.now() + WAIT_S}
    assert {notice.reason for notice in notices if notice} == {
        f"preempted for {research} of queue research, which had 0M of its fair share of 4G for 31s"
    }


async def test_who_does_not_end_is_killed_when_the_time_is_over_and_not_before(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, victims = await warned(life)

    await life.pass_time(WAIT_S - 1)
    early = await life.states(research)
    await life.pass_time(1)

    assert early == ["PENDING", "PENDING"]
    assert await life.states(research) == ["RUNNING", "RUNNING"]
    ended = await attempts(life, batch, "PREEMPTED")
    assert sorted(one.container_id for one in ended) == sorted(victims)
    assert {one.exit_code for one in ended} == {137}


async def test_who_saves_its_work_and_ends_makes_room_at_once_whatever_its_exit_code(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, _ = await warned(life, *SAVES)

    assert await life.states(research) == ["RUNNING", "RUNNING"]
    ended = await attempts(life, batch, "PREEMPTED")
    assert [(one.exit_code, one.message.partition(" of queue")[0]) for one in ended] == [
        (7, f"preempted for {research}")
    ] * 2


async def test_the_same_tasks_begin_again_when_there_is_room_and_nothing_counts_as_failed(
    greedy_and_hungry: Lives,
) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, _ = await warned(life, *SAVES)
    gone = {one.task_index for one in await attempts(life, batch, "PREEMPTED")}

    for name in life.containers(research):
        await life.finish(name)
    report = await life.service.application(batch)
    again = [spec for spec in life.engine.launches[-2:] if spec.application_id == batch]
    for name in life.containers(batch):
        await life.finish(name)
    over = await life.ended(batch)

    assert {int(spec.env["HRM_TASK_INDEX"]) for spec in again} == gone
    assert {spec.env["HRM_RESTART_COUNT"] for spec in again} == {"1"}
    assert report.tasks_failed == 0
    assert (over.state, over.tasks_succeeded, over.tasks_failed) == (ApplicationState.FINISHED, 4, 0)
    assert over.exit_code == 0


async def test_a_task_that_ends_well_after_its_warning_has_succeeded(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, _, victims = await warned(life)

    await life.finish(victims[0], 0)

    (done,) = [one for one in await life.service.history(batch) if one.container_id == victims[0]]
    assert done.state == "SUCCEEDED"


async def test_who_was_killed_by_its_user_while_warned_is_killed_and_does_not_begin_again(
    greedy_and_hungry: Lives,
) -> None:
    life = await greedy_and_hungry.begin()
    batch, _, _ = await warned(life)

    await life.service.kill(batch, by="ada")
    report = await life.ended(batch)

    assert (report.state, report.tasks_killed) == (ApplicationState.KILLED, 4)


async def test_what_is_lost_while_warned_is_lost(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, _, victims = await warned(life)

    await life.finish(victims[0], reason=ExitReason.LOST)

    (lost,) = await attempts(life, batch, "LOST")
    assert lost.container_id == victims[0]


async def test_twenty_more_rounds_change_nothing(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, _ = await warned(life, *SAVES)
    running = life.containers()

    for _ in range(20):
        await life.pass_time(TIMEOUT_S + WAIT_S)

    assert life.containers() == running
    assert len(await attempts(life, batch, "PREEMPTED")) == 2
    assert await attempts(life, research, "PREEMPTED") == []


async def test_who_is_not_needed_any_more_is_spared_and_hears_of_it(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, victims = await warned(life)

    await life.service.kill(research, by="ada")
    await life.pass_time(WAIT_S)

    assert [life.engine.notice_of(name) for name in victims] == [None, None]
    assert await life.states(batch) == ["RUNNING"] * 4
    log = await life.store.events(after_seq=0, application_seq=None, limit=100)
    assert sorted(one.container_id or "" for one in log if one.kind == "container_spared") == victims


async def test_who_was_on_its_way_out_when_it_was_spared_is_preempted_and_one_that_fails_later_has_failed(
    greedy_and_hungry: Lives,
) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, (first, second) = await warned(life)
    await life.service.kill(research, by="ada")
    await life.pass_time(1)

    await life.finish(first, 143)
    await life.pass_time(WAIT_S + 1)
    await life.finish(second, 143)

    states = {one.container_id: one.state for one in await life.service.history(batch)}
    assert (states[first], states[second]) == ("PREEMPTED", "FAILED")


async def test_reports_say_who_is_to_end_and_why(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, victims = await warned(life)

    containers = {one.container_id: one for one in life.service.containers(batch)}
    told = [one for one in await life.service.tasks(batch) if one.message]

    assert [name for name, one in containers.items() if one.ends_for == research] == victims
    assert {containers[name].kill_at for name in victims} == {greedy_and_hungry.clock.now() + WAIT_S}
    assert sorted(one.container_id or "" for one in told) == sorted(victims)
    assert (await life.service.application(batch)).message.startswith("2 of its containers are to end: preempted for ")


async def test_the_event_log_tells_of_warning_and_end_with_the_numbers(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    _, research, victims = await warned(life)
    await life.pass_time(WAIT_S)

    log = await life.store.events(after_seq=0, application_seq=None, limit=100)
    of_first = [(one.kind, one.detail or {}) for one in log if one.container_id == victims[0]]

    assert [kind for kind, _ in of_first] == ["container_warned", "container_killed", "task_preempted"]
    said = of_first[0][1]
    assert (said["beneficiary"], said["beneficiary_queue"], said["starvation"]) == (research, "research", "fair_share")
    assert said["beneficiary_fair_share"]["memory_mib"] == said["left"]["memory_mib"] == 4096


# --- restarts


async def test_a_new_server_takes_the_warning_back_and_starts_afresh(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, victims = await warned(life)

    await life.kill()
    life = await greedy_and_hungry.begin()
    spared = [life.engine.notice_of(name) for name in victims]
    await life.pass_time(WAIT_S + 5)
    too_early = await life.states(research)
    await life.pass_time(TIMEOUT_S)
    await life.pass_time(WAIT_S)

    assert spared == [None, None]
    assert too_early == ["PENDING", "PENDING"]
    assert await life.states(research) == ["RUNNING", "RUNNING"]
    assert len(await attempts(life, batch, "PREEMPTED")) == 2


async def test_what_ended_for_others_while_no_server_was_up_is_preempted(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, _, victims = await warned(life)

    await life.kill()
    greedy_and_hungry.clock.advance(100)
    greedy_and_hungry.machines.finish(victims[0], 143)
    life = await greedy_and_hungry.begin()

    assert [one.container_id for one in await attempts(life, batch, "PREEMPTED")] == victims[:1]
    assert (await life.service.application(batch)).tasks_failed == 0


async def test_a_kill_that_its_node_did_not_hear_is_made_good_after_a_restart(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    batch, research, victims = await warned(life)
    life.engine.stop_containers = lambda *_, **__: None  # type: ignore[method-assign]
    await life.pass_time(WAIT_S)
    await life.kill()
    assert set(victims) <= set(greedy_and_hungry.machines.running())

    life = await greedy_and_hungry.begin()

    assert sorted(one.container_id for one in await attempts(life, batch, "PREEMPTED")) == sorted(victims)
    assert await life.states(research) == ["RUNNING", "RUNNING"]


async def test_a_node_that_comes_back_hears_the_warning_again(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    _, _, victims = await warned(life)
    for name in victims:
        life.engine.spare("n1", name)

    greedy_and_hungry.cluster.register(greedy_and_hungry.cluster.node("n1"))
    await life.settle()

    assert all(life.engine.notice_of(name) for name in victims)


# --- checkpoints


async def test_a_checkpoint_is_told_to_the_scheduler_once_it_is_new(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    app = await life.submit(tasks(), queue="batch")
    await life.settle()
    (name,) = life.containers(app)
    greedy_and_hungry.clock.advance(50)
    life.engine.save(name)
    saved_at = greedy_and_hungry.clock.now()
    greedy_and_hungry.clock.advance(50)

    await life.heartbeat()

    known = life.scheduler.books.container(ContainerId.parse(name))
    assert known is not None
    assert known.unsaved_since == saved_at


# --- masters of their own


async def master_with_two(life: Life, *, starved: int) -> tuple[Master, list[GrantedContainer], str]:
    """A master in queue "batch" holds two containers of 3 GiB; research lacks its share. Just before it is due."""
    master = await begun(life, queue="batch")
    big = Resources(memory_mib=3072, vcores_milli=500)
    first, second = await master.beat(ask(2, big)), await master.beat()
    containers = [*first.allocated, *second.allocated]
    for container in containers:
        await master.launch(container)
    research = await life.submit(tasks(count=starved, memory="3G"), queue="research")
    await life.settle()
    await life.pass_time(0)
    await life.pass_time(TIMEOUT_S - 1)
    await master.beat()
    return master, containers, research


async def test_a_master_hears_of_the_warning_once_and_of_its_end_as_preempted(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    master, containers, research = await master_with_two(life, starved=1)
    await life.pass_time(2)
    heard, silence = await master.beat(), await master.beat()
    await life.pass_time(WAIT_S)
    after = await master.beat()

    (victim,) = heard.warned
    assert victim.container_id in {one.container_id for one in containers}
    assert (victim.beneficiary, victim.kill_at) == (research, greedy_and_hungry.clock.now())
    assert silence.warned == []
    (ended,) = after.ended
    assert (ended.container_id, ended.state, ended.exit_code) == (victim.container_id, TaskState.PREEMPTED, 137)
    report = await life.service.application(master.application_id)
    assert (report.tasks_failed, report.tasks_killed) == (0, 1)


async def test_a_master_may_give_up_another_container_and_the_warned_one_is_spared(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    master, containers, _ = await master_with_two(life, starved=1)
    await life.pass_time(2)
    (victim,) = (await master.beat()).warned
    (other,) = [one.container_id for one in containers if one.container_id != victim.container_id]

    await life.service.masters.stop(master.attempt_id, [other])
    await life.pass_time(1)
    heard = await master.beat()

    assert heard.spared == [victim.container_id]
    assert life.engine.notice_of(victim.container_id) is None


async def test_a_master_that_registers_anew_is_told_again_what_stands(greedy_and_hungry: Lives) -> None:
    life = await greedy_and_hungry.begin()
    master, _, _ = await master_with_two(life, starved=1)
    await life.pass_time(2)
    first = await master.beat()

    await master.register()

    assert (await master.beat()).warned == first.warned


async def test_a_grant_in_which_nothing_was_launched_is_taken_back_when_the_time_is_over(
    greedy_and_hungry: Lives,
) -> None:
    life = await greedy_and_hungry.begin()
    master = await begun(life, queue="batch")
    await master.beat(ask(2, Resources(memory_mib=3072, vcores_milli=500)))
    await master.beat()
    research = await life.submit(tasks(memory="3G"), queue="research")
    await life.settle()
    await life.pass_time(0)
    await life.pass_time(TIMEOUT_S)
    (victim,) = (await master.beat()).warned

    await life.pass_time(WAIT_S)

    (ended,) = (await master.beat()).ended
    assert (ended.container_id, ended.state) == (victim.container_id, TaskState.PREEMPTED)
    assert await life.states(research) == ["RUNNING"]


async def test_a_masters_own_container_that_ended_for_others_is_started_anew_and_costs_no_attempt(
    greedy_and_hungry: Lives,
) -> None:
    greedy_and_hungry.root = queues(queue("batch", weight=0.0, max_am_share=None), hungry("research"))
    life = await greedy_and_hungry.begin()
    app = await life.submit(tasks(memory="7G"), master=MasterSpec(max_attempts=1), queue="batch")
    await life.settle()
    master = Master(life, app)
    await master.register()
    research = await life.submit(tasks(count=1, memory="8G"), queue="research")
    await life.settle()
    await life.pass_time(0)
    await life.pass_time(TIMEOUT_S)
    told = (await master.beat()).warned
    await life.pass_time(WAIT_S)
    for name in life.containers(research):
        await life.finish(name)

    (own, again) = await life.service.history(app)
    assert [one.container_id for one in told] == [own.container_id]
    assert (own.state, again.state, again.attempt) == ("PREEMPTED", "RUNNING", 2)
    assert (await life.service.application(app)).state is ApplicationState.RUNNING
