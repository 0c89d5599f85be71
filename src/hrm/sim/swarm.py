"""Searches for trouble: many small random clusters, each with a choice of what there is, and checkers looking on.

Swarm testing (Groce et al., ISSTA'12): each run leaves some of the features out, because what all runs have hides what
only happens without it. One seed makes one run, whatever ran before.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hrm.model.errors import InvariantBroken
from hrm.model.queues import Order, Policy, QueueSpec, ShareOfCluster
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions, Strategy, Victims
from hrm.sim.checkers.base import Checker
from hrm.sim.checkers.books_balance import BooksBalance
from hrm.sim.checkers.everything_explained import EverythingExplained
from hrm.sim.checkers.gangs_do_not_block import GangsDoNotBlock
from hrm.sim.checkers.gangs_whole import GangsWhole
from hrm.sim.checkers.no_idle_room import NoIdleRoom
from hrm.sim.checkers.node_capacity import NodeCapacity
from hrm.sim.checkers.queue_max_share import QueueMaxShare
from hrm.sim.checkers.running_apps import RunningApps
from hrm.sim.checkers.same_decisions import SameDecisions
from hrm.sim.checkers.starvation_bound import StarvationBound
from hrm.sim.distributions import Distribution, Kind
from hrm.sim.generate import Plan, Shape, generate
from hrm.sim.simulation import Simulation
from hrm.sim.workload import FOREVER, Job, Move, Workload, rounds_of

CHECKERS: tuple[type[Checker], ...] = (
    NodeCapacity,
    QueueMaxShare,
    RunningApps,
    BooksBalance,
    EverythingExplained,
    NoIdleRoom,
    GangsWhole,
    GangsDoNotBlock,
    StarvationBound,
    SameDecisions,
)
#: What `mechanisms` counts.
MECHANISMS = ("warned", "spared", "preempted", "reserved", "delayed", "moved", "lost", "gangs", "gathered")
#: A run is broken off after so much virtual time.
_UNTIL_S = 3_000.0
_NODE = Resources(32 * 1024, 8_000, 4_000)
_SHAPES = tuple(
    Shape(Resources(memory * 1024, vcores, gpus))
    for memory, vcores, gpus in (
        (1, 500, 0),
        (4, 1000, 0),
        (20, 2000, 0),
        (2, 500, 300),
        (4, 1000, 1000),
        (8, 2000, 2000),
    )
)
#: Of which a fair share of some applications on a few nodes holds several.
_SMALL_SHAPES = _SHAPES[:2] + _SHAPES[3:5]
_LONG = (
    Distribution(Kind.EXPONENTIAL, 300.0),
    Distribution(Kind.LOGNORMAL, 120.0, 1.5),
    Distribution(Kind.CONSTANT, FOREVER),
)
_LIMITS = ("max_share", "running_apps", "running_apps_per_user", "weight")


@dataclass(frozen=True, slots=True)
class Happened:
    """How often something did, and in how many of the runs."""

    times: int
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmResult:
    """Of many runs: what they did, and which found something."""

    runs: int
    events: int
    allocations: int
    #: By the names of `mechanisms`. What never happened was not tried, whatever was drawn.
    happened: dict[str, Happened]
    #: (seed, what was found)
    failures: list[tuple[int, str]]
    #: True iff it was broken off by Ctrl-C.
    partial: bool = False


def mechanisms(simulation: Simulation) -> dict[str, int]:
    """What the scheduler has beside placing at once, and how often this run had it happen."""
    workload, grants = simulation.workload, simulation.recorder.grants
    elsewhere = 0
    for index, group, node in zip(grants.app, grants.group, grants.node, strict=True):
        host = simulation.apps[index].job.groups[group].host
        elsewhere += bool(host) and workload.nodes[node].node_id != host
    delayed = elsewhere if workload.options.delays else 0
    counts = (
        simulation.warned,
        simulation.spared,
        simulation.killed,
        simulation.reserved,
        delayed,
        simulation.moved,
        simulation.lost,
        simulation.gangs,
        simulation.gathered,
    )
    return dict(zip(MECHANISMS, counts, strict=True))


def draw(seed: int) -> Workload:
    """The run of this seed."""
    rng = random.Random(f"swarm {seed}")

    def maybe(part: float = 0.5) -> bool:
        return rng.random() < part

    # Preemption needs a full cluster, somebody who had it before, and a latecomer who is due a whole container. Chance
    # hardly makes that: limits leave room, who comes at once gets alike, and of many each is due less than a container.
    crowded = maybe(0.65)
    apps = rng.randint(2, 8) if crowded else rng.randint(1, 40)
    shapes = _SMALL_SHAPES if crowded else _SHAPES
    plan = Plan(
        nodes=rng.randint(1, 3 if crowded else 6),
        node_size=_NODE if maybe(0.8) else Resources(16 * 1024, 4_000),
        gpu_models=("A100", "V100") if maybe(0.3) else ("A100",),
        racks=rng.randint(1, 3),
        queues=rng.randint(1, 12),
        apps=apps,
        containers=apps * (rng.randint(20, 60) if crowded else rng.randint(1, 8)),
        policy=rng.choice(tuple(Policy)),
        shapes=tuple(rng.sample(shapes, rng.randint(1, len(shapes)))),
        arrivals=Distribution(Kind.EXPONENTIAL, 20.0) if crowded or maybe() else Distribution(Kind.CONSTANT, 0.0),
        run_time=rng.choice(_LONG if crowded else (*_LONG, Distribution(Kind.CONSTANT, 60.0))),
        mtbf_s=3_000.0 if maybe(0.4) else None,
        repair=Distribution(Kind.EXPONENTIAL, 120.0),
        faults_until_s=_UNTIL_S,
        checkpoint_s=30.0 if maybe(0.3) else None,
        preempt_after_s=rng.choice((0.0, 5.0, 60.0)) if maybe(0.8 if crowded else 0.5) else None,
        options=_options(rng),
    )
    workload = generate(plan, seed)
    # Each kind of limit in some of the runs: where all are, hardly a cluster is ever full.
    root = _limited(workload.root, rng, {limit for limit in _LIMITS if maybe(0.2 if crowded else 0.5)})
    jobs = workload.jobs
    if plan.options.delays:
        jobs = tuple(_somewhere(job, rng.choice(workload.nodes).node_id) if maybe() else job for job in jobs)
    moves = tuple(_moves(workload, rng)) if maybe(0.3) else ()
    # A source of its own: a seed without gangs is as it was before there were any.
    gangs = random.Random(f"gangs {seed}")
    if gangs.random() < 0.4:
        jobs = tuple(_as_gang(job, gangs) if gangs.random() < 0.5 else job for job in jobs)
        timeout_s = gangs.choice((600.0, 30.0, 0.0))
        workload = replace(workload, options=replace(plan.options, gang_gather_timeout_s=timeout_s))
    return replace(workload, root=root, jobs=jobs, moves=moves, preempt_every_s=rounds_of(root, plan.options))


def _options(rng: random.Random) -> SchedulerOptions:
    delays = rng.random() < 0.25
    return SchedulerOptions(
        assign_multiple=rng.random() < 0.8,
        dynamic_max_assign=rng.random() < 0.2,
        max_assign=rng.choice((None, None, None, 1, 3)),
        node_locality_threshold=0.5 if delays else -1.0,
        rack_locality_threshold=0.5 if delays else -1.0,
        reservable_nodes=rng.choice((0.0, 0.0, 0.3, 1.0)),
        reservation_threshold=Resources(1024, 500),
        preemption=rng.random() < 0.7,
        preemption_utilization_threshold=rng.choice((0.0, 0.5, 0.8)),
        wait_before_kill_s=rng.choice((0.0, 15.0, 60.0)),
        victims=rng.choice(tuple(Victims)),
        placement_strategy=rng.choice((None, None, *(str(one) for one in Strategy))),
    )


def _as_gang(job: Job, rng: random.Random) -> Job:
    """As many of its tasks as may fit at once, in one or two shapes, and all at once."""
    (group,) = job.groups
    tasks = min(group.tasks, rng.choice((2, 3, 4, 8, 16)))
    groups = [replace(group, tasks=tasks, run_s=group.run_s[:tasks], host="")]
    if rng.random() < 0.2:
        groups.append(replace(groups[0], tasks=1, run_s=group.run_s[:1], resources=rng.choice(_SHAPES).resources))
    return replace(job, groups=tuple(groups), gang=True, tasks_per_node=rng.choice((None, None, 1, 2)))


def _somewhere(job: Job, host: str) -> Job:
    """The same job, that would like to run on this node."""
    return replace(job, groups=tuple(replace(group, host=host) for group in job.groups))


def _moves(workload: Workload, rng: random.Random) -> Iterator[Move]:
    """Some jobs go to another queue, soon after they came."""
    leaves = [path for path, spec in workload.root.walk() if not spec.children]
    for job in workload.jobs:
        if rng.random() < 0.3:
            yield Move(job.submit_s + rng.expovariate(1 / 60), job.name, rng.choice(leaves))


def _limited(spec: QueueSpec, rng: random.Random, limits: set[str], depth: int = 0) -> QueueSpec:
    """The same tree with limits of these kinds here and there."""
    children = tuple(_limited(child, rng, limits, depth + 1) for child in spec.children)

    def limit(kind: str, *choices: Any) -> Any:
        chosen = rng.choice((None, None, None, *choices))
        return chosen if kind in limits else None

    most = limit("max_share", Resources(64 * 1024, 12_000, 3_000)) if depth else None
    least = Resources(8 * 1024, 1_000) if depth and rng.random() < 0.2 else Resources()
    return replace(
        spec,
        children=children,
        max_share=most,
        max_share_of_cluster=(limit("max_share", ShareOfCluster(default=0.5)) if depth and most is None else None),
        min_share=least,
        min_share_preemption_timeout_s=rng.choice((None, 0.0, 10.0)),
        min_run_before_preemption_s=rng.choice((None, None, 30.0)),
        fair_share_preemption_threshold=rng.choice((None, 0.5, 0.9, 1.0)),
        preemptable=rng.random() < 0.9,
        max_running_apps=limit("running_apps", 1, 3),
        max_running_apps_per_user=limit("running_apps_per_user", 1),
        weight=rng.choice((spec.weight, spec.weight, spec.weight, 0.0))
        if depth and "weight" in limits
        else spec.weight,
        order=Order.DEFICIT if spec.policy is not Policy.FIFO and rng.random() < 0.2 else Order.RATIO,
    )


def run_one(seed: int, checkers: Sequence[type[Checker]] = CHECKERS) -> Simulation:
    """Raises InvariantBroken, or whatever else goes wrong, with nothing swallowed."""
    workload = draw(seed)
    watching: list[Checker] = []
    simulation = Simulation(workload, until_s=_UNTIL_S, watchers=watching)
    watching += [kind(workload, simulation.scheduler) for kind in checkers]
    simulation.run()
    if not simulation.interrupted:
        for checker in watching:
            checker.over()
    return simulation


def run_swarm(
    seeds: range, *, progress: Callable[[int, int], None] = lambda done, total: None, most_failures: int = 5
) -> SwarmResult:
    """Every seed in turn, until so many have failed. Ctrl-C ends it with what there is."""
    failures: list[tuple[int, str]] = []
    runs = events = allocations = 0
    times: Counter[str] = Counter(dict.fromkeys(MECHANISMS, 0))
    runs_with: Counter[str] = Counter()
    partial = False
    try:
        for seed in seeds:
            try:
                simulation = run_one(seed)
            except (InvariantBroken, AssertionError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
                failures.append((seed, f"{type(error).__name__}: {error}"))
                if len(failures) >= most_failures:
                    break
                continue
            if simulation.interrupted:
                partial = True
                break
            runs += 1
            events += simulation.told
            allocations += len(simulation.recorder.grants)
            for what, number in mechanisms(simulation).items():
                times[what] += number
                runs_with[what] += number > 0
            progress(runs, len(seeds))
    except KeyboardInterrupt:
        partial = True
    return SwarmResult(
        partial=partial,
        runs=runs + len(failures),
        events=events,
        allocations=allocations,
        happened={what: Happened(number, runs_with[what]) for what, number in times.items()},
        failures=failures,
    )
