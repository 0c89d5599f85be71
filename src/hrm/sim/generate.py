"""Clusters and work that are drawn: so many nodes, queues, applications and containers, all from one seed.

The parts have random sources of their own, so that another number of faults does not change the jobs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hrm.model.errors import InvalidInput
from hrm.model.nodes import DEFAULT_RACK, DeviceSpec, NodeSpec
from hrm.model.queues import ROOT, Policy, QueueSpec
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.sim.distributions import Distribution, Kind
from hrm.sim.workload import FOREVER, Fault, Job, TaskGroup, Workload, in_order, rounds_of

AT_ONCE = Distribution(Kind.CONSTANT, 0.0)
AN_HOUR = Distribution(Kind.CONSTANT, 3600.0)
NEVER_ENDING = Distribution(Kind.CONSTANT, FOREVER)
NODE = Resources(256 * 1024, 64_000, 8_000)
#: Faults are drawn for so long where nothing says how long the work takes.
FAULTS_UNTIL_S = 30 * 86_400.0
MAX_NODES = 1_000_000
MAX_CONTAINERS = 20_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What containers ask for, and how often that is asked for."""

    resources: Resources
    weight: float = 1.0


#: From a small service to two GPUs: together 0.7 GPUs, 15 GiB and 3.8 vcores on average.
SHAPES = (
    Shape(Resources(4096, 1000, 0)),
    Shape(Resources(8192, 2000, 0)),
    Shape(Resources(16384, 4000, 500)),
    Shape(Resources(16384, 4000, 1000)),
    Shape(Resources(32768, 8000, 2000)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be drawn."""

    nodes: int = 100
    node_size: Resources = NODE
    #: Nodes get these in turn.
    gpu_models: tuple[str, ...] = ("A100",)
    racks: int = 1
    queues: int = 10
    apps: int = 100
    containers: int = 1_000
    policy: Policy = Policy.DRF
    shapes: tuple[Shape, ...] = SHAPES
    #: Between two submissions.
    arrivals: Distribution = AT_ONCE
    run_time: Distribution = NEVER_ENDING
    #: Mean time between two failures of one node, and how long it is gone; None iff none fail.
    mtbf_s: float | None = None
    repair: Distribution = AN_HOUR
    faults_until_s: float = FAULTS_UNTIL_S
    #: See `Job.checkpoint_s`.
    checkpoint_s: float | None = None
    #: After how long below its share preemption helps a queue's applications; None iff never.
    preempt_after_s: float | None = None
    options: SchedulerOptions = field(default_factory=SchedulerOptions)

    def __post_init__(self) -> None:
        for name, number, most in (
            ("nodes", self.nodes, MAX_NODES),
            ("racks", self.racks, MAX_NODES),
            ("queues", self.queues, 100_000),
            ("apps", self.apps, MAX_CONTAINERS),
            ("containers", self.containers, MAX_CONTAINERS),
        ):
            if not 1 <= number <= most:
                raise InvalidInput(f"must be from 1 to {most}: {number}", field=name)
        if self.containers < self.apps:
            raise InvalidInput(
                f"{self.containers} containers for {self.apps} applications: each has at least one", field="containers"
            )
        if not self.shapes or any(shape.weight <= 0 for shape in self.shapes):
            raise InvalidInput("need weights above zero", field="shapes")


def generate(plan: Plan, seed: int, *, root: QueueSpec | None = None) -> Workload:
    """Draw it. ``root``: use these queues instead of drawn ones."""
    queues = root or _queues(plan, random.Random(f"queues {seed}"))
    nodes = tuple(_nodes(plan))
    return Workload(
        name=f"generated, seed {seed}",
        root=queues,
        nodes=nodes,
        jobs=in_order(_jobs(plan, queues, random.Random(f"jobs {seed}"))),
        faults=tuple(_faults(plan, nodes, random.Random(f"faults {seed}"))),
        options=plan.options,
        preempt_every_s=rounds_of(queues, plan.options),
    )


def make_node(node_id: str, size: Resources, model: str, rack: str = DEFAULT_RACK) -> NodeSpec:
    """A node with virtual devices of one model."""
    devices = tuple(
        DeviceSpec(device_id=f"{node_id}/{index}", index=index, model=model, virtual=True)
        for index in range(size.gpus_milli // 1000)
    )
    return NodeSpec(node_id=node_id, total=size, devices=devices, rack=rack)


def _nodes(plan: Plan) -> Iterator[NodeSpec]:
    models = plan.gpu_models or ("GPU",)
    for number in range(plan.nodes):
        rack = DEFAULT_RACK if plan.racks == 1 else f"/rack{number % plan.racks}"
        yield make_node(f"node{number}", plan.node_size, models[number % len(models)], rack)


def _queues(plan: Plan, rng: random.Random) -> QueueSpec:
    """Leaves below parents, ten each; weights 1, 2 and 3."""
    parents = max(plan.queues // 10, 1)
    policy = Policy.DRF if plan.policy is Policy.FIFO else plan.policy

    def weight() -> float:
        return rng.choice((1.0, 2.0, 3.0))

    def leaves(parent: int) -> tuple[QueueSpec, ...]:
        numbers = range(parent, plan.queues, parents)
        return tuple(QueueSpec(name=f"q{number}", policy=plan.policy, weight=weight()) for number in numbers)

    children = tuple(
        QueueSpec(name=f"p{parent}", policy=policy, weight=weight(), children=leaves(parent))
        for parent in range(parents)
    )
    return QueueSpec(name=ROOT, policy=policy, children=children, fair_share_preemption_timeout_s=plan.preempt_after_s)


def _jobs(plan: Plan, root: QueueSpec, rng: random.Random) -> Iterator[Job]:
    leaves = [path for path, spec in root.walk() if not spec.children]
    resources = [shape.resources for shape in plan.shapes]
    weights = [shape.weight for shape in plan.shapes]
    submit_s = 0.0
    each, more = divmod(plan.containers, plan.apps)
    for number in range(plan.apps):
        tasks = each + (number < more)
        if plan.run_time.kind is Kind.CONSTANT:
            run_s: tuple[float, ...] = (plan.run_time.first,)
        else:
            run_s = tuple(plan.run_time.draw(rng) for _ in range(tasks))
        group = TaskGroup(resources=rng.choices(resources, weights)[0], run_s=run_s, tasks=tasks)
        yield Job(
            name=f"app{number}",
            submit_s=submit_s,
            groups=(group,),
            queue=leaves[number % len(leaves)],
            user=f"user{number % 50}",
            checkpoint_s=plan.checkpoint_s,
        )
        submit_s += plan.arrivals.draw(rng)


def _faults(plan: Plan, nodes: tuple[NodeSpec, ...], rng: random.Random) -> Iterator[Fault]:
    if plan.mtbf_s is None:
        return
    at_s = rng.expovariate(len(nodes) / plan.mtbf_s)
    while at_s < plan.faults_until_s:
        yield Fault(at_s, rng.choice(nodes).node_id, max(plan.repair.draw(rng), 1.0))
        at_s += rng.expovariate(len(nodes) / plan.mtbf_s)
