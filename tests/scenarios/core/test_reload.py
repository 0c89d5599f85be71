"""The tree of queues is changed while applications run in it."""

from __future__ import annotations

import pytest

from hrm.core.commands import AppActivated
from hrm.core.events import AppAdded, AppRemoved, QueueAdded, UpdateShares
from hrm.core.tree import QueuesInUse
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId
from hrm.model.queues import QueueType
from hrm.testing.builders import Scenario, amounts, queue, queues


def paths(s: Scenario) -> list[str]:
    return [view.path for view in s.scheduler.queue_views()]


def test_new_weights_count_from_the_next_visit_on() -> None:
    s = Scenario(queues(queue("a", weight=1), queue("b", weight=1)))
    s.add_node("n1", cpus=8, memory="8G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 100)
    s.ask(b, 100)
    s.visit("n1")
    assert (s.running(a), s.running(b)) == (4, 4)

    s.reload(queues(queue("a", weight=3), queue("b", weight=1)))
    s.finish(*s.containers(b)[:2])
    s.settle()

    assert (s.running(a), s.running(b)) == (6, 2)


def test_a_removed_queue_in_use_is_drained_not_lost() -> None:
    s = Scenario(queues(queue("old"), queue("new")))
    s.add_node("n1", cpus=2, memory="2G")
    app = s.submit("old")
    s.ask(app, 4)
    s.settle()

    s.reload(queues(queue("new")))

    with pytest.raises(InvalidInput, match="being removed"):
        s.submit("old")
    assert not s.scheduler.accepts("old")
    assert s.scheduler.leaf_paths() == ["new"]
    s.finish(*s.containers(app))
    assert len(s.settle()) == 2
    s.end(app)
    assert paths(s) == ["root", "new"]


def test_a_removed_branch_drains_as_far_as_it_is_in_use() -> None:
    s = Scenario(queues(queue("branch", queue("used"), queue("unused")), queue("new")))
    app = s.submit("branch.used")

    s.reload(queues(queue("new")))

    assert paths(s) == ["root", "new", "branch", "branch.used"]
    s.end(app)
    assert paths(s) == ["root", "new"]


def test_a_queue_that_comes_back_while_draining_is_open_again() -> None:
    s = Scenario(queues(queue("a"), queue("b")))
    app = s.submit("a")
    s.reload(queues(queue("b")))

    s.reload(queues(queue("a"), queue("b")))
    s.submit("a")
    s.end(app)

    assert paths(s) == ["root", "a", "b"]


def test_an_unused_queue_goes_at_once_and_a_new_one_takes_applications() -> None:
    s = Scenario(queues(queue("old")))
    s.add_node("n1")

    s.reload(queues(queue("new", queue("below"))))
    app = s.submit("new.below")
    s.ask(app)

    assert paths(s) == ["root", "new", "new.below"]
    assert len(s.settle()) == 1


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (queue("a"), queue("a", queue("below")), "a"),
        (queue("a", queue("below")), queue("a"), "a.below"),
    ],
)
def test_a_queue_in_use_cannot_turn_from_leaf_to_parent_or_back(before, after, path) -> None:  # type: ignore[no-untyped-def]
    s = Scenario(queues(before, queue("b")))
    s.submit(path)

    with pytest.raises(InvalidInput, match="while applications are in it"):
        s.reload(queues(after))

    assert "b" in paths(s)


def test_a_raised_limit_lets_waiting_applications_run_oldest_first() -> None:
    s = Scenario(queues(queue("all", max_running_apps=1)))
    apps = [s.submit("all") for _ in range(4)]

    commands = s.reload(queues(queue("all", max_running_apps=3)))

    assert s.activated_after(commands) == [apps[1].application, apps[2].application]


def test_a_lowered_limit_stops_nobody_who_runs() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1")
    apps = [s.submit("all") for _ in range(2)]

    s.reload(queues(queue("all", max_running_apps=1)))
    for app in apps:
        s.ask(app)

    assert len(s.settle()) == 2
    s.submit("all")
    assert s.activated_after(s.end(apps[0])) == []


def test_a_lowered_max_share_takes_nothing_away_and_adds_nothing() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=4, memory="4G")
    app = s.submit("all")
    s.ask(app, 3)
    s.settle()

    s.reload(queues(queue("all", max_share=amounts(2, "2G"))))
    s.ask(app, 3)

    assert s.settle() == []
    assert s.running(app) == 3


def test_a_new_policy_orders_what_waits_already() -> None:
    s = Scenario(queues(queue("all", policy="fair")))
    s.add_node("n1", cpus=4, memory="4G")
    first, second = s.submit("all"), s.submit("all")
    s.ask(first, 100)
    s.ask(second, 100)

    s.reload(queues(queue("all", policy="fifo")))
    s.settle()

    assert (s.running(first), s.running(second)) == (4, 0)


def test_a_queue_that_is_in_no_file_goes_with_its_last_application_and_so_does_what_was_made_above_it() -> None:
    s = Scenario(queues(queue("a")))
    made = queue("team", queue("ada", undeclared=True), undeclared=True)
    s.scheduler.handle(QueueAdded("root", made), s.now)
    first, second = s.submit("team.ada"), s.submit("team.ada")

    s.end(first)
    assert paths(s) == ["root", "a", "team", "team.ada"]
    s.end(second)

    assert paths(s) == ["root", "a"]


def test_a_queue_that_is_in_no_file_takes_its_part_and_keeps_to_its_limit() -> None:
    s = Scenario(queues(queue("a")))
    s.add_node("n1", cpus=8, memory="8G")
    s.scheduler.handle(QueueAdded("root", queue("ada", undeclared=True, max_share=amounts(2, "2G"))), s.now)
    made, declared = s.submit("ada"), s.submit("a")
    s.ask(made, 8)
    s.ask(declared, 8)

    s.settle()

    assert (s.running(made), s.running(declared)) == (2, 6)


def test_a_queue_that_takes_the_place_of_another_has_its_share_at_the_next_update() -> None:
    s = Scenario(queues(queue("a")))
    s.add_node("n1", cpus=8, memory="8G")
    s.submit("a")
    s.scheduler.handle(QueueAdded("root", queue("ada", undeclared=True)), s.now)
    first = s.submit("ada")
    s.handle(UpdateShares())

    s.end(first)
    s.scheduler.handle(QueueAdded("root", queue("bob", undeclared=True)), s.now)
    second = s.submit("bob")
    s.handle(UpdateShares())

    assert s.fair_share(second).memory_mib == 4096


def test_a_draining_queue_that_is_opened_without_its_old_limit_lets_those_run_that_waited() -> None:
    s = Scenario(queues(queue("a", max_running_apps=1), queue("b")))
    _, second = s.submit("a"), s.submit("a")
    s.reload(queues(queue("b")))

    commands = s.handle(QueueAdded("root", queue("a", undeclared=True)))

    assert commands == [AppActivated(second.application)]


def test_no_queue_comes_into_being_below_a_leaf() -> None:
    s = Scenario(queues(queue("a")))

    with pytest.raises(InvalidInput, match="applications run there"):
        s.handle(QueueAdded("a", queue("b", undeclared=True)))

    assert paths(s) == ["root", "a"]


@pytest.mark.parametrize(
    ("before", "path", "made"),
    [
        (queue("old"), "old", queue("old", queue("below", undeclared=True), undeclared=True)),
        (queue("old", queue("below")), "old.below", queue("old", undeclared=True)),
    ],
)
def test_a_queue_that_drains_becomes_nothing_of_the_other_kind(before, path, made) -> None:  # type: ignore[no-untyped-def]
    s = Scenario(queues(queue("a"), before))
    s.submit(path)
    s.reload(queues(queue("a")))

    with pytest.raises(InvalidInput, match="which drains"):
        s.handle(QueueAdded("root", made))

    assert path in paths(s)


def test_a_parent_without_queues_is_no_place_for_applications() -> None:
    s = Scenario(queues(queue("a"), queue("users", type=QueueType.PARENT)))

    with pytest.raises(InvalidInput, match="applications run in leaf queues"):
        s.submit("users")

    assert s.scheduler.leaf_paths() == ["a"]


def test_a_draining_queue_takes_back_only_what_was_in_it_before_a_restart() -> None:
    s = Scenario(queues(queue("a")))
    # Until its application is back it is one that should be gone.
    s.scheduler.handle(QueueAdded("root", queue("old", undeclared=True), draining=True), s.now)
    app = ApplicationId(1, 99)

    with pytest.raises(InvalidInput, match="being removed"):
        s.submit("old")
    s.handle(AppAdded(app, "old", "ada", 0.0, recovered=True))
    s.handle(AppRemoved(app))

    assert paths(s) == ["root", "a"]


def test_all_queues_that_what_runs_cannot_live_in_are_told_at_once() -> None:
    s = Scenario(queues(queue("a"), queue("b", queue("below"))))
    s.submit("a")
    s.submit("b.below")

    with pytest.raises(QueuesInUse) as refused:
        s.reload(queues(queue("a", queue("below")), queue("b")))

    assert [path for path, _ in refused.value.problems] == ["a", "b"]


def test_the_root_must_be_called_root() -> None:
    s = Scenario(queues(queue("a")))

    with pytest.raises(InvalidInput, match="root"):
        s.reload(queue("trunk", queue("a")))

    assert paths(s) == ["root", "a"]
