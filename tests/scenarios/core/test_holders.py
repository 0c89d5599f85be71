"""Who is said to hold what is short: of the nodes that could take the request, however many those are."""

from __future__ import annotations

import pytest

from hrm.testing.builders import Scenario, queue, queues


def held(s: Scenario, app: object) -> dict[str, int]:
    """MiB by user, of those that are named."""
    evidence = s.explain(app).evidence  # type: ignore[arg-type]
    return {fact["user"]: fact["amount"] for fact in evidence if fact["kind"] == "holder"}


@pytest.mark.parametrize(("large", "small"), [(3, 1), (1, 3)])
def test_what_lies_on_nodes_that_are_too_small_is_not_counted(large: int, small: int) -> None:
    s = Scenario(queues(queue("a")))
    for number in range(large):
        s.add_node(f"large{number}", cpus=8, memory="8G")
    for number in range(small):
        s.add_node(f"small{number}", cpus=8, memory="2G")
    for user, memory in (("ada", "6G"), ("bob", "2G")):
        app = s.submit("a", user=user)
        s.ask(app, large if user == "ada" else large + small, memory=memory)
        s.settle()
    waiting = s.submit("a", user="cy")
    s.ask(waiting, 1, memory="4G")
    s.settle()

    assert held(s, waiting) == {"ada": large * 6144, "bob": large * 2048}


def test_gpus_of_equal_nodes_are_counted_for_each_of_them() -> None:
    s = Scenario(queues(queue("a")))
    for number in range(3):
        s.add_node(f"a{number}", gpus=2, model="A100")
        s.add_node(f"v{number}", gpus=2, model="V100")
    app = s.submit("a")
    s.ask(app, 12, cpus=1, memory="1G", gpus=0.75)
    s.settle()
    waiting = s.submit("a")
    s.ask(waiting, 1, cpus=1, memory="1G", gpus=1)
    s.settle()

    gpus = {use.model: (use.total_milli, use.used_milli, use.free_milli) for use in s.explain(waiting).gpus}
    assert gpus == {"A100": (6000, 4500, 1500), "V100": (6000, 4500, 1500)}
