"""Which node is visited next, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hrm.rm.pacer import Pacer


class Told:
    """What a scheduler would say."""

    def __init__(self, with_room: Iterable[str], *, wanted: bool = True, openings: Sequence[str] = ()) -> None:
        self.with_room = list(with_room)
        self.wanted = wanted
        self.openings = list(openings)

    def has_demand(self) -> bool:
        return self.wanted

    def nodes_with_room(self) -> Iterable[str]:
        return iter(self.with_room)

    @property
    def has_openings(self) -> bool:
        return self.wanted and bool(self.openings)

    def next_opening(self) -> str | None:
        return self.openings.pop(0) if self.openings else None


def pacer(*with_room: str, wanted: bool = True, openings: Sequence[str] = ()) -> Pacer:
    return Pacer(Told(with_room, wanted=wanted, openings=openings))


def drain(pacer: Pacer) -> list[tuple[str, bool]]:
    visits = []
    while (visit := pacer.take()) is not None:
        visits.append(visit)
    return visits


def test_without_a_reason_nothing_is_visited():
    nothing = pacer("n1")
    assert nothing.idle
    assert nothing.take() is None


def test_a_node_is_visited_once_however_many_reasons_there_are():
    some = pacer("n1")
    some.room("n1")
    some.room("n1")
    some.demand()
    assert drain(some) == [("n1", False)]
    assert some.idle


def test_nodes_are_visited_in_the_order_of_their_reasons():
    some = pacer()
    some.room("n2")
    some.heartbeat("n1")
    some.room("n3")
    assert drain(some) == [("n2", False), ("n1", True), ("n3", False)]


def test_a_heartbeat_counts_as_one_also_where_room_had_appeared():
    some = pacer()
    some.room("n1")
    some.heartbeat("n1")
    some.room("n1")
    assert drain(some) == [("n1", True)]


def test_demand_visits_every_node_with_room_after_those_that_were_due():
    some = pacer("n1", "n2", "n3")
    some.heartbeat("n2")
    some.demand()
    assert drain(some) == [("n2", True), ("n1", False), ("n3", False)]


def test_demand_without_room_anywhere_is_no_reason_for_long():
    some = pacer()
    some.demand()
    assert not some.idle
    assert some.take() is None
    assert some.idle


def test_a_visit_that_was_cut_short_goes_on_before_any_other_and_is_no_second_heartbeat():
    some = pacer()
    some.heartbeat("n1")
    some.heartbeat("n2")
    node_id, _ = some.take() or ("", False)
    some.unfinished(node_id)
    assert not some.idle
    assert drain(some) == [("n1", False), ("n2", True)]


def test_a_node_that_is_gone_is_not_visited():
    some = pacer()
    some.room("n1")
    some.unfinished("n1")
    some.forget("n1")
    assert some.idle
    assert some.take() is None


def test_where_nobody_waits_only_heartbeats_are_visits():
    some = pacer("n1", "n2", wanted=False)
    some.room("n1")
    some.heartbeat("n2")
    some.demand()
    assert drain(some) == [("n2", True)]
    assert some.idle


def test_of_many_nodes_with_room_no_more_are_visited_than_it_takes():
    told = Told(f"n{number}" for number in range(10_000))
    many = Pacer(told)
    many.demand()
    visited = []
    while (visit := many.take()) is not None:
        visited.append(visit)
        told.wanted = len(visited) < 10
    assert visited == [(f"n{number}", False) for number in range(10)]


def test_however_many_nodes_have_room_each_is_visited_once():
    many = pacer(*(f"n{number}" for number in range(1000)))
    many.demand()
    assert sorted(drain(many)) == sorted((f"n{number}", False) for number in range(1000))


def test_what_the_scheduler_names_is_visited_after_all_that_was_due():
    some = pacer("n1", openings=["n3", "n4"])
    some.room("n2")
    some.demand()
    assert not some.idle
    assert drain(some) == [("n2", False), ("n1", False), ("n3", False), ("n4", False)]
    assert some.idle


def test_where_nobody_waits_what_the_scheduler_names_is_no_reason():
    some = pacer(wanted=False, openings=["n1"])
    assert some.idle
    assert some.take() is None
