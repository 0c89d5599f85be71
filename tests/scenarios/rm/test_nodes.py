"""Nodes that are lost, come back, forget, repeat themselves or are late: no work is lost, none runs twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.model.containers import ExitReason
from hrm.model.states import ApplicationState, NodeState
from hrm.testing.builders import node
from hrm.testing.lives import Life, Lives, tasks


@pytest.fixture
def two(tmp_path: Path) -> Lives:
    return Lives(tmp_path, [node("n1", cpus=2, memory="4G"), node("n2", cpus=2, memory="4G")])


def on(life: Life, node_id: str) -> list[str]:
    return [report.container_id for report in life.service.containers() if report.node_id == node_id]


async def attempts(life: Life, app: str) -> list[tuple[int, str]]:
    return [(one.attempt, one.state.value) for one in await life.service.history(app)]


async def test_what_ran_on_a_lost_node_is_lost_and_runs_again_elsewhere(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=3))
        await life.settle()
        lost = on(life, "n1")
        life.engine.lose_node("n1", "it does not answer")
        await life.settle()
        assert {report.node_id for report in life.service.containers()} == {"n2"}
        # There is room for two on what is left; the third waits for one of them.
        await life.finish(on(life, "n2")[0])
        await life.finish(on(life, "n2")[0])
        await life.finish(on(life, "n2")[0])
        report = await life.ended(app)
        assert (report.state, report.tasks_succeeded) == (ApplicationState.FINISHED, 3)
        told = {one.container_id: one for one in await life.service.history(app)}
        assert [told[name].state for name in lost] == ["LOST"] * len(lost)
        assert [told[name].exit_code for name in lost] == [None] * len(lost)


async def test_a_lost_node_is_shown_as_lost_and_holds_nothing(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        await life.submit(tasks(count=4))
        await life.settle()
        life.engine.lose_node("n1", "it does not answer")
        await life.settle()
        report, _ = life.service.nodes()
        assert (report.state, report.message, report.containers) == (NodeState.LOST, "it does not answer", 0)


async def test_a_machine_that_cannot_be_a_node_is_listed_with_the_reason_until_it_can(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        for reason in ("HRM is not installed there", "HRM is not installed there", "it does not answer"):
            life.engine.refuse_node("n3", reason)
        await life.settle()
        *_, report = life.service.nodes()
        assert (report.node_id, report.state, report.message) == ("n3", NodeState.UNHEALTHY, "it does not answer")
        following = life.service.events(after_seq=0)
        told = [await asyncio.wait_for(anext(following), 10) for _ in range(4)]
        assert [(event.kind, event.detail["message"]) for event in told[2:]] == [
            ("node_refused", "HRM is not installed there"),
            ("node_refused", "it does not answer"),
        ], "each reason once"
        life.engine.refuse_node("n3", "")
        await life.settle()
        assert [report.node_id for report in life.service.nodes()] == ["n1", "n2"]


async def test_a_node_that_comes_back_is_told_to_stop_what_was_given_up(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=2, cpus=2))
        await life.settle()
        (given_up,) = on(life, "n1")
        life.engine.lose_node("n1")
        await life.settle()
        life.engine.return_node("n1")
        await life.settle()
        assert given_up not in life.engine.running()
        assert len(life.engine.running()) == 2
        assert sorted(await attempts(life, app)) == [(1, "LOST"), (1, "RUNNING"), (2, "RUNNING")]


async def test_the_end_of_what_was_given_up_is_acknowledged_and_changes_nothing(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=2, cpus=2))
        await life.settle()
        (given_up,) = on(life, "n1")
        life.engine.lose_node("n1")
        await life.settle()
        life.engine.finish(given_up, 0)
        life.engine.return_node("n1")
        await life.settle()
        assert given_up in life.engine.acknowledged
        assert (await life.service.application(app)).tasks_succeeded == 0


async def test_a_start_told_of_a_container_that_nobody_owns_stops_it(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        life.engine.hold_reports()
        await life.submit(tasks(cpus=2))
        await life.settle()
        (name,) = life.containers()
        node_id = life.service.containers()[0].node_id
        # The node is given up before it told of the start.
        life.listener.node_lost(node_id, "it does not answer")
        await life.settle()
        life.engine.release_reports()
        await life.settle()
        assert name not in life.engine.running()
        assert len(life.engine.running()) == 1


async def test_a_machine_started_anew_has_lost_its_containers_and_gets_them_again(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    life.engine.restart_node("n1")
    await life.settle()
    assert await attempts(life, app) == [(1, "LOST"), (1, "LOST"), (2, "RUNNING"), (2, "RUNNING")]
    for name in life.containers():
        await life.finish(name)
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_a_node_that_registers_again_keeps_what_runs(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    before = life.containers(app)
    life.engine.return_node("n1")
    await life.settle()
    assert life.containers(app) == before
    assert life.engine.running() == before


async def test_a_node_that_registers_again_without_a_running_container_has_lost_it(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    lives.cluster.node("n1").containers.clear()
    life.engine.return_node("n1")
    await life.settle()
    assert await attempts(life, app) == [(1, "LOST"), (2, "RUNNING")]


async def test_a_launch_that_was_lost_on_its_way_is_sent_again_when_the_node_registers_again(lives: Lives) -> None:
    life = await lives.begin()
    life.engine.dead = True  # what is sent arrives nowhere
    app = await life.submit()
    await life.settle()
    assert life.engine.running() == []
    life.engine.dead = False
    life.engine.return_node("n1")
    await life.settle()
    assert len(life.engine.running()) == 1
    assert await attempts(life, app) == [(1, "RUNNING")]


async def test_a_launch_that_is_still_to_be_sent_is_not_taken_for_lost(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.hold(after=1)
    app = await life.submit()
    await life.held()
    life.engine.return_node("n1")
    life.disk.let_go()
    await life.settle()
    assert await attempts(life, app) == [(1, "RUNNING")]
    assert len(life.engine.running()) == 1


async def test_what_was_granted_on_a_node_that_was_lost_before_the_launch_is_not_launched_there(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        life.disk.hold(after=1)
        app = await life.submit(tasks(cpus=2))
        await life.held()
        (report,) = life.service.containers(app)
        life.engine.lose_node(report.node_id)
        for _ in range(10):
            await life.held()
        life.disk.let_go()
        await life.settle()
        assert report.container_id not in life.launched()
        (again,) = life.engine.running()
        assert again in life.launched()


async def test_everything_told_twice_counts_once(lives: Lives) -> None:
    life = await lives.begin()
    life.engine.repeat_reports(2)
    app = await life.submit(tasks("sh", "-c", "exit 1", count=5, retries=1))
    report = await life.ended(app)
    assert (report.tasks_failed, len(await life.service.history(app))) == (5, 10)
    good = await life.submit(tasks("true", count=5))
    assert (await life.ended(good)).tasks_succeeded == 5


async def test_a_start_told_after_the_end_changes_nothing(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    (name,) = life.containers()
    started = lives.cluster.container("n1", name).started
    assert started is not None
    await life.finish(name)
    life.listener.containers_started("n1", [started])
    await life.settle()
    assert (await life.ended(app)).state is ApplicationState.FINISHED
    assert not life.broken


async def test_reports_of_containers_nobody_knows_are_harmless(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    (name,) = life.containers()
    container = lives.cluster.container("n1", name)
    assert container.started is not None
    await life.finish(name)
    assert container.ended is not None
    life.listener.containers_started("n1", [replace(container.started, container_id="who knows")])
    life.listener.containers_finished("n1", [replace(container.ended, container_id="who knows")])
    await life.settle()
    assert not life.broken
    assert "who knows" in life.engine.acknowledged
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_a_task_that_is_lost_with_each_of_its_nodes_comes_to_an_end(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    for _ in range(11):
        await life.settle()
        await life.finish(life.containers(app)[0], reason=ExitReason.LOST)
    report = await life.ended(app)
    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 1)


async def test_a_node_that_joins_gets_work_at_once(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6))
    await life.settle()
    life.engine.add_node(node("n2", cpus=4))
    await life.settle()
    assert await life.states(app) == ["RUNNING"] * 6
