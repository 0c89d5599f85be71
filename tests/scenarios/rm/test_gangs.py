"""Jobs whose tasks are a gang, from the submission to the end, over several machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.jobs import GangSpec
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState
from hrm.testing.builders import amounts, queue, queues
from hrm.testing.lives import Life, Lives, tasks

GANG = GangSpec()


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[Lives]:
    """Three nodes of 2 vcores and 4 GiB."""
    nodes = [
        NodeSpec(node_id=f"n{number}", total=Resources.parse(cpus=2, memory="4G"), host=f"10.0.0.{number}")
        for number in range(3)
    ]
    async with Lives(tmp_path, nodes) as lives:
        yield lives


async def gang_and_its_containers(life: Life, count: int = 6, **job: object) -> tuple[str, list[str]]:
    app = await life.submit(tasks(count=count, **job), gang=GANG)
    await life.settle()
    return app, life.containers(app)


async def test_all_tasks_begin_at_once_over_all_machines(machines: Lives) -> None:
    life = await machines.begin()

    app, containers = await gang_and_its_containers(life)

    assert await life.states(app) == ["RUNNING"] * 6
    assert sorted(life.launched()) == sorted(containers)


async def test_each_finds_its_rank_the_others_and_where_to_meet_in_its_environment(machines: Lives) -> None:
    life = await machines.begin()
    await gang_and_its_containers(life, 3, cpus=2)

    environments = [spec.env for spec in life.engine.launches]

    assert sorted(env["HRM_NODE_RANK"] for env in environments) == ["0", "1", "2"]
    (hosts,) = {env["HRM_HOSTS"] for env in environments}
    assert sorted(hosts.split(",")) == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    assert {env["MASTER_ADDR"] for env in environments} == {hosts.split(",")[0]}
    assert len({env["MASTER_PORT"] for env in environments}) == 1


async def test_two_gangs_meet_at_different_ports(machines: Lives) -> None:
    life = await machines.begin()
    await gang_and_its_containers(life, 2)
    await gang_and_its_containers(life, 2)

    assert len({spec.env["MASTER_PORT"] for spec in life.engine.launches}) == 2


async def test_what_does_not_fit_as_a_whole_begins_with_nothing_and_says_why(machines: Lives) -> None:
    life = await machines.begin()
    await life.submit(tasks())
    await life.settle()

    app, containers = await gang_and_its_containers(life)

    assert containers == []
    report = await life.service.application(app)
    assert (report.state, report.reason) == (ApplicationState.ACCEPTED, "insufficient_for_gang")
    assert "waits for 6 containers of 1 vcore, 1G at once: 5 fit now" in (await life.service.explain(app)).message


async def test_one_that_fails_ends_the_others_and_the_job(machines: Lives) -> None:
    life = await machines.begin()
    app, containers = await gang_and_its_containers(life, 3)

    await life.finish(containers[1], 7)
    report = await life.ended(app)

    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 7)
    assert report.message == "1 of 3 tasks failed; task 1: exit code 7"
    assert await life.states(app) == ["KILLED", "FAILED", "KILLED"]


async def test_with_retries_the_whole_gang_begins_again(machines: Lives) -> None:
    life = await machines.begin()
    app, containers = await gang_and_its_containers(life, 3, retries=1)

    await life.finish(containers[1], 7)

    again = life.containers(app)
    assert set(again).isdisjoint(containers)
    assert await life.states(app) == ["RUNNING"] * 3
    for name in again:
        await life.finish(name)
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_a_machine_that_is_lost_takes_the_whole_gang_along_which_begins_again_elsewhere(machines: Lives) -> None:
    life = await machines.begin()
    app, containers = await gang_and_its_containers(life, 4)
    node_id = life.manager.containers[containers[0]].row.node_id

    life.engine.lose_node(node_id)
    await life.settle()

    again = life.containers(app)
    assert len(again) == 4
    assert set(again).isdisjoint(containers)
    assert node_id not in {life.manager.containers[name].row.node_id for name in again}


async def test_a_gang_that_has_to_wait_too_long_fails(machines: Lives) -> None:
    life = await machines.begin()
    await life.submit(tasks())
    app = await life.submit(tasks(count=6), gang=GangSpec(timeout_s=60))
    await life.pass_time(0)

    await life.pass_time(61)
    report = await life.ended(app)

    assert report.state is ApplicationState.FAILED
    assert report.message == "its 6 containers were not to be had at once within 1m00s"
    assert report.tasks_killed == 6


async def test_where_no_port_is_to_be_had_it_is_tried_again(machines: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrm.rm.rendezvous.PAUSE_S", 0.0)
    life = await machines.begin()
    life.engine.port_troubles = ["all are taken"]

    app, containers = await gang_and_its_containers(life, 2)

    assert life.engine.port_troubles == []
    assert await life.states(app) == ["RUNNING"] * 2
    assert sorted(life.launched()) == sorted(containers)


# ---- what can never be


async def test_more_at_once_than_all_nodes_hold_is_refused_with_numbers(machines: Lives) -> None:
    life = await machines.begin()

    with pytest.raises(InvalidInput, match=r"7 tasks at once do not fit: all nodes together \(3\) hold 6 of them"):
        await life.submit(tasks(count=7), gang=GANG)


async def test_more_nodes_than_there_are_is_refused(machines: Lives) -> None:
    life = await machines.begin()

    with pytest.raises(InvalidInput, match=r"4 tasks at once with at most 1 on a node do not fit: .* hold 3 of them"):
        await life.submit(tasks(count=4), gang=GangSpec(tasks_per_node=1))


async def test_more_at_once_than_its_queue_may_have_is_refused(machines: Lives) -> None:
    machines.root = queues(queue("default"), queue("research", queue("vision"), max_share=amounts(4, "4G")))
    life = await machines.begin()

    with pytest.raises(InvalidInput, match=r"5 tasks at once need .*; queue research may have"):
        await life.submit(tasks(count=5), gang=GANG, queue="research.vision")


async def test_the_same_without_a_gang_is_taken(machines: Lives) -> None:
    life = await machines.begin()

    assert await life.submit(tasks(count=7))


# ---- servers that die


async def test_killed_between_the_grant_and_the_launch_it_begins_as_a_whole_in_the_next_life(machines: Lives) -> None:
    life = await machines.begin()
    # The submission and the grant get through.
    life.disk.hold(after=2)
    app = await life.submit(tasks(count=6), gang=GANG)
    await life.held()
    assert len(life.containers(app)) == 6
    assert life.launched() == []
    await life.kill()

    life = await machines.begin()

    assert await life.states(app) == ["RUNNING"] * 6
    assert len(machines.machines.running()) == 6


async def test_killed_before_its_launch_is_carried_out_it_begins_as_a_whole_in_the_next_life(machines: Lives) -> None:
    life = await machines.begin()
    life.engine.dead = True
    app, _ = await gang_and_its_containers(life)
    assert machines.machines.running() == []
    await life.kill()

    life = await machines.begin()

    assert await life.states(app) == ["RUNNING"] * 6
    assert len(machines.machines.running()) == 6


async def test_of_a_gang_that_began_on_some_machines_only_nothing_runs_on_alone(machines: Lives) -> None:
    life = await machines.begin()
    app, containers = await gang_and_its_containers(life)
    await life.kill()
    # One machine was switched off and on again while no server was up: it knows nothing any more.
    machines.machines.restart_node("n1")

    life = await machines.begin()

    again = life.containers(app)
    assert await life.states(app) == ["RUNNING"] * 6
    assert set(again).isdisjoint(containers)
    assert sorted(machines.machines.running()) == sorted(again)


async def test_a_gang_that_was_ending_when_the_server_died_ends_in_the_next_life(machines: Lives) -> None:
    life = await machines.begin()
    app = await life.submit(tasks("sh", "-c", "trap '' TERM; sleep 1000000", count=3, retries=1), gang=GANG)
    await life.settle()
    first, *others = life.containers(app)
    await life.finish(first, 1)
    assert await life.states(app) == ["PENDING", "RUNNING", "RUNNING"]
    await life.kill()

    life = await machines.begin()
    for name in others:
        await life.finish(name, 143)

    assert await life.states(app) == ["RUNNING"] * 3
    assert set(life.containers(app)).isdisjoint([first, *others])


async def test_the_next_life_knows_which_containers_are_one_gang(machines: Lives) -> None:
    life = await machines.begin()
    await gang_and_its_containers(life, 4)
    await life.kill()

    life = await machines.begin()

    (app,) = life.scheduler.books.apps.values()
    assert {len(one.with_its_gang()) for one in app.containers.values()} == {4}
