"""Nodes, racks, anywhere; and the nodes an application does not want."""

from __future__ import annotations

from hrm.core.events import BlacklistChanged
from hrm.testing.builders import Scenario, queue, queues, request


def two_racks() -> Scenario:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", rack="/r1")
    s.add_node("n2", rack="/r1")
    s.add_node("n3", rack="/r2")
    return s


def test_a_strict_request_waits_for_its_node() -> None:
    s = two_racks()
    app = s.submit("all")
    s.ask(app, 1, where="n2", relax=False)

    assert s.visit("n1", "n3") == []
    assert [one.node_id for one in s.visit("n2")] == ["n2"]


def test_a_strict_request_for_a_rack_takes_any_node_of_it() -> None:
    s = two_racks()
    app = s.submit("all")
    s.ask(app, 1, where="/r1", relax=False)

    assert s.visit("n3") == []
    assert [one.node_id for one in s.visit("n2")] == ["n2"]


def test_a_place_that_is_only_a_wish_gives_way() -> None:
    s = two_racks()
    app = s.submit("all")
    s.ask(app, 1, where="n2", relax=True)

    assert [one.node_id for one in s.visit("n3")] == ["n3"]
    assert s.pending(app) == 0


def test_with_an_anywhere_count_that_count_is_the_total() -> None:
    # As YARN's clients ask: two containers, preferred on n1 or in its rack.
    s = two_racks()
    app = s.submit("all")
    s.request(app, request(2, where="n1"), request(2, where="/r1"), request(2))
    assert s.pending(app) == 2

    granted = s.visit("n1", "n2", "n3")

    assert [one.node_id for one in granted] == ["n1", "n1"]
    assert s.pending(app) == 0


def test_locality_that_may_not_be_relaxed_at_anywhere_keeps_to_node_and_rack() -> None:
    s = two_racks()
    app = s.submit("all")
    s.request(app, request(1, where="n1"), request(1, where="/r1"), request(1, relax=False))

    assert s.visit("n3") == []
    assert [one.node_id for one in s.visit("n2")] == ["n2"]


def test_locality_that_may_not_be_relaxed_at_the_rack_keeps_to_the_node() -> None:
    s = two_racks()
    app = s.submit("all")
    s.request(app, request(1, where="n1"), request(1, where="/r1", relax=False), request(1, relax=False))

    assert s.visit("n2", "n3") == []
    assert [one.node_id for one in s.visit("n1")] == ["n1"]


def test_several_strict_places_add_up() -> None:
    s = two_racks()
    app = s.submit("all")
    s.request(app, request(1, where="n1", relax=False), request(2, where="n3", relax=False))
    assert s.pending(app) == 3

    granted = s.visit("n1", "n2", "n3")

    assert [one.node_id for one in granted] == ["n1", "n3", "n3"]


def test_a_blacklisted_node_is_passed_over_until_it_is_taken_off_the_list() -> None:
    s = two_racks()
    app, other = s.submit("all"), s.submit("all")
    s.handle(BlacklistChanged(app.application, frozenset({"n1"})))
    s.ask(app)
    s.ask(other)

    assert [one.container_id.attempt for one in s.visit("n1")] == [other]
    s.handle(BlacklistChanged(app.application, frozenset()))
    assert [one.container_id.attempt for one in s.visit("n1")] == [app]
