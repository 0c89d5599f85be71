"""Jobs that run on what others leave, in a live ResourceManager: they give way at once, and begin again."""

from __future__ import annotations

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.jobs import GangSpec, MasterSpec
from hrm.model.states import ApplicationState
from hrm.testing import eventually_async
from hrm.testing.lives import Life, Lives, tasks


async def scavenging(life: Life, count: int = 4, **job: object) -> str:
    """A job that has taken all of the node, 2 GiB at a time."""
    app = await life.submit(tasks(count=count, memory="2G"), opportunistic=True, **job)
    await life.settle()
    return app


async def running(life: Life, app: str, count: int) -> None:
    """So many of its tasks run, and no more."""

    async def so_many() -> bool:
        return (await life.states(app)).count("RUNNING") == count

    await eventually_async(so_many, describe=f"{count} tasks of {app} run")
    await life.settle()


async def test_it_takes_what_is_free_and_counts_in_no_share(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life)
    await running(life, app, 4)

    root = life.service.queues()[0]
    report = await life.service.application(app)

    assert (root.used["memory_mib"], root.opportunistic_used["memory_mib"]) == (0, 8192)
    assert (report.used, report.opportunistic_containers) == (report.opportunistic_used, 4)
    assert life.service.nodes()[0].opportunistic_used["memory_mib"] == 8192


async def test_a_guaranteed_job_begins_at_once_in_its_place_and_costs_it_no_retry(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life)
    await running(life, app, 4)

    other = await life.submit(tasks(count=3, memory="2G"), queue="research")
    await running(life, other, 3)
    await running(life, app, 1)

    preempted = [one for one in await life.service.history(app) if one.state == "PREEMPTED"]
    assert len(preempted) == 3
    assert {one.message for one in preempted} == {
        f"it was opportunistic, and its room is needed for what {other} of queue research is guaranteed"
    }
    assert (await life.service.application(app)).tasks_failed == 0


async def test_it_goes_on_when_there_is_room_again(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life)
    other = await life.submit(tasks(memory="8G"), queue="research")
    await running(life, other, 1)
    await running(life, app, 0)

    (container,) = life.containers(other)
    await life.finish(container)

    await running(life, app, 4)


async def test_why_it_waits_is_told(lives: Lives) -> None:
    life = await lives.begin()
    other = await life.submit(tasks(memory="8G"))
    await running(life, other, 1)
    app = await scavenging(life, 1)

    explanation = await life.service.explain(app)

    assert explanation.reason == "insufficient_memory"
    assert (await life.service.application(app)).reason == "insufficient_memory"
    assert "opportunistic" in explanation.message
    assert explanation.queue is None, "it stands to no share"


async def test_a_gang_begins_together_and_gives_way_together(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life, 4, gang=GangSpec())
    await running(life, app, 4)

    other = await life.submit(tasks(memory="1G"))
    await running(life, other, 1)
    await running(life, app, 0)

    assert (await life.service.application(app)).tasks_failed == 0


async def test_a_restart_forgets_nothing_of_it(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life)
    await running(life, app, 4)
    await life.kill()

    life = await lives.begin()
    await running(life, app, 4)
    assert life.service.queues()[0].opportunistic_used["memory_mib"] == 8192
    other = await life.submit(tasks(count=1, memory="2G"), queue="research")

    await running(life, other, 1)
    await running(life, app, 3)


async def test_the_loss_of_its_node_loses_it_like_any_other(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life)
    await running(life, app, 4)

    life.engine.lose_node("n1")
    await life.settle()

    assert life.service.queues()[0].opportunistic_running == 0
    assert (await life.service.application(app)).opportunistic_containers == 0


async def test_its_end_is_its_own_when_it_ends_by_itself(lives: Lives) -> None:
    life = await lives.begin()
    app = await scavenging(life, 1)
    await running(life, app, 1)
    (container,) = life.containers(app)

    await life.finish(container)

    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_a_job_with_a_master_of_its_own_asks_for_such_itself(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(InvalidInput, match="guaranteed"):
        await life.submit(tasks(), opportunistic=True, master=MasterSpec())
