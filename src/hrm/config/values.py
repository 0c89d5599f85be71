"""The configuration as the parts of HRM receive it: frozen, complete, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hrm.config.yarn_values import YarnConfig
from hrm.doctor.expected import Expected
from hrm.model.cleaning import RetentionPolicy
from hrm.model.engine import EngineSettings
from hrm.model.files import FileSettings
from hrm.model.inventory import Inventory
from hrm.model.isolation import IsolationSettings
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import QueueSpec
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions

DEFAULT_PORT = 8765
#: Enough for a node of any make; a larger number is a slip of the pen.
MAX_VIRTUAL_GPUS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """How the cluster as a whole is shared; what concerns the root queue is in `HrmConfig.queues`."""

    options: SchedulerOptions = field(default_factory=SchedulerOptions)
    #: Which queue a job goes into; its default queue is a leaf.
    placement: PlacementPolicy = field(default_factory=PlacementPolicy)
    #: After how many silent seconds a master in a container of its own is ended.
    master_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What the machine that the server runs on lends."""

    node_id: str
    #: CPUs and memory; GPUs are found by their driver, never declared.
    total: Resources
    #: Which GPUs are lent, by index or UUID; None iff all.
    gpu_devices: tuple[int | str, ...] | None = None
    #: So many that do no arithmetic, in place of the machine's own.
    virtual_gpus: int = 0
    #: Bytes kept of each of a container's stdout and stderr.
    log_limit_bytes: int = 64 << 20
    #: What containers are held to, and how far.
    isolation: IsolationSettings = field(default_factory=IsolationSettings)


class LogFormat(StrEnum):
    """Forms of a line of the server's log."""

    TEXT = "text"  #: key=value
    JSON = "json"  #: one object


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """How the server listens, and its limits."""

    host: str = "127.0.0.1"
    #: 0 iff any free one.
    port: int = DEFAULT_PORT
    #: Host names that clients may ask for, besides those of the loopback and of ``host``.
    allowed_hosts: tuple[str, ...] = ()
    #: Web origins besides the server's own that may call it (``https://portal.example.org``).
    allowed_origins: tuple[str, ...] = ()
    #: A token counts only where the socket that brings it belongs to its user, if that can be told.
    check_socket_owner: bool = True
    max_body_bytes: int = 8 << 20
    #: Of one user, in the long run.
    requests_per_s: float = 500.0
    #: After how many idle seconds a server that `hrm run` started leaves.
    idle_exit_s: float = 60.0
    #: How the server writes its log.
    log_format: LogFormat = LogFormat.TEXT
    #: Of an OpenTelemetry collector that is sent traces of requests; None iff none is.
    otlp_endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HrmConfig:
    """One ``hrm.yaml``, defaults filled in."""

    #: The root of the tree.
    queues: QueueSpec
    node: NodeConfig
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    #: What operators say of nodes.
    inventory: Inventory = field(default_factory=Inventory)
    engine: EngineSettings = field(default_factory=EngineSettings)
    server: ServerConfig = field(default_factory=ServerConfig)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    yarn: YarnConfig = field(default_factory=YarnConfig)
    files: FileSettings = field(default_factory=FileSettings)
    #: What nodes are to be like.
    doctor: Expected = field(default_factory=Expected)
