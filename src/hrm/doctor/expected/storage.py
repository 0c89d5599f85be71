"""What is expected of the disk array, iSCSI, NFS and mounts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageExpected:
    """The section `doctor.storage` of ``hrm.yaml``."""
