"""One value of hrm.yaml changes, and nothing else, comments included."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hrm.config.edit import with_queue_weight
from hrm.model.errors import InvalidInput


@pytest.mark.parametrize(
    ("before", "queue", "after"),
    [
        ("queues:\n  a: {weight: 3}  # ours\n", "a", "queues:\n  a: {weight: 2.5}  # ours\n"),
        ("queues:\n  a: {policy: drf}\n", "a", "queues:\n  a: {weight: 2.5, policy: drf}\n"),
        ("queues:\n  a: {}\n", "a", "queues:\n  a: {weight: 2.5}\n"),
        ("queues:\n  a:  # ours\n  b: {}\n", "a", "queues:\n  a: {weight: 2.5}  # ours\n  b: {}\n"),
        ("queues:\n  a:\n    policy: drf\n", "a", "queues:\n  a:\n    weight: 2.5\n    policy: drf\n"),
        ("queues:\n  a:\n    # how much\n    weight: 1\n", "a", "queues:\n  a:\n    # how much\n    weight: 2.5\n"),
        (
            "queues: {a: {queues: {b: {weight: 1}, c: {weight: 1}}}}",
            "a.c",
            "queues: {a: {queues: {b: {weight: 1}, c: {weight: 2.5}}}}",
        ),
    ],
)
def test_only_the_weight_changes(before: str, queue: str, after: str) -> None:
    assert with_queue_weight(before, queue, 2.5) == after


@pytest.mark.parametrize("text", ["", "queues: {}\n", "queues:\n  b: {}\n", "node: {vcores: 2}\n"])
def test_a_queue_that_is_not_declared_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not declare"):
        with_queue_weight(text, "a", 2)


def test_what_is_written_elsewhere_is_left_to_people() -> None:
    with pytest.raises(InvalidInput, match="only people"):
        with_queue_weight("queues:\n  a: &same {weight: 1}\n  b: *same\n", "b", 2)


NAMES = st.sampled_from(["a", "b", "c"])
QUEUE = st.fixed_dictionaries({}, optional={"weight": st.integers(1, 9), "policy": st.just("fair")})
TREE = st.dictionaries(
    NAMES, QUEUE | st.fixed_dictionaries({"queues": st.dictionaries(NAMES, QUEUE, min_size=1)}), min_size=1
)


@given(tree=TREE, flow=st.sampled_from([True, False, None]), weight=st.integers(1, 99), data=st.data())
def test_whatever_the_tree_and_its_style(
    tree: dict[str, dict], flow: bool | None, weight: int, data: st.DataObject
) -> None:
    paths = [*tree, *(f"{name}.{child}" for name, queue in tree.items() for child in queue.get("queues", ()))]
    text = yaml.safe_dump({"queues": tree}, default_flow_style=flow)
    path = data.draw(st.sampled_from(paths))
    changed = yaml.safe_load(with_queue_weight(text, path, weight))
    at = changed
    for name in path.split("."):
        at = at["queues"][name]
    assert at["weight"] == weight
