"""Applications, attempts and containers come and go; what comes late is harmless, what contradicts is refused."""

from __future__ import annotations

import pytest

from hrm.core.commands import Allocate, AppActivated, ContainerEnded, EndCause
from hrm.core.events import (
    AppAdded,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    BlacklistChanged,
    ContainerExpired,
    ContainerFinished,
    ContainerRecovered,
    ContainerReleased,
    NodeAdded,
    NodeRemoved,
    NodeResourceUpdate,
    NodeSchedulable,
    NodeUpdate,
    PriorityChanged,
    RequestsUpdated,
)
from hrm.core.scheduler import Scheduler
from hrm.model.errors import InvalidInput, InvariantBroken, NotFound
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.testing.builders import Scenario, amounts, node, queue, queues, request


def one_queue(**limits: int) -> Scenario:
    return Scenario(queues(queue("all", **limits)))  # type: ignore[arg-type]


def test_an_application_that_may_run_is_activated_at_once() -> None:
    s = one_queue()

    commands = s.handle(AppAdded(ApplicationId(1, 1), "root.all", "ada", 0.0))

    assert commands == [AppActivated(ApplicationId(1, 1))]


def test_containers_are_numbered_from_one_in_each_attempt_and_bear_the_epoch() -> None:
    scheduler = Scheduler(queues(queue("all")), epoch=7)
    app = ApplicationId(1, 1)
    scheduler.handle(NodeAdded(node("n1")), 0.0)
    scheduler.handle(AppAdded(app, "all", "ada", 0.0), 0.0)
    ids = []
    for number in (1, 2):
        attempt = AttemptId(app, number)
        scheduler.handle(AttemptAdded(attempt), 0.0)
        scheduler.handle(RequestsUpdated(attempt, (request(2),)), 0.0)
        commands = scheduler.handle(NodeUpdate("n1"), 1.0)
        ids += [str(one.container_id) for one in commands if isinstance(one, Allocate)]
        scheduler.handle(AttemptRemoved(attempt), 2.0)

    assert ids == [
        "container_e07_1_0001_01_000001",
        "container_e07_1_0001_01_000002",
        "container_e07_1_0001_02_000001",
        "container_e07_1_0001_02_000002",
    ]


def test_counts_are_absolute_and_zero_withdraws() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app, 5)
    s.ask(app, 2)
    assert s.pending(app) == 2

    s.ask(app, 0)

    assert s.pending(app) == 0
    assert s.settle() == []


def test_requests_of_different_keys_stand_beside_each_other() -> None:
    s = one_queue()
    app = s.submit("all")

    s.request(app, request(1, priority=1), request(2, priority=2), request(3, priority=1, memory="2G"))

    assert s.pending(app) == 6


def test_the_end_of_an_attempt_ends_its_containers_and_requests() -> None:
    s = one_queue()
    s.add_node("n1", cpus=2, memory="2G")
    app = s.submit("all")
    s.ask(app, 5)
    s.settle()

    commands = s.handle(AttemptRemoved(app))

    assert [one.cause for one in commands if isinstance(one, ContainerEnded)] == [EndCause.ATTEMPT_ENDED] * 2
    assert s.used("all") == amounts()
    assert s.pending(app) == 0


def test_containers_kept_over_an_attempt_stay_on_the_books() -> None:
    s = one_queue()
    s.add_node("n1", cpus=2, memory="2G")
    app = s.submit("all")
    s.ask(app, 1)
    s.settle()

    assert s.handle(AttemptRemoved(app, keep_containers=True)) == []
    s.handle(AttemptAdded(AttemptId(app.application, 2)))

    assert s.running(app) == 1
    assert s.used("all") == amounts(1, "1G")


def test_a_released_container_and_one_never_launched_are_taken_back() -> None:
    s = one_queue()
    s.add_node("n1", cpus=2, memory="2G")
    app = s.submit("all")
    s.ask(app, 2)
    first, second = s.settle()

    released = s.handle(ContainerReleased(first.container_id))
    expired = s.handle(ContainerExpired(second.container_id))

    assert released == [ContainerEnded(first.container_id, "n1", EndCause.RELEASED)]
    assert expired == [ContainerEnded(second.container_id, "n1", EndCause.EXPIRED)]
    assert s.used("root") == amounts()


def test_what_comes_late_is_harmless() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app)
    (container,) = s.settle()
    s.finish(container)
    gone = AttemptId(ApplicationId(9, 9), 1)
    late = [
        ContainerFinished(container.container_id),
        ContainerReleased(container.container_id),
        ContainerExpired(container.container_id),
        ContainerFinished(ContainerId(gone, 1, 1)),
        AppRemoved(gone.application),
        AttemptRemoved(gone),
        AttemptRemoved(AttemptId(app.application, 2)),
        RequestsUpdated(gone, (request(),)),
        RequestsUpdated(AttemptId(app.application, 2), (request(),)),
        BlacklistChanged(gone.application, frozenset({"n1"})),
        PriorityChanged(gone.application, 3),
        NodeRemoved("gone"),
        NodeSchedulable("gone", True),
        NodeResourceUpdate(node("gone")),
    ]

    assert [s.handle(event) for event in late] == [[] for _ in late]
    assert s.used("root") == amounts()


def test_an_application_added_twice_is_a_bug_and_changes_nothing() -> None:
    s = one_queue()
    app = s.submit("all")
    s.ask(app, 3)

    with pytest.raises(InvariantBroken, match="added already"):
        s.handle(AppAdded(app.application, "all", "ada", 0.0))

    assert s.pending(app) == 3


@pytest.mark.parametrize(("path", "says"), [("nowhere", "no such queue"), ("parent", "leaf"), ("root", "leaf")])
def test_an_application_enters_only_leaf_queues_that_exist(path: str, says: str) -> None:
    s = Scenario(queues(queue("parent", queue("child"))))

    with pytest.raises(InvalidInput, match=says) as refused:
        s.submit(path)

    assert "parent" in refused.value.next_step
    assert s.scheduler.application_view(ApplicationId(1_700_000_000_000, 1)) is None


def test_an_attempt_of_an_unknown_application_is_a_bug() -> None:
    s = one_queue()

    with pytest.raises(InvariantBroken):
        s.handle(AttemptAdded(AttemptId(ApplicationId(1, 1), 1)))


def test_two_attempts_cannot_be_live_at_once() -> None:
    s = one_queue()
    app = s.submit("all")

    with pytest.raises(InvariantBroken, match="is live"):
        s.handle(AttemptAdded(AttemptId(app.application, 2)))


def test_a_change_of_priority_reorders_a_fifo_queue() -> None:
    s = Scenario(queues(queue("line", policy="fifo")))
    s.add_node("n1", cpus=1, memory="1G")
    first, second = s.submit("line"), s.submit("line")
    s.ask(first)
    s.ask(second)

    s.handle(PriorityChanged(second.application, 1))
    s.settle()

    assert (s.running(first), s.running(second)) == (0, 1)


def test_explaining_an_unknown_application_says_it_is_unknown() -> None:
    with pytest.raises(NotFound):
        one_queue().scheduler.explain(ApplicationId(1, 1))


# ---- after a restart


def test_a_recovered_container_is_on_the_books_with_the_devices_it_names() -> None:
    s = one_queue()
    s.add_node("n1", cpus=4, memory="4G", gpus=2)
    app = s.submit("all")

    s.handle(ContainerRecovered(ContainerId(app, 0, 5), "n1", amounts(1, "1G", gpus=1), ("n1/0",)))
    s.ask(app, 1, gpus=1)

    assert s.used("all") == amounts(1, "1G", gpus=1)
    assert [one.device_ids for one in s.settle()] == [("n1/1",)]


def test_recovering_twice_counts_once() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    recovered = ContainerRecovered(ContainerId(app, 0, 1), "n1", amounts(1, "1G"))
    s.handle(recovered)

    assert s.handle(recovered) == []
    assert s.used("all") == amounts(1, "1G")


def test_a_recovered_container_cannot_run_on_two_nodes() -> None:
    s = one_queue()
    s.add_node("n1")
    s.add_node("n2")
    app = s.submit("all")
    s.handle(ContainerRecovered(ContainerId(app, 0, 1), "n1", amounts(1, "1G")))

    with pytest.raises(InvariantBroken, match="n1"):
        s.handle(ContainerRecovered(ContainerId(app, 0, 1), "n2", amounts(1, "1G")))


def test_a_container_that_nobody_owns_is_to_be_ended() -> None:
    s = one_queue()
    s.add_node("n1")
    orphan = ContainerId(AttemptId(ApplicationId(9, 9), 1), 0, 1)

    assert s.handle(ContainerRecovered(orphan, "n1", amounts(1, "1G"))) == [
        ContainerEnded(orphan, "n1", EndCause.ATTEMPT_ENDED)
    ]


def test_a_recovered_container_of_this_epoch_keeps_its_number_from_being_used_again() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.handle(ContainerRecovered(ContainerId(app, 1, 4), "n1", amounts(1, "1G")))

    s.ask(app)

    assert [one.container_id.seq for one in s.settle()] == [5]


def test_what_runs_after_a_restart_makes_its_application_run_whatever_the_limit() -> None:
    s = one_queue(max_running_apps=1)
    s.add_node("n1")
    first, second = s.submit("all"), s.submit("all")

    commands = s.handle(ContainerRecovered(ContainerId(second, 0, 1), "n1", amounts(1, "1G")))

    assert commands == [AppActivated(second.application)]
    third = s.submit("all")
    assert s.activated_after(s.end(first)) == []
    assert s.activated_after(s.end(second)) == [third.application]


def test_a_master_in_a_container_is_one_after_a_restart_too() -> None:
    s = Scenario(queues(queue("all", max_am_share=0.25)))
    s.add_node("n1", cpus=4, memory="4G")
    first, second = s.submit("all"), s.submit("all")
    s.update_shares()

    s.handle(ContainerRecovered(ContainerId(first, 0, 1), "n1", amounts(1, "1G"), started_at=7.0, for_master=True))
    s.ask(second, for_master=True)

    view = s.scheduler.container_view(ContainerId(first, 0, 1))
    assert view is not None
    assert (view.for_master, view.started_at) == (True, 7.0)
    assert s.visit("n1") == []
    assert s.reason(second) == "queue_am_share"


def test_more_may_be_recovered_than_the_node_has_and_then_nothing_is_added() -> None:
    s = one_queue()
    s.add_node("n1", cpus=1, memory="1G")
    app = s.submit("all")
    for seq in (1, 2):
        s.handle(ContainerRecovered(ContainerId(app, 0, seq), "n1", amounts(1, "1G")))
    s.ask(app)

    assert s.settle() == []
    s.finish(ContainerId(app, 0, 1))
    assert s.settle() == []
    s.finish(ContainerId(app, 0, 2))
    assert len(s.settle()) == 1
