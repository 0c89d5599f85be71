"""Strategies that score only what changed choose as if they scored everything anew."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.core.amounts import Amounts
from hrm.core.applications import Shape
from hrm.core.events import NodeSchedulable, NodeUpdate
from hrm.core.mix import Kind, TaskMix
from hrm.core.strategies import BestFit, DotProduct, Fgd, LookaheadFgd, Pack, PlacementStrategy, Spread
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, queue, queues

SHAPES = ((1, 0.0), (3, 0.0), (1, 0.2), (2, 0.5), (1, 0.7), (2, 1.0), (4, 1.0), (2, 2.0))
NODES = ((8, 0, "T4"), (8, 2, "T4"), (16, 4, "T4"), (4, 2, "A100"), (16, 1, "A100"))
MIX = TaskMix.of([Kind(cpus * 1000, int(gpus * 1000)) for cpus, gpus in SHAPES for _ in range(cpus)])

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, len(SHAPES) - 1)),
        st.tuples(st.just("end"), st.integers(0, 100)),
        st.tuples(st.just("drain"), st.integers(0, 5)),
        st.tuples(st.just("add"), st.integers(0, len(NODES) - 1)),
        st.tuples(st.just("remove"), st.integers(0, 5)),
    ),
    max_size=40,
)


def made(kind: type[PlacementStrategy]) -> PlacementStrategy:
    return kind(MIX) if issubclass(kind, Fgd) else kind()  # type: ignore[call-arg]


def best_of_all(s: Scenario, kind: type[PlacementStrategy], shape: Shape) -> tuple[str, tuple[str, ...]] | None:
    """Node and devices, with a strategy that has seen nothing before."""
    strategy = made(kind)
    nodes = list(s.scheduler.books.nodes.values())
    strategy.resized(
        Amounts(*(max((getattr(one.total, name) for one in nodes), default=0) for name in ("memory", "vcores", "gpus")))
    )
    scored = [
        (strategy.score(one, shape), order) for order, one in enumerate(nodes) if one.schedulable and one.fits(shape)
    ]
    if not scored:
        return None
    score, order = min(scored)
    best = nodes[order]
    return best.node_id, tuple(best.devices[i].device_id for i in strategy.pick(best, shape, score))


@pytest.mark.parametrize("kind", [Pack, Spread, BestFit, DotProduct, Fgd, LookaheadFgd])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_what_is_scored_piece_by_piece_is_what_is_scored_from_scratch(kind, steps) -> None:  # type: ignore[no-untyped-def]
    s = Scenario(
        queues(queue("all")), options=SchedulerOptions(placement_strategy="it"), strategies={"it": lambda: made(kind)}
    )
    for number, (cpus, gpus, model) in enumerate(NODES[:3]):
        s.add_node(f"n{number}", cpus=cpus, memory="64G", gpus=gpus, model=model)
    app = s.submit("all")
    added = 3
    for what, which in steps:
        names = s.node_ids()
        match what:
            case "place" if names:
                cpus, gpus = SHAPES[which]
                shape = Shape.make(Resources.parse(cpus=cpus, memory="1G", gpus=gpus), None)
                wanted = best_of_all(s, kind, shape)
                s.ask(app, 1, cpus=cpus, gpus=gpus)
                visited = next((one for one in names if s.scheduler.books.nodes[one].schedulable), names[0])
                granted = s.handle(NodeUpdate(visited))
                assert [(one.node_id, one.device_ids) for one in granted] == ([wanted] if wanted else [])  # type: ignore[union-attr]
                s.ask(app, 0, cpus=cpus, gpus=gpus)
            case "end" if s.granted:
                s.finish(list(s.granted)[which % len(s.granted)])
            case "drain" if names:
                name = names[which % len(names)]
                s.handle(NodeSchedulable(name, not s.scheduler.books.nodes[name].schedulable))
            case "add":
                cpus, gpus, model = NODES[which]
                s.add_node(f"n{added}", cpus=cpus, memory="64G", gpus=gpus, model=model)
                added += 1
            case "remove" if names:
                s.remove_node(names[which % len(names)])
