"""One turn: what is written, what is done afterwards, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hrm.model.containers import LaunchSpec, PreemptionNotice
from hrm.model.states import TaskState
from hrm.rm import turn as turns
from hrm.rm.records import TaskRow
from hrm.rm.turn import Turn


@dataclass
class Thing:
    row: TaskRow

    def becomes(self, state: TaskState) -> None:
        self.row = row(state)


def row(state: TaskState = TaskState.PENDING, index: int = 0) -> TaskRow:
    return TaskRow(application_seq=1, task_index=index, state=state)


class Engine:
    """Writes down what it is told, in order."""

    def __init__(self, said: list[Any]) -> None:
        self.said = said

    def launch(self, node_id: str, specs: list[LaunchSpec]) -> None:
        self.said.append(("launch", node_id, [spec.container_id for spec in specs]))

    def stop_containers(self, node_id: str, container_ids: list[str], *, grace_s: float) -> None:
        self.said.append(("stop", node_id, container_ids, grace_s))

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice) -> None:
        self.said.append(("warn", node_id, container_id, notice.reason))

    def spare(self, node_id: str, container_id: str) -> None:
        self.said.append(("spare", node_id, container_id))

    def acknowledge(self, node_id: str, container_ids: list[str]) -> None:
        self.said.append(("acknowledge", node_id, container_ids))


def spec(name: str) -> LaunchSpec:
    return LaunchSpec(container_id=name, application_id="a", user="ada", command=("true",))


def test_a_thing_that_changed_twice_is_written_once_as_it_is_in_the_end():
    turn, thing = Turn(1.0), Thing(row())
    turn.touch(thing)
    thing.becomes(TaskState.RUNNING)
    turn.touch(thing)
    thing.becomes(TaskState.SUCCEEDED)
    assert list(turn.rows()) == [row(TaskState.SUCCEEDED)]


def test_things_that_changed_come_before_rows_that_are_only_added():
    turn, thing = Turn(1.0), Thing(row())
    turn.put(row(index=7))
    turn.touch(thing)
    assert [one.task_index for one in turn.rows()] == [0, 7]


def test_a_turn_in_which_nothing_was_decided_is_empty():
    assert Turn(1.0).empty
    for decide in (
        lambda turn: turn.put(row()),
        lambda turn: turn.touch(Thing(row())),
        lambda turn: turn.launch("n1", spec("c1")),
        lambda turn: turn.stop("n1", "c1"),
        lambda turn: turn.acknowledge("n1", "c1"),
        lambda turn: turn.after_commit(lambda: None),
    ):
        turn = Turn(1.0)
        decide(turn)
        assert not turn.empty


def test_what_was_decided_is_carried_out_node_by_node_and_answered_last():
    turn, said = Turn(1.0), []
    turn.after_commit(lambda: said.append("answered"))
    turn.acknowledge("n1", "c9")
    turn.stop("n2", "c5")
    turn.launch("n1", spec("c1"))
    turn.launch("n2", spec("c2"))
    turn.launch("n1", spec("c3"))
    turn.act(Engine(said), live={"c1", "c2", "c3"})  # type: ignore[arg-type]
    assert said == [
        ("launch", "n1", ["c1", "c3"]),
        ("launch", "n2", ["c2"]),
        ("stop", "n2", ["c5"], 30),
        ("acknowledge", "n1", ["c9"]),
        "answered",
    ]


def test_warnings_and_what_takes_them_back_are_told_in_order_after_launches_and_before_stops():
    turn, said = Turn(1.0), []
    turn.stop("n1", "c1", 0.0)
    turn.stop("n1", "c2")
    turn.warn("n1", "c1", PreemptionNotice(kill_at=5.0, reason="first", beneficiary="a"))
    turn.warn("n1", "c1", None)
    turn.warn("n1", "c1", PreemptionNotice(kill_at=6.0, reason="second", beneficiary="a"))
    turn.launch("n1", spec("c1"))
    turn.act(Engine(said), live={"c1"})  # type: ignore[arg-type]
    assert said == [
        ("launch", "n1", ["c1"]),
        ("warn", "n1", "c1", "first"),
        ("spare", "n1", "c1"),
        ("warn", "n1", "c1", "second"),
        ("stop", "n1", ["c1"], 0.0),
        ("stop", "n1", ["c2"], 30),
    ]


def test_what_is_over_by_then_is_not_launched():
    turn, said = Turn(1.0), []
    turn.launch("n1", spec("c1"))
    turn.launch("n1", spec("c2"))
    turn.act(Engine(said), live={"c2"})  # type: ignore[arg-type]
    assert said == [("launch", "n1", ["c2"])]


def test_what_comes_in_gets_half_of_a_turn(monkeypatch):
    at = 100.0
    monkeypatch.setattr(turns.time, "perf_counter", lambda: at)
    turn = Turn(1.0)
    assert (turn.half_over, turn.over) == (False, False)
    at += turns.BUDGET_S * 0.6
    assert (turn.half_over, turn.over) == (True, False)
    at += turns.BUDGET_S * 0.6
    assert (turn.half_over, turn.over) == (True, True)
