"""The tables of life cycles are complete, and what is not in them is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from hrm.model.errors import InvariantBroken
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, AttemptState, ContainerState
from hrm.rm.applications import LiveApplication, LiveAttempt, LiveContainer
from hrm.rm.lifecycles import APPLICATION, ATTEMPT, CONTAINER, check_move
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow

TABLES: list[tuple[type[Any], Mapping[tuple[Any, Any], str], Any]] = [
    (ApplicationState, APPLICATION, ApplicationState.SUBMITTED),
    (AttemptState, ATTEMPT, AttemptState.LAUNCHED),
    (ContainerState, CONTAINER, ContainerState.ALLOCATED),
]
tables = pytest.mark.parametrize(("states", "table", "first"), TABLES, ids=["application", "attempt", "container"])


def reachable(table: Mapping[tuple[Any, Any], str], start: Any) -> set[Any]:
    found, left = {start}, [start]
    while left:
        here = left.pop()
        for begin, end in table:
            if begin == here and end not in found:
                found.add(end)
                left.append(end)
    return found


@tables
def test_every_state_is_reached_from_the_first(states: type[StrEnum], table: Any, first: Any) -> None:
    assert reachable(table, first) == set(states)


@tables
def test_a_final_state_is_reached_from_every_other_one(states: type[Any], table: Any, first: Any) -> None:
    for state in states:
        assert any(end.final for end in reachable(table, state)), state


@tables
def test_nothing_follows_a_final_state_and_nothing_follows_itself(states: type[Any], table: Any, first: Any) -> None:
    for begin, end in table:
        assert not begin.final
        assert begin != end


@tables
def test_every_edge_says_why(states: type[Any], table: Mapping[Any, str], first: Any) -> None:
    assert all(table.values())


@tables
def test_what_is_not_in_the_table_is_refused_with_what_may_follow(states: type[Any], table: Any, first: Any) -> None:
    for start, finish in product(states, states):
        if (start, finish) in table:
            check_move(table, "it", start, finish)
            continue
        with pytest.raises(InvariantBroken) as refused:
            check_move(table, "it", start, finish)
        assert f"it: {start} cannot become {finish}" in refused.value.message
        assert ("nothing: it is final" in refused.value.message) == start.final


APP = ApplicationId(1, 1)


def live_things() -> list[Any]:
    container = ContainerRow(
        container_id="c",
        application_seq=1,
        attempt_number=1,
        node_id="n1",
        resources=Resources(1, 1),
        device_ids=(),
        priority=0,
        state=ContainerState.COMPLETED,
        allocated_at=1.0,
    )
    application = ApplicationRow(
        seq=1, user="ada", name="x", queue="q", state=ApplicationState.KILLED, priority=0, submitted_at=1.0
    )
    attempt = AttemptRow(application_seq=1, number=1, state=AttemptState.FAILED, started_at=1.0)
    job = JobSpec(groups=(TaskGroupSpec(command=("true",)),))
    return [
        LiveContainer(ContainerId(AttemptId(APP, 1), 1, 1), container),
        LiveAttempt(AttemptId(APP, 1), attempt),
        LiveApplication(
            id=APP,
            row=application,
            job=job,
            master=None,
            attempt=LiveAttempt(AttemptId(APP, 1), attempt),  # type: ignore[arg-type]
        ),
    ]


@pytest.mark.parametrize("thing", live_things(), ids=["container", "attempt", "application"])
def test_an_illegal_move_changes_nothing(thing: Any) -> None:
    before = thing.row
    first = {"LiveContainer": "RUNNING", "LiveAttempt": "RUNNING", "LiveApplication": "RUNNING"}[type(thing).__name__]
    with pytest.raises(InvariantBroken):
        thing.move(type(before.state)(first))
    assert thing.row is before
