"""Lists of training jobs as papers on GPU clusters publish them: when submitted, how many GPUs, how long.

The columns are those of the simulators of Tiresias (NSDI'19) and ElasticFlow (ASPLOS'23), into which Microsoft's
Philly traces (ATC'19) are brought too: ``submit_time,num_gpu,duration`` in seconds must be there;
``job_id,user,vc,num_cpu`` may be. Up to eight GPUs are one container; more are containers of eight.
"""

from __future__ import annotations

from pathlib import Path

from hrm.model.queues import DEFAULT_QUEUE
from hrm.model.resources import Resources
from hrm.sim.traces.cells import open_table, seconds
from hrm.sim.traces.table import Row
from hrm.sim.workload import Job, TaskGroup, in_order

COLUMNS = ("submit_time", "num_gpu", "duration")
#: Of one node; what is asked for beside each GPU where the trace does not say.
GPUS_PER_NODE = 8
CPUS_PER_GPU_MILLI = 4_000
MEMORY_PER_GPU_MIB = 16 * 1024
_MAX_GPUS = 100_000


def read_gpu_jobs(path: Path) -> tuple[Job, ...]:
    """In order of submission, the first at 0. Raises BadDocument, InvalidInput."""
    jobs = open_table(path, COLUMNS).read(_job)
    first = min(job.submit_s for job in jobs)
    return in_order(
        Job(name=job.name, submit_s=job.submit_s - first, groups=job.groups, queue=job.queue, user=job.user)
        for job in jobs
    )


def _job(row: Row) -> Job:
    gpus = row.whole("num_gpu", most=_MAX_GPUS)
    cpus = row.whole("num_cpu", most=_MAX_GPUS, default=0)
    run_s = seconds(row, "duration")
    submit_s = seconds(row, "submit_time")
    whole, rest = divmod(gpus, GPUS_PER_NODE)
    groups = []
    for tasks, each in ((whole, GPUS_PER_NODE), (1 if rest or not gpus else 0, rest)):
        if tasks:
            vcores_milli = cpus * 1000 * max(each, 1) // max(gpus, 1) or CPUS_PER_GPU_MILLI * max(each, 1)
            asked = Resources(MEMORY_PER_GPU_MIB * max(each, 1), vcores_milli, each * 1000)
            groups.append(TaskGroup(resources=asked, run_s=(run_s,), tasks=tasks))
    return Job(
        name=row.text("job_id", default="") or f"line{row.line}",
        submit_s=submit_s if submit_s < float("inf") else 0.0,
        groups=tuple(groups),
        queue=row.text("vc", default="") or DEFAULT_QUEUE,
        user=row.text("user", default="") or "user",
    )
