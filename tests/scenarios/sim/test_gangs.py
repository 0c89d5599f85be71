"""Gangs under virtual time."""

from __future__ import annotations

from hrm.model.scheduling import SchedulerOptions
from hrm.sim.workload import FOREVER, Fault
from tests.scenarios.sim.stories import ends, job, play, workload


def test_all_of_a_gang_begins_when_all_of_it_fits() -> None:
    simulation = play(workload(job("x", run_s=4), job("gang", at=1, tasks=4, gang=True), nodes=2))

    assert ends(simulation) == {"x": 4, "gang": 14}
    assert simulation.gangs == 1


def test_small_jobs_that_come_again_and_again_keep_a_gang_waiting_only_until_it_gathers() -> None:
    small = [job(f"small{number}", at=number * 0.5, run_s=4, in_queue="b") for number in range(200)]
    gang = job("gang", at=10.2, tasks=4, gang=True)

    with_gathering = play(workload(*small, gang, nodes=2))
    without = play(workload(*small, gang, nodes=2, options=SchedulerOptions(gang_gather_timeout_s=0)))

    # Small ones begin at 8, 8.5, 9 and 9.5 s; from 10.5 s on it keeps both nodes, and the last of them ends at 13.5 s.
    assert ends(with_gathering)["gang"] == 23.5
    assert ends(without)["gang"] > 100, "when the last small ones have ended"
    assert with_gathering.gathered == 2


def test_a_gang_that_gathers_in_vain_lets_the_others_have_the_nodes_after_its_time() -> None:
    endless = job("endless", run_s=FOREVER)
    gang = job("gang", at=1, tasks=4, gang=True, in_queue="b")
    late = job("late", at=2, run_s=1)
    simulation = play(workload(endless, gang, late, nodes=2, options=SchedulerOptions(gang_gather_timeout_s=60)))

    # It gathers from 1.5 s on.
    assert ends(simulation)["late"] == 62.5


def test_a_node_that_fails_interrupts_the_whole_gang() -> None:
    gang = job("gang", tasks=4, gang=True)
    simulation = play(workload(gang, nodes=3, faults=(Fault(4.0, "n0", 1000.0),)))

    assert ends(simulation) == {"gang": 14}
    assert simulation.gangs == 2
    assert simulation.lost == 1, "the others were stopped for it"


def test_a_gang_that_no_cluster_like_this_holds_is_refused() -> None:
    simulation = play(workload(job("x"), job("gang", tasks=4, gang=True, tasks_per_node=1), nodes=3))

    assert [one.name for one in simulation.refused] == ["gang"]
