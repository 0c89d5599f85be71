"""The scheduler under virtual time: stories with times that can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from hrm.core.applications import Shape
from hrm.core.invariants import check_invariants
from hrm.core.nodes import Node
from hrm.core.strategies import PlacementStrategy, Score
from hrm.model.errors import InvalidInput
from hrm.model.scheduling import SchedulerOptions, Victims
from hrm.sim.distributions import parse_distribution
from hrm.sim.generate import Plan, generate
from hrm.sim.report import make_report
from hrm.sim.simulation import Progress, Simulation
from hrm.sim.workload import FOREVER, Fault, Move, Running
from hrm.testing.builders import amounts, queue, queues
from tests.scenarios.sim.stories import TREE, ends, job, play, workload

PREEMPTING = queues(queue("a"), queue("b"), fair_share_preemption_timeout_s=5.0, fair_share_preemption_threshold=1.0)


def test_jobs_that_fit_together_run_together() -> None:
    assert ends(play(workload(job("x"), job("y", in_queue="b")))) == {"x": 10, "y": 10}


def test_what_does_not_fit_begins_when_something_ends() -> None:
    assert ends(play(workload(job("x", tasks=2), job("y", at=3, run_s=4)))) == {"x": 10, "y": 14}


def test_a_job_is_over_with_its_last_task() -> None:
    assert ends(play(workload(job("x", tasks=5)))) == {"x": 30}


def test_a_queue_below_its_share_comes_first() -> None:
    first = job("x", tasks=6)
    # From 10 s on each queue has one of the two places, until the second has what it wants.
    assert ends(play(workload(first, job("y", at=1, in_queue="b", tasks=2)))) == {"x": 40, "y": 30}


def test_a_task_on_a_node_that_fails_begins_anew() -> None:
    lost = play(workload(job("x"), faults=(Fault(4.0, "n0", 100.0),)))
    assert ends(lost) == {"x": 114}
    assert (lost.lost, lost.apps[0].lost) == (1, 1)


def test_it_goes_on_from_its_last_checkpoint() -> None:
    saved = play(workload(job("x", checkpoint_s=3), faults=(Fault(8.0, "n0", 100.0),)))
    # Six of ten seconds are saved.
    assert ends(saved) == {"x": 112}


def test_a_node_that_fails_twice_is_gone_until_the_later_end() -> None:
    faults = (Fault(1.0, "n0", 10.0), Fault(5.0, "n0", 20.0))
    assert ends(play(workload(job("x"), faults=faults))) == {"x": 35}


def test_a_job_that_is_moved_goes_by_the_rules_of_its_new_queue() -> None:
    closed = queues(queue("a"), queue("b", max_running_apps=0))
    moved = play(workload(job("x", in_queue="b"), tree=closed, moves=(Move(5.0, "x", "a"),)))
    assert (ends(moved), moved.moved) == ({"x": 15}, 1)


def test_a_queue_that_does_not_take_a_job_leaves_it_where_it_is() -> None:
    closed = queues(queue("a"), queue("b", max_running_apps=0))
    refused = play(workload(job("x"), tree=closed, moves=(Move(5.0, "x", "b"),)))
    assert (ends(refused), refused.moved) == ({"x": 10}, 0)


def test_who_is_starved_gets_what_others_are_made_to_give_up() -> None:
    story = workload(job("x", run_s=100, tasks=2), job("y", at=10, in_queue="b"), tree=PREEMPTING, preempt_every_s=1.0)
    played = play(story)
    # Seen as starved at 11 s, warned at 16 s, killed at 31 s; then it runs for 10 s.
    assert ends(played)["y"] == 41
    assert (played.warned, played.killed, played.apps[0].preempted) == (1, 1, 1)
    # The task that was killed had run for 31 s in vain.
    assert ends(played)["x"] == 141


def test_who_was_warned_is_spared_where_room_comes_about_by_itself() -> None:
    full = (job("x", run_s=100, tasks=2), job("z", run_s=20))
    story = workload(*full, job("y", at=10, in_queue="b"), cpus=3, memory="3G", tree=PREEMPTING, preempt_every_s=1.0)
    played = play(story)
    # Warned at 16 s, to be killed at 31 s; at 20 s there is room.
    assert ends(played) == {"z": 20, "y": 30, "x": 100}
    assert (played.warned, played.spared, played.killed) == (1, 1, 0)


def test_a_job_that_checkpoints_saves_when_it_is_warned_and_gives_back_at_once() -> None:
    story = workload(
        job("x", run_s=100, tasks=2, checkpoint_s=50),
        job("y", at=10, in_queue="b"),
        tree=PREEMPTING,
        preempt_every_s=1.0,
    )
    played = play(story)
    assert ends(played) == {"x": 110, "y": 26}


def test_victims_are_those_that_lose_least_work() -> None:
    story = workload(
        job("old", run_s=200, tasks=2),
        job("new", at=5, run_s=200, tasks=2),
        job("y", at=50, in_queue="b"),
        cpus=4,
        memory="4G",
        tree=PREEMPTING,
        preempt_every_s=1.0,
        options=SchedulerOptions(victims=Victims.LEAST_WORK_LOST),
    )
    played = play(story)
    assert [app.preempted for app in played.apps] == [0, 1, 0]


def test_a_request_waits_for_the_place_it_would_like() -> None:
    options = SchedulerOptions(node_locality_threshold=0.9, rack_locality_threshold=0.9)
    blocker = job("blocker", run_s=30, cpus=2, memory="2G", host="n0")
    wishes = job("wishes", at=1, host="n0")
    at_once = play(workload(blocker, wishes, nodes=2))
    waits = play(workload(blocker, wishes, nodes=2, options=options))
    assert ends(at_once)["wishes"] == 11
    # A heartbeat of the other node with room is an opportunity; the second is more than 2 × 0.9.
    assert ends(waits)["wishes"] == 13


def test_what_runs_already_goes_on_where_it_is() -> None:
    running = job("x", run_s=10, running=(Running(group=0, node_id="n0", ran_s=4.0),))
    assert ends(play(workload(running, job("y", cpus=2)))) == {"x": 6, "y": 16}


def test_a_request_that_no_node_could_hold_is_refused_and_told() -> None:
    report = make_report(play(workload(job("huge", cpus=3), job("x"))))
    assert (report.jobs, report.finished, report.refused) == (2, 1, 1)
    assert [(one.job, one.reason) for one in report.problems] == [("huge", "never_fits")]
    assert "2 vcores" in report.problems[0].message


def test_what_waits_for_ever_is_told_with_its_reason() -> None:
    tree = queues(queue("a", max_share=amounts(cpus=1, memory="1G")), queue("b"))
    report = make_report(play(workload(job("x", memory="2G"), tree=tree, preempt_every_s=1.0)))
    assert (report.unfinished, [one.reason for one in report.problems]) == (1, ["queue_max_share"])


def test_virtual_time_may_be_limited() -> None:
    simulation = Simulation(workload(job("x"), job("y", at=100)), until_s=50.0)
    simulation.run()
    report = make_report(simulation)
    assert (report.finished, report.unfinished, report.makespan_s) == (1, 1, 50.0)


def test_containers_that_run_on_do_not_keep_it_from_ending() -> None:
    simulation = play(workload(job("x", run_s=FOREVER)))
    assert (simulation.now, len(simulation.recorder.grants)) == (0.0, 1)


def test_broken_off_it_keeps_what_there_is() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.over and not simulation.interrupted:
            raise KeyboardInterrupt

    simulation = Simulation(workload(*(job(f"x{number}", at=number) for number in range(600))))
    simulation.run(interrupt)
    report = make_report(simulation)
    assert report.partial
    assert 0 < report.finished < 600


def test_equal_seeds_make_equal_runs_and_others_other_ones() -> None:
    plan = Plan(
        nodes=5,
        apps=40,
        containers=200,
        arrivals=parse_distribution("exponential:10s", field=""),
        run_time=parse_distribution("lognormal:5m,1", field=""),
        preempt_after_s=30.0,
        mtbf_s=20_000.0,
        faults_until_s=3600.0,
    )
    one, same, other = (make_report(play(generate(plan, seed))) for seed in (1, 1, 2))
    assert one == same
    assert one.digest != other.digest
    assert one.lost > 0


def test_the_books_balance_after_a_run_with_everything() -> None:
    plan = Plan(
        nodes=4,
        queues=12,
        apps=60,
        containers=300,
        racks=2,
        gpu_models=("A100", "V100"),
        arrivals=parse_distribution("uniform:0..20s", field=""),
        run_time=parse_distribution("pareto:1m,1.5", field=""),
        preempt_after_s=20.0,
        mtbf_s=10_000.0,
        faults_until_s=7200.0,
        checkpoint_s=60.0,
        options=SchedulerOptions(reservable_nodes=0.5, victims=Victims.LEAST_WORK_LOST),
    )
    simulation = play(generate(plan, 3))
    check_invariants(simulation.scheduler)
    assert simulation.over == 60
    assert not any(math.isnan(end) for end in simulation.recorder.grants.ended_at)


def test_jobs_for_a_queue_that_is_not_there_are_refused() -> None:
    with pytest.raises(InvalidInput, match="use one of: a, b"):
        workload(job("x", in_queue="nowhere"), tree=TREE)


def test_a_strategy_of_another_package_places_and_ends_the_simulation_when_it_fails() -> None:
    class Last(PlacementStrategy):
        def score(self, node: Node, shape: Shape) -> Score:
            if shape.vcores > 1000:
                raise RuntimeError("no sensor")
            return -int(node.node_id[1:])

    own = SchedulerOptions(placement_strategy="own")
    strategies = {"own": Last}
    well = Simulation(replace(workload(job("x"), nodes=3), options=own), strategies=strategies)
    well.run()
    assert list(well.recorder.grants.node) == [2]

    sick = Simulation(replace(workload(job("x", cpus=2), nodes=3), options=own), strategies=strategies)
    with pytest.raises(InvalidInput, match="strategy 'own' failed: RuntimeError: no sensor"):
        sick.run()


def test_broken_off_while_a_row_is_written_it_keeps_the_rows_before() -> None:
    simulation = Simulation(workload(job("x", tasks=3), cpus=4))

    class Row(list):  # type: ignore[type-arg]
        def append(self, what: object) -> None:
            if len(self) == 2:
                raise KeyboardInterrupt
            super().append(what)

    simulation.recorder.grants.device_ids = Row()
    simulation.run()
    assert (make_report(simulation).partial, make_report(simulation).allocations) == (True, 2)


def test_an_opportunistic_job_gives_way_at_once_and_begins_again_when_there_is_room() -> None:
    scavenger = replace(job("x", run_s=10), opportunistic=True)
    played = play(workload(scavenger, job("y", at=4, in_queue="b", tasks=2, run_s=10)))
    # The node has room for two: it loses four seconds of work, and waits for the ten of the other two.
    assert ends(played) == {"x": 24, "y": 14}
    assert (played.killed, played.apps[0].preempted) == (1, 1)
