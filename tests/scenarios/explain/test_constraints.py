"""What is said of a request that waits for its placement constraint: what it wants, and what would bring that about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hrm.core.events import RequestsUpdated
from hrm.core.explain.constraints import say_constraint
from hrm.model.attributes import AttributeTest
from hrm.model.explanations import EndBasis
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.phrases import CHINESE, ENGLISH, say
from hrm.model.requests import ResourceRequest
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
from hrm.testing.builders import Scenario, amounts, queue, request
from tests.scenarios.explain.histories import NOON, cluster, told

BESIDE_A_CACHE = TagCount(tags=("cache",), least=1)
ANYWHERE = TagCount(tags=("nothing",), most=0)


def two_racks() -> Scenario:
    s = cluster(queue("all"))
    s.add_node("n1", cpus=4, memory="4G", rack="/r1")
    s.add_node("n2", cpus=4, memory="4G", rack="/r1")
    return s


def ask(s: Scenario, app: AttemptId, count: int, *tags: str, constraint: PlacementConstraint | None = None) -> None:
    placement = TagPlacement(tags=frozenset(tags), constraint=constraint)
    s.handle(RequestsUpdated(app, (ResourceRequest(resources=amounts(1, "1G"), count=count, placement=placement),)))
    s.settle()


def test_it_says_what_the_constraint_wants() -> None:
    s = two_racks()
    app = s.submit("all")
    ask(s, app, 2, "web", constraint=TagCount(tags=("web",), most=0, scope=Scope.RACK))
    explained = told(s, app)

    assert explained.message.startswith(
        "there is room for 1 vcore, 1G on n1, n2, but what runs there is not what its placement constraint wants beside"
        " it; it wants no web of its own in the rack"
    )
    assert explained.forecast is not None
    assert explained.forecast.text == "not known: what runs on the nodes has to change"
    (condition,) = (one for one in explained.conditions if one.code == "constraint")
    assert condition.passing == 0


def test_it_says_when_the_next_alternative_will_do() -> None:
    s = two_racks()
    app = s.submit("all")
    patient = DelayedOr((Timed(constraint=BESIDE_A_CACHE, delay_s=600.0), Timed(constraint=ANYWHERE, delay_s=0.0)))
    ask(s, app, 1, "web", constraint=patient)
    first_look = NOON + 6
    s.advance(200.0)
    explained = told(s, app)

    assert explained.forecast is not None
    assert explained.forecast.at == pytest.approx(first_look + 600.0)
    assert "in about 7 min no nothing of its own on the node will do as well, which n1 has" in explained.message, (
        explained.message
    )
    assert [change.kind for change in explained.changes] == ["other_place", "time"]


def test_the_word_is_kept() -> None:
    s = two_racks()
    app = s.submit("all")
    patient = DelayedOr((Timed(constraint=BESIDE_A_CACHE, delay_s=600.0), Timed(constraint=ANYWHERE, delay_s=0.0)))
    ask(s, app, 1, "web", constraint=patient)
    forecast = told(s, app).forecast
    assert forecast is not None and forecast.in_s is not None and forecast.node_id is not None
    s.advance(forecast.in_s)
    s.visit(forecast.node_id)

    assert s.running(app) == 1


def test_it_says_how_many_heartbeats_are_left() -> None:
    s = two_racks()
    app = s.submit("all")
    patient = DelayedOr(
        (Timed(constraint=BESIDE_A_CACHE, opportunities=9), Timed(constraint=ANYWHERE, opportunities=0))
    )
    ask(s, app, 1, "web", constraint=patient)
    forecast = told(s, app).forecast
    visits = 0
    while not s.running(app):
        s.visit("n1")
        visits += 1

    assert forecast is not None
    assert forecast.at is None
    assert f"after {visits} more heartbeats" in forecast.text


def test_what_opens_is_of_no_use_where_no_node_meets_it() -> None:
    s = two_racks()
    app = s.submit("all")
    beside_a_door = TagCount(tags=("door",), least=1)
    patient = DelayedOr((Timed(constraint=BESIDE_A_CACHE, delay_s=600.0), Timed(constraint=beside_a_door, delay_s=0.0)))
    ask(s, app, 1, "web", constraint=patient)
    explained = told(s, app)

    assert explained.forecast is not None
    assert explained.forecast.at is None


@pytest.mark.parametrize("scope", Scope)
def test_it_says_when_what_is_in_the_way_ends(scope: Scope) -> None:
    s = two_racks()
    early, late, app = s.submit("all"), s.submit("all"), s.submit("all")
    apart = TagCount(tags=("db",), whose=Whose.ALL, most=0)
    ask(s, early, 1, "db", constraint=apart)
    ask(s, late, 1, "db", constraint=apart)
    ask(s, app, 1, "web", constraint=TagCount(tags=("db",), whose=Whose.OTHERS, most=0, scope=scope))
    books = s.scheduler.books.tags_of_rack["/r1"].as_dict()
    explained = told(s, app, ends={early: (700.0, EndBasis.PROGRESS), late: (1500.0, EndBasis.TIME_LIMIT)})

    at, by = (700.0, early) if scope is Scope.NODE else (1500.0, late)
    assert explained.forecast is not None
    assert explained.forecast.in_s == at
    assert explained.forecast.waits_for == [str(by.application)]
    assert s.scheduler.books.tags_of_rack["/r1"].as_dict() == books


def test_it_does_not_say_that_it_would_start_elsewhere_where_its_constraint_is_not_met() -> None:
    s = two_racks()
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 4, cpus=1, memory="1G", where="n1", relax=False)
    s.visit("n1")
    ask(s, app, 1, "web")
    strict = replace(
        request(1, cpus=1, memory="1G", where="n1", relax=False, request_id=1),
        placement=TagPlacement(constraint=TagCount(tags=("web",), most=0)),
    )
    s.handle(RequestsUpdated(app, (strict,)))
    s.settle()
    explained = told(s, app)

    assert explained.reason == "insufficient_memory"
    assert [change.kind for change in explained.changes if change.starts_now] == []


def test_it_does_not_say_that_less_would_start_now_where_it_would_begin_to_wait_anew() -> None:
    s = two_racks()
    s.remove_node("n2")
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 1, cpus=1, memory="1G")
    s.settle()
    patient = DelayedOr((Timed(constraint=BESIDE_A_CACHE, delay_s=600.0), Timed(constraint=ANYWHERE, delay_s=0.0)))
    large = replace(request(2, cpus=1, memory="2G"), placement=TagPlacement(constraint=patient))
    s.handle(RequestsUpdated(app, (large,)))
    s.settle()
    s.advance(600.0)
    s.settle()
    explained = told(s, app)

    assert (s.running(app), s.pending(app)) == (1, 1)
    assert explained.reason == "insufficient_memory"
    assert [change.kind for change in explained.changes if change.starts_now] == []


SAID = [
    (TagCount(tags=("a", "b"), most=0), "no a or b of its own on the node"),
    (AllOf((AttributeTest("os", "debian12"), AttributeTest("hdd", None, True))), "(os=debian12 and !hdd)"),
    (TagCount(tags=("a",), least=2, whose=Whose.ALL), "at least 2 a of anybody on the node"),
    (TagCount(tags=("a",), most=3, scope=Scope.RACK), "at most 3 a of its own in the rack"),
    (TagCount(tags=("a",), least=1, most=3, whose=Whose.OTHERS), "1 to 3 a of other applications on the node"),
    (TagCount(tags=("a",), most=0, whose=OfApplication(ApplicationId(1, 7))), "no a of application 7 on the node"),
    (TagCount(tags=("a",), most=0, whose=OfTagged("t")), "no a of applications with the tag t on the node"),
    (
        AnyOf((AllOf((ANYWHERE, BESIDE_A_CACHE)), ANYWHERE)),
        "((no nothing of its own on the node and at least 1 cache of its own on the node)"
        " or no nothing of its own on the node)",
    ),
    (
        DelayedOr((Timed(constraint=BESIDE_A_CACHE, delay_s=1.0), Timed(constraint=ANYWHERE, delay_s=1.0))),
        "(at least 1 cache of its own on the node, later also no nothing of its own on the node)",
    ),
]


@pytest.mark.parametrize(("constraint", "words"), SAID)
def test_each_kind_of_constraint_has_words(constraint: PlacementConstraint, words: str) -> None:
    said = say_constraint(constraint)

    assert say(said, ENGLISH) == words
    assert say(said, CHINESE)
