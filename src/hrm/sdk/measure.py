"""Measurements through the front door: how many tasks a second, how long from submit to the first instruction.

Both go through REST with the store on, as a user's own work does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hrm.model.errors import ClusterError
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState
from hrm.sdk.client import Client

#: Small enough that a few run at once on the smallest machine: what is measured is the manager, not the machine's size.
SMALL = Resources(memory_mib=16, vcores_milli=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Of ``count`` tasks that do nothing, submitted as one array."""

    count: int
    tasks_per_s: float
    #: From the submit call to the end of the last task, seconds.
    wall_s: float
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From the submit call to the first instruction of the job, one after another on an idle server."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def measure_throughput(
    client: Client, *, count: int, command: Sequence[str] = ("true",), resources: Resources = SMALL
) -> Throughput:
    """Run ``count`` tasks as one array. Raises ClusterError if it does not end well."""
    group = TaskGroupSpec(command=tuple(command), tasks=count, resources=resources)
    begin = time.perf_counter()
    application_id = client.submit(JobSpec(name="bench tasks", groups=(group,))).application_id
    report = client.wait(application_id)
    wall_s = time.perf_counter() - begin
    if report.state is not ApplicationState.FINISHED:
        raise ClusterError(f"{application_id} ended as {report.state}: {report.message}")
    return Throughput(count=count, tasks_per_s=count / wall_s, wall_s=wall_s, failed=report.tasks_failed)


def measure_latency(
    client: Client, *, count: int, resources: Resources = SMALL, progress: Callable[[int], None] = lambda done: None
) -> Latency:
    """Submit ``count`` jobs one after another; each tells by the clock when it began.

    The job is `date`: its own start, which is the process's first instruction, lies a little before what it prints, so
    the figure is an upper bound. Raises ClusterError if one does not end well.
    """
    group = TaskGroupSpec(command=("date", "+%s.%N"), resources=resources)
    latencies_ms = []
    for done in range(count):
        submitted_at = time.time()
        application_id = client.submit(JobSpec(name="bench latency", groups=(group,))).application_id
        report = client.wait(application_id)
        if report.state is not ApplicationState.FINISHED:
            raise ClusterError(f"{application_id} ended as {report.state}: {report.message}")
        began_at = float(b"".join(client.logs(application_id)))
        latencies_ms.append((began_at - submitted_at) * 1000)
        progress(done + 1)
    latencies_ms.sort()
    return Latency(
        count=count,
        p50_ms=_percentile(latencies_ms, 50),
        p90_ms=_percentile(latencies_ms, 90),
        p99_ms=_percentile(latencies_ms, 99),
        max_ms=latencies_ms[-1],
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
