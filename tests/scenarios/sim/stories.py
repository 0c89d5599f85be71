"""Small workloads in few words."""

from __future__ import annotations

from hrm.model.queues import QueueSpec
from hrm.model.resources import Resources
from hrm.sim.simulation import Simulation
from hrm.sim.workload import Fault, Job, Running, TaskGroup, Workload, in_order
from hrm.testing.builders import node, queue, queues

TREE = queues(queue("a"), queue("b"))


def job(
    name: str,
    *,
    at: float = 0.0,
    run_s: float = 10.0,
    tasks: int = 1,
    cpus: float = 1,
    memory: str = "1G",
    gpus: float = 0,
    in_queue: str = "a",
    host: str = "",
    checkpoint_s: float | None = None,
    running: tuple[Running, ...] = (),
    gang: bool = False,
    tasks_per_node: int | None = None,
) -> Job:
    resources = Resources.parse(cpus=cpus, memory=memory, gpus=gpus)
    group = TaskGroup(resources=resources, run_s=(run_s,), tasks=tasks, host=host)
    return Job(
        name=name,
        submit_s=at,
        groups=(group,),
        queue=in_queue,
        checkpoint_s=checkpoint_s,
        running=running,
        gang=gang,
        tasks_per_node=tasks_per_node,
    )


def workload(
    *jobs: Job,
    nodes: int = 1,
    cpus: float = 2,
    memory: str = "2G",
    gpus: int = 0,
    tree: QueueSpec = TREE,
    faults: tuple[Fault, ...] = (),
    **more: object,
) -> Workload:
    """Nodes are called n0, n1, …"""
    return Workload(
        name="story",
        root=tree,
        nodes=tuple(node(f"n{number}", cpus=cpus, memory=memory, gpus=gpus) for number in range(nodes)),
        jobs=in_order(jobs),
        faults=faults,
        **more,  # type: ignore[arg-type]
    )


def play(what: Workload) -> Simulation:
    simulation = Simulation(what)
    simulation.run()
    return simulation


def ends(simulation: Simulation) -> dict[str, float]:
    return {app.job.name: app.ended_at for app in simulation.apps}
