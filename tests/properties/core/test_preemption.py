"""Preemption comes to rest: whoever got something by it does not lose it in the next round."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.core.commands import KillContainer
from hrm.model.ids import AttemptId
from hrm.model.queues import QueueSpec
from hrm.model.scheduling import SchedulerOptions, Victims
from hrm.testing.builders import Scenario, queue, queues, request
from tests.properties.core.clusters import trees

SHAPES = ({"cpus": 1, "memory": "1G"}, {"cpus": 2, "memory": "1G"}, {"cpus": 1, "memory": "3G"}, {"gpus": 1})
APPS = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(SHAPES)), min_size=2, max_size=4)


@st.composite
def hungry_queues(draw: st.DrawFn) -> QueueSpec:
    """Three queues that bear nothing for long."""
    policy = draw(st.sampled_from(["fair", "drf"]))
    preempting = {"fair_share_preemption_timeout_s": 5.0, "fair_share_preemption_threshold": 1.0, "policy": policy}
    weights = draw(st.tuples(*[st.sampled_from([1.0, 2.0, 5.0])] * 3))
    return queues(*(queue(f"q{n}", weight=w, **preempting) for n, w in enumerate(weights)), policy=policy)


def round_of(s: Scenario, wants: dict[AttemptId, dict[str, object]]) -> bool:
    """Preempt, end who is killed, ask again for what was lost, visit; True iff anything happened."""
    commands = s.preempt(after_s=10)
    for command in commands:
        if isinstance(command, KillContainer):
            s.finish(command.container_id)
            owner = command.container_id.attempt
            s.request(owner, request(s.pending(owner) + 1, **wants[owner]))  # type: ignore[arg-type]
    return bool(s.settle() or commands)


def come_to_rest(tree: QueueSpec, apps, late, victims: Victims) -> None:  # type: ignore[no-untyped-def]
    """Twenty more rounds change nothing."""
    options = SchedulerOptions(wait_before_kill_s=0, preemption_utilization_threshold=0.0, victims=victims)
    s = Scenario(tree, options=options)
    for number in range(2):
        s.add_node(f"n{number}", cpus=6, memory="8G", gpus=2)
    leaves = s.scheduler.leaf_paths()
    wants: dict[AttemptId, dict[str, object]] = {}
    for group in (apps, late):
        for number, shape in group:
            app = s.submit(leaves[number % len(leaves)])
            wants[app] = dict(shape)
            s.ask(app, 12, **shape)
        s.settle()
    # A round that does nothing may only be waiting for a timeout: two of them are rest.
    quiet = 0
    for _ in range(40):
        quiet = 0 if round_of(s, wants) else quiet + 1
        if quiet == 2:
            break
    before = set(s.granted)

    for _ in range(20):
        assert not round_of(s, wants)

    assert set(s.granted) == before


@settings(max_examples=25, deadline=None)
@given(hungry_queues(), APPS, APPS, st.sampled_from(Victims))
def test_preemption_comes_to_rest_and_twenty_more_rounds_change_nothing(tree, apps, late, victims) -> None:  # type: ignore[no-untyped-def]
    come_to_rest(tree, apps, late, victims)


@settings(max_examples=40, deadline=None)
@given(trees(), APPS, APPS, st.sampled_from(Victims))
def test_so_it_does_in_any_tree_with_minimum_and_maximum_shares(tree, apps, late, victims) -> None:  # type: ignore[no-untyped-def]
    come_to_rest(tree, apps, late, victims)


@pytest.mark.real
@settings(max_examples=1000, deadline=None)
@given(st.one_of(hungry_queues(), trees()), APPS, APPS, st.sampled_from(Victims))
def test_so_it_does_a_thousand_times(tree, apps, late, victims) -> None:  # type: ignore[no-untyped-def]
    come_to_rest(tree, apps, late, victims)
