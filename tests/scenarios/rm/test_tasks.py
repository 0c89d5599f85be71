"""Tasks of a job: tried again, timed out, too many failures, progress."""

from __future__ import annotations

from hrm.model.containers import ContainerUsage, ExitReason, NodeUsage
from hrm.model.states import ApplicationState
from hrm.testing.lives import Life, Lives, tasks


async def test_a_task_is_tried_again_as_often_as_it_may_each_time_in_a_new_container(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "exit 3", retries=2))
    report = await life.ended(app)
    assert (report.state, report.tasks_failed, report.exit_code) == (ApplicationState.FAILED, 1, 3)
    attempts = await life.service.history(app)
    assert [(one.attempt, one.state, one.exit_code) for one in attempts] == [(n, "FAILED", 3) for n in (1, 2, 3)]
    assert len({one.container_id for one in attempts}) == 3


async def test_a_task_that_succeeds_in_the_end_makes_the_job_succeed(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(retries=1))
    await life.settle()
    await life.finish(life.containers(app)[0], 1)
    assert await life.states(app) == ["RUNNING"]
    await life.finish(life.containers(app)[0], 0)
    report = await life.ended(app)
    assert (report.state, report.exit_code) == (ApplicationState.FINISHED, 0)


async def test_each_attempt_is_told_its_number(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo $HRM_TASK_ATTEMPT $HRM_RESTART_COUNT; exit 1", retries=1))
    await life.ended(app)
    env = [spec.env for spec in life.engine.launches]
    assert [(one["HRM_TASK_ATTEMPT"], one["HRM_RESTART_COUNT"]) for one in env] == [("1", "0"), ("2", "1")]


async def test_a_command_that_does_not_exist_fails_with_127(lives: Lives) -> None:
    life = await lives.begin()
    report = await life.ended(await life.submit(tasks("no-such-program")))
    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 127)
    assert report.message == "command not found: no-such-program"


async def test_a_container_that_could_not_be_started_counts_as_failed(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    await life.settle()
    await life.finish(life.containers(app)[0], 126, reason=ExitReason.NOT_STARTED)
    assert (await life.ended(app)).state is ApplicationState.FAILED


async def test_a_task_over_its_time_is_stopped_and_failed(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(timeout_s=60))
    await life.settle()
    await life.pass_time(59)
    assert await life.states(app) == ["RUNNING"]
    await life.pass_time(1)
    report = await life.ended(app)
    assert (report.state, report.message) == (ApplicationState.FAILED, "timed out after 1m00s")
    assert life.engine.running() == []


async def test_time_that_a_task_waits_does_not_count(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit(tasks(timeout_s=60))
    await life.pass_time(1000)
    await life.join_nodes()
    await life.settle()
    await life.pass_time(59)
    assert await life.states(app) == ["RUNNING"]


async def test_what_came_in_is_handled_before_a_deadline_that_passed_meanwhile(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(timeout_s=60))
    await life.settle()
    life.engine.hold_reports()
    life.engine.finish(life.containers(app)[0], 0)
    lives.clock.advance(1000)
    # The loop was busy until now: the report and the deadline stand side by side.
    life.engine.release_reports()
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_more_failures_than_allowed_stop_the_rest_of_the_job(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=9), max_failures=1)
    await life.settle()
    first, second, *_ = life.containers(app)
    await life.finish(first, 7)
    assert (await life.service.application(app)).state is ApplicationState.RUNNING
    await life.finish(second, 7)
    report = await life.ended(app)
    assert (report.state, report.exit_code) == (ApplicationState.FAILED, 143)
    assert (report.tasks_failed, report.tasks_killed) == (2, 7)
    assert report.message == "2 of 9 tasks failed; task 0: exit code 7"
    assert life.engine.running() == []


async def report_progress(life: Life, **progress: float) -> None:
    life.listener.heartbeat(
        "n1",
        NodeUsage(memory_used_mib=100, cpu_milli=50, disk_free_mib=1000),
        [
            ContainerUsage(
                container_id=name, memory_mib=7, cpu_milli=900, read_bytes=1, written_bytes=2, disk_mib=3, progress=part
            )
            for name, part in progress.items()
        ],
    )
    await life.settle()


async def test_progress_that_tasks_report_is_shown_of_the_task_and_of_the_job(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=4))
    await life.settle()
    first, second, *_ = life.containers(app)
    await report_progress(life, **{first: 0.5, second: 0.125})
    await report_progress(life, **{first: 0.5, second: 0.25})
    assert [task.progress for task in await life.service.tasks(app)] == [0.5, 0.25, None, None]
    assert (await life.service.application(app)).progress == 0.75 / 4

    await life.finish(first)
    assert (await life.service.application(app)).progress == 1.25 / 4


async def test_progress_of_what_has_ended_or_was_never_there_is_ignored(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    first, _ = life.containers(app)
    await life.finish(first)
    await report_progress(life, **{first: 0.5, "container_e09_1_0001_01_000001": 0.5, "nonsense": 1.0})
    assert (await life.service.application(app)).progress == 0.5
