"""The fake's own switches; that it is an engine at all the conformance suite says."""

from __future__ import annotations

from hrm.model.containers import ExitReason
from hrm.testing import FakeEngine, ManualClock, eventually_async, started


async def test_time_passes_only_when_the_clock_is_moved() -> None:
    clock = ManualClock(now=100.0)
    async with started(FakeEngine(clock=clock)) as run:
        container_id = run.launch("sleep", "30")
        await eventually_async(lambda: run.heard.starts)
        clock.advance(29)
        await run.ended(run.launch("true"))
        assert container_id in FakeEngine.running(run.engine)  # type: ignore[arg-type]
        clock.advance(1)
        record = await run.ended(container_id)
        assert (record.started_at, record.ended_at) == (100.0, 130.0)


async def test_a_test_may_end_a_container_as_it_likes() -> None:
    engine = FakeEngine()
    async with started(engine) as run:
        failed, lost = run.launch("sleep", "1000"), run.launch("sleep", "1000")
        await eventually_async(lambda: len(run.heard.starts) == 2)
        engine.finish(failed, 5)
        engine.finish(lost, reason=ExitReason.LOST)
        assert (await run.ended(failed)).exit_code == 5
        assert (await run.ended(lost)).exit_code is None
        assert engine.running() == []


async def test_a_lost_node_tells_nothing_until_it_is_back_with_everything() -> None:
    engine = FakeEngine()
    async with started(engine) as run:
        ended, runs = run.launch("sleep", "1000"), run.launch("sleep", "1000")
        await eventually_async(lambda: len(run.heard.starts) == 2)
        engine.lose_node("node1")
        engine.finish(ended, 4)
        assert run.heard.lost
        assert run.heard.ends == []
        engine.return_node("node1")
        assert [record.container_id for record in run.heard.registered_running] == [runs]
        assert [record.exit_code for record in run.heard.registered_finished] == [4]
        engine.restart_node("node1")
        assert {record.reason for record in run.heard.registered_finished} == {ExitReason.EXITED, ExitReason.LOST}


async def test_reports_can_be_held_back_and_repeated() -> None:
    engine = FakeEngine()
    async with started(engine) as run:
        engine.hold_reports()
        container_id = run.launch("sleep", "1000")
        await eventually_async(engine.running)
        engine.finish(container_id, 0)
        assert run.heard.starts == run.heard.ends == []
        engine.repeat_reports(2)
        engine.release_reports()
        assert len(run.heard.starts) == len(run.heard.ends) == 2
