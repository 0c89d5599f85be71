"""Submitting: answered when it is on disk, launched when the grant is; bad requests make nothing."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from hrm.model.errors import InvalidInput, StoreError
from hrm.model.ids import ApplicationId
from hrm.model.states import ApplicationState, ContainerState
from hrm.testing import eventually_async
from hrm.testing.builders import node
from hrm.testing.lives import Lives, tasks


async def test_a_job_runs_and_ends_well(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("true", count=10))
    report = await life.ended(app)
    assert (report.state, report.tasks_succeeded, report.exit_code) == (ApplicationState.FINISHED, 10, 0)


async def test_a_submission_is_answered_only_after_it_is_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.hold()
    submitting = asyncio.create_task(life.submit())
    await life.held()
    assert not submitting.done()
    assert life.launched() == []

    life.disk.let_go()
    app = await submitting
    row = await life.store.application(ApplicationId.parse(app).seq)
    assert row is not None


async def test_a_container_is_launched_only_after_its_grant_is_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.hold(after=1)
    app = await life.submit()
    await life.held()
    assert [report.state for report in life.service.containers(app)] == [ContainerState.ALLOCATED]
    assert life.launched() == []

    life.disk.let_go()
    await life.settle()
    (container_id,) = life.launched()
    (row,) = await life.store.task_attempts(ApplicationId.parse(app).seq, 0)
    assert row.container_id == container_id


async def test_an_end_is_acknowledged_only_after_it_is_on_disk(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit()
    await life.settle()
    (container_id,) = life.containers()
    life.disk.hold()
    life.engine.finish(container_id, 0)
    await life.held()
    assert life.engine.acknowledged == []

    life.disk.let_go()
    await life.settle()
    assert life.engine.acknowledged == [container_id]


async def test_a_repeated_submit_id_is_one_job(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(submit_id="once")
    assert await life.submit(submit_id="once") == app
    assert len(await life.service.applications()) == 1


async def test_submissions_with_one_id_at_the_same_time_are_one_job(lives: Lives) -> None:
    life = await lives.begin()
    ids = await asyncio.gather(*(life.submit(submit_id="once") for _ in range(5)))
    assert len(set(ids)) == 1
    assert len(await life.service.applications()) == 1


async def test_a_submit_id_is_known_after_a_restart(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(submit_id="once")
    await life.kill()
    life = await lives.begin()
    assert await life.submit(submit_id="once") == app


async def test_two_users_may_choose_the_same_submit_id(lives: Lives) -> None:
    life = await lives.begin()
    assert await life.submit(user="ada", submit_id="1") != await life.submit(user="bob", submit_id="1")


async def test_a_caller_who_goes_away_leaves_a_job_that_runs(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.hold()
    submitting = asyncio.create_task(life.submit(tasks("true")))
    await life.held()
    submitting.cancel()
    life.disk.let_go()
    await asyncio.wait([submitting])

    async def finished() -> bool:
        return [report.state for report in await life.service.applications()] == [ApplicationState.FINISHED]

    await eventually_async(finished)


async def test_an_unknown_queue_is_refused_with_the_queues_there_are(lives: Lives) -> None:
    life = await lives.begin()
    with pytest.raises(InvalidInput, match="no queue 'reserch' takes applications") as refused:
        await life.submit(queue="reserch")
    assert refused.value.field == "queue"
    assert refused.value.next_step == "choose one of: default, research"
    assert await life.service.applications() == []


async def test_a_request_larger_than_any_node_is_refused_with_the_largest_named(tmp_path: Path) -> None:
    nodes = [node("small", cpus=2, memory="4G"), node("large", cpus=8, memory="16G")]
    async with Lives(tmp_path, nodes) as lives:
        life = await lives.begin()
        with pytest.raises(InvalidInput, match="fits on no node; the largest is large with 8 vcores, 16G"):
            await life.submit(tasks(cpus=1), tasks(name="big", cpus=9))
        assert await life.service.applications() == []


async def test_what_would_fit_a_lost_node_waits_for_it(lives: Lives) -> None:
    life = await lives.begin()
    life.engine.lose_node("n1")
    await life.settle()
    app = await life.submit(tasks(cpus=4))
    await life.settle()
    assert (await life.service.explain(app)).reason == "no_nodes"
    with pytest.raises(InvalidInput, match="fits on no node; the largest is n1"):
        await life.submit(tasks(cpus=5))
    life.engine.return_node("n1")
    await life.settle()
    assert await life.states(app) == ["RUNNING"]


async def test_with_no_node_yet_any_request_may_wait(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit()
    await life.settle()
    assert (await life.service.explain(app)).reason == "no_nodes"
    await life.join_nodes()
    await life.settle()
    assert await life.states(app) == ["RUNNING"]


async def test_a_full_disk_refuses_the_submission_and_nothing_is_half_made(lives: Lives) -> None:
    life = await lives.begin()
    running = await life.submit()
    await life.settle()
    life.disk.fail(OSError(errno.ENOSPC, "no space left on device"))
    with pytest.raises(StoreError, match="no space left"):
        await life.submit()
    life.disk.recover()

    await life.finish(life.containers(running)[0])
    assert (await life.ended(running)).state is ApplicationState.FINISHED
    again = await life.submit(tasks("true"))
    assert (await life.ended(again)).state is ApplicationState.FINISHED
    assert {report.application_id for report in await life.service.applications()} == {running, again}


async def test_a_refused_submit_id_may_be_used_again(lives: Lives) -> None:
    life = await lives.begin()
    life.disk.fail(OSError(errno.ENOSPC, "no space left on device"))
    with pytest.raises(StoreError):
        await life.submit(submit_id="once")
    life.disk.recover()
    app = await life.submit(submit_id="once")
    assert [report.application_id for report in await life.service.applications()] == [app]
