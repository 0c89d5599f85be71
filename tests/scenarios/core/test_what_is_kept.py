"""What is worked out once and kept is worked out again when what it comes from has changed."""

from __future__ import annotations

from hrm.core.amounts import Amounts
from hrm.core.events import NodeAdded, UpdateShares
from hrm.model.ids import AttemptId
from hrm.model.resources import Resources
from hrm.testing.builders import Scenario, node, queue, queues


def fair_shares(s: Scenario) -> dict[str, int]:
    return {view.path: view.fair_share.memory_mib for view in s.scheduler.queue_views()}


def busy(weight: float = 1.0) -> Scenario:
    s = Scenario(queues(queue("a", weight=weight), queue("b")))
    s.add_node("n1", cpus=8, memory="8G")
    for path in ("a", "b"):
        s.ask(s.submit(path), 8)
    s.update_shares()
    return s


def test_shares_follow_new_weights() -> None:
    s = busy()
    assert (fair_shares(s)["a"], fair_shares(s)["b"]) == (4096, 4096)
    s.reload(queues(queue("a", weight=3), queue("b")))
    assert (fair_shares(s)["a"], fair_shares(s)["b"]) == (6144, 2048)


def test_shares_follow_the_size_of_the_cluster() -> None:
    s = busy()
    s.handle(NodeAdded(node("n2", cpus=8, memory="8G")))
    s.handle(UpdateShares())
    assert fair_shares(s)["a"] == 8192


def test_shares_follow_who_has_running_applications() -> None:
    s = busy()
    s.ask(s.submit("a"), 1)
    s.end(s.submit("b"))
    s.update_shares()
    assert fair_shares(s)["a"] == 4096
    for app in list(s.scheduler.books.apps.values()):
        if app.queue.path == "b" and app.attempt is not None:
            s.end(app.attempt)
    s.update_shares()
    assert fair_shares(s)["a"] == 8192


def test_applications_share_what_their_queue_has_now() -> None:
    s = busy()
    first, second = s.submit("a"), s.submit("a")
    s.update_shares()
    # A third, by the upper end of the interval that is halved.
    assert s.fair_share(first).memory_mib == s.fair_share(second).memory_mib == 1366
    s.end(second)
    s.update_shares()
    assert s.fair_share(first).memory_mib == 2048


def starved() -> tuple[Scenario, AttemptId, AttemptId]:
    """One application holds all of 8 GiB; another has waited for its time limit, and nothing may end for it yet."""
    tree = queues(queue("a"), queue("b"), fair_share_preemption_timeout_s=5.0, min_run_before_preemption_s=100.0)
    s = Scenario(tree)
    s.add_node("n1", cpus=8, memory="8G")
    rich, poor = s.submit("b"), s.submit("a")
    s.ask(rich, 8)
    s.settle()
    s.ask(poor, 4)
    s.preempt()
    assert s.preempt(after_s=10) == []
    return s, rich, poor


def test_who_got_something_meanwhile_lacks_so_much_less() -> None:
    s, rich, poor = starved()
    s.finish(s.containers(rich)[0])
    s.visit("n1")
    assert s.running(poor) == 1
    # Half of its fair share of 4 GiB is 2: it lacks one container.
    assert len(s.preempt(after_s=200)) == 1


def test_who_asks_for_less_meanwhile_lacks_less() -> None:
    s, _, poor = starved()
    s.ask(poor, 1)
    assert len(s.preempt(after_s=200)) == 1


def test_who_asks_for_nothing_any_more_is_not_starved() -> None:
    s, _, poor = starved()
    s.ask(poor, 0)
    assert s.preempt(after_s=200) == []


def test_a_time_limit_that_is_over_is_seen_though_nothing_has_changed() -> None:
    s, _, _ = starved()
    assert len(s.preempt(after_s=200)) == 2


def test_where_space_is_being_freed_nothing_more_is_asked_for() -> None:
    s, _, _ = starved()
    assert len(s.preempt(after_s=200)) == 2
    assert s.preempt(after_s=1) == []


def test_amounts_less_others_are_never_negative() -> None:
    left = Amounts.of(Resources.of({"memory_mib": 5, "licences": 2})).less(
        Amounts.of(Resources.of({"memory_mib": 7, "vcores_milli": 1, "licences": 1}))
    )
    assert left.frozen() == Resources.of({"licences": 1})
    assert not left.empty
