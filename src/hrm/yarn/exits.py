"""How a container ended, as YARN's clients read it (ContainerExitStatus)."""

from __future__ import annotations

from hrm.model.ids import ContainerId
from hrm.model.masters import MASTER_FINISHED, STOPPED_BY_MASTER, EndedContainer
from hrm.model.resources import Resources
from hrm.model.states import TaskState
from hrm.yarn.amounts import resource_message
from hrm.yarn.ids import container_message
from hrm.yarn.proto.records_pb2 import C_COMPLETE, ContainerStatusProto

#: It was given back, or nobody knows how it ended; its node may be lost. Nobody's fault.
ABORTED = -100
DISKS_FAILED = -101
PREEMPTED = -102
OVER_PHYSICAL_MEMORY = -104
KILLED_BY_MASTER = -105
KILLED_BY_RESOURCEMANAGER = -106
KILLED_AFTER_COMPLETION = -107
#: By what HRM says of a container that had more than it may.
_OVER_MEMORY, _OVER_DISK = "out of memory", "disk quota exceeded"
_KILLED_BY = {STOPPED_BY_MASTER: KILLED_BY_MASTER, MASTER_FINISHED: KILLED_AFTER_COMPLETION}


def exit_status(ended: EndedContainer, *, released: bool = False) -> int:
    """``released``: its master gave it back, which YARN tells from its being stopped."""
    if released:
        return ABORTED
    if ended.state is TaskState.PREEMPTED:
        return PREEMPTED
    if ended.state is TaskState.KILLED:
        return _KILLED_BY.get(ended.message, KILLED_BY_RESOURCEMANAGER)
    if ended.message.startswith(_OVER_MEMORY):
        return OVER_PHYSICAL_MEMORY
    if ended.message.startswith(_OVER_DISK):
        return DISKS_FAILED
    return ABORTED if ended.exit_code is None else ended.exit_code


def completed_status(
    ended: EndedContainer, resources: Resources | None = None, *, released: bool = False
) -> ContainerStatusProto:
    """As a master is told of it."""
    status = exit_status(ended, released=released)
    message = ContainerStatusProto(
        container_id=container_message(ContainerId.parse(ended.container_id)),
        state=C_COMPLETE,
        exit_status=status,
        diagnostics="Container released by application" if released else ended.message,
    )
    if resources is not None:
        message.capability.CopyFrom(resource_message(resources, up=True))
    return message
