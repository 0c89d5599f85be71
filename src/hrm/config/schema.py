"""The shape of ``hrm.yaml``: one pydantic model per mapping, each key with what it is for.

Defaults are not written here but where the values are used, so that a key that is absent and a key that is empty mean
the same. Rules that concern several keys are in `hrm.config.rules`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hrm.config.fields import Age, GpuDevice, MemoryMib, Milli, Seconds, Share, Strict, Umask
from hrm.config.values import MAX_VIRTUAL_GPUS
from hrm.model.isolation import IsolationMode
from hrm.model.queues import Policy

PolicyField = Annotated[Policy, Field(strict=False)]
ModeField = Annotated[IsolationMode, Field(strict=False)]


class SchedulerShape(Strict):
    """The section `scheduler` of ``hrm.yaml``."""

    policy: PolicyField | None = Field(default=None, description="How the root orders its queues: drf or fair.")
    default_queue: str | None = Field(default=None, description="Queue of a job that names none.")
    master_timeout: Seconds | None = Field(
        default=None, description="A master of its own that is silent for so long is ended."
    )


class QueueShape(Strict):
    """One queue, and those below it."""

    weight: float | None = Field(default=None, ge=0, description="Share relative to the queues beside it.")
    min_share: Share | None = Field(default=None, description="Served first while the queue holds less than this.")
    max_share: Share | None = Field(default=None, description="Never more than this; what is not named is not limited.")
    max_running_apps: int | None = Field(
        default=None, ge=0, description="Applications that run at once, those below included."
    )
    policy: PolicyField | None = Field(default=None, description="How it orders what is below it: fair, fifo or drf.")
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
    max_processes: int | None = Field(default=None, ge=1, description="Processes and threads of one container.")
    disk_quota: MemoryMib | None = Field(default=None, description="What a container's own directory may hold.")
    umask: Umask | None = Field(default=None, description="Rights that containers' new files do not have.")


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


class ConfigShape(Strict):
    """The whole of ``hrm.yaml``: every section may be left out."""

    scheduler: SchedulerShape | None = Field(default=None, description="How the cluster as a whole is shared.")
    queues: dict[str, QueueShape | None] | None = Field(default=None, description="Queues below the root, by name.")
    node: NodeShape | None = Field(default=None, description="What this machine lends.")
    server: ServerShape | None = Field(default=None, description="How the server listens.")
    retention: RetentionShape | None = Field(default=None, description="How long what is over is kept.")
