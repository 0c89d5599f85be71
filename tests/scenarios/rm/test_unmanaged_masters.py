"""Masters that run somewhere else, and what all masters may say of themselves and of nodes."""

from __future__ import annotations

import signal

import pytest

from hrm.am.own_master import LAUNCH_WITHIN_S
from hrm.model.errors import InvalidInput, Unauthenticated
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.jobs import MasterSpec
from hrm.model.masters import FinalStatus
from hrm.model.states import ApplicationState, TaskState
from hrm.model.yarn import YarnApplication
from hrm.testing.lives import Life, Lives, tasks
from hrm.testing.played_masters import Master, ask, begun


async def submitted(life: Life, **spec: int) -> Master:
    app = await life.submit(tasks(), master=MasterSpec(**spec), yarn=YarnApplication(unmanaged=True))
    await life.settle()
    return Master(life, app)


async def test_an_unmanaged_master_has_no_container_and_its_application_runs_when_it_registers(lives: Lives) -> None:
    life = await lives.begin()
    master = await submitted(life)
    assert life.engine.launches == []
    assert (await life.service.application(master.application_id)).state is ApplicationState.ACCEPTED
    await master.register()
    assert (await life.service.application(master.application_id)).state is ApplicationState.RUNNING
    (container,) = await master.get(1)
    await master.launch(container)
    await master.finish(message="enough")
    report = await life.ended(master.application_id)
    assert (report.state, report.message, report.exit_code) == (ApplicationState.FINISHED, "enough", 0)
    assert life.containers() == []


async def test_an_unmanaged_master_that_is_silent_has_failed_for_good(lives: Lives) -> None:
    life = await lives.begin()
    master = await submitted(life, max_attempts=3)
    await master.register()
    (container,) = await master.get(1)
    await master.launch(container)
    await life.pass_time(61)
    report = await life.ended(master.application_id)
    assert (report.state, report.message) == (ApplicationState.FAILED, "its master was not heard of for 1m00s")
    assert life.containers() == []


async def test_an_unmanaged_master_that_never_comes_is_not_waited_for(lives: Lives) -> None:
    life = await lives.begin()
    master = await submitted(life)
    await life.pass_time(61)
    assert (await life.ended(master.application_id)).state is ApplicationState.FAILED


async def test_an_unmanaged_master_goes_on_after_a_restart_of_the_server(lives: Lives) -> None:
    life = await lives.begin()
    master = await submitted(life)
    await master.register()
    await life.close()
    life = await lives.begin()
    master.moves_to(life)
    assert (await master.calls.allocate(master.attempt_id, 0)).resync
    await master.register()
    await master.finish()
    assert (await life.ended(master.application_id)).state is ApplicationState.FINISHED


async def test_an_unmanaged_application_can_be_killed(lives: Lives) -> None:
    life = await lives.begin()
    master = await submitted(life)
    await master.register()
    await life.service.kill(master.application_id, by="ada")
    assert (await life.ended(master.application_id)).state is ApplicationState.KILLED
    with pytest.raises(Unauthenticated):
        await master.beat()


async def test_where_a_master_is_and_shows_its_work_is_kept_over_a_restart(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await master.calls.allocate(master.attempt_id, 0, tracking_url="http://n1:4040")
    await life.close()
    life = await lives.begin()
    master.moves_to(life)
    (attempt,) = await life.service.attempts(master.application_id)
    assert attempt.tracking_url == "http://n1:4040"
    await master.calls.register(master.attempt_id, host="n1", rpc_port=7, tracking_url="n1:4041")
    (attempt,) = await life.service.attempts(master.application_id)
    assert (attempt.host, attempt.rpc_port, attempt.tracking_url) == ("n1", 7, "n1:4041")
    await master.calls.finish(master.attempt_id, FinalStatus.SUCCEEDED, tracking_url="http://history/1")
    await master.calls.finish(master.attempt_id, FinalStatus.SUCCEEDED, tracking_url="http://too-late")
    (attempt,) = await life.service.attempts(master.application_id)
    assert attempt.tracking_url == "http://history/1"


async def test_an_address_with_blanks_is_refused(lives: Lives) -> None:
    master = await begun(await lives.begin())
    with pytest.raises(InvalidInput, match="tracking_url"):
        await master.calls.allocate(master.attempt_id, 0, tracking_url="http://a b")


async def test_nothing_is_placed_on_a_node_that_a_master_does_not_want_until_it_says_so(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    await master.calls.allocate(master.attempt_id, 0, asks=[ask(1)], blacklist=frozenset({"n1"}))
    await life.settle()
    assert (await master.calls.allocate(master.attempt_id, 1)).allocated == []
    await master.calls.allocate(master.attempt_id, 2, blacklist=frozenset())
    await life.settle()
    assert len((await master.calls.allocate(master.attempt_id, 3)).allocated) == 1


async def test_a_granted_container_that_is_not_used_is_taken_back(lives: Lives) -> None:
    lives.master_expiry_s = 10 * LAUNCH_WITHIN_S
    life = await lives.begin()
    master = await begun(life)
    unused, used = await master.get(2)
    await master.launch(used, "sleep", "1000")
    await life.pass_time(LAUNCH_WITHIN_S + 1)
    (ended,) = (await master.beat()).ended
    assert (ended.container_id, ended.state) == (unused.container_id, TaskState.LOST)
    assert "nothing was launched in it within 10m" in ended.message
    assert unused.container_id not in life.containers()


async def test_failures_that_are_old_do_not_count_where_only_young_ones_do(lives: Lives) -> None:
    lives.master_expiry_s = 1e6
    life = await lives.begin()
    app = await life.submit(tasks(), master=MasterSpec(max_attempts=2, validity_interval_s=100.0))
    await life.settle()
    for number in (1, 2, 3):
        await life.pass_time(101)
        await Master(life, app, attempt=number).exit(1)
        await life.settle()
    assert (await life.service.application(app)).state is ApplicationState.RUNNING
    await Master(life, app, attempt=4).exit(1)
    assert (await life.ended(app)).state is ApplicationState.FAILED


async def test_a_door_can_ask_how_things_stand_with_a_master(lives: Lives) -> None:
    life = await lives.begin()
    master = await submitted(life)
    standing = master.calls.standing(master.attempt_id)
    assert (standing.user, standing.queue, standing.registered, standing.finished) == ("ada", "default", False, False)
    await master.register()
    assert master.calls.standing(master.attempt_id).registered
    with pytest.raises(Unauthenticated):
        master.calls.standing(str(AttemptId(ApplicationId(1, 1), 1)))


async def test_a_signal_reaches_what_a_master_launched(lives: Lives) -> None:
    life = await lives.begin()
    master = await begun(life)
    (container,) = await master.get(1)
    await master.launch(container, "sleep", "1000")
    await master.calls.signal(master.attempt_id, container.container_id, signal.SIGKILL)
    await life.settle()
    (ended,) = (await master.beat()).ended
    assert (ended.container_id, ended.exit_code) == (container.container_id, 137)
