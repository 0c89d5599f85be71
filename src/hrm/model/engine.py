"""Which engine runs containers, and how it is to behave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EngineKind(StrEnum):
    """By what containers are run."""

    EMBEDDED = "embedded"  #: this machine, by a NodeManager in the server
    RAY = "ray"  #: the machines of a Ray cluster, by a NodeManager in a Ray actor on each


class OnPartition(StrEnum):
    """What becomes of containers on a machine that the server cannot reach."""

    KEEP = "keep"  #: they go on; what was re-run meanwhile is ended when the machine is back
    STOP = "stop"  #: they end there before they are re-run elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The section `engine` of ``hrm.yaml``; all but ``kind`` concerns Ray."""

    kind: EngineKind = EngineKind.EMBEDDED
    #: HOST:PORT of a Ray cluster that runs here already; None iff the server starts a head.
    address: str | None = None
    #: The address of this machine by which the others reach it; None iff Ray is to find it.
    host: str | None = None
    #: Of a head that is started; 0 iff any free one.
    port: int = 6379
    #: Ray's namespace of the NodeManagers: servers that share a Ray cluster need one each.
    namespace: str = "hrm"
    head_runs_containers: bool = False
    #: Part of every machine that HRM takes of Ray, 0 to 1.
    slab: float = 1.0
    on_partition: OnPartition = OnPartition.KEEP
    #: A machine that is silent for so long is lost.
    node_timeout_s: float = 8.0
