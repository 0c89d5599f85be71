"""A drawn cluster described in YAML, instead of by options of the command line.

nodes: 250
gpu_models: [A100, V100]
apps: 10000
containers: 30000
arrivals: exponential:8s
run_time: lognormal:2h,1.3
shapes:
  - {cpus: 4, memory: 16G, gpus: 1, weight: 3}
  - {cpus: 1, memory: 4G}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from hrm.config.documents import Document
from hrm.config.fields import Gpus, MemoryMib, Milli, Seconds, Strict, reader
from hrm.model.errors import InvalidInput
from hrm.model.queues import Policy
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.sim.distributions import Distribution, parse_distribution
from hrm.sim.generate import Shape

Times = Annotated[Distribution, reader(lambda value: parse_distribution(value, field=""))]
PolicyField = Annotated[Policy, Field(strict=False)]


class AmountsShape(Strict):
    """Amounts of a node, or of a container."""

    cpus: Milli = Field(default=0, description="CPUs.")
    memory: MemoryMib = Field(default=0, description="Memory.")
    gpus: Gpus = Field(default=0, description="GPUs.")

    @property
    def resources(self) -> Resources:
        return Resources(self.memory, self.cpus, self.gpus)


class ContainerShape(AmountsShape):
    """What containers ask for, and how often."""

    weight: float = Field(default=1.0, gt=0, description="How often, against the others.")


class PlanShape(Strict):
    """The whole file: every key may be left out."""

    nodes: int | None = Field(default=None, description="Machines.")
    node: AmountsShape | None = Field(default=None, description="Size of each.")
    gpu_models: list[str] | None = Field(default=None, description="Nodes get these in turn.")
    racks: int | None = Field(default=None, description="Racks that they stand in.")
    queues: int | None = Field(default=None, description="Leaf queues, ten below each parent.")
    apps: int | None = Field(default=None, description="Applications.")
    containers: int | None = Field(default=None, description="Containers that they ask for in all.")
    policy: PolicyField | None = Field(default=None, description="Of queues: drf, fair or fifo.")
    shapes: list[ContainerShape] | None = Field(default=None, description="What containers ask for.")
    arrivals: Times | None = Field(default=None, description="Between two submissions.")
    run_time: Times | None = Field(default=None, description="Of each container.")
    mtbf: Seconds | None = Field(default=None, description="Each node fails once in so long on average.")
    repair: Times | None = Field(default=None, description="How long it is gone then.")
    preempt_after: Seconds | None = Field(default=None, description="Preempt for who is starved for so long.")
    checkpoint: Seconds | None = Field(default=None, description="Tasks save their work so often.")
    placement: str | None = Field(default=None, description="Placement strategy.")


def read_plan(path: Path) -> dict[str, Any]:
    """Fields of `hrm.sim.generate.Plan` that the file names. Raises BadDocument with every finding, InvalidInput."""
    document = Document.load(path)
    shape = document.fit(PlanShape)
    document.raise_findings()
    assert shape is not None, "a shape that does not fit has findings"
    found = {name: value for name in PlanShape.model_fields if (value := getattr(shape, name)) is not None}
    for key, name in (("mtbf", "mtbf_s"), ("preempt_after", "preempt_after_s"), ("checkpoint", "checkpoint_s")):
        if key in found:
            found[name] = found.pop(key)
    if "placement" in found:
        found["options"] = SchedulerOptions(placement_strategy=found.pop("placement"))
    if "node" in found:
        found["node_size"] = found.pop("node").resources
    if "gpu_models" in found:
        found["gpu_models"] = tuple(found["gpu_models"])
    if "shapes" in found:
        found["shapes"] = tuple(Shape(one.resources, one.weight) for one in found["shapes"])
        if not all(one.resources for one in found["shapes"]):
            raise InvalidInput(
                f"{path}: a shape asks for nothing", field="shapes", next_step="say cpus, memory or gpus"
            )
    return found
