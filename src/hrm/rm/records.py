"""Rows of the store: the truth that a restart begins from.

Each is written whole (insert or replace by its key), so a change in memory and on disk is one copy with changes. Rows
are msgspec's structs, not dataclasses: each task makes several, and one takes 0.3 µs instead of 6.
What is large and never changes (commands, environments) stands in rows of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hrm.model.containers import Preemption
from hrm.model.masters import FinalStatus
from hrm.model.requests import ExecutionType
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, AttemptState, ContainerState, NodeState, TaskState


class ApplicationRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: ``seq``."""

    seq: int
    user: str
    name: str
    queue: str
    state: ApplicationState
    priority: int
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    #: What the client called this submission; unique by user where set.
    submit_id: str | None = None
    tasks_total: int = 0
    tasks_succeeded: int = 0
    tasks_failed: int = 0
    tasks_killed: int = 0
    exit_code: int | None = None
    message: str = ""
    #: Set when a kill was asked for: it must go on after a restart.
    kill_requested: bool = False
    #: Since when its containers are halted; None iff they are not.
    suspended_at: float | None = None
    #: When it is ended unless it has ended by then; None iff it may live for ever.
    deadline_at: float | None = None


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: ``application_seq``. What was submitted, as `hrm.model.job_codec` writes it. Never changes."""

    application_seq: int
    spec: dict[str, Any]


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: (``application_seq``, ``number``)."""

    application_seq: int
    number: int
    state: AttemptState
    started_at: float
    ended_at: float | None = None
    #: What its master said when it finished, before its container ended; None while it did not.
    final_status: FinalStatus | None = None
    diagnostics: str = ""
    #: Where its master said that it can be spoken to, and where people can see what it does.
    host: str = ""
    rpc_port: int = -1
    tracking_url: str = ""


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: (``application_seq``, ``task_index``)."""

    application_seq: int
    task_index: int
    state: TaskState
    #: Attempts begun; 0 before the first.
    attempt: int = 0
    #: Attempts that failed by the task's own fault.
    failures: int = 0
    #: Attempts that were lost by nobody's fault.
    losses: int = 0
    container_id: str | None = None
    exit_code: int | None = None
    message: str = ""


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: ``container_id``. One attempt of a task is one container, so this is the task's history too."""

    container_id: str
    application_seq: int
    attempt_number: int
    node_id: str
    resources: Resources
    device_ids: tuple[str, ...]
    priority: int
    state: ContainerState
    allocated_at: float
    #: None for a container that is no task's (not launched yet, or of another kind of master).
    task_index: int | None = None
    task_attempt: int | None = None
    #: How the task's attempt ended; None until then.
    task_state: TaskState | None = None
    pid: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    message: str = ""
    cpu_s: float | None = None
    max_rss_mib: int | None = None
    #: That it is to end for another application, or was; None iff never.
    preemption: Preemption | None = None
    #: From and to disks, as far as was seen before its end; None where it was not looked at.
    read_bytes: int | None = None
    written_bytes: int | None = None
    #: How long it was suspended, up to when it last went on; None iff it never was.
    suspended_s: float | None = None
    #: That it bears among those on its node; None iff none.
    tags: tuple[str, ...] | None = None
    #: How many programs it has run in turn (`hrm.model.relaunching`); None iff one, or none yet.
    launches: int | None = None
    execution_type: ExecutionType = ExecutionType.GUARANTEED


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: ``node_id``."""

    node_id: str
    state: NodeState
    rack: str
    total: Resources
    last_seen_at: float
    #: Since when nothing new is placed there, who wants it so, and why; None iff it takes containers.
    drained_at: float | None = None
    drained_by: str = ""
    drain_reason: str = ""
    #: What an operator said while a server ran: attributes, and the label ("" for none). None iff nothing.
    said_attributes: dict[str, str] | None = None
    said_label: str | None = None


class NodeLabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A node label that an operator added while a server ran. Key: ``name``."""

    name: str
    exclusive: bool
    #: True iff it is gone again.
    removed: bool = False


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """Key: ``seq``. History for people and accounting; recovery does not read it."""

    seq: int
    at: float
    kind: str
    application_seq: int | None = None
    container_id: str | None = None
    node_id: str | None = None
    detail: dict[str, Any] | None = None


Row = ApplicationRow | JobRow | AttemptRow | TaskRow | ContainerRow | NodeRow | NodeLabelRow | EventRow
