"""The demonstration: two queues of weights 3 and 1 compete for one small cluster, and get their shares.

`batch` is flooded with short tasks. Then `research` wants the machine too: it looks for objects in real photographs,
again and again until the time over which shares are measured is over. What each queue got is read from the history in
the store: run times of containers, integrated over the window in which both had work waiting.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hrm.detect.job import collect, detection_job, discard
from hrm.detect.results import PhotoResult
from hrm.model.errors import ClusterError
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import QueueReport, TaskAttemptReport
from hrm.model.resources import VCORES, Resources
from hrm.model.states import ApplicationState
from hrm.sdk.client import Client

RESEARCH, BATCH = "research", "batch"
SLOTS = 4
#: Four slots whatever the machine has, so that 3 to 1 can be given without fractions.
CONFIGURATION = f"""\
queues:
  {RESEARCH}: {{weight: 3}}
  {BATCH}: {{weight: 1}}
node:
  vcores: {SLOTS}
server:
  port: 0
"""
WINDOW_S = 20.0
#: One of both queues not having filled its slots by then means that the machine is too slow for this demonstration.
BEGIN_DEADLINE_S = 120.0
LOOK_S = 0.25
_FLOOD = TaskGroupSpec(
    command=("sleep", "0.5"), tasks=5000, resources=Resources(memory_mib=64, vcores_milli=1000), name="flood"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a queue got of all that both got, in percent."""

    measured_percent: float
    fair_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """How the demonstration ended."""

    #: Annotated pictures.
    pictures: list[str]
    #: {"photo", "label", "score", "x", "y", "width", "height"} each.
    boxes: list[dict[str, object]]
    tasks_succeeded: int
    tasks_failed: int
    #: Seconds over which shares were measured.
    window_s: float
    shares: dict[str, Share]
    #: Attempts of the tasks that found the boxes: {"task_index", "node_id", "started_at", "ended_at", "queue"} each.
    ran: list[dict[str, object]]


@dataclass(slots=True)
class Look:
    """What a watcher sees while the demonstration runs."""

    queues: Sequence[QueueReport]
    #: None before both queues fill the machine.
    measured_for_s: float | None
    measured_percent: Mapping[str, float]


@dataclass(slots=True)
class Demo:
    """Runs on a server that has the configuration above and nothing else to do."""

    client: Client
    photos: Sequence[Path]
    out: Path
    #: Home directory whose models are used.
    models: Path
    window_s: float = WINDOW_S
    watch: Callable[[Look], None] = lambda look: None
    _rounds: list[tuple[str, JobSpec]] = field(default_factory=list)

    def run(self) -> DemoReport:
        """Raises ClusterError if a machine this slow cannot show it, or the detection failed."""
        flood = self.client.submit(JobSpec(name="flood", queue=BATCH, groups=(_FLOOD,))).application_id
        with tempfile.TemporaryDirectory(prefix="hrm-demo-") as scratch:
            try:
                self._submit_round(self.out)
                begin = self._until_both_run(Path(scratch))
                end = self._until_measured(begin, Path(scratch))
                fair = _fair_percent(self.client.queues())
                first, job = self._rounds[0]
                report = self.client.wait(first)
                if report.state is not ApplicationState.FINISHED:
                    raise ClusterError(f"detection ended as {report.state}: {report.message}")
            finally:
                for application_id in (flood, *(application_id for application_id, _ in self._rounds[1:])):
                    self.client.kill(application_id, "the demonstration is over")
            reports = [self.client.wait(application_id) for application_id in (flood, *(a for a, _ in self._rounds))]
            measured = measured_percent(self.client.history(limit=100_000), begin, end)
            ran = self.client.history(first)
            for _, other in self._rounds[1:]:
                discard(other)
        results = collect(job)
        return DemoReport(
            pictures=[result.picture for result in results if result.picture],
            boxes=list(_boxes(results)),
            tasks_succeeded=sum(report.tasks_succeeded for report in reports),
            tasks_failed=sum(report.tasks_failed for report in reports),
            window_s=end - begin,
            shares={
                queue: Share(measured_percent=measured.get(queue, 0.0), fair_percent=fair[queue])
                for queue in (RESEARCH, BATCH)
            },
            ran=[
                {
                    "task_index": attempt.task_index,
                    "node_id": attempt.node_id,
                    "queue": attempt.queue,
                    "started_at": attempt.started_at,
                    "ended_at": attempt.ended_at,
                }
                for attempt in ran
            ],
        )

    def _submit_round(self, out: Path) -> None:
        job = detection_job(self.photos, out, tasks=len(self.photos), queue=RESEARCH, home=self.models)
        self._rounds.append((self.client.submit(job).application_id, job))

    def _keep_wanting(self, scratch: Path) -> list[QueueReport]:
        """Research must have work waiting all the time: another round before the last has begun its last tasks."""
        queues = self.client.queues()
        if _named(queues, RESEARCH).containers_pending < 2 * SLOTS:
            self._submit_round(scratch / str(len(self._rounds)))
        return queues

    def _until_both_run(self, scratch: Path) -> float:
        deadline = time.monotonic() + BEGIN_DEADLINE_S
        while time.monotonic() < deadline:
            queues = self._keep_wanting(scratch)
            self.watch(Look(queues, None, {}))
            if _settled(queues):
                return time.time()
            time.sleep(LOOK_S)
        raise ClusterError(
            f"after {BEGIN_DEADLINE_S:.0f} s the queues have not settled", next_step="try on an idle machine"
        )

    def _until_measured(self, begin: float, scratch: Path) -> float:
        while (now := time.time()) < begin + self.window_s:
            queues = self._keep_wanting(scratch)
            so_far = measured_percent(self.client.history(since=begin - 60), begin, now)
            self.watch(Look(queues, now - begin, so_far))
            time.sleep(LOOK_S)
        return now


def measured_percent(attempts: Iterable[TaskAttemptReport], begin: float, end: float) -> dict[str, float]:
    """Each queue's part of the vcore-seconds that containers ran between ``begin`` and ``end`` (epoch seconds)."""
    used: dict[str, float] = {}
    for attempt in attempts:
        if attempt.started_at is not None:
            ran_s = min(attempt.ended_at or end, end) - max(attempt.started_at, begin)
            used[attempt.queue] = used.get(attempt.queue, 0.0) + max(0.0, ran_s) * attempt.resources[VCORES]
    total = sum(used.values())
    return {queue: 100 * amount / total for queue, amount in used.items()} if total else {}


def _settled(queues: Sequence[QueueReport]) -> bool:
    """Both want more than they have, and the machine is full."""
    research, batch = _named(queues, RESEARCH), _named(queues, BATCH)
    full = research.containers_running + batch.containers_running >= SLOTS
    return full and bool(research.containers_running and research.containers_pending and batch.containers_pending)


def _fair_percent(queues: Sequence[QueueReport]) -> dict[str, float]:
    shares = {queue: _named(queues, queue).fair_share[VCORES] for queue in (RESEARCH, BATCH)}
    total = sum(shares.values())
    return {queue: 100 * share / total for queue, share in shares.items()}


def _named(queues: Sequence[QueueReport], name: str) -> QueueReport:
    return next(queue for queue in queues if queue.name == name)


def _boxes(results: Iterable[PhotoResult]) -> Iterable[dict[str, object]]:
    for result in results:
        for box in result.boxes:
            yield {
                "photo": Path(result.path).name,
                "label": box.label,
                "score": round(box.score, 3),
                "x": round(box.x, 1),
                "y": round(box.y, 1),
                "width": round(box.width, 1),
                "height": round(box.height, 1),
            }
