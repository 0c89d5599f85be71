"""What is over is kept for its time and up to its amount; then it goes, and nothing else does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hrm.model.cleaning import Cleanable, CleanPolicy, RetentionPolicy
from hrm.model.containers import LogStream
from hrm.model.errors import NotFound
from hrm.rm import retention as retention_module
from hrm.rm.retention import Retention
from hrm.testing import eventually_async
from hrm.testing.builders import node
from hrm.testing.lives import Life, Lives, tasks

DAY_S = 86_400.0


async def over(life: Life, count: int = 1) -> str:
    """An application whose tasks printed something and ended."""
    app = await life.submit(tasks("sh", "-c", "echo done", count=count))
    await life.ended(app)
    return app


async def known(life: Life) -> list[str]:
    return [report.application_id for report in await life.service.applications()][::-1]


def left_on_nodes(life: Life) -> list[str]:
    return [key for machine in life.engine.cluster.nodes.values() for key in machine.containers]


async def test_an_application_goes_when_its_time_is_over_and_not_before(lives: Lives) -> None:
    life = await lives.begin()
    old = await over(life)
    await life.pass_time(20 * DAY_S)
    young = await over(life)
    await life.pass_time(11 * DAY_S)
    report = await Retention(life.manager, RetentionPolicy(applications_age_s=30 * DAY_S)).clean()
    await life.settle()
    assert (report.applications, report.problems, report.more) == (1, [], False)
    assert await known(life) == [young]
    with pytest.raises(NotFound):
        await life.service.application(old)
    assert await life.service.history(young) != []


async def test_beyond_their_number_the_oldest_applications_go(lives: Lives) -> None:
    life = await lives.begin()
    apps = [await over(life) for _ in range(4)]
    report = await Retention(life.manager, RetentionPolicy(applications=2)).clean()
    assert report.applications == 2
    assert await known(life) == apps[2:]


async def test_what_an_application_left_on_nodes_goes_with_it(lives: Lives) -> None:
    life = await lives.begin()
    await over(life, count=3)
    kept = await over(life)
    await Retention(life.manager, RetentionPolicy(applications=1)).clean()
    assert left_on_nodes(life) == [report.container_id for report in await life.service.history(kept)]


async def test_nothing_of_an_application_that_is_not_over_goes_whatever_its_age(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=5))
    await life.settle()
    ended = life.containers()[0]
    await life.finish(ended)
    await life.pass_time(10 * DAY_S)
    keep_nothing = RetentionPolicy(applications_age_s=0, applications=0, logs_age_s=0, logs_bytes=0, scratch_age_s=0)
    report = await Retention(life.manager, keep_nothing).clean()
    assert (report.applications, report.logs) == (0, 0)
    assert ended in left_on_nodes(life)
    assert len(await life.service.history(app)) == 5
    assert app in life.engine.cleanings[-1][1]


async def test_an_end_that_is_not_acknowledged_keeps_its_application(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks())
    await life.settle()
    await life.service.kill(app, by="ada")
    life.engine.hold_reports()
    life.engine.lose_node("n1")
    await life.settle()
    # The application is not over before its container's end is known.
    await Retention(life.manager, RetentionPolicy(applications=0, applications_age_s=0)).clean()
    assert await known(life) == [app]


async def test_a_dry_run_says_what_would_go_and_changes_nothing(lives: Lives) -> None:
    life = await lives.begin()
    apps = [await over(life) for _ in range(3)]
    left = left_on_nodes(life)
    retention = Retention(life.manager, RetentionPolicy(applications=1, logs_age_s=0))
    told = await retention.clean(dry_run=True)
    assert (told.dry_run, told.applications, told.logs, told.logs_bytes) == (True, 2, 3, 15)
    assert await known(life) == apps
    assert left_on_nodes(life) == left
    done = await retention.clean()
    assert (done.applications, done.logs, done.logs_bytes) == (2, 3, 15)


async def test_older_than_takes_the_place_of_the_policy_for_what_is_named(lives: Lives) -> None:
    life = await lives.begin()
    app = await over(life)
    await life.pass_time(2 * DAY_S)
    report = await life.service.clean([Cleanable.LOGS], older_than_s=DAY_S, dry_run=False, by="ada")
    assert (report.applications, report.logs) == (0, 1)
    assert await known(life) == [app]
    assert life.engine.cleanings[-1][0] == CleanPolicy(logs_age_s=DAY_S)
    with pytest.raises(NotFound):
        await life.service.read_log(app, 0, LogStream.STDOUT, offset=0, max_bytes=10)
    again = await life.service.clean([Cleanable.APPS], older_than_s=0, dry_run=False, by="ada")
    assert again.applications == 1
    assert await known(life) == []


async def test_the_number_of_the_newest_application_is_not_given_again_when_that_is_gone(lives: Lives) -> None:
    life = await lives.begin()
    first = await over(life)
    await life.service.clean([Cleanable.APPS], older_than_s=0, dry_run=False, by="ada")
    await life.close()
    life = await lives.begin()
    second = await over(life)
    assert second.rpartition("_")[2] == f"{int(first.rpartition('_')[2]) + 1:04d}"


async def test_old_events_go_and_the_log_goes_on(lives: Lives) -> None:
    life = await lives.begin()
    await over(life)
    await life.pass_time(31 * DAY_S)
    app = await over(life)
    await Retention(life.manager, RetentionPolicy()).clean()
    await life.settle()
    rows = await life.store.events()
    assert {row.application_seq for row in rows} == {2, None}
    assert (rows[-1].kind, rows[-1].detail["applications"]) == ("cleaned", 1)
    assert await known(life) == [app]


async def test_who_cleared_up_is_in_the_event_log(lives: Lives) -> None:
    life = await lives.begin()
    await over(life)
    await life.service.clean([Cleanable.APPS], older_than_s=0, dry_run=True, by="bob")
    await life.service.clean([Cleanable.APPS], older_than_s=0, dry_run=False, by="ada")
    await life.service.clean([Cleanable.APPS], older_than_s=0, dry_run=False, by="eve")
    await life.settle()
    assert [row.detail["by"] for row in await life.store.events() if row.kind == "cleaned"] == ["ada"]


async def test_a_node_that_is_away_is_a_problem_and_the_others_are_cleared_up(tmp_path: Path) -> None:
    async with Lives(tmp_path, [node("n1", cpus=1, memory="4G"), node("n2", cpus=1, memory="4G")]) as lives:
        life = await lives.begin()
        await over(life, count=2)
        life.engine.lose_node("n1")
        await life.settle()
        report = await life.service.clean([Cleanable.LOGS], older_than_s=0, dry_run=False, by="ada")
        assert (report.logs, report.problems) == (1, ["node n1 does not answer"])


async def test_when_the_time_of_a_call_is_over_there_is_more(lives: Lives) -> None:
    life = await lives.begin()
    for _ in range(3):
        await over(life)
    retention = Retention(life.manager, RetentionPolicy(applications=0))
    report = await retention.clean([Cleanable.APPS], budget_s=0)
    assert (report.applications, report.more) == (0, True)
    assert (await retention.clean([Cleanable.APPS])).applications == 3


async def test_a_sick_disk_is_a_problem_and_what_was_to_go_goes_later(lives: Lives) -> None:
    life = await lives.begin()
    await over(life)
    life.disk.fail(OSError(28, "No space left on device"))
    retention = Retention(life.manager, RetentionPolicy(applications=0))
    report = await retention.clean([Cleanable.APPS])
    assert report.applications == 0
    assert "No space left" in report.problems[0]
    life.disk.recover()
    assert (await retention.clean([Cleanable.APPS])).applications == 1


async def test_it_goes_on_in_the_background(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(retention_module, "INTERVAL_S", 0.01)
    life = await lives.begin()
    running = asyncio.ensure_future(Retention(life.manager, RetentionPolicy(applications=1)).run())
    apps = [await over(life) for _ in range(3)]

    async def only_the_newest() -> bool:
        return await known(life) == apps[2:]

    await eventually_async(only_the_newest, describe="the others are gone")
    running.cancel()
