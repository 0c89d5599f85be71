"""What is written down while a simulation runs: every grant in flat arrays, and samples of the queues over time.

Arrays, because a million containers are to fit into memory (about 45 bytes each). Everything that people are told is
worked out from them afterwards: see `hrm.sim.report`.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hrm.core.fragmentation import Fragmentation
from hrm.core.mix import Kind, typical_of
from hrm.core.scheduler import Scheduler
from hrm.model.resources import Resources
from hrm.sim.applications import App, Run
from hrm.sim.workload import Job, Workload

#: Samples kept; when there are more, every other one is dropped and the distance doubles.
MAX_SAMPLES = 1000


@dataclass(slots=True)
class Sample:
    """The cluster at one moment."""

    at: float
    #: Used by each leaf queue, as its largest share of any resource; and its fair share likewise.
    queue_shares: tuple[float, ...]
    fair_shares: tuple[float, ...]
    #: Used of the cluster, part by resource.
    memory: float
    vcores: float
    gpus: float
    #: Of all GPUs: idle, and of no use to the usual tasks of this workload. 0 where nobody wants to know.
    fragmented: float
    #: That were submitted and are not over.
    jobs: int


@dataclass(slots=True)
class Grants:
    """One row for each container, as columns."""

    app: array[int] = field(default_factory=lambda: array("I"))
    group: array[int] = field(default_factory=lambda: array("H"))
    node: array[int] = field(default_factory=lambda: array("I"))
    started_at: array[float] = field(default_factory=lambda: array("d"))
    waited_s: array[float] = field(default_factory=lambda: array("d"))
    #: Not a number while it runs.
    ended_at: array[float] = field(default_factory=lambda: array("d"))
    device_ids: list[tuple[str, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.app)

    def cut(self) -> None:
        """Drop a row that was not written to its end."""
        columns = (self.app, self.group, self.node, self.started_at, self.waited_s, self.ended_at, self.device_ids)
        rows = min(len(column) for column in columns)
        for column in columns:
            del column[rows:]


class Recorder:
    """Written by the simulation alone."""

    def __init__(self, workload: Workload, scheduler: Scheduler, *, fragmentation: bool = False) -> None:
        """``fragmentation``: it is sampled, which takes some microseconds for each node and sample."""
        self.workload = workload
        self.grants = Grants()
        self.samples: list[Sample] = []
        #: Leaves, in the order of `Sample.queue_shares`.
        self.queues = scheduler.leaf_paths()
        self._books = scheduler.books
        self._node_numbers = {node.node_id: number for number, node in enumerate(workload.nodes)}
        self._fragmentation = Fragmentation(typical_of(usual_tasks(workload.jobs))) if fragmentation else None
        self._every_s = 0.0
        self._next_at = 0.0
        self.now = 0.0
        #: Integrals over time, of what is used and of what there is: MiB s, thousandths s.
        self.used = [0.0, 0.0, 0.0]
        self.there = [0.0, 0.0, 0.0]
        #: Jobs that are there now, and their number summed over time.
        self.active = 0
        self.active_s = 0.0

    def granted(self, run: Run) -> None:
        grants = self.grants
        run.number = len(grants.app)
        grants.app.append(run.app.index)
        grants.group.append(run.group)
        grants.node.append(self._node_numbers[run.node_id])
        grants.started_at.append(run.started_at)
        grants.waited_s.append(run.waited_s)
        grants.ended_at.append(math.nan)
        grants.device_ids.append(run.device_ids)

    def ended(self, run: Run, now: float) -> None:
        self.grants.ended_at[run.number] = now

    def arrived(self, app: App) -> None:
        self.active += 1
        app.company_s = -self.active_s

    def left(self, app: App) -> None:
        self.active -= 1
        app.company_s += self.active_s

    def advance(self, now: float) -> None:
        """Time goes on to ``now``; until then everything stays as it is."""
        passed_s = now - self.now
        used, there = self._books.tree.root.usage, self._books.cluster.total
        sums = self.used
        sums[0] += used.memory * passed_s
        sums[1] += used.vcores * passed_s
        sums[2] += used.gpus * passed_s
        sums = self.there
        sums[0] += there.memory * passed_s
        sums[1] += there.vcores * passed_s
        sums[2] += there.gpus * passed_s
        self.active_s += self.active * passed_s
        self.now = now

    @property
    def sample_is_due(self) -> bool:
        return self.now >= self._next_at

    def sample(self) -> None:
        """Write the present down. Fair shares are as of the last update."""
        books = self._books
        total = books.cluster.total.frozen()
        leaves = [books.tree.by_path[path] for path in self.queues]
        used = books.tree.root.usage
        self.samples.append(
            Sample(
                self.now,
                tuple(_share(leaf.usage.frozen(), total) for leaf in leaves),
                tuple(_share(leaf.fair_share, total) for leaf in leaves),
                _part(used.memory, total.memory_mib),
                _part(used.vcores, total.vcores_milli),
                _part(used.gpus, total.gpus_milli),
                0.0 if self._fragmentation is None else self.fragmented(self._fragmentation),
                self.active,
            )
        )
        if len(self.samples) > MAX_SAMPLES:
            del self.samples[1::2]
            span_s = self.samples[-1].at - self.samples[0].at
            self._every_s = max(self._every_s * 2, span_s / MAX_SAMPLES * 2)
        self._next_at = self.now + self._every_s

    def fragmented(self, measure: Fragmentation) -> float:
        """Part of all GPUs that is idle and of no use to the usual tasks."""
        return _part(sum(measure.of(node) for node in self._books.nodes.values()), self._books.cluster.total.gpus)

    def digest(self) -> str:
        """Of every grant and end: two runs that decided the same have the same."""
        grants = self.grants
        summary = hashlib.sha256()
        for column in (grants.app, grants.group, grants.node, grants.started_at, grants.ended_at):
            summary.update(column.tobytes())
        return summary.hexdigest()


def _share(used: Resources, total: Resources) -> float:
    share = used.dominant_share(total)
    return share if math.isfinite(share) else 0.0


def usual_tasks(jobs: Iterable[Job]) -> Counter[Kind]:
    """How many tasks of each kind are asked for in all."""
    counts: Counter[Kind] = Counter()
    for job in jobs:
        for group in job.groups:
            asked = group.resources
            counts[Kind(asked.vcores_milli, asked.gpus_milli, group.gpu_model or "")] += group.tasks
    return counts


def _part(amount: float, whole: int) -> float:
    return amount / whole if whole else 0.0
