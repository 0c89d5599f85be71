"""Gangs gather nodes until all of them fits, and are preempted as a whole."""

from __future__ import annotations

from hrm.core.commands import KillContainer, NodeReserved, NodeUnreserved, PreemptContainer
from hrm.core.events import (
    AttemptRemoved,
    ContainerRecovered,
    NodeSchedulable,
    OptionsChanged,
)
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues
from tests.scenarios.core.gang_situations import GATHER_S, cluster, end_one_on, full_of_small_ones, kept

# ---- gathering


def test_one_below_its_share_gathers_nodes_that_others_would_fill_again_and_again() -> None:
    s, small, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)

    commands = s.update_gangs()
    for node_id in ("n0", "n0", "n1", "n1"):
        assert s.running(gang) == 0, "it holds nothing before all of it fits"
        end_one_on(s, small, node_id)

    assert [one.node_id for one in commands if isinstance(one, NodeReserved)] == ["n0", "n1"]
    assert s.running(gang) == 4
    assert kept(s) == []


def test_nodes_that_are_kept_are_no_usage() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)

    s.update_gangs()

    assert s.used("b") == amounts()


def test_it_gathers_no_more_nodes_than_it_needs() -> None:
    s, _, gang = full_of_small_ones(4)
    s.ask_gang(gang, 4)

    s.update_gangs()

    assert len(kept(s)) == 2


def test_one_that_fits_gathers_nothing() -> None:
    s = cluster(2)
    app = s.submit("a")
    s.update_shares()
    s.ask_gang(app, 4)

    assert s.update_gangs() == []


def test_one_that_has_its_share_gathers_nothing() -> None:
    s = cluster(2)
    rich, poor = s.submit("a"), s.submit("b")
    s.ask(rich, 2)
    s.ask(poor, 2)
    s.settle()
    s.ask_gang(rich, 2, request_id=1)

    assert s.update_gangs() == []


def test_only_the_oldest_gathers_so_that_two_can_never_hold_each_other() -> None:
    s, small, first = full_of_small_ones(2)
    second = s.submit("b")
    s.ask_gang(first, 4)
    s.ask_gang(second, 4)

    for _ in range(5):
        s.update_gangs()
        assert {view.reserved_for for view in s.nodes()} == {first.application}
    for node_id in ("n0", "n0", "n1", "n1"):
        end_one_on(s, small, node_id)

    assert (s.running(first), s.running(second)) == (4, 0)


def test_a_second_gathers_nothing_though_there_are_nodes_for_it() -> None:
    s, _, first = full_of_small_ones(4)
    second = s.submit("b")
    s.ask_gang(first, 4)
    s.ask_gang(second, 4)

    s.update_gangs()
    s.update_gangs()

    assert [view.reserved_for for view in s.nodes()] == [first.application, first.application, None, None]


def test_after_its_time_it_lets_go_and_the_next_gathers() -> None:
    s, _, first = full_of_small_ones(2)
    second = s.submit("b")
    s.ask_gang(first, 4)
    s.ask_gang(second, 4)
    s.update_gangs()

    commands = s.update_gangs(after_s=GATHER_S)

    assert [one.application_id for one in commands if isinstance(one, NodeUnreserved)] == [first.application] * 2
    assert {view.reserved_for for view in s.nodes()} == {second.application}


def test_after_its_time_others_are_served_for_as_long_before_it_gathers_again() -> None:
    s, small, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()
    s.update_gangs(after_s=GATHER_S)
    assert kept(s) == []

    end_one_on(s, small, "n0")
    assert s.running(small) == 4, "a small one took the place"

    assert s.update_gangs(after_s=GATHER_S / 2) == []
    assert s.update_gangs(after_s=GATHER_S / 2) != []


def test_it_goes_on_waiting_after_its_time() -> None:
    s, small, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()
    s.update_gangs(after_s=GATHER_S)

    s.ask(small, 0)
    s.finish(*s.containers(small))
    s.visit("n0")

    assert s.running(gang) == 4


def test_with_no_time_for_it_none_gathers() -> None:
    s, _, gang = full_of_small_ones(2, options=SchedulerOptions(gang_gather_timeout_s=0))
    s.ask_gang(gang, 4)

    assert s.update_gangs() == []


def test_options_that_allow_no_gathering_any_more_end_one() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()

    s.handle(OptionsChanged(SchedulerOptions(gang_gather_timeout_s=0)))
    s.update_gangs()

    assert kept(s) == []


def test_what_it_gathered_goes_with_its_application() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()

    s.handle(AttemptRemoved(gang))

    assert kept(s) == []


def test_what_it_gathered_goes_with_its_request() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()

    s.ask_gang(gang, 0)

    assert kept(s) == []


def test_room_elsewhere_counts_with_what_it_gathered() -> None:
    s, small, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()
    end_one_on(s, small, "n0")

    s.add_node("n2", cpus=3, memory="3G")
    s.visit("n2")

    assert s.running(gang) == 4


def test_another_node_is_kept_for_one_that_was_lost() -> None:
    s, _, gang = full_of_small_ones(3)
    s.ask_gang(gang, 4)
    s.update_gangs()
    lost = kept(s)[0]

    s.remove_node(lost)
    s.update_gangs()

    assert len(kept(s)) == 2
    assert lost not in kept(s)


def test_it_gives_up_gathering_where_the_nodes_are_too_few() -> None:
    s, _, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()

    s.handle(NodeSchedulable("n0", False))
    s.update_gangs()

    assert kept(s) == []


def test_a_kept_node_takes_nothing_else() -> None:
    s, small, gang = full_of_small_ones(2)
    s.ask_gang(gang, 4)
    s.update_gangs()

    end_one_on(s, small, "n0")

    assert s.running(small) == 3
    assert s.reason(small) == "reserved_for_others"


def test_under_a_strategy_what_was_gathered_is_used_first() -> None:
    s, small, gang = full_of_small_ones(2, options=SchedulerOptions(placement_strategy="best_fit"))
    s.ask_gang(gang, 4)
    s.update_gangs()
    for node_id in ("n0", "n0", "n1", "n1"):
        end_one_on(s, small, node_id)

    assert s.running(gang) == 4


def test_asks_of_a_gang_reserve_no_nodes_one_by_one() -> None:
    reserving = SchedulerOptions(reservable_nodes=1.0, reservation_threshold=amounts(0, 1), gang_gather_timeout_s=0)
    s, _, gang = full_of_small_ones(2, options=reserving)
    s.ask_gang(gang, 4)

    s.settle()

    assert kept(s) == []


# ---- preemption


def starving_behind(gang_of: int, others: int, *, weight: float = 1.0) -> tuple[Scenario, AttemptId, AttemptId]:
    """Queue a has all of two nodes: a gang, and other containers; queue b is below its share."""
    s = Scenario(
        queues(
            queue("a", weight=weight),
            queue("b", fair_share_preemption_timeout_s=0, fair_share_preemption_threshold=1.0),
        ),
        options=SchedulerOptions(preemption_utilization_threshold=0.0),
    )
    for number in range(2):
        s.add_node(f"n{number}", cpus=4, memory="4G")
    rich, poor = s.submit("a"), s.submit("b")
    s.ask_gang(rich, gang_of)
    s.settle()
    s.ask(rich, others, request_id=1)
    s.settle()
    return s, rich, poor


def warned(s: Scenario) -> list[ContainerId]:
    commands = [*s.preempt(), *s.preempt()]
    return [one.container_id for one in commands if isinstance(one, PreemptContainer)]


def test_on_a_node_all_else_ends_before_gangs() -> None:
    s, rich, poor = starving_behind(gang_of=2, others=6)
    s.ask(poor, 1)

    victims = warned(s)

    (victim,) = (one for one in s.containers(rich) if one.container_id in victims)
    assert victim.node_id == "n0", "where both run"
    assert victim.allocation_request_id == 1


def test_who_preempts_one_of_a_gang_preempts_all_of_it() -> None:
    s, rich, poor = starving_behind(gang_of=5, others=3, weight=0.6)
    s.ask(poor, 1)

    victims = warned(s)

    gang = [one for one in s.containers(rich) if one.allocation_request_id == 0]
    assert {one.node_id for one in gang} == {"n0", "n1"}
    assert set(victims) == {one.container_id for one in gang}


def test_all_of_a_gang_is_killed_together() -> None:
    s, rich, poor = starving_behind(gang_of=5, others=3, weight=0.6)
    s.ask(poor, 1)
    victims = warned(s)

    killed = [one.container_id for one in s.preempt(after_s=60) if isinstance(one, KillContainer)]
    for one in killed:
        s.finish(one)
    s.settle()

    assert set(killed) == set(victims)
    assert (s.running(rich), s.running(poor)) == (3, 1)


def test_a_gang_is_left_alone_where_its_application_would_fall_below_its_share_without_all_of_it() -> None:
    s, rich, poor = starving_behind(gang_of=8, others=0)
    s.ask(poor, 1)

    assert warned(s) == [], "one container less would leave it its share, the whole gang would not"
    assert s.running(rich) == 8


def test_a_gang_has_nobody_end_for_it() -> None:
    s, _, poor = starving_behind(gang_of=0, others=8)
    s.ask_gang(poor, 4)

    assert warned(s) == []


def test_after_a_restart_a_gang_is_preempted_as_one() -> None:
    s, _, poor = starving_behind(gang_of=0, others=0, weight=0.1)
    app = s.submit("a")
    gang = [ContainerId(app, 0, number) for number in range(8)]
    for number, container_id in enumerate(gang):
        s.handle(ContainerRecovered(container_id, f"n{number % 2}", amounts(1, "1G"), gang_id=0))
    lone = ContainerId(app, 0, 8)
    s.add_node("n2", cpus=1, memory="1G")
    s.handle(ContainerRecovered(lone, "n2", amounts(1, "1G")))
    s.ask(poor, 1)

    assert set(warned(s)) == set(gang)


def test_what_a_gang_keeps_is_told_to_other_requests_of_its_own_application_too() -> None:
    s = Scenario(queues(queue("all")))
    s.add_node("n1", cpus=2, memory="4G")
    s.add_node("n2", cpus=3, memory="5G")
    app = s.submit("all")
    s.ask(app, 20, cpus=1, memory="1G")
    s.settle()
    s.ask_gang(app, 4, cpus=1, memory="1G", request_id=100)
    s.update_gangs()
    s.finish(s.containers(app)[0])

    assert s.settle() == []
    assert s.reason(app) == "reserved_for_others"
