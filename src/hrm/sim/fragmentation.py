"""How much of a cluster's GPUs a placement strategy fills, when tasks come until they ask for more than there is.

The set-up is that of Weng et al., "Beware of Fragmentation" (ATC'23): the list of tasks is shuffled and tasks are drawn
again from it until the GPUs asked for are, say, 130 % of those there are. Tasks arrive and never end; one that fits
nowhere has failed. Strategies that go by usual tasks know the list before anything is drawn from it, and no order.

Each task is a request of one application to the production scheduler, placed by a visit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hrm.core.events import AppAdded, AttemptAdded, NodeAdded, NodeUpdate, RequestsUpdated
from hrm.core.fragmentation import Fragmentation
from hrm.core.invariants import check_invariants
from hrm.core.mix import Kind, TaskMix
from hrm.core.scheduler import Scheduler
from hrm.core.strategies import BUILT_IN, Fgd, LookaheadFgd, PlacementStrategy, Random
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.nodes import NodeSpec
from hrm.model.queues import DEFAULT_QUEUE, ROOT, Policy, QueueSpec
from hrm.model.requests import ResourceRequest
from hrm.model.scheduling import SchedulerOptions, Strategy
from hrm.sim.strategies import refuse_failure
from hrm.sim.traces.openb import Pod

MAX_LOAD = 10.0
_PROGRESS_EVERY = 200
_ATTEMPT = AttemptId(ApplicationId(0, 1), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentationResult:
    """One run."""

    placement: str
    seed: int
    #: GPUs asked for, as a part of those there are.
    load: float
    #: True iff it was broken off; the figures are those until then.
    partial: bool
    #: Tasks that arrived, and those of them that fitted nowhere.
    tasks: int
    failed: int
    #: Of all GPUs: in use at the end; in use when as much had been asked for as there is; fragmented at the end.
    gpu_allocation_percent: float
    gpu_allocation_percent_at_100: float
    fragmented_percent: float
    #: Of all vcores.
    vcore_allocation_percent: float
    #: Of arrivals and decisions, without reading and checking: seconds of this machine, and of one core at work.
    wall_s: float
    cpu_s: float


class FragmentationRun:
    """One strategy on one drawn sequence of tasks."""

    def __init__(
        self,
        nodes: Sequence[NodeSpec],
        pods: Sequence[Pod],
        *,
        placement: str,
        load: float,
        seed: int,
        own: Callable[[], PlacementStrategy] | None = None,
    ) -> None:
        """``own`` makes the strategy where it is no built-in one. Raises InvalidInput."""
        if not 0 < load <= MAX_LOAD:
            raise InvalidInput(f"must be above 0 and at most {MAX_LOAD:g}: {load}", field="--load")
        self._placement, self._load, self._seed = placement, load, seed
        self._capacity = sum(node.total.gpus_milli for node in nodes)
        if not self._capacity:
            raise InvalidInput("the nodes have no GPUs", field="--nodes")
        if not any(pod.resources.gpus_milli for pod in pods):
            raise InvalidInput("no task asks for a GPU: no number of them makes a load", field="--pods")
        kinds = [Kind(pod.resources.vcores_milli, pod.resources.gpus_milli, pod.gpu_model or "") for pod in pods]
        mix = TaskMix.of(kinds)
        self._fragmentation = Fragmentation(mix.typical())
        self._sequence = draw(pods, int(self._capacity * load), seed)
        strategies = {
            **BUILT_IN,
            Strategy.FGD: lambda: Fgd(mix),
            Strategy.LOOKAHEAD: lambda: LookaheadFgd(mix),
            Strategy.RANDOM: lambda: Random(seed),
        }
        if own is not None:
            strategies[placement] = own
        self._scheduler = Scheduler(
            QueueSpec(name=ROOT, policy=Policy.DRF, children=(QueueSpec(name=DEFAULT_QUEUE),)),
            epoch=1,
            options=SchedulerOptions(placement_strategy=placement),
            strategies=strategies,
        )
        for node in nodes:
            self._scheduler.handle(NodeAdded(node), 0.0)
        self._scheduler.handle(AppAdded(_ATTEMPT.application, DEFAULT_QUEUE, "trace", 0.0), 0.0)
        self._scheduler.handle(AttemptAdded(_ATTEMPT), 0.0)
        self._arrived = self._failed = 0
        self._arrived_milli = self._placed_milli = 0
        self._at_100_milli: int | None = None

    def run(self, progress: Callable[[float, float], None] = lambda done, total: None) -> FragmentationResult:
        """Ctrl-C ends it with what there is.

        Raises InvariantBroken where the books do not balance at the end, InvalidInput where one's own strategy fails.
        """
        partial = False
        visited = next(iter(self._scheduler.books.nodes))
        began, began_cpu = time.perf_counter(), time.process_time()
        try:
            for pod in self._sequence:
                self._arrive(pod, visited)
                if not self._arrived % _PROGRESS_EVERY:
                    progress(self._arrived, len(self._sequence))
        except KeyboardInterrupt:
            partial = True
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        if not partial:
            check_invariants(self._scheduler)
        nodes = list(self._scheduler.books.nodes.values())
        vcores = sum(node.total.vcores for node in nodes)
        at_100 = self._placed_milli if self._at_100_milli is None else self._at_100_milli
        return FragmentationResult(
            placement=self._placement,
            seed=self._seed,
            load=self._load,
            partial=partial,
            tasks=self._arrived,
            failed=self._failed,
            gpu_allocation_percent=self._percent(self._placed_milli),
            gpu_allocation_percent_at_100=self._percent(at_100),
            fragmented_percent=self._percent(sum(self._fragmentation.of(node) for node in nodes)),
            vcore_allocation_percent=round(100 * (1 - sum(node.free.vcores for node in nodes) / max(vcores, 1)), 3),
            wall_s=round(wall_s, 3),
            cpu_s=round(cpu_s, 3),
        )

    def _arrive(self, pod: Pod, visited: str) -> None:
        now = float(self._arrived)
        gpus = pod.resources.gpus_milli
        # Before the first that goes past all there is.
        if self._at_100_milli is None and self._arrived_milli + gpus > self._capacity:
            self._at_100_milli = self._placed_milli
        self._ask(pod, 1, now)
        commands = self._scheduler.handle(NodeUpdate(visited), now)
        refuse_failure(commands)
        placed = bool(commands)
        if not placed:
            self._ask(pod, 0, now)
        self._arrived += 1
        self._arrived_milli += gpus
        self._placed_milli += gpus * placed
        self._failed += not placed

    def _ask(self, pod: Pod, count: int, now: float) -> None:
        request = ResourceRequest(resources=pod.resources, count=count, gpu_model=pod.gpu_model)
        self._scheduler.handle(RequestsUpdated(_ATTEMPT, (request,)), now)

    def _percent(self, milli: float) -> float:
        return round(100 * milli / self._capacity, 3)


def draw(pods: Sequence[Pod], milli: int, seed: int) -> list[Pod]:
    """Tasks in an order of chance that ask for at most so much GPU: all of the list, then some of it again."""
    chance = random.Random(seed)
    sequence: list[Pod] = []
    left = milli
    for pod in chance.sample(pods, len(pods)):
        left -= pod.resources.gpus_milli
        if left < 0:
            return sequence
        sequence.append(pod)
    while True:
        pod = chance.choice(pods)
        left -= pod.resources.gpus_milli
        if left < 0:
            return sequence
        sequence.append(pod)
