"""What a master asks for: needs of its job, and node labels of its own."""

from __future__ import annotations

from hrm.am.asks import Asks
from hrm.model.node_needs import NodeNeeds
from hrm.model.requests import ResourceRequest
from hrm.testing.builders import request


def asked(asks: Asks, *wanted: ResourceRequest) -> list[tuple[str, str | None, int]]:
    asks.ask(wanted)
    return [(one.resource_name, one.needs.label, one.count) for one in asks.next_request(0.0).asks]


def test_what_its_job_needs_holds_for_all_that_it_asks_for_but_the_label_of_its_own_container() -> None:
    own = NodeNeeds(frozenset({"shared path /data"}), "os=debian12", "masters")
    asks = Asks(own, "workers")

    asks.ask([request(1, constraint="!hdd")])
    (one,) = asks.next_request(0.0).asks

    assert one.needs == NodeNeeds(frozenset({"shared path /data"}), "!hdd & os=debian12", "workers")


def test_an_ask_for_a_place_has_the_label_of_the_ask_for_anywhere_beside_it() -> None:
    asks = Asks()

    assert asked(asks, request(1, where="n1"), request(2, label="tape")) == [("n1", "tape", 1), ("*", "tape", 2)]
    assert asked(asks, request(3, where="n1")) == [("n1", "tape", 3)]


def test_under_another_label_the_earlier_ask_is_not_wanted_any_more() -> None:
    asks = Asks()
    asked(asks, request(1, where="n1"), request(2, label="tape"))

    now = asked(asks, request(5, label="disk"))

    assert now == [("n1", "tape", 0), ("*", "tape", 0), ("*", "disk", 5)]


def test_no_label_may_be_said_where_its_job_has_one() -> None:
    asks = Asks(NodeNeeds(), "workers")

    assert asked(asks, request(1, label="")) == [("*", "", 1)]
    assert asked(asks, request(1, priority=1)) == [("*", "workers", 1)]
