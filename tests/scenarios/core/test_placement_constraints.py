"""Constraints beyond one node and one moment: by rack, of other applications, and alternatives that open with time."""

from __future__ import annotations

import pytest

from hrm.core.events import AppAdded, AttemptAdded, ContainerRecovered, NodeResourceUpdate, NodeUpdate, RequestsUpdated
from hrm.model.attributes import AttributeTest
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.requests import ResourceRequest
from hrm.model.scheduling import SchedulerOptions, Strategy
from hrm.model.tag_placements import (
    AllOf,
    AnyOf,
    DelayedOr,
    OfApplication,
    OfTagged,
    PlacementConstraint,
    Scope,
    TagCount,
    TagPlacement,
    Timed,
    Whose,
)
from hrm.testing.builders import Scenario, amounts, node, queue, queues

RACK_OF = {"n1": "/r1", "n2": "/r1", "n3": "/r2", "n4": "/r2"}
NOT_IN_ITS_RACK = TagCount(tags=("web",), most=0, scope=Scope.RACK)
BESIDE_A_CACHE = TagCount(tags=("cache",), least=1)


@pytest.fixture(params=[None, Strategy.PACK, Strategy.SPREAD], ids=["as visited", "pack", "spread"])
def s(request: pytest.FixtureRequest) -> Scenario:
    """Two racks of two nodes, each of four small containers."""
    s = Scenario(queues(queue("all")), options=SchedulerOptions(placement_strategy=request.param))
    for node_id, rack in RACK_OF.items():
        s.add_node(node_id, cpus=4, memory="4G", rack=rack)
    return s


def ask(
    s: Scenario,
    app: AttemptId,
    count: int,
    *tags: str,
    constraint: PlacementConstraint | None = None,
    request_id: int = 0,
    cpus: int = 1,
) -> None:
    placement = TagPlacement(tags=frozenset(tags), constraint=constraint)
    request = ResourceRequest(
        resources=amounts(cpus, "1G"), count=count, placement=placement, allocation_request_id=request_id
    )
    s.handle(RequestsUpdated(app, (request,)))


def submit_tagged(s: Scenario, number: int, *tags: str) -> AttemptId:
    """An application that others may name by its tags."""
    app = ApplicationId(1, number)
    s.handle(AppAdded(app, "all", "ada", s.now, tags=frozenset(tags)))
    s.handle(AttemptAdded(AttemptId(app, 1)))
    return AttemptId(app, 1)


def racks(s: Scenario, app: AttemptId, request_id: int = 0) -> list[str]:
    """Where its containers lie, each with its rack."""
    return sorted(RACK_OF[one.node_id] for one in s.containers(app) if one.allocation_request_id == request_id)


def heartbeats(s: Scenario, node_id: str, count: int) -> None:
    for _ in range(count):
        s.handle(NodeUpdate(node_id))


# ---- by rack


def test_those_that_want_none_of_their_own_in_their_rack_lie_one_to_a_rack(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 3, "web", constraint=NOT_IN_ITS_RACK)
    s.settle()

    assert racks(s, app) == ["/r1", "/r2"]
    assert s.reason(app) == "placement_constraint"


def test_no_more_than_so_many_lie_in_a_rack(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 12, "web", constraint=TagCount(tags=("web",), most=3, scope=Scope.RACK))
    s.settle()

    assert racks(s, app) == ["/r1"] * 3 + ["/r2"] * 3


def test_those_that_want_others_in_their_rack_go_to_any_node_of_it(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "cache")
    s.settle()
    (where,) = racks(s, app)
    ask(s, app, 9, "web", constraint=TagCount(tags=("cache",), least=1, scope=Scope.RACK), request_id=1)
    s.settle()

    assert racks(s, app, 1) == [where] * 7


def test_those_that_want_to_lie_in_one_rack_begin_somewhere(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 9, "web", constraint=TagCount(tags=("web",), least=1, scope=Scope.RACK))
    s.settle()

    assert len(racks(s, app)) == 8
    assert len(set(racks(s, app))) == 1


def test_one_that_ends_makes_room_in_its_rack(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 4, "web", constraint=NOT_IN_ITS_RACK)
    s.settle()
    s.finish(s.containers(app)[0])
    s.settle()

    assert racks(s, app) == ["/r1", "/r2"]
    assert s.pending(app) == 1


def test_a_rack_counts_what_ran_before_a_restart_and_what_comes_with_a_node(s: Scenario) -> None:
    app = s.submit("all")
    s.handle(ContainerRecovered(ContainerId(app, 0, 1), "n3", amounts(1, "1G"), tags=frozenset({"web"})))
    s.handle(NodeResourceUpdate(node("n3", cpus=4, memory="4G", rack="/r1")))
    ask(s, app, 5, "web", constraint=NOT_IN_ITS_RACK)
    s.settle()

    assert sorted(one.node_id for one in s.containers(app)) == ["n4"]


def test_a_rack_forgets_what_ran_on_a_node_that_went(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 2, "web", constraint=NOT_IN_ITS_RACK)
    s.settle()
    gone = next(one.node_id for one in s.containers(app) if RACK_OF[one.node_id] == "/r1")
    s.remove_node(gone)
    ask(s, app, 1, "web", constraint=NOT_IN_ITS_RACK)
    s.settle()

    assert racks(s, app) == ["/r1", "/r2"]


# ---- whose


def test_containers_of_one_application_may_be_meant(s: Scenario) -> None:
    first, second, third = (s.submit("all") for _ in range(3))
    for app in (first, second):
        ask(s, app, 1, "db")
        s.settle()
    theirs = TagCount(tags=("db",), whose=OfApplication(second.application), least=1)
    ask(s, third, 2, "web", constraint=theirs)
    s.settle()

    (there,) = (one.node_id for one in s.containers(second))
    assert [one.node_id for one in s.containers(third)] == [there] * 2


def test_containers_of_applications_with_a_tag_may_be_meant(s: Scenario) -> None:
    loud = submit_tagged(s, 101, "noisy")
    quiet = submit_tagged(s, 102, "other")
    ask(s, loud, 1, "x", constraint=TagCount(tags=("x",), whose=Whose.ALL, most=0, scope=Scope.RACK))
    s.settle()
    ask(s, quiet, 1, "x", constraint=TagCount(tags=("x",), whose=Whose.ALL, most=0, scope=Scope.RACK))
    s.settle()
    app = s.submit("all")
    ask(s, app, 9, "y", constraint=TagCount(tags=("x",), whose=OfTagged("noisy"), most=0, scope=Scope.RACK))
    s.settle()

    assert set(racks(s, app)) == set(racks(s, quiet))
    assert set(racks(s, app)) != set(racks(s, loud))


def test_its_own_application_may_be_meant_by_name_and_begins_somewhere(s: Scenario) -> None:
    app = submit_tagged(s, 103, "mine")
    ask(s, app, 2, "web", constraint=TagCount(tags=("web",), whose=OfApplication(app.application), least=1))
    ask(s, app, 2, "db", constraint=TagCount(tags=("db",), whose=OfTagged("mine"), least=1), request_id=1)
    s.settle()

    assert len({one.node_id for one in s.containers(app) if one.allocation_request_id == 0}) == 1
    assert s.running(app) == 4


def test_one_that_wants_to_lie_beside_another_application_does_not_begin(s: Scenario) -> None:
    app, other = s.submit("all"), s.submit("all")
    ask(s, app, 1, "web", constraint=TagCount(tags=("web",), whose=OfApplication(other.application), least=1))
    s.settle()

    assert s.running(app) == 0


# ---- alternatives that open with time


def by_opportunities(count: int) -> DelayedOr:
    return DelayedOr(
        (
            Timed(constraint=BESIDE_A_CACHE, opportunities=count),
            Timed(constraint=TagCount(tags=("web",), most=0), opportunities=0),
        )
    )


def by_time(delay_s: float) -> DelayedOr:
    return DelayedOr(
        (
            Timed(constraint=BESIDE_A_CACHE, delay_s=delay_s),
            Timed(constraint=TagCount(tags=("web",), most=0), delay_s=0.0),
        )
    )


def test_the_next_alternative_will_do_after_so_many_opportunities(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "web", constraint=by_opportunities(3))
    heartbeats(s, "n1", 3)
    before = s.running(app)
    heartbeats(s, "n1", 1)

    assert (before, s.running(app)) == (0, 1)


def test_the_next_alternative_will_do_after_so_long(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "web", constraint=by_time(60.0))
    heartbeats(s, "n1", 1)
    s.advance(58.0)
    heartbeats(s, "n1", 1)
    before = s.running(app)
    heartbeats(s, "n1", 1)

    assert (before, s.running(app)) == (0, 1)


def test_visits_for_other_reasons_are_no_opportunities(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "web", constraint=by_opportunities(3))
    for _ in range(20):
        s.handle(NodeUpdate("n1", heartbeat=False))

    assert s.running(app) == 0


def test_time_begins_with_the_first_look_at_a_node_with_room(s: Scenario) -> None:
    app, full = s.submit("all"), s.submit("all")
    ask(s, full, 16, "full")
    s.settle()
    ask(s, app, 1, "web", constraint=by_time(60.0))
    heartbeats(s, "n1", 1)
    s.advance(600.0)
    s.finish(*[one for one in s.containers(full) if one.node_id == "n1"])
    heartbeats(s, "n1", 1)

    assert s.running(app) == 0


def test_what_an_earlier_alternative_allows_will_do_at_any_time(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "web", constraint=by_opportunities(1))
    heartbeats(s, "n1", 1)
    ask(s, app, 1, "cache", request_id=1)
    heartbeats(s, "n2", 1)
    (cache,) = (one.node_id for one in s.containers(app) if one.allocation_request_id == 1)
    s.visit(cache)

    assert s.running(app) == 2


def test_who_was_placed_as_first_wished_waits_for_that_again(s: Scenario) -> None:
    app = s.submit("all")
    beside_a_door = TagCount(tags=("door",), least=1)
    patient = DelayedOr((Timed(constraint=BESIDE_A_CACHE, delay_s=600.0), Timed(constraint=beside_a_door, delay_s=0.0)))
    ask(s, app, 2, "web", constraint=patient)
    s.settle()
    s.advance(600.0)
    s.settle()
    ask(s, app, 1, "cache", request_id=1, cpus=3)
    s.settle()
    ask(s, app, 1, "door", request_id=2)
    s.settle()
    beside_the_cache = s.pending(app)
    s.advance(600.0)
    s.settle()

    assert (beside_the_cache, s.pending(app)) == (1, 0)


def test_alternatives_may_lie_in_others(s: Scenario) -> None:
    app = s.submit("all")
    patient = AnyOf(
        (
            TagCount(tags=("nowhere",), least=1),
            AllOf((DelayedOr((Timed(constraint=by_opportunities(1), opportunities=1),)), NOT_IN_ITS_RACK)),
        )
    )
    ask(s, app, 4, "web", constraint=patient)
    heartbeats(s, "n1", 1)
    before = s.running(app)
    for _ in range(4):
        heartbeats(s, "n1", 1)
        heartbeats(s, "n3", 1)

    assert before == 0
    assert racks(s, app) == ["/r1", "/r2"]


def test_the_last_alternative_stays(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 6, "web", constraint=by_opportunities(0))
    for _ in range(5):
        s.settle()

    assert s.running(app) == 4
    assert s.reason(app) == "placement_constraint"


# ---- what a node is


def test_attributes_of_nodes_may_be_alternatives_to_what_runs_there(s: Scenario) -> None:
    s.handle(NodeResourceUpdate(node("n2", cpus=4, memory="4G", rack="/r1", os="debian12")))
    app = s.submit("all")
    ask(s, app, 1, "cache", constraint=AttributeTest("os", "debian12", negated=True))
    s.settle()
    (cache,) = (one.node_id for one in s.containers(app))
    either = AnyOf((AttributeTest("os", "debian12"), BESIDE_A_CACHE))
    ask(s, app, 12, "web", constraint=either, request_id=1)
    s.settle()

    assert cache != "n2"
    assert {one.node_id for one in s.containers(app)} == {"n2", cache}
    assert s.running(app) == 8


def test_any_node_may_do_after_a_while_where_one_with_an_attribute_was_wanted(s: Scenario) -> None:
    app = s.submit("all")
    patient = DelayedOr(
        (
            Timed(constraint=AttributeTest("os", "debian12"), delay_s=60.0),
            Timed(constraint=AttributeTest("hdd", negated=True), delay_s=0.0),
        )
    )
    ask(s, app, 1, "web", constraint=patient)
    s.settle()
    before = s.running(app)
    said = s.explain(app).message
    s.advance(60.0)
    s.settle()

    assert (before, s.running(app)) == (0, 1)
    assert "its placement constraint is not met there; it wants (os=debian12, later also !hdd)" in said


# ---- what cannot be


@pytest.mark.parametrize(
    "make",
    [
        lambda: Timed(constraint=BESIDE_A_CACHE),
        lambda: Timed(constraint=BESIDE_A_CACHE, delay_s=1.0, opportunities=1),
        lambda: Timed(constraint=BESIDE_A_CACHE, delay_s=-1.0),
        lambda: Timed(constraint=BESIDE_A_CACHE, delay_s=float("inf")),
        lambda: Timed(constraint=BESIDE_A_CACHE, opportunities=-1),
        lambda: OfTagged(""),
        lambda: TagCount(tags=("",)),
        lambda: TagCount(tags=tuple(map(str, range(100)))),
        lambda: TagPlacement(constraint=AllOf(())),
        lambda: TagPlacement(constraint=DelayedOr(())),
        lambda: TagPlacement(constraint=nested(20)),
    ],
)
def test_what_cannot_be_is_refused(make: object) -> None:
    with pytest.raises(InvalidInput):
        make()  # type: ignore[operator]


def nested(depth: int) -> PlacementConstraint:
    return BESIDE_A_CACHE if not depth else DelayedOr((Timed(constraint=nested(depth - 1), opportunities=1),))
