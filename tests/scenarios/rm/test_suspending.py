"""Applications that are suspended and go on."""

from __future__ import annotations

import asyncio

import pytest

from hrm.model.errors import Conflict
from hrm.model.states import ApplicationState
from hrm.testing.lives import Life, Lives, tasks
from hrm.testing.played_masters import Master, submit


async def begun(life: Life, **group: object) -> str:
    app = await life.submit(tasks(**group))  # type: ignore[arg-type]
    await life.settle()
    return app


async def test_all_containers_of_one_are_halted_and_keep_what_they_hold(lives: Lives) -> None:
    life = await lives.begin()
    app, other = await begun(life, count=2), await begun(life)

    report = await life.service.suspend(app, by="ada")

    await life.settle()
    assert (report.state, report.suspended_at) == (ApplicationState.RUNNING, lives.clock.now())
    assert (report.reason, report.message) == ("suspended", "it is suspended: `hrm resume 1` lets it go on")
    assert life.engine.frozen() == life.containers(app)
    assert report.used["vcores_milli"] == 2000
    assert [attempt.suspended for attempt in await life.service.history()] == [True, True, False]
    assert (await life.service.application(other)).suspended_at is None


async def test_it_goes_on_as_it_was(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life)
    await life.service.suspend(app, by="ada")
    await life.pass_time(60)

    report = await life.service.resume(app, by="ada")

    await life.settle()
    assert (report.suspended_at, report.reason, life.engine.frozen()) == (None, "", [])
    await life.finish(life.containers(app)[0])
    await life.ended(app)
    [attempt] = await life.service.history(app)
    assert (attempt.suspended, attempt.suspended_s) == (False, 60)


async def test_nothing_new_of_it_begins_meanwhile(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life, count=5)
    assert len(life.containers(app)) == 4
    await life.service.suspend(app, by="ada")
    await life.settle()
    assert {queue.containers_pending for queue in life.service.queues()} == {0}, "it asks for none"

    await life.finish(life.containers(app)[0])
    other = await begun(life)

    assert len(life.containers(app)) == 3
    assert len(life.containers(other)) == 1, "its room is others'"
    await life.finish(life.containers(other)[0])
    await life.service.resume(app, by="ada")
    await life.settle()
    assert len(life.containers(app)) == 4


async def test_the_time_counts_for_no_time_limit_also_over_restarts(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life, timeout_s=100)
    await life.pass_time(60)
    await life.service.suspend(app, by="ada")
    await life.pass_time(1000)
    await life.kill()
    life = await lives.begin()
    await life.settle()
    await life.service.resume(app, by="ada")
    await life.pass_time(30)
    await life.kill()
    life = await lives.begin()
    await life.settle()

    assert (await life.service.application(app)).state is ApplicationState.RUNNING, "60 and 30 of 100 seconds"
    await life.pass_time(11)
    report = await life.ended(app)
    assert report.message == "timed out after 1m40s"


async def test_it_is_suspended_still_after_a_restart(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life, count=5)
    await life.service.suspend(app, by="ada")
    await life.kill()

    life = await lives.begin()
    await life.settle()

    assert (await life.service.application(app)).suspended_at is not None
    assert life.engine.frozen() == life.containers(app)
    await life.finish(life.containers(app)[0])
    assert len(life.containers(app)) == 3


async def test_a_node_that_was_away_hears_what_is_suspended_and_what_goes_on(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life)
    [name] = life.containers(app)
    life.engine.cluster.container("n1", name).frozen = False

    await life.service.suspend(app, by="ada")
    await life.settle()
    life.engine.cluster.container("n1", name).frozen = False
    life.engine.return_node("n1")
    await life.settle()
    assert life.engine.frozen() == [name]

    await life.service.resume(app, by="ada")
    await life.settle()
    life.engine.cluster.container("n1", name).frozen = True
    life.engine.return_node("n1")
    await life.settle()
    assert life.engine.frozen() == []


async def test_a_suspended_one_can_be_killed(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life)
    await life.service.suspend(app, by="ada")

    await life.service.kill(app, by="ada")

    report = await life.ended(app)
    assert (report.state, report.suspended_at) == (ApplicationState.KILLED, None)


async def test_twice_is_once_and_who_did_it_is_in_the_event_log(lives: Lives) -> None:
    life = await lives.begin()
    app = await begun(life)
    for _ in range(2):
        await life.service.suspend(app, by="ada")
    for _ in range(2):
        await life.service.resume(app, by="bob")

    following = life.service.events(after_seq=0, application_id=app)
    told = [await asyncio.wait_for(anext(following), 10) for _ in range(4)]
    events = [(event.kind, event.detail.get("user")) for event in told[-2:]]
    assert events == [("application_suspended", "ada"), ("application_resumed", "bob")]


async def test_what_does_not_run_cannot_be_suspended(lives: Lives) -> None:
    life = await lives.begin()
    over = await life.submit(tasks("true"))
    await life.ended(over)
    await begun(life, count=4)
    waiting = await begun(life)

    with pytest.raises(Conflict, match="is over"):
        await life.service.suspend(over, by="ada")
    with pytest.raises(Conflict, match=r"nothing of .* runs yet"):
        await life.service.suspend(waiting, by="ada")


async def test_an_own_master_is_not_ended_for_its_silence_while_it_is_halted(lives: Lives) -> None:
    life = await lives.begin()
    master = Master(life, await submit(life))
    await master.register()
    (granted,) = await master.get(1)
    await life.service.suspend(master.application_id, by="ada")

    await life.pass_time(1000)

    assert len(life.engine.frozen()) == 1, "what it had not launched yet has nothing to halt"
    await life.service.resume(master.application_id, by="ada")
    await life.pass_time(50)
    assert await master.launch(granted, "sleep", "1000") == 1
    assert (await life.service.application(master.application_id)).state is ApplicationState.RUNNING


async def test_what_an_own_master_launches_at_the_last_moment_is_halted_too(lives: Lives) -> None:
    life = await lives.begin()
    master = Master(life, await submit(life))
    await master.register()
    (granted,) = await master.get(1)
    await life.service.suspend(master.application_id, by="ada")

    await master.launch(granted, "sleep", "1000")

    await life.settle()
    assert len(life.engine.frozen()) == 2
