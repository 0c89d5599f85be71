"""No placement breaks its constraint at the moment it is made, whatever runs, ends, comes and goes.

What holds is worked out here from the commands alone, by the constraint's own words: nothing is kept up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from hrm.core.commands import Allocate, Command, ContainerEnded
from hrm.core.events import (
    AppAdded,
    AttemptAdded,
    AttemptRemoved,
    ContainerFinished,
    Event,
    NodeAdded,
    NodeRemoved,
    NodeResourceUpdate,
    NodeUpdate,
    RequestsUpdated,
)
from hrm.core.invariants import check_invariants
from hrm.core.scheduler import Scheduler
from hrm.model.attributes import AttributeTest
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.nodes import NodeSpec
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
from hrm.testing.builders import amounts, node, queue, queues

APPS = [ApplicationId(1, number) for number in (1, 2, 3)]
TAGS_OF_APPS = {APPS[0]: frozenset({"t"}), APPS[1]: frozenset({"t", "u"}), APPS[2]: frozenset()}
SPECS = {
    one.node_id: one
    for one in (
        node("n1", cpus=4, memory="4G", rack="/r1", os="a"),
        node("n2", cpus=4, memory="4G", rack="/r1"),
        node("n3", cpus=4, memory="4G", rack="/r2", os="b"),
        node("n4", cpus=4, memory="4G", rack="/r2", os="a"),
    )
}

TAGS = st.lists(st.sampled_from("ab"), min_size=1, max_size=2, unique=True)
NAMESPACES = st.sampled_from([Whose.SELF, *Whose, OfApplication(APPS[0]), OfTagged("t"), OfTagged("u")])


@st.composite
def counts(draw: st.DrawFn) -> TagCount:
    least, most = draw(st.sampled_from([(0, 0), (0, 1), (0, 2), (1, None), (2, None), (1, 3)]))
    return TagCount(
        tags=tuple(draw(TAGS)), whose=draw(NAMESPACES), least=least, most=most, scope=draw(st.sampled_from(Scope))
    )


LEAVES = st.one_of(counts(), counts(), st.builds(AttributeTest, st.just("os"), st.sampled_from("ab"), st.booleans()))
DELAYS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"delay_s": st.sampled_from([0.0, 3.0, 9.0])}),
    st.fixed_dictionaries({"opportunities": st.integers(0, 3)}),
)


def _deeper(inner: st.SearchStrategy[PlacementConstraint]) -> st.SearchStrategy[PlacementConstraint]:
    parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
    timed = st.builds(lambda constraint, delay: Timed(constraint=constraint, **delay), inner, DELAYS)
    return st.one_of(
        st.builds(AllOf, parts),
        st.builds(AnyOf, parts),
        st.builds(DelayedOr, st.lists(timed, min_size=1, max_size=3).map(tuple)),
    )


CONSTRAINTS: st.SearchStrategy[PlacementConstraint] = st.recursive(LEAVES, _deeper, max_leaves=5)
REQUESTS = st.builds(
    lambda tags, constraint, count, cpus: ResourceRequest(
        resources=amounts(cpus, "1G"),
        count=count,
        placement=TagPlacement(tags=frozenset(tags), constraint=constraint),
    ),
    st.lists(st.sampled_from("ab"), max_size=2),
    st.one_of(st.none(), counts(), CONSTRAINTS),
    st.integers(1, 6),
    st.sampled_from([1, 2]),
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([0, 0, 1, 2]), REQUESTS),
        st.tuples(st.just("ask"), st.just(0), REQUESTS),
        st.tuples(st.just("visit"), st.sampled_from([*SPECS]), st.booleans()),
        st.tuples(st.just("visit"), st.sampled_from([*SPECS]), st.just(True)),
        st.tuples(st.just("finish"), st.integers(0, 50), st.none()),
        st.tuples(st.just("leave"), st.sampled_from([*SPECS]), st.none()),
        st.tuples(st.just("move"), st.sampled_from([*SPECS]), st.sampled_from(["/r1", "/r2"])),
        st.tuples(st.just("restart"), st.integers(0, 2), st.none()),
    ),
    min_size=20,
    max_size=40,
)
OPTIONS = st.sampled_from(
    [
        SchedulerOptions(),
        SchedulerOptions(placement_strategy=Strategy.SPREAD),
        SchedulerOptions(placement_strategy=Strategy.PACK),
        SchedulerOptions(reservable_nodes=0.5, reservation_threshold=amounts(1, "1G")),
    ]
)


@dataclass(frozen=True)
class Running:
    app: ApplicationId
    node_id: str
    tags: frozenset[str]


class World:
    """The scheduler, its twin, and what there is by their commands."""

    def __init__(self, options: SchedulerOptions) -> None:
        root = queues(queue("all"))
        self.scheduler, self.twin = (Scheduler(root, epoch=1, options=options) for _ in range(2))
        self.now = 0.0
        self.nodes: dict[str, NodeSpec] = {}
        self.running: dict[ContainerId, Running] = {}
        self.attempts = dict.fromkeys(APPS, 1)
        self.asked: dict[int, ResourceRequest] = {}
        self.placed = 0
        for spec in SPECS.values():
            self.tell(NodeAdded(spec))
        for app in APPS:
            self.tell(AppAdded(app, "all", "ada", self.now, tags=TAGS_OF_APPS[app]))
            self.tell(AttemptAdded(self.attempt(app)))

    def attempt(self, app: ApplicationId) -> AttemptId:
        return AttemptId(app, self.attempts[app])

    def tell(self, event: Event) -> None:
        self.now += 1.0
        match event:
            case NodeAdded(spec) | NodeResourceUpdate(spec):
                self.nodes[spec.node_id] = spec
            case NodeRemoved(node_id):
                self.nodes.pop(node_id, None)
                self.running = {name: one for name, one in self.running.items() if one.node_id != node_id}
            case ContainerFinished(container_id):
                self.running.pop(container_id, None)
            case _:
                pass
        commands = self.scheduler.handle(event, self.now)
        assert self.twin.handle(event, self.now) == commands
        check_invariants(self.scheduler)
        for command in commands:
            self.obey(command)

    def obey(self, command: Command) -> None:
        match command:
            case ContainerEnded():
                self.running.pop(command.container_id, None)
            case Allocate():
                self.check(command)
                app = command.container_id.attempt.application
                self.running[command.container_id] = Running(app, command.node_id, command.tags)
                self.placed += 1
            case _:
                pass

    def check(self, granted: Allocate) -> None:
        attempt = granted.container_id.attempt
        placement = self.asked[granted.allocation_request_id].placement
        assert placement is not None
        assert granted.tags == placement.tags
        assert placement.constraint is None or self.holds(
            placement.constraint, attempt.application, granted.node_id, granted.tags
        )

    def holds(self, constraint: PlacementConstraint, app: ApplicationId, node_id: str, own: frozenset[str]) -> bool:
        """Of a delayed `or` any alternative: when each opens is told by scenarios."""

        def each(one: PlacementConstraint) -> bool:
            return self.holds(one, app, node_id, own)

        match constraint:
            case AllOf(parts):
                return all(map(each, parts))
            case AnyOf(parts):
                return any(map(each, parts))
            case DelayedOr(timed):
                return any(each(one.constraint) for one in timed)
            case AttributeTest():
                return constraint.meets(dict(self.nodes[node_id].attributes))
            case TagCount():
                return self.has_so_many(constraint, app, node_id, own)

    def has_so_many(self, wanted: TagCount, app: ApplicationId, node_id: str, own: frozenset[str]) -> bool:
        rack = self.nodes[node_id].rack
        there = [
            one
            for one in self.running.values()
            if (one.node_id == node_id if wanted.scope is Scope.NODE else self.nodes[one.node_id].rack == rack)
        ]
        mine = [one for one in self.running.values() if one.app == app]
        meant: dict[object, Callable[[ApplicationId], bool]] = {
            Whose.SELF: lambda other: other == app,
            Whose.OTHERS: lambda other: other != app,
            Whose.ALL: lambda other: True,
        }
        counted = meant.get(wanted.whose) or (
            lambda other: (
                other == wanted.whose.application_id
                if isinstance(wanted.whose, OfApplication)
                else wanted.whose.tag in TAGS_OF_APPS[other]  # type: ignore[union-attr]
            )
        )
        found = [sum(tag in one.tags and counted(one.app) for one in there) for tag in wanted.tags]
        first = counted(app) and set(wanted.tags) <= own and not any(set(wanted.tags) & one.tags for one in mine)
        enough = min(found) >= wanted.least or first
        few = wanted.most is None or all(count < max(wanted.most, 1) for count in found)
        return enough and few


@given(EVENTS, OPTIONS)
@settings(deadline=None, max_examples=40)
def test_no_placement_breaks_its_constraint_and_two_schedulers_place_alike(
    happens: list[tuple[str, Any, Any]], options: SchedulerOptions
) -> None:
    world = World(options)
    for kind, what, more in happens:
        match kind:
            case "ask":
                attempt = world.attempt(APPS[what])
                asked = replace(more, allocation_request_id=len(world.asked))
                world.asked[asked.allocation_request_id] = asked
                world.tell(RequestsUpdated(attempt, (asked,)))
                for node_id in SPECS:
                    world.tell(NodeUpdate(node_id))
            case "visit":
                world.tell(NodeUpdate(what, heartbeat=more))
            case "finish" if world.running:
                world.tell(ContainerFinished([*world.running][what % len(world.running)]))
            case "leave" if what in world.nodes:
                world.tell(NodeRemoved(what))
                world.tell(NodeAdded(SPECS[what]))
            case "move" if what in world.nodes:
                world.tell(NodeResourceUpdate(replace(SPECS[what], rack=more)))
            case "restart":
                app = APPS[what]
                world.tell(AttemptRemoved(world.attempt(app)))
                world.attempts[app] += 1
                world.tell(AttemptAdded(world.attempt(app)))
    event(f"placed {min(world.placed, 12) // 4 * 4} or more")
