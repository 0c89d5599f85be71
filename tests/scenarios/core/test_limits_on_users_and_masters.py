"""Running applications per user, masters in containers, and shares that are parts of the cluster."""

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


def test_an_end_starts_one_by_the_slack_of_the_queue_and_one_by_the_slack_of_the_user() -> None:
    s = Scenario(queues(queue("narrow", max_running_apps=1), queue("wide"), max_running_apps_per_user=1))
    ends = s.submit("narrow", user="ada")
    by_user = s.submit("wide", user="ada")
    by_queue = s.submit("narrow", user="bob")
    neither = s.submit("narrow", user="cy")

    commands = s.end(ends)

    assert s.activated_after(commands) == [by_user.application, by_queue.application]
    assert s.reason(neither) == "queue_max_running_apps"


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


# ---- masters in containers


def masters(max_am_share: float | None, count: int) -> tuple[Scenario, list]:  # type: ignore[type-arg]
    s = Scenario(queues(queue("all", max_am_share=max_am_share)))
    s.add_node("n1", cpus=10, memory="10G")
    apps = [s.submit("all") for _ in range(count)]
    s.update_shares()
    for app in apps:
        s.ask(app, for_master=True)
    return s, apps


def test_masters_use_at_most_their_part_of_the_fair_share_rounded_up() -> None:
    s, apps = masters(0.25, 5)

    s.settle()

    # 25 % of 10 vcores is 2.5, of 10 GiB 2.5 GiB: two masters of one vcore and 1 GiB.
    assert [s.running(app) for app in apps] == [1, 1, 0, 0, 0]
    assert s.reason(apps[2]) == "queue_am_share"


def test_what_is_not_a_master_may_use_the_whole_queue() -> None:
    s, apps = masters(0.1, 2)
    s.ask(apps[0], 8)

    s.settle()

    assert s.running(apps[0]) == 9


def test_without_the_limit_masters_may_use_the_whole_queue() -> None:
    s, apps = masters(None, 5)

    s.settle()

    assert sum(s.running(app) for app in apps) == 5


def test_a_masters_part_stays_in_use_until_its_attempt_is_over() -> None:
    s, apps = masters(0.1, 2)
    s.settle()

    s.finish(s.containers(apps[0])[0])
    assert s.settle() == []

    s.end(apps[0])
    s.settle()
    assert s.running(apps[1]) == 1


def test_before_shares_are_worked_out_what_the_cluster_has_free_counts() -> None:
    s = Scenario(queues(queue("all", max_am_share=0.5)))
    s.add_node("n1", cpus=4, memory="4G")
    apps = [s.submit("all") for _ in range(4)]
    for app in apps:
        s.ask(app, for_master=True)

    s.visit("n1")

    # 4 free: 2 for masters. With one running 3 are free: 1.5, which is less than two of 1.
    assert sum(s.running(app) for app in apps) == 1


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
