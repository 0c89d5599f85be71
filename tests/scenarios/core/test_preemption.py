"""Containers of those above their share end for those who have been below theirs for too long."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from hrm.core.commands import KillContainer, PreemptContainer, Starvation
from hrm.core.events import CheckpointSaved, ContainerReleased, NodeSchedulable, OptionsChanged, Preempt
from hrm.model.ids import ContainerId
from hrm.model.queues import QueueSpec
from hrm.model.scheduling import SchedulerOptions, Victims
from hrm.testing.builders import Scenario, amounts, queue, queues
from tests.scenarios.core.situations import TIMEOUT_S, WAIT_S, full_of_greedy, hungry, kill_and_place, starve


def test_a_starved_application_gets_its_fair_share_after_its_timeout_and_the_wait_before_killing() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")

    starve(s, starved)
    kill_and_place(s)

    assert (s.running(greedy), s.running(starved)) == (4, 4)


def test_before_the_timeout_nothing_happens() -> None:
    s, _ = full_of_greedy(hungry("starved"))
    s.ask(s.submit("starved"), 100)
    s.preempt()

    assert s.preempt(after_s=TIMEOUT_S - 5) == []


def test_without_a_timeout_nothing_is_ever_preempted() -> None:
    s, _ = full_of_greedy(queue("starved"))
    s.ask(s.submit("starved"), 100)
    s.preempt()

    assert s.preempt(after_s=1e6) == []


def test_the_warning_says_when_for_whom_and_what_is_left() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")

    warned = starve(s, starved)

    assert len(warned) == 4
    last = warned[-1]
    assert isinstance(last, PreemptContainer)
    assert last.kill_at == s.now + WAIT_S
    assert last.beneficiary == starved.application
    assert last.starvation is Starvation.FAIR_SHARE
    assert last.left_to_victim == last.victim_fair_share == amounts(4, "4G")
    assert s.running(greedy) == 8


def test_a_warned_container_is_killed_once_and_only_when_its_time_is_over() -> None:
    s, _ = full_of_greedy(hungry("starved"))
    warned = starve(s, s.submit("starved"))

    early = s.preempt(after_s=WAIT_S - 5)
    due = s.preempt(after_s=5)
    again = s.preempt(after_s=5)

    assert early == again == []
    assert [one.container_id for one in due] == [one.container_id for one in warned]
    assert all(isinstance(one, KillContainer) for one in due)


def test_timeout_and_threshold_are_inherited_from_the_queue_above() -> None:
    above = hungry("above", fair_share_preemption_timeout_s=TIMEOUT_S)
    s = Scenario(queues(queue("greedy"), queue("parent", queue("starved"), **_preemption_of(above))))
    s.add_node("n1", cpus=8, memory="8G")
    s.ask(s.submit("greedy"), 100)
    s.settle()

    assert len(starve(s, s.submit("parent.starved"))) == 4


def _preemption_of(spec: QueueSpec) -> dict[str, float | None]:
    names = ("fair_share_preemption_timeout_s", "fair_share_preemption_threshold")
    return {name: getattr(spec, name) for name in names}


def test_no_more_is_taken_than_is_asked_for() -> None:
    s, _ = full_of_greedy(hungry("starved"))

    assert len(starve(s, s.submit("starved"), count=1)) == 1


def test_a_request_larger_than_what_is_lacking_preempts_nothing() -> None:
    s, _ = full_of_greedy(hungry("starved"))

    assert starve(s, s.submit("starved"), cpus=6, memory="6G") == []


def test_what_is_lacking_is_counted_over_all_requests_together() -> None:
    s, _ = full_of_greedy(hungry("starved", fair_share_preemption_threshold=0.5))
    starved = s.submit("starved")
    s.ask(starved, 2, priority=1)
    s.ask(starved, 2, priority=2)
    s.preempt()

    # Half of its fair share of 4.
    assert len(s.preempt(after_s=TIMEOUT_S)) == 2


def test_nobody_is_warned_for_what_has_room_on_another_node() -> None:
    s, _ = full_of_greedy(hungry("starved"))
    s.ask(s.submit("starved"), 1)
    s.preempt()
    # So small that the cluster is still used beyond the threshold.
    s.add_node("n2", cpus=1, memory="1G")

    assert s.preempt(after_s=TIMEOUT_S) == []


def test_a_queue_below_its_minimum_share_gets_it_after_its_own_timeout() -> None:
    promised = queue("promised", weight=0, min_share=amounts(2, "2G"), min_share_preemption_timeout_s=TIMEOUT_S)
    s, greedy = full_of_greedy(promised)
    app = s.submit("promised")

    warned = starve(s, app)
    kill_and_place(s)

    assert {one.starvation for one in warned if isinstance(one, PreemptContainer)} == {Starvation.MIN_SHARE}
    assert (s.running(greedy), s.running(app)) == (6, 2)


def test_what_is_free_on_the_node_already_is_not_freed_again() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    s.ask(greedy, 0)
    s.finish(s.containers(greedy)[0])

    assert len(starve(s, s.submit("starved"), count=1, cpus=3, memory="3G")) == 2


def test_the_youngest_containers_of_a_node_end_first() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    s.ask(greedy, 0)
    s.finish(s.containers(greedy)[3])
    s.ask(greedy, 1)
    s.settle()
    youngest = s.containers(greedy)[-1]

    assert [one.container_id for one in starve(s, s.submit("starved"), count=1)] == [youngest.container_id]


def test_of_two_of_a_size_of_which_one_is_enough_the_older_is_spared() -> None:
    s = Scenario(queues(queue("greedy"), hungry("starved")))
    s.add_node("n1", cpus=8, memory="8G")
    greedy = s.submit("greedy")
    for memory in ("4G", "2G", "1G", "1G"):
        s.ask(greedy, 1, memory=memory)
        s.settle()
    _, large, _, young = s.containers(greedy)

    warned = starve(s, s.submit("starved"), count=1, memory="3G")

    assert {one.container_id for one in warned} == {large.container_id, young.container_id}


def test_a_container_that_holds_nothing_of_what_is_lacking_is_spared() -> None:
    s = Scenario(queues(queue("greedy", policy="drf"), hungry("starved", policy="drf"), policy="drf"))
    s.add_node("n1", cpus=8, memory="64G", gpus=2)
    greedy = s.submit("greedy")
    s.ask(greedy, 2, gpus=1, request_id=1)
    s.settle()
    s.ask(greedy, 4, request_id=2)
    s.settle()

    warned = starve(s, s.submit("starved"), gpus=1)

    assert [s.granted[one.container_id].resources.gpus_milli for one in warned] == [1000]


@pytest.mark.parametrize("at_parent", [False, True])
def test_a_queue_that_is_not_preemptable_keeps_all(at_parent: bool) -> None:
    greedy = queue("greedy", preemptable=False)
    if at_parent:
        greedy = queue("greedy", queue("below"), preemptable=False)
    s = Scenario(queues(greedy, hungry("starved")))
    s.add_node("n1", cpus=8, memory="8G")
    s.ask(s.submit("greedy.below" if at_parent else "greedy"), 100)
    s.settle()
    starved = s.submit("starved")

    assert starve(s, starved) == []
    assert s.reason(starved) == "nothing_to_preempt"


def test_a_container_runs_at_least_as_long_as_its_queue_says() -> None:
    s, _ = full_of_greedy(hungry("starved"), greedy=queue("greedy", min_run_before_preemption_s=100))

    early = starve(s, s.submit("starved"))
    late = s.preempt(after_s=100)

    assert (len(early), len(late)) == (0, 4)


def test_a_master_ends_only_if_nothing_else_is_enough() -> None:
    s = Scenario(queues(queue("greedy", max_am_share=None), hungry("starved")))
    s.add_node("n1", cpus=4, memory="4G")
    greedy = s.submit("greedy")
    s.ask(greedy, 3)
    s.settle()
    s.ask(greedy, for_master=True)
    s.settle()
    master = s.containers(greedy)[-1]

    warned = starve(s, s.submit("starved"))

    assert len(warned) == 2
    assert master.container_id not in {one.container_id for one in warned}


@pytest.mark.parametrize("victims", Victims)
def test_a_master_is_spared_where_others_may_end_on_another_node(victims: Victims) -> None:
    s = Scenario(
        queues(queue("greedy", max_am_share=None), hungry("starved")), options=SchedulerOptions(victims=victims)
    )
    s.add_node("n1", cpus=4, memory="4G")
    s.add_node("n2", cpus=4, memory="4G")
    greedy = s.submit("greedy")
    s.ask(greedy, 4, where="n2", relax=False)
    s.settle()
    s.now += 1000
    # The youngest, alone on the first node.
    s.ask(greedy, cpus=4, memory="4G", for_master=True, where="n1", relax=False)
    s.settle()

    warned = starve(s, s.submit("starved"), count=1, cpus=4, memory="4G")

    assert [one.node_id for one in warned] == ["n2"] * 4


def test_with_the_option_the_node_where_least_work_is_lost_is_taken() -> None:
    s, greedy = full_of_greedy(hungry("starved"), nodes=2, options=SchedulerOptions(victims=Victims.LEAST_WORK_LOST))
    on_n1 = [one for one in s.containers(greedy) if one.node_id == "n1"]
    s.now += 1000
    for container in s.containers(greedy):
        if container.node_id == "n2":
            s.handle(CheckpointSaved(container.container_id))

    warned = starve(s, s.submit("starved"), count=2, cpus=4, memory="4G")

    assert on_n1
    assert {one.node_id for one in warned} == {"n2"}


# ---- what was freed


def test_what_was_freed_is_kept_for_whom_it_was_freed_for() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved, count=1, cpus=4, memory="4G")

    s.finish(*(one.container_id for one in warned[:2]))
    others = s.settle()

    # Two of four are free, and nobody else may have them.
    assert others == []
    assert s.pending(greedy) > 0
    assert s.reason(starved) == "waits_for_preemption"
    s.finish(*(one.container_id for one in warned[2:]))
    s.settle()
    assert s.running(starved) == 1


def test_freed_devices_are_kept_too() -> None:
    s = Scenario(queues(queue("greedy", policy="drf"), hungry("starved", policy="drf"), policy="drf"))
    s.add_node("n1", cpus=8, memory="64G", gpus=4)
    greedy = s.submit("greedy")
    s.ask(greedy, 8, gpus=0.5)
    s.settle()
    s.ask(greedy, 8, gpus=0.5)
    starved = s.submit("starved")
    warned = starve(s, starved, count=1, gpus=2)

    for one in warned:
        s.finish(one.container_id)
        assert not any(grant.container_id.attempt == greedy for grant in s.visit("n1"))

    assert s.running(starved) == 1


def test_what_is_complete_for_one_is_not_taken_by_another_who_still_waits_for_victims() -> None:
    s, _ = full_of_greedy(hungry("first"), hungry("second"))
    first, second = s.submit("first"), s.submit("second")
    s.ask(second, 1, cpus=2, memory="2G")
    for_first = starve(s, first, count=1, cpus=2, memory="2G")
    ready = [one for one in for_first if one.beneficiary == first.application]
    assert len(for_first) > len(ready) == 2

    s.finish(*(one.container_id for one in ready))
    s.visit("n1")

    assert (s.running(first), s.running(second)) == (1, 0)


def test_who_is_not_needed_any_more_because_the_master_gave_others_back_is_spared() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved, count=1, cpus=2, memory="2G")
    marked = {one.container_id for one in warned}
    others = [one for one in s.containers(greedy) if one.container_id not in marked]

    for one in others[:2]:
        s.handle(ContainerReleased(one.container_id))

    assert s.preempt(after_s=WAIT_S) == []
    s.settle()
    assert (s.running(greedy), s.running(starved)) == (6, 1)


def test_space_is_let_go_when_it_is_no_longer_asked_for_and_the_warned_are_spared() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved)
    s.finish(warned[0].container_id)

    s.ask(starved, 0)
    s.settle()

    assert s.running(greedy) == 8
    assert s.preempt(after_s=WAIT_S) == []


def test_who_got_its_share_elsewhere_meanwhile_lets_go_though_it_asks_for_more() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved)
    s.add_node("n2", cpus=8, memory="8G")
    s.visit("n2")
    assert s.pending(starved) > 0

    assert len(warned) == 4
    assert s.preempt(after_s=WAIT_S) == []
    assert s.running(greedy) == 8


def test_who_was_killed_for_one_that_ended_is_not_named_again_for_another() -> None:
    s, _greedy = full_of_greedy(hungry("first"), hungry("second"))
    first, second = s.submit("first"), s.submit("second")
    killed = starve(s, first, count=1, cpus=2, memory="2G")
    s.preempt(after_s=WAIT_S)
    s.end(first)

    warned = starve(s, second, count=1)

    assert len(warned) == 1
    assert {one.container_id for one in warned}.isdisjoint({one.container_id for one in killed})


def test_space_of_an_application_that_ends_is_let_go_and_the_warned_are_spared() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved)
    s.finish(warned[0].container_id)

    s.end(starved)
    s.settle()

    assert s.running(greedy) == 8
    assert s.preempt(after_s=WAIT_S) == []


def test_space_on_a_node_that_drains_is_let_go() -> None:
    s, _ = full_of_greedy(hungry("starved"))
    starve(s, s.submit("starved"))

    s.handle(NodeSchedulable("n1", False))

    assert s.preempt(after_s=WAIT_S) == []


def test_once_all_have_their_share_twenty_more_rounds_change_nothing() -> None:
    greedy_too = hungry("greedy")
    s, greedy = full_of_greedy(hungry("starved"), greedy=greedy_too)
    starved = s.submit("starved")
    starve(s, starved)
    kill_and_place(s)
    s.ask(greedy, 100)
    before = set(s.granted)

    for _ in range(20):
        assert s.preempt(after_s=TIMEOUT_S) == []
        assert s.settle() == []

    assert set(s.granted) == before
    assert (s.running(greedy), s.running(starved)) == (4, 4)


def test_the_explanation_says_who_is_to_end_and_by_when() -> None:
    s, _ = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved)

    evidence = next(one for one in s.explain(starved).evidence if one["kind"] == "preemption")

    assert evidence["node_id"] == "n1"
    assert evidence["victims"] == [str(warned[0].container_id)]
    assert evidence["kill_at"] == s.now + WAIT_S


def test_where_preemption_is_switched_off_nothing_happens_whatever_the_timeouts() -> None:
    s, _ = full_of_greedy(hungry("starved"), options=SchedulerOptions(preemption=False))

    assert starve(s, s.submit("starved")) == []


def test_where_preemption_is_switched_off_meanwhile_the_warned_are_spared() -> None:
    s, greedy = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    warned = starve(s, starved)
    s.finish(warned[0].container_id)

    s.handle(OptionsChanged(SchedulerOptions(preemption=False)))

    assert s.preempt(after_s=WAIT_S) == []
    assert s.reason(starved) != "waits_for_preemption"
    s.settle()
    assert s.running(greedy) + s.running(starved) == 8


def test_nobody_is_warned_while_no_resource_is_used_beyond_the_threshold() -> None:
    s = Scenario(queues(queue("greedy"), hungry("starved")))
    s.add_node("n1", cpus=8, memory="8G")
    greedy = s.submit("greedy")
    s.ask(greedy, 3, cpus=2, memory="2G")
    s.settle()
    starved = s.submit("starved")

    # 6 of 8 are used, 75 %, and what is asked for does not fit.
    idle = starve(s, starved, count=1, cpus=3, memory="3G")
    s.ask(greedy, 1, cpus=1, memory="1G")
    s.settle()

    assert idle == []
    assert [type(one) for one in s.preempt()] == [PreemptContainer]


def test_the_warning_says_for_how_long_the_other_lacked_its_share() -> None:
    s, _ = full_of_greedy(hungry("starved"))

    starved = s.submit("starved")
    s.ask(starved, 100)
    s.preempt()
    since = s.now

    (warned, *_) = s.preempt(after_s=TIMEOUT_S)

    assert isinstance(warned, PreemptContainer)
    assert TIMEOUT_S <= warned.starved_s <= s.now - since


def test_who_was_satisfied_meanwhile_waits_its_whole_timeout_again() -> None:
    s, _ = full_of_greedy(hungry("starved"))
    starved = s.submit("starved")
    s.ask(starved, 1)
    s.preempt()
    s.preempt(after_s=TIMEOUT_S - 5)
    s.ask(starved, 0)
    s.preempt(after_s=1000.0)

    s.ask(starved, 1)
    first = s.preempt()

    assert first == []
    assert len(s.preempt(after_s=TIMEOUT_S)) == 1


def test_a_checkpoint_counts_from_when_it_was_saved_and_never_from_earlier_than_the_one_before() -> None:
    s, greedy = full_of_greedy(options=SchedulerOptions(victims=Victims.LEAST_WORK_LOST))
    container = s.containers(greedy)[0].container_id
    s.now += 100

    saved_at = s.now - 10
    s.handle(CheckpointSaved(container, saved_at))
    s.handle(CheckpointSaved(container, saved_at - 50))

    known = s.scheduler.books.container(container)
    assert known is not None
    assert known.unsaved_since == saved_at


def test_a_round_that_may_make_room_for_few_goes_on_with_the_next_and_comes_to_the_same() -> None:
    whole, _ = full_of_greedy(hungry("starved"), nodes=3)
    parts, _ = full_of_greedy(hungry("starved"), nodes=3)
    at_once = starve(whole, whole.submit("starved"))
    parts.ask(parts.submit("starved"), 100)
    parts.preempt()
    parts.now += TIMEOUT_S

    rounds = [parts.handle(Preempt(most=5)) for _ in range(4)]

    assert [len(commands) for commands in rounds] == [5, 5, 2, 0]
    assert victims(one for commands in rounds for one in commands) == victims(at_once)


def victims(commands: Iterable[object]) -> list[ContainerId]:
    return [command.container_id for command in commands if isinstance(command, PreemptContainer)]


def test_for_each_of_many_the_least_work_is_lost() -> None:
    options = SchedulerOptions(victims=Victims.LEAST_WORK_LOST)
    s, greedy = full_of_greedy(hungry("starved"), nodes=3, options=options)
    containers = [one.container_id for one in s.containers(greedy)]
    for container in containers:
        s.now += 1
        s.handle(CheckpointSaved(container, s.now))

    warned = starve(s, s.submit("starved"))

    # Saved last, lost least: those of all nodes in the order of their checkpoints.
    assert victims(warned) == containers[: -len(warned) - 1 : -1]
