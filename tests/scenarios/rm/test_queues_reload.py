"""New queues without a restart: good trees are taken whole, bad ones change nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.placement import PlacementPolicy
from hrm.model.scheduling import SchedulerOptions
from hrm.model.states import ApplicationState
from hrm.testing.builders import amounts, node, queue, queues
from hrm.testing.lives import Lives, tasks


async def test_a_good_tree_is_taken_and_says_what_changed(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=queues(queue("default"), queue("research"), queue("old"))) as lives:
        life = await lives.begin()
        report = await life.service.reload_queues(
            queues(queue("default"), queue("research", weight=3), queue("new", queue("a")))
        )
        assert (report.added, report.removed, report.changed) == (["new", "new.a"], ["old"], ["research"])
        app = await life.submit(tasks("true"), queue="new.a")
        assert (await life.ended(app)).state is ApplicationState.FINISHED
        with pytest.raises(InvalidInput):
            await life.submit(queue="old")


async def test_a_tree_that_what_runs_cannot_live_in_changes_nothing(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(queue="research")
    await life.settle()
    before = life.service.queues()
    with pytest.raises(InvalidInput, match="research cannot become a parent of queues"):
        await life.service.reload_queues(queues(queue("default", weight=9), queue("research", queue("vision"))))
    assert life.service.queues() == before
    assert not life.broken
    kinds = [event.kind for event in await life.store.events()]
    assert "queues_reloaded" not in kinds


async def test_options_of_the_scheduler_and_the_default_queue_are_taken_with_the_tree(tmp_path: Path) -> None:
    root = queues(queue("default"), queue("research"))
    async with Lives(tmp_path, [node("n1", cpus=8)], root=root) as lives:
        life = await lives.begin()
        await life.service.reload_queues(
            root, options=SchedulerOptions(max_assign=1), placement=PlacementPolicy(default_queue="research")
        )
        app = await life.submit(tasks(count=4))
        assert (await life.service.application(app)).queue == "research"
        assert life.manager.scheduler.options.max_assign == 1


async def test_what_a_larger_limit_lets_in_begins_at_once(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=queues(queue("default", max_running_apps=1))) as lives:
        life = await lives.begin()
        await life.submit()
        second = await life.submit()
        await life.settle()
        assert await life.states(second) == ["PENDING"]
        await life.service.reload_queues(queues(queue("default", max_running_apps=2)))
        await life.settle()
        assert await life.states(second) == ["RUNNING"]


async def test_the_end_of_one_application_lets_the_next_in_at_once(tmp_path: Path) -> None:
    async with Lives(tmp_path, root=queues(queue("default", max_running_apps=1))) as lives:
        life = await lives.begin()
        first = await life.submit()
        second = await life.submit()
        await life.settle()
        await life.finish(life.containers(first)[0])
        assert await life.states(second) == ["RUNNING"]


async def test_what_is_let_in_begins_at_once_also_on_a_node_where_nothing_ended(tmp_path: Path) -> None:
    nodes = [node("plain", cpus=2, memory="32G"), node("gpu", cpus=1, gpus=1)]
    async with Lives(tmp_path, nodes, root=queues(queue("default", max_running_apps=1))) as lives:
        life = await lives.begin()
        first = await life.submit()
        await life.settle()
        second = await life.submit(tasks(resources=amounts(1, "1G", gpus=1)))
        await life.settle()
        assert {report.node_id for report in life.service.containers()} == {"plain"}
        await life.finish(life.containers(first)[0])
        assert await life.states(second) == ["RUNNING"]


async def test_work_in_a_removed_queue_goes_on_and_nothing_new_enters(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=5), queue="research")
    await life.settle()
    report = await life.service.reload_queues(queues(queue("default")))
    assert report.removed == ["research"]
    with pytest.raises(InvalidInput):
        await life.submit(queue="research")
    while names := life.containers(app):
        await life.finish(names[0])
    assert (await life.ended(app)).state is ApplicationState.FINISHED
    again = await life.service.reload_queues(queues(queue("default")))
    assert (again.added, again.removed, again.changed) == ([], [], [])


async def test_a_queue_that_goes_while_a_submission_is_written_fails_that_application(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.hold()
    submitting = asyncio.create_task(life.submit(tasks(count=2), queue="research"))
    await life.held()
    reloading = asyncio.create_task(life.service.reload_queues(queues(queue("default"))))
    await life.held()
    life.disk.let_go()
    app = await submitting
    await reloading
    report = await life.ended(app)
    assert (report.state, report.tasks_killed, report.exit_code) == (ApplicationState.FAILED, 2, 1)
    assert "no such queue: 'research'" in report.message
    assert not life.broken
