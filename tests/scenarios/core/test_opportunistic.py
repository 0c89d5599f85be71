"""Opportunistic containers: they use what is left, count in no share, and go first."""

from __future__ import annotations

import pytest

from hrm.core.commands import Allocate, Command, ContainerEnded, ExecutionTypeChanged, KillContainer, ReclaimContainer
from hrm.core.events import (
    AppAdded,
    AppRemoved,
    AttemptAdded,
    BlacklistChanged,
    CheckpointSaved,
    ContainerFinished,
    ContainerRecovered,
    ExecutionTypeWanted,
    NodeResourceUpdate,
    NodeUpdate,
)
from hrm.core.invariants import check_invariants
from hrm.core.views import NodeView
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.requests import ExecutionType, GangRequest
from hrm.model.resources import ZERO
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, node, queue, queues, request
from tests.scenarios.core.situations import TIMEOUT_S, hungry

OPPORTUNISTIC, GUARANTEED = ExecutionType.OPPORTUNISTIC, ExecutionType.GUARANTEED


def one_node(*more: object, **options: object) -> Scenario:
    """A node of 4 vcores, 4 GiB and 2 GPUs; queues "a" and "b"."""
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(**options))  # type: ignore[arg-type]
    s.add_node("n1", cpus=4, memory="4G", gpus=2)
    return s


def borrow(s: Scenario, count: int = 1, where: str = "a", **what: object) -> AttemptId:
    """An application that asks for opportunistic containers of 1 vcore and 1 GiB, after a visit of all nodes."""
    app = s.submit(where)
    s.request(app, request(count, execution_type=OPPORTUNISTIC, **what))
    s.settle()
    return app


def visit(s: Scenario, node_id: str = "n1") -> list[Command]:
    return s.handle(NodeUpdate(node_id))


def borrowed(s: Scenario, app: AttemptId) -> int:
    return s.application(app).opportunistic_containers


def n1(s: Scenario) -> NodeView:
    return s.node("n1")


def test_they_use_what_is_free_and_count_in_no_share() -> None:
    s = Scenario(queues(queue("a", max_share=amounts(1, "1G")), queue("b")))
    s.add_node("n1", cpus=4, memory="4G")

    app = borrow(s, 10)

    assert borrowed(s, app) == 4
    assert s.application(app).used == ZERO
    assert s.queue("a").used == ZERO
    assert s.queue("a").demand == ZERO
    assert s.queue("a").opportunistic_used == amounts(4, "4G")
    assert (s.queue("root").opportunistic_running, s.queue("root").opportunistic_pending) == (4, 6)
    assert (n1(s).used, n1(s).opportunistic_used) == (amounts(4, "4G"), amounts(4, "4G"))


def test_guaranteed_ones_come_first_in_a_visit() -> None:
    s = one_node()
    scavenger, worker = s.submit("a"), s.submit("b")
    s.request(scavenger, request(4, execution_type=OPPORTUNISTIC))
    s.ask(worker, 3)

    s.settle()

    assert (borrowed(s, scavenger), s.running(worker)) == (1, 3)


def test_nothing_is_lent_as_long_as_somebody_guaranteed_could_use_it() -> None:
    s = one_node(max_assign=1)
    scavenger, worker = s.submit("a"), s.submit("b")
    s.request(scavenger, request(4, execution_type=OPPORTUNISTIC))
    s.ask(worker, 2)

    first, second, third = (s.visit("n1") for _ in range(3))

    assert [one.execution_type for one in first] == [GUARANTEED]
    assert [one.execution_type for one in second] == [GUARANTEED]
    assert [one.execution_type for one in third] == [OPPORTUNISTIC]


def test_who_borrows_ends_at_once_for_a_guaranteed_request_which_is_granted_when_the_room_is_free() -> None:
    s = one_node()
    scavenger = borrow(s, 4)
    worker = s.submit("b")
    s.ask(worker, 1)

    commands = visit(s)

    (reclaim,) = commands
    assert isinstance(reclaim, ReclaimContainer)
    assert (reclaim.beneficiary, reclaim.node_id) == (worker.application, "n1")
    (granted,) = s.handle(ended(reclaim))
    assert isinstance(granted, Allocate)
    assert granted.container_id.attempt == worker
    assert borrowed(s, scavenger) == 3


def ended(reclaim: ReclaimContainer) -> ContainerFinished:
    return ContainerFinished(reclaim.container_id)


def test_meanwhile_nobody_else_gets_that_room() -> None:
    s = one_node()
    borrow(s, 4)
    worker, other = s.submit("b"), s.submit("b")
    s.ask(worker, 1, memory="4G")
    reclaims = [one for one in visit(s) if isinstance(one, ReclaimContainer)]
    s.ask(other, 1)

    for reclaim in reclaims[:-1]:
        assert s.handle(ended(reclaim)) == []
        assert visit(s) == []
    (granted,) = s.handle(ended(reclaims[-1]))

    assert isinstance(granted, Allocate)
    assert granted.resources.memory_mib == 4096
    check_invariants(s.scheduler)


def test_one_that_suffices_ends_alone_and_who_loses_least_work_goes_first() -> None:
    s = one_node()
    small = borrow(s, 2)
    s.advance(10)
    large = borrow(s, 1, memory="2G")
    s.advance(10)
    worker = s.submit("b")
    s.ask(worker, 1, memory="2G")

    (reclaim,) = visit(s)

    assert isinstance(reclaim, ReclaimContainer)
    assert reclaim.container_id.attempt == large
    assert borrowed(s, small) == 2


def test_work_that_was_saved_is_not_lost() -> None:
    s = one_node()
    old = borrow(s, 2, memory="2G")
    saved = s.containers(old)[0].container_id
    s.advance(60)
    s.handle(CheckpointSaved(saved))
    s.ask(s.submit("b"), 1)

    (reclaim,) = visit(s)

    assert isinstance(reclaim, ReclaimContainer)
    assert reclaim.container_id == saved


def test_who_holds_nothing_of_what_is_lacking_stays() -> None:
    s = one_node()
    with_gpu = borrow(s, 2, gpus=1)
    without = borrow(s, 2)
    s.ask(s.submit("b"), 2, gpus=1)

    reclaims = visit(s)

    assert [one.container_id.attempt for one in reclaims if isinstance(one, ReclaimContainer)] == [with_gpu] * 2
    assert borrowed(s, without) == 2


def test_fractions_of_a_gpu_are_lent_and_given_back_device_by_device() -> None:
    s = one_node()
    scavenger = borrow(s, 4, cpus=0.5, memory="512M", gpus=0.5)
    on = {one.container_id: one.device_ids for one in s.containers(scavenger)}
    worker = s.submit("b")
    s.ask(worker, 1, cpus=1, memory="1G", gpus=1)

    reclaims = [one for one in visit(s) if isinstance(one, ReclaimContainer)]
    granted = [one for reclaim in reclaims for one in s.handle(ended(reclaim))]

    (allocated,) = granted
    assert isinstance(allocated, Allocate)
    assert {on[one.container_id] for one in reclaims} == {allocated.device_ids}
    assert len(reclaims) == 2


def test_gangs_borrow_together_and_end_together_after_all_others() -> None:
    s = one_node()
    alone = borrow(s, 1)
    gang = borrow(s, 3, gang=GangRequest())
    assert borrowed(s, gang) == 3
    worker = s.submit("b")
    s.ask(worker, 1)

    (first,) = visit(s)
    assert isinstance(first, ReclaimContainer)
    assert first.container_id.attempt == alone
    s.handle(ended(first))
    s.ask(worker, 1)
    rest = visit(s)

    assert [one.container_id.attempt for one in rest if isinstance(one, ReclaimContainer)] == [gang] * 3


def test_a_guaranteed_gang_is_granted_when_the_last_of_those_in_its_way_has_ended() -> None:
    s = one_node()
    s.add_node("n2", cpus=4, memory="4G")
    borrow(s, 8)
    worker = s.submit("b")
    s.ask_gang(worker, 8)

    reclaims = [one for one in visit(s) if isinstance(one, ReclaimContainer)]
    granted = [s.handle(ended(reclaim)) for reclaim in reclaims]

    assert len(reclaims) == 8
    assert [len(one) for one in granted] == [0] * 7 + [8]


def test_queues_share_what_is_lent_by_their_weights() -> None:
    s = Scenario(queues(queue("heavy", weight=3), queue("light")))
    s.add_node("n1", cpus=8, memory="8G")
    heavy, light = s.submit("heavy"), s.submit("light")
    for app in (heavy, light):
        s.request(app, request(8, execution_type=OPPORTUNISTIC))

    s.settle()

    assert (borrowed(s, heavy), borrowed(s, light)) == (6, 2)


def test_room_that_is_reserved_for_who_does_not_fit_yet_is_lent() -> None:
    s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=1.0))
    s.add_node("n1", cpus=4, memory="4G")
    small, large = s.submit("a"), s.submit("b")
    s.ask(small, 3)
    s.settle()
    s.update_shares()
    s.ask(large, 1, memory="3G")
    s.visit("n1")

    scavenger = borrow(s, 1)

    assert n1(s).reserved_for == large.application
    assert borrowed(s, scavenger) == 1


def test_nobody_guaranteed_is_preempted_where_the_end_of_a_borrower_is_enough() -> None:
    s = Scenario(queues(queue("greedy"), hungry("b")))
    s.add_node("n1", cpus=8, memory="8G")
    greedy = s.submit("greedy")
    s.ask(greedy, 6)
    s.settle()
    borrow(s, 2, where="greedy")
    worker = s.submit("b")
    s.ask(worker, 2)
    s.preempt()

    assert s.preempt(after_s=TIMEOUT_S) == []
    assert len([one for one in visit(s) if isinstance(one, ReclaimContainer)]) == 2


def test_a_blacklist_holds_for_them() -> None:
    s = one_node()
    app = s.submit("a")
    s.handle(BlacklistChanged(app.application, frozenset({"n1"})))
    s.request(app, request(1, execution_type=OPPORTUNISTIC))

    s.settle()

    assert borrowed(s, app) == 0
    assert s.explain(app).reason == "blacklisted"


def test_an_application_that_may_not_run_yet_borrows_nothing() -> None:
    s = Scenario(queues(queue("a", max_running_apps=1)))
    s.add_node("n1", cpus=4, memory="4G")
    first = s.submit("a")

    waiting = borrow(s, 1)
    assert borrowed(s, waiting) == 0
    s.handle(AppRemoved(first.application))
    s.settle()

    assert borrowed(s, waiting) == 1


def test_a_promoted_container_waits_for_its_turn_and_then_counts() -> None:
    s = Scenario(queues(queue("a", max_share=amounts(1, "1G")), queue("b")))
    s.add_node("n1", cpus=4, memory="4G")
    app = borrow(s, 1)
    (container,) = s.containers(app)
    blocker = s.submit("a")
    s.ask(blocker, 1)
    (held,) = s.settle()

    assert s.handle(ExecutionTypeWanted(container.container_id, GUARANTEED)) == []
    assert visit(s) == []
    s.finish(held)
    (changed,) = visit(s)

    assert changed == ExecutionTypeChanged(container.container_id, "n1", GUARANTEED)
    assert s.queue("a").used == amounts(1, "1G")
    assert (borrowed(s, app), s.application(app).containers) == (0, 1)


def test_a_promoted_container_keeps_its_device() -> None:
    s = one_node()
    app = borrow(s, 2, gpus=1)
    container = s.containers(app)[1]
    s.handle(ExecutionTypeWanted(container.container_id, GUARANTEED))

    visit(s)
    s.ask(s.submit("b"), 1, gpus=1)
    commands = visit(s)

    assert [one.container_id for one in commands if isinstance(one, ReclaimContainer)] == [
        s.containers(app)[0].container_id
    ]
    check_invariants(s.scheduler)


def test_a_demoted_container_goes_on_and_counts_no_more() -> None:
    s = Scenario(queues(queue("a", max_share=amounts(1, "1G")), queue("b")))
    s.add_node("n1", cpus=4, memory="4G")
    app = s.submit("a")
    s.ask(app, 2)
    (container,) = s.settle()

    (changed,) = s.handle(ExecutionTypeWanted(container.container_id, OPPORTUNISTIC))
    (another,) = s.settle()

    assert changed == ExecutionTypeChanged(container.container_id, "n1", OPPORTUNISTIC)
    assert another.execution_type is GUARANTEED
    assert (s.application(app).containers, borrowed(s, app)) == (1, 1)


def test_a_masters_own_container_stays_guaranteed() -> None:
    s = one_node()
    app = s.submit("a")
    s.request(app, request(1, for_master=True))
    (container,) = s.settle()

    with pytest.raises(InvalidInput, match="guaranteed"):
        s.handle(ExecutionTypeWanted(container.container_id, OPPORTUNISTIC))
    with pytest.raises(InvalidInput, match="guaranteed"):
        request(1, for_master=True, execution_type=OPPORTUNISTIC)


def test_after_a_restart_what_borrows_borrows_on() -> None:
    s = one_node()
    app = s.submit("a")
    found = ContainerId(app, 1, 7)

    s.handle(ContainerRecovered(found, "n1", amounts(4, "4G"), execution_type=OPPORTUNISTIC))
    s.ask(s.submit("b"), 1)

    (reclaim,) = visit(s)
    assert isinstance(reclaim, ReclaimContainer)
    assert reclaim.container_id == found
    assert s.queue("a").used == ZERO


def test_what_was_granted_and_not_told_yet_is_told_with_the_loss_of_its_node() -> None:
    s = one_node()
    borrow(s, 4)
    worker = s.submit("b")
    s.ask(worker, 1)
    visit(s)

    commands = s.remove_node("n1")

    granted = next(one for one in commands if isinstance(one, Allocate))
    end = next(one for one in commands if isinstance(one, ContainerEnded) and one.container_id == granted.container_id)
    assert commands.index(granted) < commands.index(end)


def test_a_master_that_asks_again_before_it_is_told_gets_no_more_than_it_asked_for() -> None:
    s = one_node()
    borrow(s, 4)
    worker = s.submit("b")
    s.ask(worker, 1)
    (reclaim,) = visit(s)

    s.ask(worker, 1)
    assert visit(s) == []
    s.ask(worker, 0)

    assert isinstance(reclaim, ReclaimContainer)
    assert s.handle(ended(reclaim)) == []
    assert s.running(worker) == 0
    check_invariants(s.scheduler)


def test_a_node_that_becomes_smaller_ends_who_borrows_there_first() -> None:
    s = one_node()
    worker = s.submit("b")
    s.ask(worker, 2)
    s.settle()
    borrow(s, 2)

    commands = s.handle(NodeResourceUpdate(node("n1", cpus=3, memory="3G", gpus=2)))

    (reclaim,) = commands
    assert isinstance(reclaim, ReclaimContainer)
    assert reclaim.beneficiary is None


def test_what_waits_to_be_told_on_a_node_that_becomes_smaller_waits_for_all_who_end_there() -> None:
    s = one_node()
    borrow(s, 4)
    worker = s.submit("b")
    s.ask(worker, 1)
    (first,) = visit(s)
    assert isinstance(first, ReclaimContainer)

    (second,) = s.handle(NodeResourceUpdate(node("n1", cpus=3, memory="3G", gpus=2)))

    assert isinstance(second, ReclaimContainer)
    assert s.handle(ended(first)) == []
    (granted,) = s.handle(ended(second))
    assert isinstance(granted, Allocate)
    assert granted.container_id.attempt == worker


def test_one_demoted_where_the_node_is_too_small_by_now_hears_of_it_before_it_is_to_end() -> None:
    s = one_node()
    worker = s.submit("b")
    s.ask(worker, 2)
    container, _ = s.settle()
    s.handle(NodeResourceUpdate(node("n1", cpus=1, memory="1G", gpus=2)))

    changed, reclaim = s.handle(ExecutionTypeWanted(container.container_id, OPPORTUNISTIC))

    assert changed == ExecutionTypeChanged(container.container_id, "n1", OPPORTUNISTIC)
    assert isinstance(reclaim, ReclaimContainer)
    assert reclaim.container_id == container.container_id


def test_it_is_no_preemption_of_shares() -> None:
    s = one_node()
    borrow(s, 4)
    s.ask(s.submit("b"), 1)

    assert not any(isinstance(one, KillContainer) for one in visit(s))


def test_shares_are_worked_out_as_if_who_only_borrows_were_not_there() -> None:
    s = one_node()
    worker, scavenger = s.submit("a"), ApplicationId(1, 99)
    s.ask(worker, 1)
    s.handle(AppAdded(scavenger, "b", "bob", 0.0, opportunistic=True))
    attempt = AttemptId(scavenger, 1)
    s.handle(AttemptAdded(attempt))
    s.request(attempt, request(1, execution_type=OPPORTUNISTIC))

    s.update_shares()
    assert s.queue("a").fair_share.memory_mib == 4096
    s.ask(attempt, 1)
    s.update_shares()

    assert s.queue("a").fair_share.memory_mib == s.queue("b").fair_share.memory_mib == 2048
