"""Why something waits, runs or ended, with what only the ResourceManager knows: run times, history, ends, commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.access import EVERYBODY, NOBODY, AccessList
from hrm.model.containers import ContainerUsage, NodeUsage
from hrm.model.explanations import EndBasis, Explanation
from hrm.model.phrases import CHINESE, say, say_as_told
from hrm.model.resources import Resources
from hrm.rm import reason_log
from hrm.rm.reason_log import PAUSE_S
from hrm.rm.turn import Turn
from hrm.testing import eventually_async
from hrm.testing.builders import amounts, node, queue, queues
from hrm.testing.lives import Life, Lives, tasks


async def why(life: Life, app: str) -> Explanation:
    return await life.service.explain(app)


async def beat(life: Life, *usages: ContainerUsage) -> None:
    life.listener.heartbeat("n1", NodeUsage(memory_used_mib=1, cpu_milli=1, disk_free_mib=900), list(usages))
    await life.settle()


def says(container_id: str, progress: float) -> ContainerUsage:
    return ContainerUsage(
        container_id=container_id,
        memory_mib=1,
        cpu_milli=1,
        read_bytes=0,
        written_bytes=0,
        disk_mib=0,
        progress=progress,
    )


# --- when there will be room


async def test_a_time_limit_says_when_there_is_room_at_the_latest(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks(cpus=4, timeout_s=600))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.pass_time(60)

    forecast = (await why(life, waiting)).forecast

    assert forecast is not None
    assert (forecast.in_s, forecast.basis, forecast.waits_for) == (540, [EndBasis.TIME_LIMIT], [first])
    assert forecast.text.startswith("room on n1 in about 9 min, when something of application 1 ends")


async def test_progress_says_when_there_is_room(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks(cpus=4))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.pass_time(100)
    await beat(life, says(life.containers(first)[0], 0.25))

    forecast = (await why(life, waiting)).forecast

    assert forecast is not None
    assert (forecast.in_s, forecast.basis) == (300, [EndBasis.PROGRESS])


async def test_how_long_tasks_took_says_when_the_next_of_them_end(lives: Lives) -> None:
    life = await lives.begin()
    sweep = await life.submit(tasks(cpus=4, count=3))
    await life.settle()
    await life.pass_time(80)
    await life.finish(life.containers(sweep)[0])
    waiting = await life.submit(tasks(cpus=4), queue="research")
    await life.pass_time(30)

    forecast = (await why(life, waiting)).forecast

    assert forecast is not None
    assert (forecast.in_s, forecast.basis) == (50, [EndBasis.EARLIER_TASKS])


async def test_without_any_evidence_nothing_is_foretold(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.settle()

    explanation = await why(life, waiting)

    assert explanation.forecast is not None
    assert (explanation.forecast.at, explanation.forecast.text[:9]) == (None, "not known")
    assert not any(change.kind == "time" for change in explanation.changes)


# --- in other languages


async def test_all_that_is_told_in_english_is_told_in_chinese_too(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks(cpus=4, timeout_s=600))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.pass_time(60)

    explanation, report = await why(life, waiting), await life.service.application(waiting)
    told = [(report.said, report.message), (explanation.said, explanation.message)]
    told += [(one.said, one.text) for one in (*explanation.changes, *explanation.conditions, explanation.forecast)]
    told += [(one.said, one.text) for one in (await why(life, first)).running]

    assert all(
        said is not None and (say(said), say_as_told(said, text, CHINESE) != text) == (text, True)
        for said, text in told
    )
    assert say_as_told(report.said, report.message, CHINESE) == "当前空闲 vcore 不足"


async def test_an_end_is_told_in_chinese_with_the_words_of_who_told_it(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks())
    await life.settle()
    await life.service.kill(app, by="ada", message="not needed")
    await life.finish(life.containers(app)[0])

    ended = await why(life, app)

    assert say_as_told(ended.said, ended.message, CHINESE).startswith("被终止")


# --- what would change it


async def test_a_change_that_would_start_now_has_the_line_that_submits_it(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=3))
    await life.settle()
    waiting = await life.submit(tasks("train", "--rate", "a b", cpus=2, timeout_s=90), name="mine", queue="research")
    await life.settle()

    explanation = await why(life, waiting)
    change = explanation.changes[0]

    assert (change.kind, change.starts_now, change.asked) == ("fewer_vcores", True, amounts(1, "1G").as_dict())
    assert change.command == (
        "hrm kill 2 && hrm submit --queue research --name mine --timeout 90s -- train --rate 'a b'"
    )
    assert explanation.message.endswith("would start now with 1 vcore per task")


async def test_another_queue_that_would_take_it_is_named_to_who_may_submit_there(tmp_path: Path) -> None:
    root = queues(
        queue("default", max_share=amounts(1, "8G"), submit_acl=EVERYBODY),
        queue("eves", submit_acl=AccessList(users=("eve",))),
        queue("wide", submit_acl=EVERYBODY),
        submit_acl=NOBODY,
    )
    async with Lives(tmp_path, root=root) as lives:
        life = await lives.begin()
        await life.submit(tasks())
        waiting = await life.submit(tasks(memory="2G"))
        await life.settle()

        explanation = await why(life, waiting)
        others = [one for one in explanation.changes if one.kind == "other_queue"]

        assert [one.command for one in others] == ["hrm move 2 --queue wide"]
        await life.service.move(waiting, "wide", by="ada")
        await life.settle()
        assert await life.states(waiting) == ["RUNNING"]


async def test_nodes_are_told_one_by_one_only_if_asked_for(tmp_path: Path) -> None:
    async with Lives(tmp_path, [node("g1", gpus=2), node("g2")]) as lives:
        life = await lives.begin()
        on_gpu = Resources.parse(cpus=1, memory="1G", gpus=2)
        await life.submit(tasks(resources=on_gpu))
        waiting = await life.submit(tasks(resources=on_gpu))
        await life.settle()

        assert (await why(life, waiting)).nodes == []
        told = (await life.service.explain(waiting, nodes=True)).nodes

        assert [(one.node_id, one.verdict) for one in told] == [("g1", "insufficient_gpus"), ("g2", "never_fits")]


# --- for how long it waited for what


async def test_each_change_of_the_reason_is_kept_with_its_time(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.pass_time(10)
    drained_at = lives.clock.now()
    await life.service.drain_node("n1", by="root")
    await life.pass_time(30)

    full, drained = (await why(life, waiting)).history

    assert (full.reason, full.text) == ("insufficient_vcores", "too few vcores are free now")
    assert drained.reason == "nodes_not_schedulable"
    assert drained_at <= drained.since == full.until
    assert drained.until is None


async def test_the_history_goes_on_over_a_restart_and_ends_with_the_waiting(lives: Lives) -> None:
    life = await lives.begin()
    first = await life.submit(tasks(cpus=4))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.pass_time(10)
    began = lives.clock.now()
    await life.close()
    life = await lives.begin()
    await life.pass_time(20)

    (span,) = (await why(life, waiting)).history
    assert (span.reason, span.until) == ("insufficient_vcores", None)
    assert span.since <= began

    ended = lives.clock.now()
    await life.finish(life.containers(first)[0])
    await life.pass_time(10)
    (span,) = (await why(life, waiting)).history
    assert span.until is not None
    assert ended <= span.until <= lives.clock.now()


async def test_what_never_waits_is_not_noted(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("true", count=3))
    await life.ended(app)
    await life.pass_time(10)

    assert (await why(life, app)).history == []


async def test_a_reason_that_flickers_is_noted_ever_more_seldom(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    await life.settle()
    waiting = await life.submit(tasks(cpus=4))
    await life.pass_time(1)
    for drained in (True, False) * 6:
        await (life.service.drain_node if drained else life.service.undrain_node)("n1", by="root")
        await life.pass_time(PAUSE_S / 4)

    noted = [row for row in await life.store.events(limit=10_000) if row.kind == "reason_changed"]

    assert len(noted) <= 1 + 12 / 4
    assert (await why(life, waiting)).reason == "insufficient_vcores"


async def test_with_many_that_wait_a_tick_looks_at_and_notes_only_some(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reason_log, "LOOKS", 5)
    monkeypatch.setattr(reason_log, "NOTES", 2)
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    await life.settle()
    waiting = [await life.submit(tasks(cpus=4)) for _ in range(12)]
    looks = reason_log.ReasonLog(life.manager)
    turns = []

    def tick(turn: Turn) -> None:
        before = len(list(turn.rows()))
        looks.look(turn)
        turns.append(len(list(turn.rows())) - before)

    life.manager.after_tick = tick
    await eventually_async(lambda: sum(turns) >= len(waiting), describe="all that wait are noted")
    # Until that is on disk.
    await life.settle()

    assert max(turns) == 2
    for app in waiting:
        assert [span.reason for span in (await why(life, app)).history][-1] == "insufficient_vcores"


# --- what others took


async def test_what_was_taken_from_it_says_for_whom_and_why_and_who_it_was_taken_for_that_others_ended(
    tmp_path: Path,
) -> None:
    hungry = queue("hungry", fair_share_preemption_timeout_s=30.0, fair_share_preemption_threshold=1.0)
    async with Lives(tmp_path, root=queues(queue("batch"), hungry)) as lives:
        life = await lives.begin()
        batch = await life.submit(tasks(count=4, memory="2G"), queue="batch")
        await life.settle()
        starved = await life.submit(tasks(memory="2G"), queue="hungry")
        await life.pass_time(0)
        await life.pass_time(31)

        taken = await why(life, batch)
        (to_end,) = [one for one in taken.running if one.ends_for is not None]
        (told,) = taken.preempted

        assert (to_end.ends_for, told.beneficiary, told.container_id) == (starved, starved, to_end.container_id)
        assert told.text.startswith(f"told to end: preempted for {starved} of queue hungry, which had 0M of its fair")
        assert (await why(life, starved)).reason == "waits_for_preemption"

        await life.pass_time(16)
        (told,) = (await why(life, batch)).preempted
        assert told.text.startswith("killed: preempted for")
        await eventually_async(lambda: life.containers(starved), describe="it was placed")
        (placed,) = (await why(life, starved)).running
        assert placed.text.startswith("it had been below its share for too long, and others ended for it")


# --- how it ended


async def test_what_succeeded_says_how_many_tasks_did(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    await life.pass_time(12)
    for container_id in life.containers(app):
        await life.finish(container_id)

    explanation = await why(life, app)

    assert (explanation.reason, explanation.state) == ("finished", "FINISHED")
    assert explanation.message == "finished after 12s: 2 of 2 tasks succeeded"
    assert explanation.ended is not None
    assert (explanation.ended.exit_codes, explanation.ended.first_failure) == ({"0": 2}, None)
    assert [change.command for change in explanation.changes] == ["hrm logs 1"]


async def test_what_failed_names_the_first_failure_and_where_its_output_is(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=3))
    await life.settle()
    one, two, three = life.containers(app)
    await life.finish(two, 3)
    await life.pass_time(5)
    await life.finish(one, 7)
    await life.finish(three)

    explanation = await why(life, app)

    assert explanation.reason == "failed"
    assert explanation.message.startswith("failed after 5.0s: 2 of 3 tasks failed")
    assert explanation.ended is not None
    assert explanation.ended.exit_codes == {"0": 1, "3": 1, "7": 1}
    failure = explanation.ended.first_failure
    assert failure is not None
    assert (failure.task_index, failure.exit_code, failure.node_id, failure.container_id) == (1, 3, "n1", two)
    assert [change.command for change in explanation.changes] == ["hrm logs 1 --task 1"]


async def test_what_was_killed_before_it_ran_says_by_whom_and_what_it_had_waited_for(lives: Lives) -> None:
    life = await lives.begin()
    await life.submit(tasks(cpus=4))
    await life.settle()
    app = await life.submit(tasks(cpus=4))
    await life.pass_time(30)
    await life.service.kill(app, by="eve")
    report = await life.ended(app)

    explanation = await why(life, app)

    assert explanation.message == "was killed after 30s without having run: killed by eve"
    assert [(span.reason, span.until) for span in explanation.history] == [("insufficient_vcores", report.ended_at)]


async def test_an_end_is_told_after_a_restart_too(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("false"))
    await life.ended(app)
    before = await why(life, app)
    await life.close()
    life = await lives.begin()

    assert await why(life, app) == before
