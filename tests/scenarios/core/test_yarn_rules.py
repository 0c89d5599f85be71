"""The eleven rules of YARN's Fair Scheduler that are most easily got wrong, in order, each with its numbers.

What each room of the scheduler does besides is told in the modules beside this one.
"""

from __future__ import annotations

from typing import Any

import pytest

from hrm.core.commands import NodeReserved, NodeUnreserved
from hrm.core.events import BlacklistChanged, NodeUpdate
from hrm.model.errors import InvalidInput
from hrm.model.ids import AttemptId
from hrm.model.placement import PlacementPolicy, Submitter
from hrm.model.queues import Policy, QueueSpec, ShareOfCluster
from hrm.model.scheduling import SchedulerOptions
from hrm.rm.placement import Placer
from hrm.testing.builders import Scenario, amounts, queue, queues, request
from tests.scenarios.core.situations import (
    PATIENT,
    free_one,
    full_of_greedy,
    hungry,
    large_behind_small,
    reserved,
    starve,
    visits_until_placed,
    wishes_for_n1,
)


def memory_shares(s: Scenario) -> dict[str, int]:
    """Fair shares as they are now, in MiB by queue."""
    s.update_shares()
    return {view.path: view.fair_share.memory_mib for view in s.scheduler.queue_views()}


def takers(s: Scenario, *apps: AttemptId) -> str:
    """Who was served in which order: a for the first of ``apps``, b for the second."""
    letters = dict(zip(apps, "abcdef", strict=False))
    return "".join(letters[one.container_id.attempt] for one in s.settle())


# ---- 1: fair shares


def test_1_three_equal_claimants_of_10240_get_3414_each() -> None:
    s = Scenario(queues(queue("a"), queue("b"), queue("c")))
    s.add_node("n1", memory="10240M")
    for path in ("a", "b", "c"):
        s.submit(path)

    shares = memory_shares(s)

    assert (shares["a"], shares["b"], shares["c"]) == (3414, 3414, 3414)


def test_1_a_share_is_raised_to_the_minimum_then_cut_to_the_maximum() -> None:
    # With r = 3 GiB: max(3, 4) = 4; min(10 × 3, 5) = 5; 3. Together 12.
    promised = queue("promised", min_share=amounts(0, "4G"))
    limited = queue("limited", weight=10, max_share=amounts(100, "5G"))
    s = Scenario(queues(promised, limited, queue("plain")))
    s.add_node("n1", memory="12G")
    for path in ("promised", "limited", "plain"):
        s.submit(path)

    shares = memory_shares(s)

    assert (shares["promised"], shares["limited"], shares["plain"]) == (4096, 5120, 3072)


def test_1_a_maximum_in_percent_that_falls_below_the_minimum_gives_way_to_it() -> None:
    tenth = ShareOfCluster(default=0.1)
    s = Scenario(queues(queue("promised", min_share=amounts(2, "2G"), max_share_of_cluster=tenth), queue("other")))
    s.add_node("n1", cpus=10, memory="10G")
    s.ask(s.submit("promised"), 100)
    s.submit("other")

    assert memory_shares(s)["promised"] == 2048
    s.settle()
    assert s.used("promised") == amounts(2, "2G")


def test_1_who_may_have_nothing_who_is_idle_and_who_weighs_nothing_leave_before_the_rest_is_shared() -> None:
    barred = queue("barred", max_share=amounts())
    weightless = queue("weightless", weight=0, min_share=amounts(0, "1G"))
    s = Scenario(queues(barred, queue("idle"), weightless, queue("a"), queue("b")))
    s.add_node("n1", memory="9G")
    for path in ("barred", "weightless", "a", "b"):
        s.submit(path)

    shares = memory_shares(s)

    assert [shares[path] for path in ("barred", "idle", "weightless", "a", "b")] == [0, 0, 1024, 4096, 4096]


def test_1_fair_shares_are_for_queues_with_applications_and_steady_ones_for_all() -> None:
    s = Scenario(queues(queue("busy"), queue("idle")))
    s.add_node("n1", memory="8G", cpus=8)
    s.submit("busy")

    s.update_shares()

    views = {view.path: view for view in s.scheduler.queue_views()}
    assert views["busy"].fair_share == amounts(8, "8G")
    assert views["idle"].fair_share == amounts()
    assert views["busy"].steady_fair_share == views["idle"].steady_fair_share == amounts(4, "4G")


# ---- 2: the order of the fair policy


def test_2_who_wants_nothing_does_not_stand_in_the_way_of_who_does() -> None:
    s = Scenario(queues(queue("idle", weight=100), queue("busy")))
    s.add_node("n1", cpus=4, memory="4G")
    s.submit("idle")
    busy = s.submit("busy")
    s.ask(busy, 100)

    s.settle()

    assert s.running(busy) == 4


def test_2_a_queue_below_its_minimum_share_comes_before_heavier_ones() -> None:
    s = Scenario(queues(queue("heavy", weight=100), queue("promised", weight=1, min_share=amounts(2, "2G"))))
    s.add_node("n1", cpus=4, memory="4G")
    heavy, promised = s.submit("heavy"), s.submit("promised")
    s.ask(heavy, 100)
    s.ask(promised, 100)

    assert takers(s, heavy, promised) == "bbaa"


def test_2_among_those_below_their_minimum_the_smaller_part_of_it_decides() -> None:
    # 0/4 and 0/8: by name. 1/4 and 0/8, then 1/8: the second. 1/4 and 2/8 are level: used over weight, the first.
    s = Scenario(queues(queue("a", min_share=amounts(4, "4G")), queue("b", min_share=amounts(8, "8G"))))
    s.add_node("n1", cpus=6, memory="6G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 100)
    s.ask(b, 100)

    assert takers(s, a, b) == "abbabb"


def test_2_a_minimum_counts_only_as_far_as_there_is_demand() -> None:
    s = Scenario(queues(queue("modest", min_share=amounts(4, "4G")), queue("other")))
    s.add_node("n1", cpus=4, memory="4G")
    modest, other = s.submit("modest"), s.submit("other")
    s.ask(modest, 1)
    s.ask(other, 100)

    assert takers(s, modest, other) == "abbb"


def test_2_then_used_over_weight_decides() -> None:
    # 0 and 0: by name. 1/2 and 0: the second. 1/2 and 1: the first, to 2/2. Level: by name.
    s = Scenario(queues(queue("heavy", weight=2), queue("light")))
    s.add_node("n1", cpus=6, memory="6G")
    heavy, light = s.submit("heavy"), s.submit("light")
    s.ask(heavy, 100)
    s.ask(light, 100)

    assert takers(s, heavy, light) == "abaaba"


def test_2_applications_that_are_level_are_served_by_age_and_queues_by_name() -> None:
    s = Scenario(queues(queue("b"), queue("a")))
    s.add_node("n1", cpus=4, memory="4G")
    first_of_b, of_a, second_of_b = s.submit("b"), s.submit("a"), s.submit("b", submitted_at=0.0)
    for app in (first_of_b, of_a, second_of_b):
        s.ask(app)

    assert takers(s, first_of_b, of_a, second_of_b) == "bca"


def test_2_memory_decides_who_is_next_but_a_node_needs_room_for_every_resource() -> None:
    # Level in memory after one each; then "wide" is first by name and the 3 vcores left are too few for it.
    s = Scenario(queues(queue("wide"), queue("yielding")))
    s.add_node("n1", cpus=8, memory="16G")
    wide, yielding = s.submit("wide"), s.submit("yielding")
    s.ask(wide, 2, cpus=4, memory="1G")
    s.ask(yielding, 100, cpus=1, memory="1G")

    assert takers(s, wide, yielding) == "abbbb"


def test_2_a_leaf_that_says_nothing_is_fair() -> None:
    assert QueueSpec(name="leaf").policy is Policy.FAIR


# ---- 3: dominant resource fairness


def test_3_neediness_looks_only_at_the_dominant_resource() -> None:
    # What "promised" lacks of its minimum of memory does not count: its dominant resource is vcores.
    s = Scenario(queues(queue("other"), queue("promised", min_share=amounts(1, "8G")), policy="drf"))
    s.add_node("n1", cpus=4, memory="16G")
    other, promised = s.submit("other"), s.submit("promised")
    s.ask(other, 100)
    s.ask(promised, 100)

    s.settle()

    assert (s.running(other), s.running(promised)) == (2, 2)


def test_3_each_queues_own_usage_says_which_resource_is_dominant() -> None:
    # Both are promised 4 vcores. Those of "computes" are dominant, so it is needy up to 4; the dominant resource of
    # "remembers" is memory, of which it is promised nothing: it is not needy once it uses any.
    s = Scenario(
        queues(
            queue("computes", min_share=amounts(4)),
            queue("remembers", min_share=amounts(4)),
            queue("plain"),
            policy="drf",
        )
    )
    s.add_node("n1", cpus=8, memory="16G")
    computes, remembers, plain = s.submit("computes"), s.submit("remembers"), s.submit("plain")
    s.ask(remembers, 1, cpus=1, memory="4G")
    s.settle()
    s.ask(computes, 1, cpus=2, memory="1G")
    s.settle()
    s.ask(computes, 5, cpus=1, memory="1G")
    s.ask(remembers, 5, cpus=1, memory="4G")
    s.ask(plain, 5, cpus=1, memory="1G")

    # 2 and 3 of 4: needy. Then shares of the cluster: 4/8, 4/16 and 0, 1/8, 2/8, where the name decides.
    assert takers(s, computes, remembers, plain) == "aaccc"


# ---- 4: several containers in one visit


def test_4_the_dynamic_rule_goes_on_until_more_than_half_of_what_was_free_is_assigned() -> None:
    s = Scenario(queues(queue("all")), options=SchedulerOptions(dynamic_max_assign=True))
    s.add_node("n1", cpus=8, memory="8G")
    s.ask(s.submit("all"), 100)

    # Checked after assigning: of 8 free 5, of the 3 left 2, then the last.
    assert [len(s.visit("n1")) for _ in range(4)] == [5, 2, 1, 0]


# ---- 5: reservations


def test_5_an_application_that_has_its_fair_share_reserves_nothing() -> None:
    s, small, large = large_behind_small()
    s.end(large)
    s.update_shares()
    s.ask(small, 1, memory="3G")
    s.add_node("n2", cpus=1, memory="1G")

    assert not any(isinstance(one, NodeReserved) for one in s.handle(NodeUpdate("n1")))


def test_5_an_application_of_a_queue_below_its_minimum_share_reserves_though_it_has_its_fair_share() -> None:
    # Before shares are worked out everybody's is nothing, and nobody is below it.
    def visited(**promised: Any) -> list[str]:
        s = Scenario(queues(queue("a"), queue("b", **promised)), options=SchedulerOptions(reservable_nodes=1.0))
        s.add_node("n1", cpus=4, memory="4G")
        s.ask(s.submit("a"), 4)
        s.settle()
        s.ask(s.submit("b"), 1, memory="3G")
        s.visit("n1")
        return reserved(s)

    assert visited() == []
    assert visited(min_share=amounts(1, "3G")) == ["n1"]
    # Promised is something that it does not ask for.
    assert visited(min_share=amounts(gpus=1)) == []


def test_5_a_request_below_the_threshold_reserves_nothing() -> None:
    s, _, _ = large_behind_small(SchedulerOptions(reservable_nodes=0.05, reservation_threshold=amounts(4, "4G")))

    assert s.handle(NodeUpdate("n1")) == []


def test_5_nothing_is_reserved_where_preempted_space_is_kept_for_the_application() -> None:
    s, _ = full_of_greedy(hungry("starved"), options=SchedulerOptions(reservable_nodes=1.0), nodes=2)
    starve(s, s.submit("starved"), count=1, cpus=4, memory="4G")

    s.visit("n1", "n2")

    assert reserved(s) == ["n2"]


@pytest.mark.parametrize(("ratio", "most"), [(0.05, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_5_an_application_reserves_at_most_its_part_of_the_nodes_rounded_up(ratio: float, most: int) -> None:
    s, _, _ = large_behind_small(SchedulerOptions(reservable_nodes=ratio), nodes=4)

    s.visit("n1", "n2", "n3", "n4")

    assert len(reserved(s)) == most


def test_5_requests_for_a_node_may_reserve_it_whatever_that_part_and_those_for_a_rack_their_part_of_it() -> None:
    def reserved_for(*places: str) -> list[str]:
        s = Scenario(queues(queue("a"), queue("b")), options=SchedulerOptions(reservable_nodes=0.5))
        for number, rack in enumerate(("/r1", "/r1", "/r2", "/r2"), start=1):
            s.add_node(f"n{number}", cpus=4, memory="4G", rack=rack)
        s.ask(s.submit("a"), 16)
        s.settle()
        s.request(s.submit("b"), *(request(4, memory="3G", where=place) for place in places))
        s.update_shares()
        s.visit("n1", "n2", "n3", "n4")
        return reserved(s)

    assert reserved_for("*") == ["n1", "n2"]  # 4 × 0.5
    assert reserved_for("n1", "n2", "n3", "*") == ["n1", "n2", "n3"]
    assert reserved_for("/r1", "/r2", "*") == ["n1", "n3"]  # 2 × 0.5 in each


def test_5_a_stale_reservation_goes_at_the_next_visit_of_its_node() -> None:
    s, small, large = large_behind_small()
    s.visit("n1")
    free_one(s, small)
    s.handle(BlacklistChanged(large.application, frozenset({"n1"})))
    assert reserved(s) == ["n1"]

    commands = s.handle(NodeUpdate("n1"))

    assert isinstance(commands[0], NodeUnreserved)
    assert s.running(small) == 4


def test_5_a_valid_reservation_holds_the_node() -> None:
    s, small, _ = large_behind_small()
    s.visit("n1")
    free_one(s, small)

    assert s.visit("n1") == []
    assert s.reason(small) == "reserved_for_others"


# ---- 6: delay scheduling


def test_6_the_counter_rises_before_it_is_compared_and_must_be_strictly_above_the_threshold() -> None:
    s, _ = wishes_for_n1(PATIENT)

    # 1 and 2 are not above 4 × 0.5; the third visit raises it to 3.
    assert visits_until_placed(s, "n2") == 3


def test_6_after_the_nodes_the_counter_begins_anew_for_the_racks() -> None:
    s, _ = wishes_for_n1(PATIENT)

    assert visits_until_placed(s, "n3") == 3 + 3


def test_6_at_the_first_look_only_its_nodes_will_do_however_small_the_threshold() -> None:
    s, _ = wishes_for_n1(SchedulerOptions(node_locality_threshold=0, rack_locality_threshold=0))

    # 1 is above 4 × 0 already; yet the rack comes with the second look, and anywhere with the third.
    assert visits_until_placed(s, "n3") == 3


def test_6_a_negative_threshold_means_that_nothing_waits() -> None:
    s, _ = wishes_for_n1(SchedulerOptions(node_locality_threshold=0.5, rack_locality_threshold=-1))

    assert visits_until_placed(s, "n4") == 1


def test_6_a_request_for_anywhere_alone_never_waits() -> None:
    s, app = wishes_for_n1(PATIENT, count=0)
    s.ask(app)

    assert visits_until_placed(s, "n4") == 1


# ---- 7: masters in containers


def masters(max_am_share: float | None, count: int) -> tuple[Scenario, list[AttemptId]]:
    s = Scenario(queues(queue("all", max_am_share=max_am_share)))
    s.add_node("n1", cpus=10, memory="10G")
    apps = [s.submit("all") for _ in range(count)]
    s.update_shares()
    for app in apps:
        s.ask(app, for_master=True)
    return s, apps


def test_7_masters_use_at_most_their_part_of_the_fair_share_rounded_up() -> None:
    s, apps = masters(0.25, 5)

    s.settle()

    # 25 % of 10 vcores is 2.5, rounded up 3; of 10 GiB 2.5 GiB: two masters of one vcore and 1 GiB.
    assert [s.running(app) for app in apps] == [1, 1, 0, 0, 0]
    assert s.reason(apps[2]) == "queue_am_share"


def test_7_what_is_not_a_master_may_use_the_whole_queue() -> None:
    s, apps = masters(0.1, 2)
    s.ask(apps[0], 8)

    s.settle()

    assert s.running(apps[0]) == 9


def test_7_without_the_limit_masters_may_use_the_whole_queue() -> None:
    s, apps = masters(None, 5)

    s.settle()

    assert sum(s.running(app) for app in apps) == 5


def test_7_a_masters_part_stays_in_use_until_its_attempt_is_over() -> None:
    s, apps = masters(0.1, 2)
    s.settle()

    s.finish(s.containers(apps[0])[0])
    assert s.settle() == []

    s.end(apps[0])
    s.settle()
    assert s.running(apps[1]) == 1


@pytest.mark.parametrize(("max_share", "masters"), [(None, 2), (amounts(2, "2G"), 1)])
def test_7_where_the_share_is_zero_what_the_cluster_has_free_counts_up_to_the_max_share(
    max_share: Any, masters: int
) -> None:
    s = Scenario(queues(queue("all", max_am_share=0.5, max_share=max_share), queue("other")))
    s.add_node("n1", cpus=8, memory="8G")
    s.ask(s.submit("other"), 3)
    s.settle()
    apps = [s.submit("all") for _ in range(4)]
    for app in apps:
        s.ask(app, for_master=True)

    s.visit("n1")

    # No share is worked out yet. 5 are free: 2.5 for masters; with one running 4, so 2; with two 3, so 1.5.
    assert sum(s.running(app) for app in apps) == masters


# ---- 8: limits on running applications


def test_8_an_end_starts_one_by_the_slack_of_the_queue_and_one_by_the_slack_of_the_user_oldest_first() -> None:
    s = Scenario(queues(queue("narrow", max_running_apps=1), queue("wide"), max_running_apps_per_user=1))
    ends = s.submit("narrow", user="ada")
    by_user = s.submit("wide", user="ada")
    by_queue = s.submit("narrow", user="bob")
    neither = s.submit("narrow", user="cy")

    commands = s.end(ends)

    assert s.activated_after(commands) == [by_user.application, by_queue.application]
    assert s.reason(neither) == "queue_max_running_apps"


# ---- 9: preemption


def test_9_starved_is_who_has_less_than_threshold_times_fair_share() -> None:
    # Its fair share is 4 of 8, half of that 2.
    s, _ = full_of_greedy(hungry("starved", fair_share_preemption_threshold=0.5))

    assert len(starve(s, s.submit("starved"))) == 2


def test_9_or_less_than_its_demand_if_that_is_less() -> None:
    s, _ = full_of_greedy(hungry("starved"))

    assert len(starve(s, s.submit("starved"), count=1)) == 1


def test_9_starvation_is_per_application_not_per_queue() -> None:
    # The queue has all; the second of its applications has nothing of its half.
    s, greedy = full_of_greedy(greedy=hungry("greedy"))

    warned = starve(s, s.submit("greedy"))

    assert {one.container_id.attempt for one in warned} == {greedy}
    assert len(warned) == 4


def test_9_under_drf_the_dominant_share_says_who_is_starved() -> None:
    s = Scenario(queues(queue("greedy", policy="drf"), hungry("starved", policy="drf"), policy="drf"))
    s.add_node("n1", cpus=8, memory="64G", gpus=4)
    greedy = s.submit("greedy")
    s.ask(greedy, 4, gpus=1)
    s.settle()

    warned = starve(s, s.submit("starved"), gpus=1)

    # Half of the GPUs; of vcores and memory there is enough.
    assert len(warned) == 2


def test_9_no_application_falls_below_its_fair_share_counting_what_is_marked_already() -> None:
    # Three containers of 3 GiB on 9: fair shares are 4.5, so one may go (6 are left) and a second may not.
    s = Scenario(queues(queue("greedy"), hungry("starved")))
    s.add_node("n1", cpus=9, memory="9G")
    greedy = s.submit("greedy")
    s.ask(greedy, 3, cpus=3, memory="3G")
    s.settle()

    warned = starve(s, s.submit("starved"), cpus=1, memory="1G")

    assert len({one.container_id for one in warned}) == 1
    assert s.preempt() == []


def test_9_all_victims_for_one_request_run_on_one_node() -> None:
    s, _ = full_of_greedy(hungry("starved"), nodes=2)

    warned = starve(s, s.submit("starved"), count=1, cpus=4, memory="4G")

    assert len(warned) == 4
    assert len({one.node_id for one in warned}) == 1


# ---- 10: what a reservation is not


def test_10_a_reservation_is_no_usage_of_the_queue() -> None:
    s, _, large = large_behind_small()

    s.visit("n1")

    assert reserved(s) == ["n1"]
    assert s.used("b") == amounts()
    assert s.running(large) == 0


# ---- 11: names and policies


@pytest.mark.parametrize(("named", "queue_path"), [(None, "usual"), ("default", "usual"), ("root.default", "default")])
def test_11_only_bare_default_means_that_no_queue_is_named(named: str | None, queue_path: str) -> None:
    tree = dict(queues(queue("usual"), queue("default")).walk())
    placed = Placer(PlacementPolicy(default_queue="usual"), tree.get).place(named, Submitter(user="ada"))

    assert placed is not None
    assert placed.queue == queue_path


@pytest.mark.parametrize(("above", "below"), [("fair", "drf"), ("fifo", "fair")])
def test_11_a_policy_that_is_not_allowed_under_its_parents_makes_no_queue(above: str, below: str) -> None:
    with pytest.raises(InvalidInput):
        queue("above", queue("below", policy=below), policy=above)


def test_11_a_reload_that_is_refused_leaves_all_old_policies() -> None:
    def tree(*below_used: QueueSpec, policy: str) -> QueueSpec:
        return queues(queue("line", policy=policy), queue("used", *below_used))

    s = Scenario(tree(policy="fifo"))
    s.add_node("n1", cpus=2, memory="2G")
    s.submit("used")
    first, second = s.submit("line"), s.submit("line")
    s.ask(first, 2)
    s.ask(second, 2)

    with pytest.raises(InvalidInput):
        s.reload(tree(queue("below"), policy="fair"))

    assert takers(s, first, second) == "aa"
