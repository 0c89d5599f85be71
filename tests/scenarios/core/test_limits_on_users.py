"""Running applications per user, and shares that are parts of the cluster."""

from __future__ import annotations

import pytest

from hrm.core.events import AppMoved
from hrm.model.errors import InvalidInput
from hrm.model.queues import ShareOfCluster
from hrm.testing.builders import Scenario, amounts, queue, queues


def test_a_user_at_the_limit_waits_while_another_user_runs() -> None:
    s = Scenario(queues(queue("all"), max_running_apps_per_user=1))

    first, second, of_bob = s.submit("all"), s.submit("all"), s.submit("all", user="bob")

    assert s.activated == [first.application, of_bob.application]
    assert s.reason(second) == "user_max_running_apps"
    assert s.explain(second).message.startswith("ada runs 1 application in queue root and may run 1")


def test_a_limit_for_one_user_stands_instead_of_that_for_all() -> None:
    s = Scenario(queues(queue("all"), max_running_apps_per_user=1, max_running_apps_of_users=(("ada", 2),)))

    of_ada = [s.submit("all") for _ in range(3)]
    of_bob = [s.submit("all", user="bob") for _ in range(2)]

    assert s.activated == [of_ada[0].application, of_ada[1].application, of_bob[0].application]


def test_the_oldest_waits_for_its_user_and_a_younger_one_of_another_passes() -> None:
    s = Scenario(queues(queue("all", max_running_apps=2), max_running_apps_per_user=1))
    stays, ends = s.submit("all", user="ada"), s.submit("all", user="bob")
    older, younger = s.submit("all", user="ada"), s.submit("all", user="cy")

    assert s.activated_after(s.end(ends)) == [younger.application]
    assert s.activated_after(s.end(stays)) == [older.application]


def test_a_move_that_would_break_the_limit_of_the_user_is_refused() -> None:
    s = Scenario(queues(queue("a"), queue("b", max_running_apps_per_user=0)))
    app = s.submit("a")

    with pytest.raises(InvalidInput):
        s.handle(AppMoved(app.application, "b"))


# ---- parts of the cluster


def test_a_max_share_in_percent_follows_the_size_of_the_cluster() -> None:
    s = Scenario(queues(queue("half", max_share_of_cluster=ShareOfCluster(default=0.5))))
    s.add_node("n1", cpus=4, memory="4G")
    app = s.submit("half")
    s.ask(app, 100)
    s.settle()
    before = s.running(app)

    s.add_node("n2", cpus=4, memory="4G")
    s.settle()

    assert (before, s.running(app)) == (2, 4)
    assert s.reason(app) == "queue_max_share"


def test_a_min_share_in_percent_comes_first_up_to_that_part_of_the_cluster() -> None:
    part = ShareOfCluster(default=0, parts=(("memory_mib", 0.25),))
    s = Scenario(queues(queue("heavy", weight=100), queue("promised", min_share_of_cluster=part)))
    s.add_node("n1", cpus=8, memory="8G")
    heavy, promised = s.submit("heavy"), s.submit("promised")
    s.ask(heavy, 100)
    s.ask(promised, 100)

    s.settle()

    assert (s.running(heavy), s.running(promised)) == (6, 2)


@pytest.mark.parametrize("part", [-0.1, 1.5, float("nan")])
def test_a_part_of_the_cluster_lies_between_nothing_and_all(part: float) -> None:
    with pytest.raises(InvalidInput):
        ShareOfCluster(default=part)


def test_a_share_is_given_as_amounts_or_as_a_part_not_both() -> None:
    with pytest.raises(InvalidInput):
        queue("both", max_share=amounts(1, "1G"), max_share_of_cluster=ShareOfCluster(default=1))
