"""What is expected of the disk array, iSCSI, NFS and mounts."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class IscsiExpected:
    """A disk of the array that one node holds over iSCSI."""

    node: str = about("Name of the node that holds it.")
    target: str = about("Name (IQN) of the array's target.")
    portals: tuple[str, ...] = about(
        "Addresses of the array's controllers, each with its port unless that is 3260.", ()
    )
    initiator: str | None = about("Name (IQN) by which the array knows the node; a reinstall changes the node's.", None)
    size_mib: int | None = about("Size of the disk.", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportExpected:
    """A directory that one node exports over NFS."""

    node: str = about("Name of the node that exports it.")
    path: str = about("The directory there.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MountExpected:
    """A filesystem that nodes are to have mounted."""

    path: str = about("Where it is mounted.")
    source: str | None = about("What is mounted there: 172.19.0.200:/data, UUID=…; none: anything.", None)
    nodes: tuple[str, ...] = about("Names of the nodes that are to have it; none: all.", ())
    read_only: bool = about("It is to be read only.", False)
    required: bool = about("All jobs need it: a node without it is drained.", False)
    probe: bool = about("The full round writes a file .hrm-probe-NODE there and reads it back.", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageExpected:
    """The section `doctor.storage` of ``hrm.yaml``."""

    iscsi: tuple[IscsiExpected, ...] = about("Disks of the array, and the nodes that hold them.", ())
    exports: tuple[ExportExpected, ...] = about("Directories that nodes export over NFS.", ())
    mounts: tuple[MountExpected, ...] = about("Filesystems that nodes are to have mounted.", ())
    min_free_part: float = about(
        "Part of the space and the inodes of what is mounted over NFS that is to be free.", 0.05
    )
    slow_probe_s: float = about("A probe that takes longer is slow.", 5.0)
