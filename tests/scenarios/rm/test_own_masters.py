"""Masters in containers of their own: what they ask for, launch and hear, how they fail, and what a restart leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.errors import CallerError, Conflict, InvalidInput, NotFound, Unauthenticated
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.jobs import MasterSpec
from hrm.model.masters import EndedContainer, FinalStatus, GrantedContainer
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, TaskState
from hrm.testing.builders import queue, queues
from hrm.testing.lives import Lives, tasks
from hrm.testing.played_masters import Master, ask, begun, submit


async def test_a_master_runs_in_a_container_and_is_told_how_to_come_in(lives: Lives) -> None:
    life = await lives.begin()
    app = await submit(life)
    (launch,) = life.engine.launches
    assert launch.env["HRM_ATTEMPT_ID"] == Master(life, app).attempt_id
    assert launch.env["HRM_APPLICATION_ID"] == app
    assert (await life.service.application(app)).state is ApplicationState.RUNNING


async def test_it_gets_containers_launches_in_them_hears_of_their_end_and_finishes(lives: Lives) -> None:
    life = await lives.begin()
    master = Master(life, await submit(life))
    registration = await master.register()
    assert (registration.queue, registration.running, registration.ended) == ("default", [], [])
    assert registration.maximum_resources["memory_mib"] == 8192
    first, second = await master.get(2)
    assert [await master.launch(first, "sh", "-c", "exit 3"), await master.launch(second, "true")] == [1, 2]
    heard = await master.beat()
    assert sorted(heard.ended, key=lambda one: one.container_id) == [
        EndedContainer(container_id=first.container_id, state=TaskState.FAILED, exit_code=3, message="exit code 3"),
        EndedContainer(container_id=second.container_id, state=TaskState.SUCCEEDED, exit_code=0, message=""),
    ]
    await master.finish(message="all done")
    await master.exit(0)
    report = await life.ended(master.application_id)
    assert (report.state, report.message, report.exit_code) == (ApplicationState.FINISHED, "all done", 0)
    assert (report.tasks_total, report.tasks_succeeded, report.tasks_failed) == (3, 2, 1)
    assert [one.task_index for one in await life.service.history(master.application_id)] == [0, 1, 2]


async def test_a_heartbeat_whose_answer_was_lost_counts_once_when_it_is_said_again(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await master.beat(ask(2))
    heard = await master.calls.allocate(master.attempt_id, 1)
    assert len(heard.allocated) == 2
    again = await master.calls.allocate(master.attempt_id, 1, asks=(ask(2),))
    assert again == heard
    await life.settle()
    assert (await master.calls.allocate(master.attempt_id, 2)).allocated == []
    with pytest.raises(InvalidInput, match="the last answer was 3"):
        await master.calls.allocate(master.attempt_id, 1)


async def test_a_launch_said_twice_starts_one_process(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    assert await master.launch(container) == await master.launch(container) == 1
    assert life.launched().count(container.container_id) == 1


async def test_what_was_not_granted_to_it_cannot_be_launched_in(lives: Lives) -> None:
    life = await lives.begin()
    master, other = await begun(life), await begun(life)
    (container,) = await other.get(1)
    stranger = GrantedContainer(
        container_id=str(ContainerId(AttemptId.parse(master.attempt_id), 1, 77)),
        node_id="n1", resources={}, device_ids=(), priority=0, allocation_request_id=0,
    )  # fmt: skip
    for foreign in (container, stranger):
        with pytest.raises(NotFound):
            await master.launch(foreign)


async def test_what_it_gives_back_or_stops_is_gone(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    kept, unused, stopped = await master.get(3)
    await master.launch(kept)
    await master.launch(stopped)
    await master.beat(releases=(unused.container_id,))
    await master.calls.stop(master.attempt_id, [stopped.container_id])
    await life.settle()
    assert kept.container_id in life.containers() and len(life.containers()) == 2
    (ended,) = (await master.beat()).ended
    assert (ended.container_id, ended.state) == (stopped.container_id, TaskState.KILLED)


async def test_an_ask_that_never_fits_is_refused_with_its_place(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    with pytest.raises(InvalidInput) as refusal:
        await master.beat(ask(1), ask(1, Resources(memory_mib=1 << 20, vcores_milli=1000)))
    assert refusal.value.field == "asks[1].resources"


async def test_the_last_word_stands_and_what_still_runs_is_ended(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    await master.launch(container)
    await master.finish(FinalStatus.SUCCEEDED, "enough")
    assert container.container_id not in life.containers()
    await master.finish(FinalStatus.FAILED, "or not")
    with pytest.raises(Conflict):
        await master.register()
    await master.exit(9)
    report = await life.ended(master.application_id)
    assert (report.state, report.message, report.exit_code) == (ApplicationState.FINISHED, "enough", 0)
    with pytest.raises(Unauthenticated):
        await master.finish(FinalStatus.FAILED, "too late")
    assert (await life.service.application(master.application_id)).state is ApplicationState.FINISHED


async def test_a_master_that_has_finished_and_does_not_leave_is_ended(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await master.finish()
    await life.pass_time(9)
    assert len(life.containers()) == 1
    await life.pass_time(1)
    assert (await life.ended(master.application_id)).state is ApplicationState.FINISHED


async def test_a_master_that_fails_is_started_anew_when_its_containers_have_ended(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    await master.launch(container)
    await master.exit(5)
    (again,) = life.containers()
    assert again != container.container_id
    assert str(ContainerId.parse(again).attempt) == Master(life, master.application_id, 2).attempt_id
    with pytest.raises(Unauthenticated):
        await master.beat()
    second = Master(life, master.application_id, 2)
    registration = await second.register()
    assert (registration.running, [one.state for one in registration.ended]) == ([], [TaskState.KILLED])
    await second.exit(6)
    report = await life.ended(master.application_id)
    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 6)
    assert report.message == "its master failed in 2 attempts; the last: exit code 6"


async def test_containers_that_are_kept_are_given_to_the_next_attempt(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life, keep_containers=True)
    used, unused = await master.get(2)
    await master.launch(used)
    await master.exit(1)
    assert used.container_id in life.containers() and unused.container_id not in life.containers()
    second = Master(life, master.application_id, 2)
    (running,) = (await second.register()).running
    assert (running.container_id, running.node_id) == (used.container_id, used.node_id)
    await life.finish(used.container_id)
    assert [one.container_id for one in (await second.beat()).ended] == [used.container_id]
    assert await life.states(master.application_id) == ["RUNNING", "SUCCEEDED"]
    await second.finish()
    await second.exit()
    assert (await life.ended(master.application_id)).state is ApplicationState.FINISHED


async def test_a_master_that_ends_well_without_a_last_word_has_failed(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("true"), master=MasterSpec(max_attempts=1))
    report = await life.ended(app)
    assert report.state is ApplicationState.FAILED
    assert report.message == "its master ended with exit code 0 and had not finished"


async def test_a_master_that_is_silent_is_ended_and_started_anew(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await life.pass_time(59)
    await master.beat()
    await life.pass_time(59)
    assert str(ContainerId.parse(life.containers()[0]).attempt) == master.attempt_id
    await life.pass_time(1)
    (again,) = life.containers()
    assert ContainerId.parse(again).attempt.number == 2
    (first, _) = await life.service.history(master.application_id)
    assert first.message == "its master was not heard of for 1m00s"


async def test_a_kill_ends_the_master_and_all_that_it_runs(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    await master.launch(container)
    await life.service.kill(master.application_id, by="ada")
    report = await life.ended(master.application_id)
    assert (report.state, report.message) == (ApplicationState.KILLED, "killed by ada")
    assert life.engine.running() == []


async def test_nothing_is_launched_in_what_a_dead_node_took(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    life.engine.lose_node("n1")
    await life.settle()
    with pytest.raises(CallerError):
        await master.launch(container)


async def test_after_a_killed_server_a_master_registers_again_and_is_given_what_runs(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    done, runs, _held = await master.get(3)
    await master.launch(done)
    await master.launch(runs)
    await life.finish(done.container_id, 4)
    await life.kill()

    life = await lives.begin()
    master.moves_to(life)
    assert (await master.beat()).resync
    registration = await master.register()
    assert [one.container_id for one in registration.running] == [runs.container_id]
    assert [(one.container_id, one.exit_code) for one in registration.ended] == [(done.container_id, 4)]
    (more,) = await master.get(1)
    assert await master.launch(more) == 3
    await life.finish(runs.container_id)
    assert runs.container_id in [one.container_id for one in (await master.beat()).ended]
    await master.finish()
    await master.exit()
    assert (await life.ended(master.application_id)).state is ApplicationState.FINISHED


async def test_after_a_killed_server_its_container_still_counts_as_that_of_a_master(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    name = (await life.service.tasks(master.application_id))[0].container_id
    assert name is not None
    began = life.scheduler.container_view(ContainerId.parse(name))
    await life.kill()
    lives.clock.advance(1000)

    life = await lives.begin()

    view = life.scheduler.container_view(ContainerId.parse(name))
    assert began is not None
    assert view is not None
    assert view.for_master
    assert view.started_at == pytest.approx(began.started_at, abs=10)


async def test_a_last_word_stands_though_the_server_was_killed_after_it(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await master.finish(FinalStatus.SUCCEEDED, "all done")
    await life.kill()

    life = await lives.begin()
    master.moves_to(life)
    await master.exit(1)
    report = await life.ended(master.application_id)
    assert (report.state, report.message) == (ApplicationState.FINISHED, "all done")


async def test_a_server_that_was_killed_between_two_attempts_begins_the_second(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    await master.launch(container, "sh", "-c", "trap '' TERM; sleep 1000000")
    await master.exit(1)
    assert life.containers() == [container.container_id]
    await life.kill()

    life = await lives.begin()
    await life.finish(container.container_id, 137)
    (again,) = life.containers()
    assert ContainerId.parse(again).attempt.number == 2


async def test_time_without_a_server_does_not_count_as_silence(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await life.kill()
    lives.clock.advance(1000)

    life = await lives.begin()
    master.moves_to(life)
    await life.pass_time(59)
    assert (await master.beat()).resync


async def test_it_is_told_the_largest_container_of_its_queue_and_held_to_it(tmp_path: Path) -> None:
    root = queues(queue("default", max_container=Resources(2048, 3000, 1000)))
    async with Lives(tmp_path, root=root) as lives:
        master = await begun(await lives.begin())
        registration = await master.register()
        assert registration.maximum_resources == Resources(2048, 3000).as_dict()
        with pytest.raises(InvalidInput, match=r"asks\[0\].resources: .* larger than any container in its queue"):
            await master.beat(ask(1, Resources(2049, 1000)))
        assert len(await master.get(1)) == 1
