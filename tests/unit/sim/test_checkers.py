"""Each checker sees what it is there for: events and commands that break its rule make it fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hrm.core.commands import Allocate, AppActivated, Command, NodeReserved
from hrm.core.events import (
    AppAdded,
    AppMoved,
    AttemptAdded,
    Event,
    NodeAdded,
    NodeUpdate,
    Preempt,
    RequestsUpdated,
    UpdateShares,
)
from hrm.core.scheduler import Scheduler
from hrm.model.errors import InvariantBroken
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.requests import GangRequest
from hrm.model.resources import Resources
from hrm.sim.checkers.base import Checker
from hrm.sim.checkers.books_balance import BooksBalance
from hrm.sim.checkers.everything_explained import EverythingExplained
from hrm.sim.checkers.gangs_do_not_block import GangsDoNotBlock
from hrm.sim.checkers.gangs_whole import GangsWhole
from hrm.sim.checkers.no_idle_room import NoIdleRoom
from hrm.sim.checkers.node_capacity import NodeCapacity
from hrm.sim.checkers.queue_max_share import QueueMaxShare
from hrm.sim.checkers.running_apps import RunningApps
from hrm.sim.checkers.same_decisions import SameDecisions
from hrm.sim.checkers.starvation_bound import StarvationBound
from hrm.sim.workload import Workload
from hrm.testing.builders import amounts, queue, queues, request
from tests.scenarios.sim.stories import workload

APP = ApplicationId(1, 1)
ATTEMPT = AttemptId(APP, 1)


def grant(number: int, cpus: float = 1, devices: tuple[str, ...] = (), gpus: float = 0) -> Allocate:
    resources = Resources.parse(cpus=cpus, memory="1G", gpus=gpus)
    return Allocate(ContainerId(ATTEMPT, 1, number), "n0", resources, devices, 0, 0)


def made(kind: type[Checker], what: Workload, *events: Event) -> tuple[Checker, Scheduler]:
    """A checker, and a scheduler that has handled these events under its eyes."""
    scheduler = Scheduler(what.root, epoch=1, options=what.options)
    checker = kind(what, scheduler)
    for event in (*(NodeAdded(node) for node in what.nodes), *events):
        checker.told(event, scheduler.handle(event, 0.0), 0.0)
    return checker, scheduler


def visit(checker: Checker, *commands: Command) -> Callable[[], None]:
    return lambda: checker.told(NodeUpdate("n0"), list(commands), 0.0)


def arrived(in_queue: str = "a", count: int = 1, app: ApplicationId = APP) -> tuple[Event, ...]:
    attempt = AttemptId(app, 1)
    return AppAdded(app, in_queue, "ada", 0.0), AttemptAdded(attempt), RequestsUpdated(attempt, (request(count),))


def test_a_node_over_its_capacity_is_seen() -> None:
    checker, _ = made(NodeCapacity, workload(cpus=2))
    visit(checker, grant(1), grant(2))()
    with pytest.raises(InvariantBroken, match="brings n0 to 3 vcores"):
        visit(checker, grant(3))()


def test_a_device_that_is_given_twice_is_seen() -> None:
    checker, _ = made(NodeCapacity, workload(cpus=4, memory="4G", gpus=2))
    visit(checker, grant(1, devices=("n0/0",), gpus=0.5))()
    with pytest.raises(InvariantBroken, match="of which 1300 milli are held"):
        visit(checker, grant(2, devices=("n0/0",), gpus=0.8))()


def test_a_grant_without_its_devices_is_seen() -> None:
    checker, _ = made(NodeCapacity, workload(cpus=4, memory="4G", gpus=2))
    with pytest.raises(InvariantBroken, match="1 devices for 2000 milli"):
        visit(checker, grant(1, devices=("n0/0",), gpus=2))()


def test_a_queue_over_its_max_share_is_seen() -> None:
    tree = queues(queue("a", max_share=amounts(cpus=1, memory="4G")), queue("b"))
    checker, _ = made(QueueMaxShare, workload(tree=tree), *arrived())
    visit(checker, grant(1))()
    with pytest.raises(InvariantBroken, match="a holds 2 vcores"):
        visit(checker, grant(2))()


def test_what_was_moved_counts_where_it_is_now() -> None:
    tree = queues(queue("a"), queue("b", max_share=amounts(cpus=1, memory="4G")))
    checker, _ = made(QueueMaxShare, workload(tree=tree), *arrived())
    visit(checker, grant(1))()
    checker.told(AppMoved(APP, "b"), [], 0.0)
    with pytest.raises(InvariantBroken, match="b holds 2 vcores"):
        visit(checker, grant(2))()


def test_a_move_to_where_too_many_run_is_seen() -> None:
    tree = queues(queue("a"), queue("b", max_running_apps=0))
    checker, _ = made(RunningApps, workload(tree=tree), *arrived())
    with pytest.raises(InvariantBroken, match="b runs 1 applications of at most 0"):
        checker.told(AppMoved(APP, "b"), [], 0.0)


def test_too_many_running_applications_are_seen() -> None:
    tree = queues(queue("a"), queue("b"), max_running_apps=1)
    checker, _ = made(RunningApps, workload(tree=tree), *arrived())
    other = ApplicationId(1, 2)
    with pytest.raises(InvariantBroken, match="root runs 2 applications of at most 1"):
        checker.told(AppAdded(other, "b", "bob", 0.0), [AppActivated(other)], 0.0)


def test_too_many_running_applications_of_one_user_are_seen() -> None:
    tree = queues(queue("a", max_running_apps_per_user=1), queue("b"))
    checker, _ = made(RunningApps, workload(tree=tree), *arrived())
    other = ApplicationId(1, 2)
    with pytest.raises(InvariantBroken, match="a runs 2 applications of ada, at most 1"):
        checker.told(AppAdded(other, "a", "ada", 0.0), [AppActivated(other)], 0.0)


def test_books_that_do_not_balance_are_seen() -> None:
    checker, scheduler = made(BooksBalance, workload(), *arrived())
    checker.settled(0.0)
    scheduler.books.nodes["n0"].free.memory -= 1
    checker.news = True
    with pytest.raises(InvariantBroken, match="do not balance"):
        checker.settled(1.0)


def test_who_waits_and_nobody_has_looked_is_seen() -> None:
    checker, _ = made(EverythingExplained, workload(), *arrived())
    with pytest.raises(InvariantBroken, match="waits for 1 containers"):
        checker.settled(0.0)


def test_idle_room_is_seen() -> None:
    checker, scheduler = made(NoIdleRoom, workload(), *arrived())
    with pytest.raises(InvariantBroken, match="n0 has room"):
        checker.settled(0.0)
    scheduler.handle(NodeUpdate("n0"), 0.0)
    checker.news = True
    checker.settled(0.0)


def test_other_decisions_at_the_second_time_are_seen() -> None:
    checker, scheduler = made(SameDecisions, workload(), *arrived())
    checker.told(NodeUpdate("n0"), scheduler.handle(NodeUpdate("n0"), 0.0), 0.0)
    checker.over()
    checker.told(NodeUpdate("n0"), [grant(9)], 0.0)
    with pytest.raises(InvariantBroken, match="the second time to"):
        checker.over()


def test_somebody_starved_for_whom_nothing_is_freed_is_seen() -> None:
    tree = queues(queue("a"), queue("b", fair_share_preemption_timeout_s=0.0, fair_share_preemption_threshold=1.0))
    full_of_a = (*arrived("a", 2), NodeUpdate("n0"))
    starved_b = (*arrived("b", 2, ApplicationId(1, 2)), UpdateShares(), Preempt())
    checker, scheduler = made(StarvationBound, workload(cpus=2, tree=tree), *full_of_a, *starved_b)
    (hold,) = scheduler.books.holds
    scheduler.books.drop_hold(hold)
    with pytest.raises(InvariantBroken, match="nothing is being freed for it"):
        checker.told(Preempt(), [], 0.0)


# ---- gangs


def gang_of(count: int, app: ApplicationId = APP) -> tuple[Event, ...]:
    attempt = AttemptId(app, 1)
    asked = request(count, gang=GangRequest())
    return AppAdded(app, "a", "ada", 0.0), AttemptAdded(attempt), RequestsUpdated(attempt, (asked,))


def test_a_part_of_a_gang_is_seen() -> None:
    checker, _ = made(GangsWhole, workload(nodes=2), *gang_of(3))

    with pytest.raises(InvariantBroken, match=r"\[2\] of \[3\] were granted"):
        visit(checker, grant(1), grant(2))()


def test_a_whole_gang_and_what_is_none_are_taken() -> None:
    checker, _ = made(GangsWhole, workload(nodes=2), *gang_of(2))

    visit(checker, grant(1), grant(2))()
    visit(checker, grant(3))()


def test_a_gang_that_waits_though_all_of_it_fits_is_seen() -> None:
    checker, _ = made(NoIdleRoom, workload(nodes=2), *gang_of(4))

    with pytest.raises(InvariantBroken, match="waits for 4 containers, and all of it fits"):
        checker.look(0.0)


def test_a_gang_of_which_only_a_part_fits_waits_rightly() -> None:
    checker, _ = made(NoIdleRoom, workload(nodes=2), *gang_of(5))

    checker.look(0.0)


SECOND = ApplicationId(1, 2)


def test_two_gangs_that_gather_at_once_are_seen() -> None:
    checker, scheduler = made(GangsDoNotBlock, workload(nodes=2), *gang_of(4), *gang_of(4, SECOND))
    for app, node in zip((APP, SECOND), scheduler.books.nodes.values(), strict=True):
        scheduler.books.reserve(scheduler.books.apps[app].asks[0], node)

    with pytest.raises(InvariantBroken, match="nodes are kept for gangs of"):
        checker.settled(0.0)


def test_a_gang_that_gathers_for_too_long_is_seen() -> None:
    checker, scheduler = made(GangsDoNotBlock, workload(nodes=2), *gang_of(4))
    (node, _) = scheduler.books.nodes.values()
    scheduler.books.reserve(scheduler.books.apps[APP].asks[0], node)
    checker.told(UpdateShares(), [NodeReserved("n0", APP, Resources())], 1.0)
    checker.settled(600.0)

    with pytest.raises(InvariantBroken, match="for 700 s, at most 601 s"):
        checker.settled(701.0)
