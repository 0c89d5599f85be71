"""What a node is to be like: the section `doctor` of ``hrm.yaml``, which says what no check can know by itself.

Each area has a part. Every key has a default with which nothing is expected. `hrm.config` makes
the keys of ``hrm.yaml`` from these classes, with what `about` says of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hrm.doctor.expected.about import about
from hrm.doctor.expected.cuda import CudaExpected
from hrm.doctor.expected.docker import DockerExpected
from hrm.doctor.expected.gpu import GpuExpected
from hrm.doctor.expected.java import JavaExpected
from hrm.doctor.expected.kubernetes import KubernetesExpected
from hrm.doctor.expected.machine import MachineExpected
from hrm.doctor.expected.mesos import MesosExpected
from hrm.doctor.expected.own import HealthScript
from hrm.doctor.expected.rounds import Rounds
from hrm.doctor.expected.storage import StorageExpected


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """See the module."""

    rounds: Rounds = field(default_factory=Rounds)
    checks: tuple[str, ...] = about("Checks of your own, one a line; see docs/doctor.md.", ())
    health_script: HealthScript = field(default_factory=HealthScript)
    gpu: GpuExpected = field(default_factory=GpuExpected)
    cuda: CudaExpected = field(default_factory=CudaExpected)
    docker: DockerExpected = field(default_factory=DockerExpected)
    storage: StorageExpected = field(default_factory=StorageExpected)
    mesos: MesosExpected = field(default_factory=MesosExpected)
    kubernetes: KubernetesExpected = field(default_factory=KubernetesExpected)
    java: JavaExpected = field(default_factory=JavaExpected)
    machine: MachineExpected = field(default_factory=MachineExpected)
