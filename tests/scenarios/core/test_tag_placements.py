"""Where containers may lie by what runs beside them: affinity, anti-affinity and cardinality by tags."""

from __future__ import annotations

from collections import Counter

import pytest

from hrm.core.events import ContainerRecovered, RequestsUpdated
from hrm.model.errors import InvalidInput
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.requests import GangRequest, ResourceRequest
from hrm.model.scheduling import SchedulerOptions, Strategy
from hrm.model.tag_placements import AllOf, AnyOf, PlacementConstraint, TagCount, TagPlacement, Whose
from hrm.testing.builders import Scenario, amounts, queue, queues

NOT_BESIDE_ITSELF = TagCount(tags=("web",), most=0)


@pytest.fixture(params=[None, Strategy.PACK, Strategy.SPREAD], ids=["as visited", "pack", "spread"])
def s(request: pytest.FixtureRequest) -> Scenario:
    """Three nodes of four small containers each."""
    s = Scenario(queues(queue("all")), options=SchedulerOptions(placement_strategy=request.param))
    for number in range(1, 4):
        s.add_node(f"n{number}", cpus=4, memory="4G")
    return s


def ask(
    s: Scenario,
    app: AttemptId,
    count: int,
    *tags: str,
    constraint: PlacementConstraint | None = None,
    request_id: int = 0,
) -> None:
    placement = TagPlacement(tags=frozenset(tags), constraint=constraint)
    request = ResourceRequest(
        resources=amounts(1, "1G"), count=count, placement=placement, allocation_request_id=request_id
    )
    s.handle(RequestsUpdated(app, (request,)))
    s.settle()


def on_nodes(s: Scenario, app: AttemptId) -> list[int]:
    """How many containers each node has that has any, the most first."""
    return sorted(Counter(one.node_id for one in s.containers(app)).values(), reverse=True)


def test_those_that_want_none_of_their_own_beside_them_lie_one_to_a_node(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 5, "web", constraint=NOT_BESIDE_ITSELF)

    assert on_nodes(s, app) == [1, 1, 1]
    assert s.pending(app) == 2
    assert s.reason(app) == "placement_constraint"


def test_one_that_ends_makes_room_for_the_next(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 4, "web", constraint=NOT_BESIDE_ITSELF)
    s.finish(s.containers(app)[0])
    s.settle()

    assert on_nodes(s, app) == [1, 1, 1]
    assert s.pending(app) == 0


def test_no_more_than_so_many_lie_on_a_node(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 12, "web", constraint=TagCount(tags=("web",), most=2))

    assert on_nodes(s, app) == [2, 2, 2]


def test_those_that_want_others_beside_them_go_where_these_are(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "cache")
    ask(s, app, 5, "web", constraint=TagCount(tags=("cache",), least=1), request_id=1)

    assert on_nodes(s, app) == [4]
    assert s.pending(app) == 2


def test_nobody_is_placed_beside_what_is_nowhere(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "web", constraint=TagCount(tags=("cache",), least=1))

    assert s.running(app) == 0


def test_those_that_want_to_lie_together_begin_somewhere(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 6, "web", constraint=TagCount(tags=("web",), least=1))

    assert on_nodes(s, app) == [4]


def test_whose_containers_count_is_said(s: Scenario) -> None:
    first, second, third = (s.submit("all") for _ in range(3))
    ask(s, first, 1, "web")
    (theirs,) = (one.node_id for one in s.containers(first))
    ask(s, second, 3, "web", constraint=TagCount(tags=("web",), whose=Whose.OTHERS, most=0))
    ask(s, third, 1, "x", constraint=TagCount(tags=("web",), whose=Whose.ALL, most=0))

    assert theirs not in {one.node_id for one in s.containers(second)}
    assert s.running(second) == 3
    assert theirs not in {one.node_id for one in s.containers(third)}


def test_all_or_any_of_several_may_be_wanted(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 1, "cache")
    ask(s, app, 1, "noise", constraint=TagCount(tags=("cache",), most=0), request_id=1)
    quiet = AllOf((TagCount(tags=("cache",), most=0), TagCount(tags=("noise",), most=0)))
    ask(s, app, 1, "a", constraint=quiet, request_id=2)
    either = AnyOf((TagCount(tags=("nothing",), least=1), TagCount(tags=("a",), least=1)))
    ask(s, app, 1, "b", constraint=either, request_id=3)

    where = {one.allocation_request_id: one.node_id for one in s.containers(app)}
    assert len({where[0], where[1], where[2]}) == 3
    assert where[3] == where[2]


def test_what_ran_before_a_restart_counts(s: Scenario) -> None:
    app = s.submit("all")
    for number in (1, 2):
        running = ContainerId(app, 0, number)
        s.handle(ContainerRecovered(running, f"n{number}", amounts(1, "1G"), tags=frozenset({"web"})))
    ask(s, app, 2, "web", constraint=NOT_BESIDE_ITSELF)

    assert [one.node_id for one in s.containers(app)] == ["n3"]


def test_a_node_that_comes_back_bears_nothing(s: Scenario) -> None:
    app = s.submit("all")
    ask(s, app, 3, "web", constraint=NOT_BESIDE_ITSELF)
    s.remove_node("n1")
    s.add_node("n1", cpus=4, memory="4G")
    ask(s, app, 1, "web", constraint=NOT_BESIDE_ITSELF)

    assert on_nodes(s, app) == [1, 1, 1]


def test_asks_with_other_tags_are_other_asks(s: Scenario) -> None:
    app = s.submit("all")
    s.add_node("n4", cpus=4, memory="4G")
    ask(s, app, 2, "a")
    ask(s, app, 3, "b")

    assert s.running(app) == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda: TagCount(tags=()),
        lambda: TagCount(tags=("a",), least=2, most=1),
        lambda: TagPlacement(tags=frozenset({""})),
        lambda: TagPlacement(tags=frozenset(map(str, range(100)))),
        lambda: TagPlacement(constraint=AllOf(tuple(TagCount(tags=("a",)) for _ in range(100)))),
        lambda: ResourceRequest(
            resources=amounts(1, "1G"), count=2, gang=GangRequest(), placement=TagPlacement(tags=frozenset({"a"}))
        ),
    ],
)
def test_what_cannot_be_is_refused(make: object) -> None:
    with pytest.raises(InvalidInput):
        make()  # type: ignore[operator]
