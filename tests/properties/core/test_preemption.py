"""Preemption comes to rest: whoever got something by it does not lose it in the next round."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.core.commands import KillContainer
from hrm.model.ids import AttemptId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, queue, queues, request

SHAPES = ({"cpus": 1, "memory": "1G"}, {"cpus": 2, "memory": "1G"}, {"cpus": 1, "memory": "3G"}, {"gpus": 1})
APPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SHAPES)), min_size=2, max_size=4)


def round_of(s: Scenario, wants: dict[AttemptId, dict[str, object]]) -> bool:
    """Preempt, end who is killed, ask again for what was lost, visit; True iff anything happened."""
    commands = s.preempt(after_s=10)
    for command in commands:
        if isinstance(command, KillContainer):
            s.finish(command.container_id)
            owner = command.container_id.attempt
            s.request(owner, request(s.pending(owner) + 1, **wants[owner]))  # type: ignore[arg-type]
    return bool(s.settle() or commands)


@settings(max_examples=25, deadline=None)
@given(
    policy=st.sampled_from(["fair", "drf"]),
    weights=st.tuples(*[st.sampled_from([1.0, 2.0, 5.0])] * 3),
    apps=APPS,
    late=APPS,
)
def test_preemption_comes_to_rest_and_twenty_more_rounds_change_nothing(policy, weights, apps, late) -> None:  # type: ignore[no-untyped-def]
    preempting = {"fair_share_preemption_timeout_s": 5.0, "fair_share_preemption_threshold": 1.0, "policy": policy}
    leaves = [queue(f"q{number}", weight=weight, **preempting) for number, weight in enumerate(weights)]
    s = Scenario(queues(*leaves, policy=policy), options=SchedulerOptions(wait_before_kill_s=0))
    for number in range(2):
        s.add_node(f"n{number}", cpus=6, memory="8G", gpus=2)
    wants: dict[AttemptId, dict[str, object]] = {}
    for group in (apps, late):
        for number, shape in group:
            app = s.submit(f"q{number}")
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
