"""Groups that begin only after others have succeeded."""

from __future__ import annotations

from hrm.model.states import ApplicationState
from hrm.testing.lives import Lives, tasks


async def test_a_group_begins_when_the_one_it_depends_on_has_succeeded(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(name="train", count=2), tasks(name="report", depends_on=("train",)))
    await life.settle()
    assert await life.states(app) == ["RUNNING", "RUNNING", "PENDING"]
    first, second = life.containers(app)
    await life.finish(first)
    assert await life.states(app) == ["SUCCEEDED", "RUNNING", "PENDING"]
    await life.finish(second)
    assert await life.states(app) == ["SUCCEEDED", "SUCCEEDED", "RUNNING"]
    await life.finish(life.containers(app)[0])
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_what_a_group_waits_for_is_told_by_ps_and_explain(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(name="train"), tasks(name="report", depends_on=("train",)))
    await life.settle()
    assert (await life.service.application(app)).message == "report waits for train"
    assert (await life.service.tasks(app))[1].message == "waits for train"
    explanation = await life.service.explain(app)
    assert explanation.message == "report waits for train"
    assert {"kind": "group", "name": "report", "waits_for": ["train"]} in explanation.evidence


async def test_what_depends_on_a_failure_never_begins_and_the_job_fails(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(
        tasks("sh", "-c", "exit 3", name="train"), tasks("true", name="report", count=2, depends_on=("train",))
    )
    report = await life.ended(app)
    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 3)
    assert (report.tasks_failed, report.tasks_killed) == (1, 2)
    assert report.message == "1 of 3 tasks failed; task 0: exit code 3; never began for it: report"
    assert [task.message for task in await life.service.tasks(app)][1:] == [
        "never began: it runs only after train succeeded"
    ] * 2
    assert len(life.launched()) == 1


async def test_a_killed_server_goes_on_with_what_may_begin(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(name="train"), tasks(name="report", depends_on=("train",)))
    await life.settle()
    await life.kill()

    life = await lives.begin()
    assert await life.states(app) == ["RUNNING", "PENDING"]
    await life.finish(life.containers(app)[0])
    await life.kill()

    life = await lives.begin()
    assert await life.states(app) == ["SUCCEEDED", "RUNNING"]
    await life.finish(life.containers(app)[0])
    assert (await life.ended(app)).state is ApplicationState.FINISHED
