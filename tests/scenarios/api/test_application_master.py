"""`hrm.sdk.ApplicationMaster` against a door that plays the ResourceManager."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hrm.model.errors import InvalidInput, Unauthenticated
from hrm.model.masters import EndedContainer, FinalStatus, GrantedContainer, WarnedContainer
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import Resources
from hrm.model.states import TaskState
from hrm.sdk import ApplicationMaster
from hrm.testing import eventually
from hrm.testing.fake_masters import FakeMasters

ATTEMPT = "appattempt_1763900000000_0001_000001"
SIZE = Resources(memory_mib=512, vcores_milli=500)


def ask(count: int) -> ResourceRequest:
    return ResourceRequest(resources=SIZE, count=count)


def grant(number: int) -> GrantedContainer:
    return GrantedContainer(
        container_id=f"container_e01_1763900000000_0001_01_{number:06d}",
        node_id="n1",
        resources=SIZE.as_dict(),
        device_ids=(),
        priority=0,
        allocation_request_id=0,
    )


@pytest.fixture
def masters(server: Any) -> FakeMasters:
    return server.facade.masters  # type: ignore[no-any-return]


@pytest.fixture
def open_master(server: Any, bearer: Callable[..., dict[str, str]]) -> Callable[..., ApplicationMaster]:
    def make(**options: Any) -> ApplicationMaster:
        token = bearer("ada", attempt_id=ATTEMPT)["Authorization"].removeprefix("Bearer ")
        return ApplicationMaster(server.address, token=token, attempt_id=ATTEMPT, **options)

    return make


def test_outside_of_a_masters_container_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HRM_AM_TOKEN", raising=False)
    with pytest.raises(Unauthenticated, match="no application's master"):
        ApplicationMaster()


def test_a_block_registers_heartbeats_and_finishes_well(masters: FakeMasters, open_master: Any) -> None:
    with open_master(heartbeat_interval_s=0.01):
        eventually(lambda: masters.calls.count((ATTEMPT, "allocate")) >= 3)
    assert masters.calls[0] == (ATTEMPT, "register")
    assert masters.final == (FinalStatus.SUCCEEDED, "")


def test_an_exception_leaves_no_last_word(masters: FakeMasters, open_master: Any) -> None:
    with pytest.raises(ZeroDivisionError), open_master():
        _ = 1 / 0
    assert masters.final is None


def test_what_is_granted_is_launched_in_with_command_environment_and_directory(
    masters: FakeMasters, open_master: Any
) -> None:
    with open_master() as master:
        masters.grants = [grant(2)]
        (container,) = master.allocate([ask(1)], wait_s=60).allocated
        assert master.launch(container, "work", "hard", env={"A": "1"}, workdir="/data") == 1
        master.finish("FAILED", "it broke")
    assert masters.asks == [ask(1)]
    assert masters.launched == [(container.container_id, ("work", "hard"), {"A": "1"}, "/data")]
    assert masters.final == (FinalStatus.FAILED, "it broke")


def test_to_a_restarted_server_it_says_again_what_is_still_wanted_and_tells_what_was_missed(
    masters: FakeMasters, open_master: Any
) -> None:
    missed = EndedContainer(
        container_id=grant(9).container_id, state=TaskState.FAILED, exit_code=3, message="exit code 3"
    )
    with open_master(heartbeat_interval_s=100) as master:
        masters.grants = [grant(2)]
        held = master.allocate([ask(3)], wait_s=60).allocated[0]
        masters.restarted, masters.ended, masters.asks = True, [missed], []
        news = master.allocate()
        assert masters.asks == [ask(2)]
        assert [(one.container_id, one.state) for one in news.ended] == [
            (missed.container_id, TaskState.FAILED),
            (held.container_id, TaskState.LOST),
        ]
        masters.restarted = True
        assert master.allocate().ended == []


def test_it_is_told_who_is_to_end_and_only_of_what_is_still_so(masters: FakeMasters, open_master: Any) -> None:
    def warned(number: int) -> WarnedContainer:
        return WarnedContainer(
            container_id=grant(number).container_id, kill_at=2e9, reason="others are due", beneficiary="application_1_2"
        )

    master = open_master()
    master.register()
    masters.warned, masters.spared = [warned(1), warned(2)], []
    first = master.allocate()
    masters.spared = [warned(1).container_id]
    second = master.allocate(wait_s=5)
    masters.warned = [warned(3), warned(4)]
    master._beat()
    masters.spared = [warned(3).container_id]
    third = master.allocate()

    assert (first.warned, first.spared) == ([warned(1), warned(2)], [])
    assert (second.warned, second.spared) == ([], [warned(1).container_id])
    assert (third.warned, third.spared) == ([warned(4)], [warned(3).container_id])
    master.close()


def test_a_broken_connection_is_made_again(server: Any, masters: FakeMasters, open_master: Any) -> None:
    with open_master(heartbeat_interval_s=100) as master:
        server.drop_connections()
        master.allocate([ask(1)])
    assert masters.final is not None


def test_that_the_attempt_is_over_is_told_where_the_program_next_asks(masters: FakeMasters, open_master: Any) -> None:
    with pytest.raises(Unauthenticated), open_master(heartbeat_interval_s=0.01) as master:
        masters.over.add(ATTEMPT)
        eventually(lambda: not any(thread.name == "hrm heartbeats" for thread in threading.enumerate()))
        master.allocate()


def test_a_last_word_that_is_none_is_refused_and_another_may_follow(masters: FakeMasters, open_master: Any) -> None:
    with open_master() as master:
        with pytest.raises(InvalidInput):
            master.finish("DONE")
        master.finish("KILLED")
    assert masters.final == (FinalStatus.KILLED, "")


def test_containers_are_promoted_and_demoted(masters: FakeMasters, open_master: Any) -> None:
    masters.gone.add("container_2")
    with open_master() as master:
        master.allocate([replace(ask(1), execution_type=ExecutionType.OPPORTUNISTIC)])
        assert master.promote("container_1", "container_2") == {"container_2": "it has ended"}
        assert master.demote("container_3") == {}

    assert masters.asks[0].execution_type is ExecutionType.OPPORTUNISTIC
    assert masters.retyped["container_1"] is ExecutionType.GUARANTEED
    assert masters.retyped["container_3"] is ExecutionType.OPPORTUNISTIC
