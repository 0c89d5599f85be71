"""Which filesystem a path is on, as the kernel tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

#: Types whose files live on another machine. FUSE names the program after a dot.
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "fhgfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "wekafs"}
)
_NETWORK_FUSE = frozenset(
    {"afpfs", "ceph", "ceph-fuse", "curlftpfs", "davfs", "gcsfuse", "glusterfs", "goofys", "hadoop-fuse", "juicefs"}
    | {"lizardfs", "mfs", "moosefs", "quobyte", "rclone", "s3fs", "seaweedfs", "smbnetfs", "sshfs"}
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted filesystem."""

    point: Path
    #: As the kernel names it: ``ext4``, ``nfs4``, ``fuse.sshfs``.
    kind: str

    @property
    def network(self) -> bool:
        """True iff its files live on another machine."""
        kind, _, program = self.kind.partition(".")
        return kind in _NETWORK or (kind == "fuse" and program.lower() in _NETWORK_FUSE)


def read_mounts(mountinfo: str | None = None) -> list[Mount]:
    """From text in the form of ``/proc/self/mountinfo`` (proc(5)), which is read if it is None.

    Empty where the system has no such file.
    """
    if mountinfo is None:
        try:
            mountinfo = MOUNTINFO.read_text(errors="surrogateescape")
        except OSError:
            return []
    mounts = []
    for line in mountinfo.splitlines():
        # "36 35 98:0 /root /point options optional-fields - type source super-options"
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) > 4 and after:
            mounts.append(Mount(Path(_unescaped(fields[4])), after.split(" ")[0]))
    return mounts


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that ``path`` is or will be on, links followed; None if none of them covers it."""
    real = Path(os.path.realpath(path))
    covering = [mount for mount in mounts if real.is_relative_to(mount.point)]
    # Of several at one point the last hides the others; max() takes the first of equals.
    return max(reversed(covering), key=lambda mount: len(mount.point.parts), default=None)


def _unescaped(field: str) -> str:
    """Blanks and backslashes of a path come as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
