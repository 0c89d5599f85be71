"""The shape of ``hrm.yaml``: one pydantic model per mapping, each key with what it is for.

Defaults are not written here but where the values are used, so that a key that is absent and a key that is empty mean
the same. Rules that concern several keys are in `hrm.config.rules`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hrm.config.doctor_keys import DoctorShape
from hrm.config.fields import (
    Access,
    Age,
    AmountsLimit,
    AmountsOf,
    AmShare,
    GpuDevice,
    LabelList,
    MemoryMib,
    Milli,
    PartOfAll,
    Seconds,
    Share,
    Strict,
    Umask,
    Waiting,
)
from hrm.config.file_keys import FilesShape
from hrm.config.inventory_keys import NodeLabelShape, NodeNotesShape
from hrm.config.values import MAX_VIRTUAL_GPUS, LogFormat
from hrm.config.yarn_door import YarnShape
from hrm.model.engine import EngineKind, OnPartition
from hrm.model.isolation import IsolationMode
from hrm.model.placement import Rule
from hrm.model.queues import Order, Policy, QueueType
from hrm.model.scheduling import Victims

PolicyField = Annotated[Policy, Field(strict=False)]
TypeField = Annotated[QueueType, Field(strict=False)]
RuleField = Annotated[Rule, Field(strict=False)]
OrderField = Annotated[Order, Field(strict=False)]
VictimsField = Annotated[Victims, Field(strict=False)]
EngineField = Annotated[EngineKind, Field(strict=False)]
PartitionField = Annotated[OnPartition, Field(strict=False)]
ModeField = Annotated[IsolationMode, Field(strict=False)]
LogFormatField = Annotated[LogFormat, Field(strict=False)]


class LimitsShape(Strict):
    """What may be said of any queue, the root too."""

    max_share: Share | None = Field(default=None, description="Never more than this; what is not named is not limited.")
    max_running_apps: int | None = Field(
        default=None, ge=0, description="Applications that run at once, those below included."
    )
    max_running_apps_per_user: int | None = Field(
        default=None, ge=0, description="Applications of one user that run at once."
    )
    max_running_apps_of_users: dict[str, Annotated[int, Field(ge=0)]] | None = Field(
        default=None, description="The same for single users, by name."
    )
    max_child_share: Share | None = Field(default=None, description="Of queues below that nobody declared.")
    max_container: AmountsLimit | None = Field(default=None, description="No request may be larger than this.")
    accessible_node_labels: LabelList | None = Field(default=None, description="Node labels that requests may name.")
    default_node_label: str | None = Field(default=None, description="That of requests that name none.")
    submit_acl: Access | None = Field(default=None, description="Who may submit, besides whom queues above name.")
    admin_acl: Access | None = Field(default=None, description="Who may also end, move and change what is there.")
    preemptable: bool | None = Field(default=None, description="False: nothing here and below ends for others.")
    fair_share_preemption_timeout: Waiting | None = Field(
        default=None, description="How long it bears less than its part of its fair share."
    )
    fair_share_preemption_threshold: float | None = Field(
        default=None, ge=0, le=1, description="Which part of its fair share that is."
    )
    min_share_preemption_timeout: Waiting | None = Field(
        default=None, description="How long it bears less than its minimum share."
    )
    min_run_before_preemption: Age | None = Field(
        default=None, description="How long a container runs at least before it ends for others."
    )


class PlacementShape(Strict):
    """One rule of `scheduler.placement`."""

    rule: RuleField = Field(description="What it goes by.")
    create: bool | None = Field(default=None, description="False: only a declared queue will do.")
    queue: str | None = Field(default=None, description="Of `default`: the queue.")
    parent: PlacementShape | None = Field(default=None, description="The rule that gives the queue above.")


class DefaultsShape(Strict):
    """`scheduler.queue_defaults`."""

    max_running_apps: int | None = Field(default=None, ge=0, description="Applications that run at once.")
    max_share: Share | None = Field(default=None, description="Never more than this.")
    max_am_share: AmShare | None = Field(default=None, description="Part of the fair share that masters may use.")
    policy: PolicyField | None = Field(default=None, description="How a queue orders what is below it: fair or drf.")


class SchedulerShape(Strict):
    """The section `scheduler` of ``hrm.yaml``."""

    policy: PolicyField | None = Field(default=None, description="How the root orders its queues: drf or fair.")
    order: OrderField | None = Field(default=None, description="What the root compares: ratio or deficit.")
    default_queue: str | None = Field(default=None, description="Queue of a job that names none.")
    master_timeout: Seconds | None = Field(
        default=None, description="A master of its own that is silent for so long is ended."
    )
    undeclared_queues: bool | None = Field(default=None, description="Rules may make queues that nobody declared.")
    placement: list[PlacementShape] | None = Field(default=None, description="Which queue a job goes into: rules.")
    queue_defaults: DefaultsShape | None = Field(default=None, description="What holds for queues that do not say it.")
    root: LimitsShape | None = Field(default=None, description="Limits of all queues together.")
    assign_multiple: bool | None = Field(default=None, description="One visit of a node may place several containers.")
    dynamic_max_assign: bool | None = Field(
        default=None, description="A visit ends when more than half is assigned of what was free."
    )
    max_assign: int | None = Field(default=None, ge=1, description="Containers that one visit places at most.")
    node_locality_threshold: float | None = Field(
        default=None, le=1, description="Part of the nodes that are passed by before a request leaves its nodes."
    )
    rack_locality_threshold: float | None = Field(
        default=None, le=1, description="The same before it leaves its racks."
    )
    continuous_scheduling: bool | None = Field(default=None, description="Time counts instead of nodes passed by.")
    node_locality_delay: Age | None = Field(default=None, description="How long then before it leaves its nodes.")
    rack_locality_delay: Age | None = Field(default=None, description="The same before it leaves its racks.")
    reservable_nodes: float | None = Field(
        default=None, ge=0, le=1, description="Part of the nodes that one application may reserve."
    )
    reservation_threshold: AmountsOf | None = Field(
        default=None, description="A request of less than this reserves nothing."
    )
    gang_gather_timeout: Age | None = Field(default=None, description="How long a gang may keep nodes from others.")
    preemption: bool | None = Field(default=None, description="False: nothing ends for others, whatever queues say.")
    preemption_utilization_threshold: float | None = Field(
        default=None, ge=0, le=1, description="Nothing ends for others while no more than this part is used."
    )
    wait_before_kill: Age | None = Field(default=None, description="From the warning to the end of a victim.")
    victims: VictimsField | None = Field(default=None, description="Where containers end: first_node, least_work_lost.")
    placement_strategy: str | None = Field(default=None, description="Who chooses the node for a container.")


class QueueShape(LimitsShape):
    """One queue, and those below it."""

    weight: float | None = Field(default=None, ge=0, description="Share relative to the queues beside it.")
    min_share: Share | None = Field(default=None, description="Served first while the queue holds less than this.")
    max_am_share: AmShare | None = Field(
        default=None, description="Part of its fair share that masters in containers may use together."
    )
    policy: PolicyField | None = Field(default=None, description="How it orders what is below it: fair, fifo or drf.")
    order: OrderField | None = Field(default=None, description="What it compares: ratio or deficit.")
    type: TypeField | None = Field(default=None, description="leaf or parent, where that is not plain.")
    queues: dict[str, QueueShape | None] | None = Field(default=None, description="Queues below this one, by name.")


class NodeShape(Strict):
    """The section `node`."""

    node_id: str | None = Field(default=None, description="Name of this machine in HRM.")
    vcores: Milli | None = Field(default=None, description="CPUs that this machine lends.")
    memory: MemoryMib | None = Field(default=None, description="Memory that this machine lends.")
    gpu_devices: list[GpuDevice] | None = Field(default=None, description="Which GPUs it lends, by index or UUID.")
    virtual_gpus: int | None = Field(
        default=None, ge=0, le=MAX_VIRTUAL_GPUS, description="GPUs that do no arithmetic, in place of its own."
    )
    log_limit: MemoryMib | None = Field(default=None, description="Kept of each task's stdout and of its stderr.")
    isolation: ModeField | None = Field(default=None, description="What is enforced: auto, full or none.")
    strict_cpus: bool | None = Field(default=None, description="Never more CPU time than asked for, busy or not.")
    pin_cpus: bool | None = Field(default=None, description="Whole CPUs are a container's alone.")
    max_processes: int | None = Field(default=None, ge=1, description="Processes and threads of one container.")
    disk_quota: MemoryMib | None = Field(default=None, description="What a container's own directory may hold.")
    umask: Umask | None = Field(default=None, description="Rights that containers' new files do not have.")


class EngineShape(Strict):
    """The section `engine`."""

    kind: EngineField | None = Field(default=None, description="What runs containers: embedded or ray.")
    address: str | None = Field(default=None, description="HOST:PORT of a Ray cluster that this machine is in.")
    host: str | None = Field(default=None, description="Address by which other machines reach this one.")
    port: int | None = Field(default=None, ge=0, le=65535, description="Port of a Ray head; 0: any free one.")
    namespace: str | None = Field(default=None, description="Ray's namespace of this server's NodeManagers.")
    head_runs_containers: bool | None = Field(default=None, description="The machine of Ray's head is a node, too.")
    slab: PartOfAll | None = Field(default=None, description="Part of each machine that HRM takes of Ray.")
    on_partition: PartitionField | None = Field(
        default=None, description="Containers out of reach: keep (they go on) or stop (they end before a re-run)."
    )
    node_timeout: Seconds | None = Field(default=None, description="A machine that is silent for so long is lost.")


class ServerShape(Strict):
    """The section `server`."""

    host: str | None = Field(default=None, description="Address to listen on.")
    port: int | None = Field(default=None, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    allowed_hosts: list[str] | None = Field(default=None, description="Further host names that clients may ask for.")
    allowed_origins: list[str] | None = Field(default=None, description="Web pages of other servers that may call it.")
    check_socket_owner: bool | None = Field(
        default=None, description="Tokens count only in processes of their own users, where that can be told."
    )
    max_body: MemoryMib | None = Field(default=None, description="Largest request body.")
    requests_per_s: float | None = Field(
        default=None, gt=0, description="Requests that one client may make per second."
    )
    idle_exit: Seconds | None = Field(
        default=None, description="A server that `hrm run` started leaves when idle this long."
    )
    log_format: LogFormatField | None = Field(
        default=None, description="How the server writes its log: key=value, or one JSON object a line."
    )
    otlp_endpoint: str | None = Field(
        default=None, pattern=r"^https?://[^\s/]+", description="OpenTelemetry collector that is sent traces."
    )


class RetentionShape(Strict):
    """The section `retention`."""

    applications_age: Age | None = Field(default=None, description="Applications that are over are kept this long.")
    applications: int | None = Field(default=None, ge=0, description="At most so many that are over are kept.")
    events: int | None = Field(default=None, ge=0, description="At most so many lines of the event log are kept.")
    logs_age: Age | None = Field(default=None, description="Output of ended containers is kept this long.")
    logs_size: MemoryMib | None = Field(default=None, description="At most so much output is kept on a node.")
    scratch_age: Age | None = Field(default=None, description="Directories of ended containers are kept this long.")
    scratch_size: MemoryMib | None = Field(
        default=None, description="At most so much is kept of such directories on a node."
    )
    uploads_age: Age | None = Field(default=None, description="Uploads that no job named since are kept this long.")
    uploads_size: MemoryMib | None = Field(default=None, description="At most so much is kept of uploads.")


class ConfigShape(Strict):
    """The whole of ``hrm.yaml``: every section may be left out."""

    scheduler: SchedulerShape | None = Field(default=None, description="How the cluster as a whole is shared.")
    queues: dict[str, QueueShape | None] | None = Field(default=None, description="Queues below the root, by name.")
    node: NodeShape | None = Field(default=None, description="What this machine lends.")
    nodes: dict[str, NodeNotesShape | None] | None = Field(
        default=None, description="What is to be known of nodes, by their names."
    )
    node_labels: dict[str, NodeLabelShape | None] | None = Field(
        default=None, description="Labels that nodes may have, by name."
    )
    engine: EngineShape | None = Field(default=None, description="What runs containers.")
    server: ServerShape | None = Field(default=None, description="How the server listens.")
    retention: RetentionShape | None = Field(default=None, description="How long what is over is kept.")
    yarn: YarnShape | None = Field(default=None, description="YARN's front door.")
    files: FilesShape | None = Field(default=None, description="What jobs bring along, and where it is.")
    doctor: DoctorShape | None = Field(  # type: ignore[valid-type]
        default=None, description="What nodes are to be like, as far as no check can know it by itself."
    )
