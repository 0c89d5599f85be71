"""Ids that are handed out before there is an application: nobody else gets them, and each is used once."""

from __future__ import annotations

import asyncio

import pytest

from hrm.model.errors import Conflict, Forbidden, InvalidInput, NotFound
from hrm.model.ids import ApplicationId
from hrm.model.jobs import JobSpec
from hrm.model.reports import SubmitReport
from hrm.model.states import AttemptState
from hrm.testing.lives import Life, Lives, tasks
from hrm.testing.played_masters import begun


async def submit(life: Life, application_id: str, *, user: str = "ada", queue: str | None = None) -> SubmitReport:
    job = JobSpec(groups=(tasks(),), queue=queue)
    return await life.service.submit(job, user=user, application_id=application_id)


async def test_the_application_has_the_id_that_was_handed_out(lives: Lives) -> None:
    life = await lives.begin()
    first, second = await life.service.new_application_id(), await life.service.new_application_id()
    assert (await submit(life, second)).application_id == second
    assert [report.application_id for report in await life.service.applications()] == [second]
    assert await life.submit() not in (first, second)


async def test_an_id_that_nobody_used_is_no_application(lives: Lives) -> None:
    life = await lives.begin()
    handed_out = await life.service.new_application_id()
    with pytest.raises(NotFound):
        await life.service.application(handed_out)


async def test_submitted_again_by_the_same_user_it_is_the_same_application(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.service.new_application_id()
    reports = await asyncio.gather(*(submit(life, app) for _ in range(3)), submit(life, app))
    assert sorted(report.created for report in reports) == [False, False, False, True]
    assert len(await life.service.applications()) == 1


async def test_submitted_again_after_a_restart_it_is_the_same_application(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.service.new_application_id()
    await submit(life, app)
    await life.kill()
    life = await lives.begin()
    assert not (await submit(life, app)).created


async def test_what_another_user_submitted_stays_theirs(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.service.new_application_id()
    await submit(life, app)
    with pytest.raises(Forbidden, match="ada's"):
        await submit(life, app, user="bob")


async def test_an_id_counts_again_after_a_submission_that_was_refused(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.service.new_application_id()
    with pytest.raises(InvalidInput):
        await submit(life, app, queue="nowhere")
    assert (await submit(life, app)).created


async def test_ids_that_were_not_handed_out_are_refused(lives: Lives) -> None:
    life = await lives.begin()
    used = ApplicationId.parse(await life.submit())
    made_up = ApplicationId(used.cluster_timestamp, used.seq + 1000)
    foreign = ApplicationId(used.cluster_timestamp + 1, used.seq)
    with pytest.raises(Conflict, match="not handed out"):
        await submit(life, str(made_up))
    with pytest.raises(NotFound, match="no id of this server"):
        await submit(life, str(foreign))


async def test_after_a_restart_no_id_is_given_twice_whether_it_was_used_or_not(lives: Lives) -> None:
    given: list[str] = []
    for _ in range(3):
        life = await lives.begin()
        given += [await life.service.new_application_id(), await life.submit(), await life.service.new_application_id()]
        await life.kill()
    assert len(set(given)) == len(given)


async def test_attempts_are_told_with_the_masters_container(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container_id,) = life.containers(master.application_id)
    (attempt,) = await life.service.attempts(master.application_id)
    assert (attempt.attempt_id, attempt.state) == (master.attempt_id, AttemptState.RUNNING)
    assert (attempt.container_id, attempt.node_id) == (container_id, "n1")

    await master.exit(1)
    failed, running = await life.service.attempts(master.application_id)
    assert (failed.state, failed.ended_at is not None) == (AttemptState.FAILED, True)
    assert (running.state, running.ended_at) == (AttemptState.LAUNCHED, None)


async def test_attempts_of_what_is_over_are_told_from_the_store(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await master.finish(message="all done")
    await master.exit(0)
    await life.ended(master.application_id)
    (attempt,) = await life.service.attempts(master.application_id)
    assert (attempt.state, attempt.final_status, attempt.message) == (AttemptState.FINISHED, "SUCCEEDED", "all done")
