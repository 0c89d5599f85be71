"""Room that somebody may use is used at once, wherever it is and however it came about."""

from __future__ import annotations

from hrm.model.queues import QueueSpec
from hrm.model.scheduling import SchedulerOptions
from hrm.sim.simulation import Simulation
from hrm.testing.builders import amounts, queue, queues
from tests.scenarios.sim.stories import job, play, workload

#: What ends in the one queue makes room below the limit for the other.
LIMITED = queues(queue("p", queue("a"), queue("b"), max_share=amounts(4, "4G")), queue("other"))


def started(simulation: Simulation, name: str) -> float:
    app = next(app for app in simulation.apps if app.job.name == name)
    return app.first_start_at


def full_of(tree: QueueSpec, in_queue: str = "p.b", **more: object) -> Simulation:
    """Of three nodes of 4 CPUs the first has two in use, one of them until 10 s. The large job fits on the others."""
    return play(
        workload(
            job("short", in_queue="p.a"),
            job("long", in_queue="other", run_s=1000),
            job("large", at=1, in_queue=in_queue, cpus=4, memory="4G"),
            nodes=3,
            cpus=4,
            memory="4G",
            tree=tree,
            **more,  # type: ignore[arg-type]
        )
    )


def test_what_a_max_share_kept_out_is_placed_on_another_node_as_soon_as_the_limit_lets_it_in() -> None:
    assert started(full_of(LIMITED), "large") == 10


def test_also_where_a_strategy_chooses_the_node() -> None:
    assert started(full_of(LIMITED, options=SchedulerOptions(placement_strategy="pack")), "large") == 10


def test_also_where_the_limit_that_is_nearer_was_reached_as_well() -> None:
    # The queue's own limit turns it down first, and is not reached any more at the same moment.
    both = queues(
        queue("p", queue("a", max_share=amounts(4, "4G")), queue("b"), max_share=amounts(4, "4G")), queue("other")
    )
    assert started(full_of(both, "p.a"), "large") == 10


def test_space_that_was_kept_for_somebody_who_found_room_elsewhere_goes_to_others_at_once() -> None:
    tree = queues(
        queue("a"),
        queue("b", fair_share_preemption_timeout_s=1.0, fair_share_preemption_threshold=1.0),
        queue("c"),
    )
    played = play(
        workload(
            job("rich", run_s=500, tasks=3),
            job("stays", at=0.1, run_s=500, cpus=2, memory="2G"),
            job("ends", at=0.2, run_s=19.8, cpus=2, memory="2G"),
            job("starved", at=2, in_queue="b", cpus=2, memory="2G", run_s=100),
            job("small", at=8, in_queue="c", run_s=100),
            nodes=2,
            cpus=4,
            memory="4G",
            tree=tree,
            preempt_every_s=1.0,
            options=SchedulerOptions(preemption_utilization_threshold=0.0, wait_before_kill_s=60.0),
        )
    )
    # One CPU of n0 is free, and kept for the starved one until it begins on n1.
    assert started(played, "starved") == 20
    assert started(played, "small") == 20
    assert played.spared == 1
