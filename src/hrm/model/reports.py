"""What people are told: the values that the API, the SDK, the CLI and the page show. Never used to decide anything.

Times are epoch seconds where named ``_at``, durations float seconds. Resources travel as exact integers by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hrm.model.devices import DeviceProcess, DeviceState
from hrm.model.findings import Finding
from hrm.model.isolation import Guard
from hrm.model.masters import FinalStatus
from hrm.model.phrases import Phrase
from hrm.model.requests import ExecutionType
from hrm.model.states import ApplicationState, AttemptState, NodeState, TaskState

Amounts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """The server itself: who it is, and how it does."""

    pid: int
    address: str
    home: str
    version: str
    engine: str
    started_at: float
    #: True iff the server leaves by itself when idle (started by `hrm run`).
    ephemeral: bool
    applications_running: int
    applications_pending: int
    nodes: int
    #: Longest that one handler held the event loop since start.
    loop_lag_max_ms: float
    #: Those that are not over, on all nodes.
    containers: int = 0
    #: Who has it start nothing new and end when nothing runs; "" iff nobody.
    drained_by: str = ""
    #: Why what was decided cannot be written, so that nothing goes on; "" while all is well.
    store_trouble: str = ""
    #: Which placement strategy went wrong and what it said, so that none chooses nodes; "" while all is well.
    strategy_trouble: str = ""
    #: What clients of YARN have to know: ``host:port`` for clients, masters and web, and max_attempts; empty while none
    #: may come in.
    yarn: dict[str, str] = field(default_factory=dict)


class ApplicationOrder(StrEnum):
    """How a list of applications is sorted; among equals the newest come first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"
    USER = "user"
    QUEUE = "queue"
    STATE = "state"
    ENDED = "ended"  #: what ended last comes first, what has not ended last


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationReport:
    """One application, as a line of `hrm ps`."""

    application_id: str
    name: str
    user: str
    queue: str
    state: ApplicationState
    priority: int
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    tasks_total: int
    tasks_pending: int
    tasks_running: int
    tasks_succeeded: int
    tasks_failed: int
    tasks_killed: int
    #: 0 to 1: finished tasks, and the parts that running ones report.
    progress: float
    used: Amounts
    #: Why it waits (a code of `hrm.core.reasons`), or how it ended; "" while all of it runs.
    reason: str
    #: The same in words.
    message: str
    #: The code that `hrm run` and `submit --wait` exit with: the highest of its tasks. None until it ended.
    exit_code: int | None
    nodes: list[str] = field(default_factory=list)
    #: Since when its containers are halted (`hrm suspend`); None iff they are not.
    suspended_at: float | None = None
    #: When it is ended unless it has ended by then (a client of YARN, or its owner, said so); None iff never.
    deadline_at: float | None = None
    #: ``message`` for other languages; None for what an engine, a master or a user said.
    said: Phrase | None = None
    #: Of what it uses: by opportunistic containers, which count in no share; and how many there are.
    opportunistic_used: Amounts = field(default_factory=dict)
    opportunistic_containers: int = 0
    #: Of what it waits for: what is asked for where a node is reserved for it, and on how many nodes.
    reserved: Amounts = field(default_factory=dict)
    containers_reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReport:
    """One run of an application's master."""

    attempt_id: str
    state: AttemptState
    started_at: float
    ended_at: float | None
    #: What its master said when it finished; UNDEFINED while it did not.
    final_status: FinalStatus
    message: str
    #: Of the master; None iff it has none, or none yet.
    container_id: str | None = None
    node_id: str | None = None
    #: Where its master said that it listens (port -1: nowhere), and the page that shows its work.
    host: str = ""
    rpc_port: int = -1
    tracking_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """One task of an application, as it stands now."""

    task_index: int
    group: str
    state: TaskState
    attempt: int
    container_id: str | None
    node_id: str | None
    progress: float | None
    exit_code: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAttemptReport:
    """One line of `hrm history`: one attempt of one task, in one container."""

    application_id: str
    name: str
    user: str
    queue: str
    task_index: int
    attempt: int
    container_id: str
    node_id: str
    resources: Amounts
    device_ids: list[str]
    allocated_at: float
    started_at: float | None
    ended_at: float | None
    exit_code: int | None
    state: TaskState
    message: str
    cpu_s: float | None
    max_rss_mib: int | None
    #: From and to disks, as last seen; None where it was over before the first look.
    read_bytes: int | None = None
    written_bytes: int | None = None
    #: True iff it is halted now, and for how long it was before; None iff never.
    suspended: bool = False
    suspended_s: float | None = None
    execution_type: ExecutionType = ExecutionType.GUARANTEED


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """One queue: its use against its shares."""

    #: Path without the root: "research", "research.vision"; the root itself is "root".
    name: str
    parent: str | None
    policy: str
    weight: float
    used: Amounts
    #: Used plus what its applications still ask for, capped at max share and cluster.
    demand: Amounts
    #: Its share now, among queues with demand.
    fair_share: Amounts
    #: Its share if every queue had demand.
    steady_fair_share: Amounts
    min_share: Amounts
    #: None where unlimited.
    max_share: Amounts | None
    max_running_apps: int | None
    applications_running: int
    applications_pending: int
    containers_running: int
    containers_pending: int
    #: leaf or parent.
    type: str = "leaf"
    #: What it compares of those that have their minimum: ratio or deficit.
    order: str = "ratio"
    #: True iff it is in the configuration no more: what is in it goes on, nothing new enters.
    draining: bool = False
    #: True iff it never was: a placement rule made it, and it goes with its last application.
    undeclared: bool = False
    preemptable: bool = True
    max_running_apps_per_user: int | None = None
    #: Of a leaf's fair share, for masters in containers; None where unlimited.
    max_am_share: float | None = None
    #: No request may be larger; None where unlimited.
    max_container: Amounts | None = None
    #: What the containers that are pending ask for, however much the cluster has.
    pending: Amounts = field(default_factory=dict)
    #: Of those: what is asked for where a node is reserved for it, and on how many nodes.
    reserved: Amounts = field(default_factory=dict)
    containers_reserved: int = 0
    #: Node labels that requests may name here, "*" for all, and that of those that name none.
    accessible_node_labels: list[str] = field(default_factory=lambda: ["*"])
    default_node_label: str = ""
    #: What opportunistic containers hold, which counts in nothing above, and how many run and are waited for.
    opportunistic_used: Amounts = field(default_factory=dict)
    opportunistic_running: int = 0
    opportunistic_pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """One GPU of a node: what it is, how it does, what of it is free and who is on it. None and "" where unknown."""

    device_id: str
    index: int
    model: str
    virtual: bool
    #: 0 for a device that is not lent.
    free_milli: int
    #: lent, unlent (the node's allow-list leaves it to others), sick or lost.
    state: DeviceState = DeviceState.LENT
    #: What is wrong with it.
    message: str = ""
    memory_mib: int = 0
    architecture: str = ""
    compute_capability: str = ""
    pci_bus_id: str = ""
    #: What lies between it and other devices, by their ids (see `DeviceSpec.links`).
    links: dict[str, str] = field(default_factory=dict)
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    #: All of its memory that is taken, and of that what processes hold that are not HRM's.
    memory_used_mib: int | None = None
    foreign_memory_mib: int | None = None
    processes: list[DeviceProcess] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """One node: its size, what is taken, and what the machine really does."""

    node_id: str
    state: NodeState
    rack: str
    total: Amounts
    used: Amounts
    devices: list[DeviceReport]
    #: One line: what is enforced and what is only advice.
    isolation: str
    containers: int
    last_heartbeat_at: float | None
    #: Of the machine as a whole, other people's processes included; None before the first heartbeat.
    memory_used_mib: int | None
    cpu_used_milli: int | None
    disk_free_mib: int | None
    message: str
    #: The same by resource.
    guards: list[Guard] = field(default_factory=list)
    #: Since when nothing new is placed there, who wants it so, and why; None iff it takes containers.
    drained_at: float | None = None
    drained_by: str = ""
    drain_reason: str = ""
    #: What it has besides that jobs may need: ``shared path /data``.
    offers: list[str] = field(default_factory=list)
    #: By which jobs choose nodes, and those of them that an operator set while a server ran.
    attributes: dict[str, str] = field(default_factory=dict)
    set_attributes: list[str] = field(default_factory=list)
    #: Its node label, "" iff none, and whether requests without one are kept off it.
    label: str = ""
    exclusive: bool = True
    #: Opportunistic containers, and what of all that is used they hold.
    opportunistic_containers: int = 0
    opportunistic_used: Amounts = field(default_factory=dict)
    #: What the doctor's last round found on it, the worst first, and when that was; None before the first.
    findings: list[Finding] = field(default_factory=list)
    examined_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLabelReport:
    """A node label, and the nodes that have it."""

    name: str
    exclusive: bool
    #: True iff ``hrm.yaml`` has it: then it changes there.
    declared: bool
    nodes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerReport:
    """One container that is not over, and what it really uses."""

    container_id: str
    application_id: str
    task_index: int | None
    node_id: str
    state: str
    resources: Amounts
    device_ids: list[str]
    pid: int | None
    allocated_at: float
    started_at: float | None
    memory_used_mib: int | None
    cpu_used_milli: int | None
    read_bytes: int | None
    written_bytes: int | None
    disk_mib: int | None
    #: The application that it is to end for, and when it is killed unless it has; None iff for none.
    ends_for: str | None = None
    kill_at: float | None = None
    #: How many programs it has run in turn (`hrm.model.relaunching`).
    launches: int = 1
    execution_type: ExecutionType = ExecutionType.GUARANTEED


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingReport:
    """Containers of one kind that an application waits for."""

    containers: int
    resources: Amounts
    gpu_model: str | None
    priority: int
    #: Of tasks: how long they may run; None iff nobody said.
    timeout_s: float | None
    #: Expression on attributes of the node, "" iff any will do, and its node label.
    constraint: str = ""
    node_label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReport:
    """A container that an application holds."""

    container_id: str
    node_id: str
    resources: Amounts
    device_ids: list[str]
    #: When it was granted or, once that is known, began.
    since: float
    #: 0 to 1, as its task tells; None while it does not.
    progress: float | None
    timeout_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkReport:
    """What one application that is not over holds and waits for: enough to play on from here (`hrm simulate`)."""

    application_id: str
    name: str
    user: str
    queue: str
    priority: int
    submitted_at: float
    waiting: list[WaitingReport]
    holding: list[HeldReport]
    #: True iff it runs on what others leave.
    opportunistic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport:
    """One line of the event log (accounting and audit; not what recovery reads)."""

    seq: int
    at: float
    kind: str
    application_id: str | None
    container_id: str | None
    node_id: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationReport:
    """How often something took how long since the server's start."""

    #: scheduler_turn (one step of the ResourceManager's loop) or store_commit (until what was decided is on disk).
    name: str
    bounds_s: list[float]
    #: How many took no longer than each bound and longer than the one before; the last of all above.
    counts: list[int]
    sum_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuresReport:
    """What the server counts of itself since its start."""

    durations: list[DurationReport]
    #: Of the event log, by kind.
    events: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitReport:
    """The answer to a submission, given after it is on disk."""

    application_id: str
    #: False iff this submit id had been seen before and nothing new was made.
    created: bool
    #: Where it went, and by which rule of `scheduler.placement`; "" iff that is not known any more.
    queue: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadReport:
    """An upload as the server has it. It may be named by a job once nothing is ``missing``."""

    #: SHA-256 of its manifest.
    upload_id: str
    files: int
    size_bytes: int
    #: SHA-256 of contents that are still to be sent.
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementReport:
    """Where a job would go (`hrm submit --test-only`)."""

    queue: str
    #: Of `scheduler.placement`.
    rule: str
    #: Queues that would be made for it, from above.
    makes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """A token of whoever asked, for a working day in a browser (`hrm page`)."""

    token: str
    user: str
    expires_at: float
    #: Of the server, over TCP.
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsReport:
    """TCP ports of its node's loopback on which the processes of a task listen (`hrm port-forward`)."""

    application_id: str
    task_index: int
    container_id: str
    node_id: str
    ports: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAccessReport:
    """Who may use one queue: by its own ACLs and those of the queues above it (`hrm queues access`)."""

    name: str
    #: Of whoever asks.
    may_submit: bool
    administers: bool
    #: In words: names, ``group …``, ``everybody``, ``nobody``. Who administers it may submit, too.
    submitters: str
    administrators: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanReport:
    """What was cleared away or, in a dry run, would be."""

    dry_run: bool
    #: Applications that were over, and the rows of tasks and history that went with them (0 in a dry run).
    applications: int
    rows: int
    events: int
    #: Containers whose output went, and whose directory; bytes on nodes' disks.
    logs: int
    logs_bytes: int
    scratch: int
    scratch_bytes: int
    #: True iff the time of one call was over before all was done: ask again.
    more: bool
    #: Uploads at the server that no application needs any more.
    uploads: int = 0
    uploads_bytes: int = 0
    #: What could not be done, in words.
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport:
    """What `hrm queues reload` did: paths of queues, and keys of the configuration outside of `queues`."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    #: Keys whose new value counts from now on, and those where it waits for a restart.
    options: list[str] = field(default_factory=list)
    after_restart: list[str] = field(default_factory=list)
