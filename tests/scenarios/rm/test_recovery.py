"""A second life over the same database and machines goes on where the first was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.ids import ContainerId
from hrm.model.queues import QueueSpec
from hrm.model.states import ApplicationState
from hrm.testing.builders import queue, queues
from hrm.testing.lives import Life, Lives, tasks


async def attempts(life: Life, app: str) -> list[tuple[int, int, str, int | None]]:
    return [(one.task_index, one.attempt, one.state.value, one.exit_code) for one in await life.service.history(app)]


async def test_what_was_acknowledged_and_never_taken_up_runs_in_the_next_life(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.hold(after=1)
    app = await life.submit(tasks("true", count=3))
    await life.kill()
    life = await lives.begin()
    assert (await life.ended(app)).tasks_succeeded == 3


async def test_what_waited_still_waits_and_runs_in_turn(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks(count=4))
    second = await life.submit(tasks(count=4))
    await life.settle()
    await life.kill()
    life = await lives.begin()
    assert await life.states(second) == ["PENDING"] * 4
    for name in life.containers(first):
        await life.finish(name)
    assert (await life.ended(first)).state is ApplicationState.FINISHED
    assert await life.states(second) == ["RUNNING"] * 4


async def test_what_runs_is_taken_over_and_ends_with_its_true_exit_code(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    running = life.containers(app)
    await life.kill()
    life = await lives.begin()
    assert life.containers(app) == running
    assert life.launched() == []
    await life.finish(running[0], 42)
    report = await life.ended(app)
    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 42)
    assert await attempts(life, app) == [(0, 1, "FAILED", 42)]


async def test_what_runs_is_not_granted_a_second_time(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(count=4))
    waiting = await life.submit(tasks(count=4))
    await life.settle()
    await life.kill()
    life = await lives.begin()
    assert await life.states(waiting) == ["PENDING"] * 4
    assert len(life.engine.running()) == 4


async def test_the_scheduler_learns_since_when_that_has_run(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    (running,) = life.containers(app)
    began_at = lives.clock.now()
    await life.kill()
    lives.clock.advance(100)
    life = await lives.begin()
    view = life.scheduler.container_view(ContainerId.parse(running))
    assert view is not None
    assert view.started_at == began_at


async def test_what_ended_meanwhile_is_told_once(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    first, second = life.containers(app)
    await life.kill()
    lives.machines.finish(first, 0)
    lives.machines.finish(second, 9)
    life = await lives.begin()
    report = await life.ended(app)
    assert (report.tasks_succeeded, report.tasks_failed, report.exit_code) == (1, 1, 9)
    assert sorted(life.engine.acknowledged) == sorted([first, second])
    await life.kill()
    life = await lives.begin()
    assert life.engine.acknowledged == []
    assert await attempts(life, app) == [(0, 1, "SUCCEEDED", 0), (1, 1, "FAILED", 9)]


async def test_an_end_that_was_written_but_not_acknowledged_counts_once(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    (name,) = life.containers(app)
    life.engine.dead = True
    await life.finish(name, 5)
    await life.kill()
    life = await lives.begin()
    assert life.engine.acknowledged == [name]
    assert await attempts(life, app) == [(0, 1, "FAILED", 5)]
    assert (await life.service.application(app)).exit_code == 5


async def test_what_was_granted_and_never_launched_is_tried_again(lives: Lives) -> None:
    life = await lives.begin()
    life.engine.dead = True
    app = await life.submit()
    await life.settle()
    assert len(life.containers(app)) == 1
    await life.kill()
    life = await lives.begin()
    assert await attempts(life, app) == [(0, 1, "LOST", None), (0, 2, "RUNNING", None)]
    await life.finish(life.containers(app)[0])
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_a_machine_that_was_started_anew_meanwhile_has_lost_what_ran(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.kill()
    lives.machines.restart_node("n1")
    life = await lives.begin()
    assert await attempts(life, app) == [(0, 1, "LOST", None), (0, 2, "RUNNING", None)]


async def test_nothing_is_placed_on_a_node_before_it_has_spoken(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    await life.kill()
    life = await lives.begin(nodes=False)
    assert await life.states(app) == ["RUNNING"] * 2
    assert life.service.nodes() == []
    await life.join_nodes()
    await life.settle()
    assert await life.states(app) == ["RUNNING"] * 2
    assert life.launched() == []


async def test_work_of_a_node_that_does_not_come_back_in_time_is_done_elsewhere(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.kill()
    machine = lives.cluster.nodes.pop("n1")
    life = await lives.begin()
    life.manager.post(life.listener.give_up_recovering)
    await life.settle()
    assert await life.states(app) == ["PENDING"]
    assert await attempts(life, app) == [(0, 1, "LOST", None)]

    # It comes back after all: what it still runs is stopped.
    life.engine.add_node(machine.spec)
    await life.settle()
    assert await life.states(app) == ["RUNNING"]


async def test_a_kill_that_was_asked_for_is_carried_on(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6))
    await life.settle()
    life.engine.dead = True  # the kill is on disk, the stops are not sent
    await life.service.kill(app, by="ada", message="enough")
    await life.settle()
    await life.kill()
    life = await lives.begin()
    report = await life.ended(app)
    assert (report.state, report.message, report.tasks_killed) == (ApplicationState.KILLED, "enough", 6)
    assert life.engine.running() == []
    kinds = [event.kind for event in await life.store.events()]
    assert kinds.count("application_kill_requested") == 1


async def test_a_job_may_be_killed_before_its_node_is_back(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.kill()
    life = await lives.begin(nodes=False)
    await life.service.kill(app, by="ada")
    await life.join_nodes()
    assert (await life.ended(app)).state is ApplicationState.KILLED
    assert life.engine.running() == []


async def test_a_job_may_be_killed_whose_node_is_gone_for_good(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.kill()
    del lives.cluster.nodes["n1"]
    life = await lives.begin()
    await life.service.kill(app, by="ada")
    await life.settle()
    assert not life.broken
    assert not (await life.service.application(app)).state.final
    life.manager.post(life.listener.give_up_recovering)
    report = await life.ended(app)
    assert (report.state, report.tasks_killed) == (ApplicationState.KILLED, 1)


async def test_a_time_limit_counts_from_the_true_start(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(timeout_s=60))
    await life.settle()
    await life.pass_time(40)
    await life.kill()
    life = await lives.begin()
    await life.pass_time(19)
    assert await life.states(app) == ["RUNNING"]
    await life.pass_time(1)
    assert (await life.ended(app)).message == "timed out after 1m00s"


async def test_a_stop_for_a_time_limit_is_carried_on_with_its_reason(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(timeout_s=60))
    await life.settle()
    life.engine.dead = True
    await life.pass_time(60)
    await life.kill()
    life = await lives.begin()
    report = await life.ended(app)
    assert (report.state, report.message) == (ApplicationState.FAILED, "timed out after 1m00s")


async def test_a_job_that_had_failed_too_often_goes_on_to_its_end(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6, retries=0), tasks("true", name="later", retries=3), max_failures=0)
    await life.settle()
    life.engine.dead = True
    await life.finish(life.containers(app)[0], 1)
    await life.kill()
    life = await lives.begin()
    report = await life.ended(app)
    assert (report.state, report.tasks_failed, report.tasks_killed) == (ApplicationState.FAILED, 1, 6)
    assert life.launched() == []
    assert life.engine.running() == []


async def test_retries_used_up_stay_used_up(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(retries=1))
    await life.settle()
    await life.finish(life.containers(app)[0], 1)
    await life.kill()
    life = await lives.begin()
    await life.finish(life.containers(app)[0], 1)
    assert (await life.ended(app)).state is ApplicationState.FAILED


async def test_tasks_that_never_began_begin_in_the_next_life_each_once(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=5, name="a"), tasks(count=5, name="b"))
    await life.settle()
    await life.kill()
    life = await lives.begin()
    while names := life.containers(app):
        await life.finish(names[0])
    assert (await life.ended(app)).tasks_succeeded == 10
    assert sorted(await attempts(life, app)) == [(index, 1, "SUCCEEDED", 0) for index in range(10)]


async def test_an_attached_job_whose_client_does_not_come_back_ends_after_the_grace(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(attached=True)
    life.service.attach(app)
    await life.settle()
    await life.kill()
    life = await lives.begin()
    await life.pass_time(29)
    assert await life.states(app) == ["RUNNING"]
    await life.pass_time(1)
    report = await life.ended(app)
    assert (report.state, report.message) == (ApplicationState.KILLED, "its client is gone")


async def test_an_attached_job_whose_client_comes_back_goes_on(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(attached=True)
    await life.settle()
    await life.kill()
    life = await lives.begin()
    life.service.attach(app)
    await life.pass_time(1000)
    assert await life.states(app) == ["RUNNING"]


async def test_finished_applications_stay_listed_and_told(lives: Lives) -> None:
    life = await lives.begin()
    good = await life.submit(tasks("true", count=2), name="good")
    bad = await life.submit(tasks("false"), name="bad")
    reports = [await life.ended(good), await life.ended(bad)]
    told = await life.service.tasks(good), await life.service.history(good)
    await life.kill()
    life = await lives.begin()
    assert [report.name for report in await life.service.applications()] == ["bad", "good"]
    assert [await life.service.application(good), await life.service.application(bad)] == reports
    assert (await life.service.tasks(good), await life.service.history(good)) == told
    assert (await life.service.wait(good, timeout_s=0)).state is ApplicationState.FINISHED
    assert (await life.service.explain(good)).reason == "finished"


async def test_no_id_is_given_twice(lives: Lives) -> None:
    applications: list[str] = []
    containers: list[str] = []
    for epoch in (1, 2, 3):
        life = await lives.begin()
        # The first job gets one more container in each life.
        applications.append(await life.submit(tasks(count=3, cpus=4)))
        await life.settle()
        await life.finish(life.containers(applications[0])[0])
        containers += life.launched()
        assert {ContainerId.parse(name).epoch for name in life.launched()} == {epoch}
        await life.kill()
    assert len(set(applications)) == 3
    assert len(set(containers)) == len(containers) >= 3


async def test_an_application_whose_queue_was_removed_meanwhile_goes_on_in_it_while_it_drains(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2), queue="research")
    await life.settle()
    await life.kill()
    life = await lives.begin(root=queues(queue("default")))
    await life.settle()
    assert (await life.service.application(app)).queue == "research"
    (drained,) = [report for report in life.service.queues() if report.draining]
    assert (drained.name, drained.applications_running) == ("research", 1)
    with pytest.raises(InvalidInput):
        await life.submit(queue="research")
    for name in life.containers(app):
        await life.finish(name)
    assert (await life.ended(app)).state is ApplicationState.FINISHED
    assert [report.name for report in life.service.queues()] == ["root", "default"]


@pytest.mark.parametrize(
    ("before", "after", "home"),
    [
        (queue("research", queue("vision")), queue("research"), "research"),
        (queue("research"), queue("research", queue("vision")), "default"),
    ],
)
async def test_where_the_new_tree_has_no_place_for_its_queue_an_application_moves(
    tmp_path: Path, before: QueueSpec, after: QueueSpec, home: str
) -> None:
    async with Lives(tmp_path, root=queues(queue("default"), before)) as lives:
        life = await lives.begin()
        name = "research.vision" if before.children else "research"
        app = await life.submit(queue=name)
        await life.settle()
        await life.kill()
        life = await lives.begin(root=queues(queue("default"), after))
        await life.settle()
        assert [report.application_id for report in await life.service.applications(queue=home)] == [app]
        (moved,) = [event for event in await life.store.events() if event.kind == "application_moved"]
        assert moved.detail == {"queue": home, "from_queue": name}


async def test_an_orderly_end_leaves_containers_running_for_the_next_life(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.close()
    assert len(life.engine.running()) == 1
    life = await lives.begin()
    await life.finish(life.containers(app)[0], 4)
    assert (await life.ended(app)).exit_code == 4


async def test_many_lives_one_after_another_lose_nothing(lives: Lives) -> None:
    life = await lives.begin()
    apps = [await life.submit(tasks(count=3)) for _ in range(4)]
    for _ in range(6):
        await life.settle()
        for name in life.containers()[:2]:
            await life.finish(name)
        await life.kill()
        life = await lives.begin()
    for app in apps:
        assert (await life.ended(app)).tasks_succeeded == 3
        assert sorted(await attempts(life, app)) == [(index, 1, "SUCCEEDED", 0) for index in range(3)]
