"""Which of what is expected of storage this node is meant by."""

from __future__ import annotations

from hrm.doctor.addresses import hostname
from hrm.doctor.expected import Expected
from hrm.doctor.expected.storage import ExportExpected, IscsiExpected, MountExpected
from hrm.doctor.system import System


def is_here(system: System, node: str) -> bool:
    """Whether this machine has that name; a domain behind either does not count."""
    own = hostname(system)
    return bool(own) and (own == node or own.partition(".")[0] == node.partition(".")[0])


def disks_of_array(system: System, expected: Expected) -> list[IscsiExpected]:
    """Those that this node is to hold."""
    return [disk for disk in expected.storage.iscsi if is_here(system, disk.node)]


def exports(system: System, expected: Expected) -> list[ExportExpected]:
    """Those that this node is to export."""
    return [export for export in expected.storage.exports if is_here(system, export.node)]


def wanted_mounts(system: System, expected: Expected) -> list[MountExpected]:
    """Those that this node is to have mounted."""
    return [
        mount
        for mount in expected.storage.mounts
        if not mount.nodes or any(is_here(system, node) for node in mount.nodes)
    ]
