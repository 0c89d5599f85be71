"""Nodes and servers that are drained: nothing new begins there, what runs goes on, and the wish outlives the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.errors import NotFound
from hrm.model.states import ApplicationState, NodeState
from hrm.testing.builders import node
from hrm.testing.lives import Life, Lives, tasks


@pytest.fixture
def two(tmp_path: Path) -> Lives:
    return Lives(tmp_path, [node("n1", cpus=2, memory="4G"), node("n2", cpus=2, memory="4G")])


def places(life: Life) -> list[str]:
    return sorted(report.node_id for report in life.service.containers())


async def test_nothing_new_is_placed_on_a_drained_node_and_what_runs_there_goes_on(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        app = await life.submit(tasks(count=6, cpus=1))
        await life.settle()
        assert places(life) == ["n1", "n1", "n2", "n2"]
        await life.service.drain_node("n1", by="ada", reason="new disk")
        for report in life.service.containers(app):
            await life.finish(report.container_id)
        assert places(life) == ["n2", "n2"]
        assert (await life.service.application(app)).tasks_succeeded == 4


async def test_a_drained_node_says_since_when_by_whom_and_why(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        told = await life.service.drain_node("n1", by="ada", reason="new disk")
        assert (told.state, told.drained_at, told.drained_by, told.drain_reason) == (
            NodeState.DRAINING,
            lives.clock.now(),
            "ada",
            "new disk",
        )
        assert life.service.nodes() == [told, life.service.nodes()[1]]
        again = await life.service.drain_node("n1", by="bob", reason="and a fan")
        assert (again.drained_by, again.drain_reason) == ("bob", "and a fan")


async def test_a_node_that_is_undrained_is_used_at_once(lives: Lives) -> None:
    life = await lives.begin()
    await life.service.drain_node("n1", by="ada")
    app = await life.submit(tasks(count=2))
    await life.settle()
    assert life.containers() == []
    assert (await life.service.explain(app)).reason == "nodes_not_schedulable"
    report = await life.service.undrain_node("n1", by="ada")
    await life.settle()
    assert len(life.containers(app)) == 2
    assert (report.state, report.drained_at, report.drained_by) == (NodeState.RUNNING, None, "")


async def test_a_drain_outlives_the_server_and_what_ran_meanwhile_is_adopted(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=5))
    await life.settle()
    await life.service.drain_node("n1", by="ada", reason="new disk")
    before = life.containers()
    await life.kill()
    life = await lives.begin()
    assert life.containers() == before
    for name in before:
        await life.finish(name)
    assert life.containers() == []
    (report,) = life.service.nodes()
    assert (report.state, report.drained_by, report.drain_reason) == (NodeState.DRAINING, "ada", "new disk")
    await life.service.undrain_node("n1", by="ada")
    await life.close()
    life = await lives.begin()
    assert len(life.containers(app)) == 1


async def test_a_drained_node_that_was_lost_and_comes_back_is_still_drained(lives: Lives) -> None:
    life = await lives.begin()
    await life.service.drain_node("n1", by="ada")
    life.engine.lose_node("n1")
    await life.settle()
    assert life.service.nodes()[0].state is NodeState.LOST
    life.engine.return_node("n1")
    await life.submit()
    await life.settle()
    assert life.service.nodes()[0].state is NodeState.DRAINING
    assert life.containers() == []


async def test_a_node_that_is_not_there_cannot_be_drained(lives: Lives) -> None:
    life = await lives.begin()
    for change in (life.service.drain_node, life.service.undrain_node):
        with pytest.raises(NotFound, match="no node 'n9'"):
            await change("n9", by="ada")


async def test_the_event_log_says_who_drained_what(lives: Lives) -> None:
    life = await lives.begin()
    await life.service.drain_node("n1", by="ada", reason="new disk")
    await life.service.undrain_node("n1", by="bob")
    await life.service.undrain_node("n1", by="bob")
    rows = [(row.kind, row.node_id, row.detail) for row in await life.store.events() if "drain" in row.kind]
    assert rows == [
        ("node_drained", "n1", {"by": "ada", "reason": "new disk"}),
        ("node_undrained", "n1", {"by": "bob"}),
    ]


async def test_a_drained_server_ends_when_its_last_container_has_ended(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=6))
    await life.settle()
    report = await life.service.drain_server(by="ada")
    assert (report.drained_by, report.containers) == ("ada", 4)
    waits = await life.submit()
    await life.settle()
    for name in life.containers():
        assert not life.asked_to_end
        await life.finish(name)
    assert life.asked_to_end
    assert (await life.service.application(app)).tasks_succeeded == 4
    assert (await life.service.application(waits)).state is ApplicationState.ACCEPTED


async def test_a_drained_server_without_containers_ends_at_once(lives: Lives) -> None:
    life = await lives.begin()
    await life.service.drain_server(by="ada")
    assert life.asked_to_end


async def test_a_server_that_is_undrained_goes_on_as_before(two: Lives) -> None:
    async with two as lives:
        life = await lives.begin()
        await life.submit(tasks(count=4))
        await life.settle()
        await life.service.drain_node("n2", by="ada")
        await life.service.drain_server(by="ada")
        report = await life.service.undrain_server(by="ada")
        assert report.drained_by == ""
        for name in life.containers():
            await life.finish(name)
        await life.submit(tasks(count=4, cpus=1))
        await life.settle()
        assert not life.asked_to_end
        assert places(life) == ["n1", "n1"]


async def test_a_node_that_joins_a_drained_server_gets_nothing(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(count=5))
    await life.settle()
    await life.service.drain_server(by="ada")
    life.engine.add_node(node("n2", cpus=4, memory="8G"))
    await life.settle()
    assert places(life) == ["n1"] * 4


async def test_the_drain_of_a_server_is_over_with_its_life(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=5))
    await life.settle()
    await life.service.drain_server(by="ada")
    await life.close()
    life = await lives.begin()
    await life.finish(life.containers()[0])
    assert len(life.containers(app)) == 4
    assert life.service.nodes()[0].state is NodeState.RUNNING
