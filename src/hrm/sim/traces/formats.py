"""Which form a file has, and jobs and nodes out of any of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from hrm.config.keys import suggest
from hrm.model.errors import InvalidInput
from hrm.model.nodes import DEFAULT_RACK, NodeSpec
from hrm.sim.generate import make_node
from hrm.sim.traces import gpu_jobs, history, jobs_table, openb
from hrm.sim.traces.cells import open_table, resources
from hrm.sim.traces.sls import read_sls
from hrm.sim.traces.table import Row
from hrm.sim.workload import FOREVER, Job, TaskGroup, in_order


class Format(StrEnum):
    """Forms of traces."""

    JOBS = "jobs"  #: HRM's own: a line for each group of tasks
    HISTORY = "history"  #: of `hrm history export`
    GPU_JOBS = "gpu_jobs"  #: Philly, Tiresias, ElasticFlow: submit_time, num_gpu, duration
    OPENB = "openb"  #: pods of Alibaba's GPU cluster trace of 2023
    SLS = "sls"  #: input of Hadoop's Scheduler Load Simulator


def parse_format(text: str) -> Format:
    """Raises InvalidInput, which names those that there are."""
    try:
        return Format(text)
    except ValueError:
        raise InvalidInput(
            f"no such form of trace: {text!r:.40}; there are {', '.join(Format)}",
            field="--format",
            next_step=suggest(text, Format),
        ) from None


def read_trace(path: Path, form: Format | None = None) -> tuple[Job, ...]:
    """Jobs in order of submission. ``form`` None: as the file looks. Raises BadDocument, InvalidInput."""
    return _READERS[form or detect(path)](path)


def detect(path: Path) -> Format:
    """By ending and header. Raises InvalidInput, which names the forms that there are."""
    if path.suffix == ".json":
        return Format.SLS
    if path.suffix == ".parquet":
        return Format.JOBS
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix in (".jsonl", ".ndjson"):
                header = set(json.loads(file.readline() or "{}"))
            else:
                header = {name.strip() for name in next(csv.reader(file), [])}
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}", next_step="name another file") from None
    except (ValueError, TypeError, csv.Error):
        header = set()
    for form, columns in _COLUMNS.items():
        if header >= set(columns):
            return form
    if path.suffix != ".parquet" and not path.stat().st_size:
        raise InvalidInput(f"{path}: is empty", next_step="is it the right file?")
    known = "; ".join(f"{form}: {','.join(columns)}" for form, columns in _COLUMNS.items())
    raise InvalidInput(
        f"{path}: no form of trace that is known here has these columns: {','.join(sorted(header))[:120]}",
        next_step=f"name one by --format ({', '.join(Format)}), or have the columns of one ({known})",
    )


def read_nodes(path: Path) -> tuple[NodeSpec, ...]:
    """From a list of nodes: ``node,cpus,memory,gpus,gpu_model,rack``, or that of openb.

    Raises BadDocument, InvalidInput.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        header = []
    if "sn" in header:
        return tuple(openb.read_nodes(path))
    seen: set[str] = set()

    def make(row: Row) -> NodeSpec:
        name, rack = row.text("node"), row.text("rack", default="") or DEFAULT_RACK
        if name in seen:
            row.wrong("node", f"{name!r:.80} is there already")
        seen.add(name)
        size = resources(row)
        try:
            return make_node(name, size, row.text("gpu_model", default="") or "GPU", rack)
        except InvalidInput as error:
            row.wrong("node", error.problem)
            return make_node("unreadable", size, "GPU")

    return tuple(open_table(path, ("node", "cpus", "memory")).read(make))


def _openb_jobs(path: Path) -> tuple[Job, ...]:
    """Pods without times come at once and run on; those that were not deleted run on."""
    return in_order(
        Job(
            name=pod.name,
            submit_s=float(pod.created_s or 0),
            groups=(
                TaskGroup(
                    resources=pod.resources,
                    run_s=(FOREVER if pod.deleted_s is None else float(pod.deleted_s - (pod.created_s or 0)),),
                    gpu_model=pod.gpu_model,
                ),
            ),
        )
        for pod in openb.read_pods(path)
    )


#: What a header must have, the most telling first.
_COLUMNS: dict[Format, tuple[str, ...]] = {
    Format.JOBS: jobs_table.COLUMNS,
    Format.HISTORY: history.COLUMNS,
    Format.GPU_JOBS: gpu_jobs.COLUMNS,
    Format.OPENB: ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"),
}
_READERS: dict[Format, Callable[[Path], tuple[Job, ...]]] = {
    Format.JOBS: jobs_table.read_jobs,
    Format.HISTORY: history.read_history,
    Format.GPU_JOBS: gpu_jobs.read_gpu_jobs,
    Format.OPENB: _openb_jobs,
    Format.SLS: read_sls,
}
