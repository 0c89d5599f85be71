"""Alibaba's GPU cluster trace of 2023 ("openb"): nodes with GPUs, and pods that ask for them.

Published with Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
Descent", USENIX ATC'23. Columns of nodes: ``sn,cpu_milli,memory_mib,gpu,model``; of pods: ``name,cpu_milli,memory_mib,
num_gpu,gpu_milli`` and, where times are known, ``creation_time,deletion_time,scheduled_time`` in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hrm.model.errors import InvalidInput
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources
from hrm.sim.traces.table import Row, Table

#: More devices on one node than any machine has.
_MAX_DEVICES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One task of the trace."""

    name: str
    resources: Resources
    #: None iff any will do.
    gpu_model: str | None = None
    #: Seconds since the trace begins; None where the list has no times.
    created_s: int | None = None
    deleted_s: int | None = None


def read_nodes(path: Path) -> list[NodeSpec]:
    """The nodes of a list. Raises BadDocument, InvalidInput."""
    seen: set[str] = set()

    def make(row: Row) -> NodeSpec:
        name, model = row.text("sn"), row.text("model", default="")
        gpus = row.whole("gpu", most=_MAX_DEVICES)
        if name in seen:
            row.wrong("sn", f"{name!r:.80} is there already")
        seen.add(name)
        if gpus and not model:
            row.wrong("model", "a node with GPUs has a model")
        total = Resources(row.whole("memory_mib"), row.whole("cpu_milli"), 1000 * gpus)
        devices = tuple(DeviceSpec(device_id=f"{name}/{index}", index=index, model=model) for index in range(gpus))
        try:
            return NodeSpec(node_id=name, total=total, devices=devices)
        except InvalidInput as error:
            if name:
                row.wrong("sn", error.problem)
            return NodeSpec(node_id="unreadable", total=total, devices=devices)

    return Table(path, ("sn", "cpu_milli", "memory_mib", "gpu", "model")).read(make)


def read_pods(path: Path) -> list[Pod]:
    """The pods of a list, in its order. Raises BadDocument, InvalidInput."""

    def make(row: Row) -> Pod:
        gpus = row.whole("num_gpu", most=_MAX_DEVICES)
        each_milli = row.whole("gpu_milli", most=1000)
        if gpus > 1 and each_milli != 1000:
            row.wrong("gpu_milli", f"{gpus} GPUs are whole ones, 1000 each: {each_milli}")
        if gpus == 1 and not each_milli:
            row.wrong("gpu_milli", "must be above 0 where num_gpu is 1")
        resources = Resources(row.whole("memory_mib"), row.whole("cpu_milli"), gpus * each_milli)
        if not resources:
            row.wrong("cpu_milli", "the task asks for nothing")
        model = row.text("gpu_spec", default="")
        if "|" in model:
            row.wrong("gpu_spec", f"several models for one task are not supported: {model!r:.80}")
        created, deleted = row.whole("creation_time", default=-1), row.whole("deletion_time", default=-1)
        if deleted >= 0 and created > deleted:
            row.wrong("deletion_time", f"{deleted} is before creation_time, {created}")
        return Pod(
            name=row.text("name"),
            resources=resources,
            gpu_model=model or None,
            created_s=None if created < 0 else created,
            deleted_s=None if deleted < 0 else deleted,
        )

    return Table(path, ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")).read(make)
