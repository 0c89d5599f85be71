"""A live cluster as a workload: what is taken over, and how run times are estimated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hrm.model.devices import DeviceState
from hrm.model.errors import InvalidInput
from hrm.model.reports import (
    DeviceReport,
    HeldReport,
    NodeReport,
    QueueReport,
    TaskAttemptReport,
    WaitingReport,
    WorkReport,
)
from hrm.model.resources import Resources
from hrm.model.states import NodeState, TaskState
from hrm.sim.whatif import Estimator, Source, closed_nodes, live_jobs, live_nodes, live_queues, more_nodes
from hrm.sim.workload import make_workload
from tests.scenarios.sim.stories import ends, play

ONE = {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 0}
NOW = 10_000.0


def work(*, holding: list[HeldReport] | None = None, waiting: list[WaitingReport] | None = None) -> WorkReport:
    return WorkReport(
        application_id="application_1_0007",
        name="train",
        user="ada",
        queue="a",
        priority=0,
        submitted_at=NOW - 500,
        waiting=waiting or [],
        holding=holding or [],
    )


def held(
    *, ran_s: float, progress: float | None = None, timeout_s: float | None = None, node: str = "n1"
) -> HeldReport:
    return HeldReport(
        container_id="c",
        node_id=node,
        resources=ONE,
        device_ids=[],
        since=NOW - ran_s,
        progress=progress,
        timeout_s=timeout_s,
    )


def waiting(containers: int = 1, timeout_s: float | None = None) -> WaitingReport:
    return WaitingReport(containers=containers, resources=ONE, gpu_model=None, priority=0, timeout_s=timeout_s)


def past(took_s: float, *, name: str = "train", user: str = "ada", exit_code: int = 0) -> TaskAttemptReport:
    return TaskAttemptReport(
        application_id="application_1_0001",
        name=name,
        user=user,
        queue="a",
        task_index=0,
        attempt=1,
        container_id="c",
        node_id="n1",
        resources=ONE,
        device_ids=[],
        allocated_at=0.0,
        started_at=0.0,
        ended_at=took_s,
        exit_code=exit_code,
        state=TaskState.SUCCEEDED,
        message="",
        cpu_s=None,
        max_rss_mib=None,
    )


def node(name: str, state: NodeState = NodeState.RUNNING, devices: tuple[DeviceState, ...] = ()) -> NodeReport:
    return NodeReport(
        node_id=name,
        state=state,
        rack="/r",
        total={"memory_mib": 4096, "vcores_milli": 2000, "gpus_milli": 1000 * len(devices)},
        used={},
        devices=[
            DeviceReport(device_id=f"{name}/{i}", index=i, model="V100", virtual=True, free_milli=0, state=one)
            for i, one in enumerate(devices)
        ],
        isolation="",
        containers=0,
        last_heartbeat_at=None,
        memory_used_mib=None,
        cpu_used_milli=None,
        disk_free_mib=None,
        message="",
    )


def test_a_task_that_tells_its_progress_goes_on_at_its_pace() -> None:
    assert Estimator().run_s(work(), None, ran_s=30, progress=0.25) == 120


def test_else_it_takes_as_long_as_tasks_of_that_name_and_user() -> None:
    estimator = Estimator.of([past(100), past(200), past(300), past(7, user="bob"), past(9, exit_code=1)])
    assert estimator.run_s(work(), 1000) == 200
    # One that has run for longer than most is like those that took longer still.
    assert estimator.run_s(work(), 1000, ran_s=250) == 300
    # And one that has run longer than all may run until its limit.
    assert estimator.run_s(work(), 1000, ran_s=400) == 1000
    assert estimator.used == {Source.HISTORY: 2, Source.TIME_LIMIT: 1}


def test_without_anything_known_it_is_an_hour_longer() -> None:
    assert Estimator().run_s(work(), None, ran_s=60) == 3660
    assert Estimator.of([past(50, name="other")]).run_s(work(), None) == 50


def test_what_runs_goes_on_where_it_is_and_the_rest_waits() -> None:
    nodes = live_nodes([node("n1")])
    one = work(holding=[held(ran_s=30, progress=0.5)], waiting=[waiting(2)])
    estimator = Estimator()
    jobs = live_jobs([one], estimator, nodes, NOW)
    simulation = play(make_workload("live", nodes, jobs))
    # 30 of 60 s are left; two that wait take as long as the one that runs, one of them beside it, one after it.
    assert ends(simulation) == {"application_1_0007": 90}
    assert estimator.used == {Source.PROGRESS: 1, Source.SIBLINGS: 2}


def test_what_runs_on_a_node_that_is_gone_waits_again() -> None:
    nodes = live_nodes([node("n1"), node("n2", NodeState.LOST)])
    (job,) = live_jobs([work(holding=[held(ran_s=30, timeout_s=60, node="n2")])], Estimator(), nodes, NOW)
    assert (job.running, job.tasks) == ((), 1)


def test_nodes_lend_what_they_lend_and_drained_ones_take_nothing_new() -> None:
    reports = [node("n1", devices=(DeviceState.LENT, DeviceState.SICK)), node("n2", NodeState.DRAINING)]
    first, second = live_nodes(reports)
    assert (first.total.gpus_milli, [device.device_id for device in first.devices]) == (1000, ["n1/0"])
    assert closed_nodes(reports) == ("n2",)
    jobs = live_jobs([work(waiting=[waiting(4, timeout_s=10)])], Estimator(), (first, second), NOW)
    simulation = play(make_workload("live", (first, second), jobs, closed=("n2",)))
    assert simulation.now == 20


def test_what_waits_for_attributes_or_a_label_is_placed_on_nodes_that_have_them() -> None:
    reports = [
        replace(node("n1"), attributes={"os": "debian12"}),
        replace(node("n2"), attributes={"os": "debian11"}, label="tape", exclusive=False),
    ]
    nodes = live_nodes(reports)
    wanted = [
        replace(waiting(2, timeout_s=10), constraint="os=debian11"),
        replace(waiting(2, timeout_s=10), node_label="tape"),
    ]
    jobs = live_jobs([work(waiting=wanted)], Estimator(), nodes, NOW)

    simulation = play(make_workload("live", nodes, jobs))

    # All four on n2, two at a time.
    assert simulation.now == 20


def test_a_cluster_without_nodes_is_told() -> None:
    with pytest.raises(InvalidInput, match="no nodes now"):
        live_nodes([node("n1", NodeState.LOST)])


def test_queues_are_those_that_the_server_tells() -> None:
    def queue(name: str, parent: str | None, **more: Any) -> QueueReport:
        plain: dict[str, Any] = {
            "policy": "fair",
            "weight": 1.0,
            "used": {},
            "demand": {},
            "fair_share": {},
            "steady_fair_share": {},
            "min_share": {},
            "max_share": None,
            "max_running_apps": None,
            "applications_running": 0,
            "applications_pending": 0,
            "containers_running": 0,
            "containers_pending": 0,
        }
        return QueueReport(name=name, parent=parent, **(plain | more))

    tree = live_queues(
        [queue("root", None, policy="drf"), queue("a", "root", weight=3.0), queue("a.x", "a", max_share=ONE)]
    )
    assert [(path, spec.weight) for path, spec in tree.walk()] == [("root", 1.0), ("a", 3.0), ("a.x", 1.0)]
    assert dict(tree.walk())["a.x"].max_share == Resources(1024, 1000)


def test_more_nodes_are_like_the_largest_or_of_a_size_that_is_said() -> None:
    nodes = live_nodes([node("n1"), node("n2", devices=(DeviceState.LENT,))])
    assert [one.total for one in more_nodes(nodes, "2")[2:]] == [nodes[1].total] * 2
    added = more_nodes(nodes, "1:cpus=8,memory=16G,gpus=2,model=A100")[2]
    assert (added.total, added.devices[0].model) == (Resources(16384, 8000, 2000), "A100")
    for wrong in ("many", "0", "1:cores=4", "1:cpus=x"):
        with pytest.raises(InvalidInput):
            more_nodes(nodes, wrong)
