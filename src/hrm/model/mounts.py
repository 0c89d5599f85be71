"""Mounted filesystems, as ``/proc/self/mountinfo`` (proc(5)) tells them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Types whose files live on another machine. FUSE names the program after a dot.
_NETWORK = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "fhgfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "wekafs"}
)
_NETWORK_FUSE = frozenset(
    {"afpfs", "ceph", "ceph-fuse", "curlftpfs", "davfs", "gcsfuse", "glusterfs", "goofys", "hadoop-fuse", "juicefs"}
    | {"lizardfs", "mfs", "moosefs", "quobyte", "rclone", "s3fs", "seaweedfs", "smbnetfs", "sshfs"}
)


def is_network_kind(kind: str) -> bool:
    """Whether the files of this type of filesystem live on another machine."""
    name, _, program = kind.partition(".")
    return name in _NETWORK or (name == "fuse" and program.lower() in _NETWORK_FUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mounted filesystem."""

    point: str
    #: As the kernel names it: ``ext4``, ``nfs4``, ``fuse.sshfs``.
    kind: str
    #: What is mounted there: ``/dev/sdb``, ``master:/data``, ``tmpfs``.
    source: str = ""
    #: Of this mount: ``rw``, ``noatime``.
    options: tuple[str, ...] = ()
    #: Of the filesystem, wherever it is mounted: ``rw``, ``errors=remount-ro``, ``addr=10.0.0.1``.
    fs_options: tuple[str, ...] = ()
    #: Major and minor number of the device: ``8:16``.
    device: str = ""
    #: Which directory of the filesystem it shows; other than ``/`` of bind mounts.
    root: str = "/"
    #: The line that says so.
    line: str = ""

    @property
    def network(self) -> bool:
        """True iff its files live on another machine."""
        return is_network_kind(self.kind)

    @property
    def nfs(self) -> bool:
        """True iff it is NFS of any version."""
        return self.kind in ("nfs", "nfs4")

    @property
    def read_only(self) -> bool:
        """True iff nothing can be written: of the mount, or of the filesystem as a whole."""
        return "ro" in (*self.options, *self.fs_options)

    def option(self, name: str) -> str | None:
        """What stands after ``name=``; None where it is not there."""
        both = (*self.fs_options, *self.options)
        return next((option.partition("=")[2] for option in both if option.startswith(f"{name}=")), None)


def parse_mounts(mountinfo: str) -> list[Mount]:
    """From text in the form of ``/proc/self/mountinfo``, in its order; lines of another form are left out."""
    mounts = []
    for line in mountinfo.splitlines():
        # "36 35 98:0 /root /point options optional-fields - type source super-options"
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or not rest[0]:
            continue
        rest += ["", ""]
        mounts.append(
            Mount(
                point=unescaped(fields[4]),
                kind=rest[0],
                source=unescaped(rest[1]),
                options=tuple(fields[5].split(",")),
                fs_options=tuple(rest[2].split(",")) if rest[2] else (),
                device=fields[2],
                root=unescaped(fields[3]),
                line=line,
            )
        )
    return mounts


def mount_of(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that ``path`` (absolute, without links) is or will be on; None if none of them covers it."""
    covering = [mount for mount in mounts if mount.point == "/" or _within(path, mount.point)]
    # Of several at one point the last hides the others; max() takes the first of equals.
    return max(reversed(covering), key=lambda mount: len(mount.point.rstrip("/")), default=None)


def unescaped(field: str) -> str:
    """Blanks and backslashes of a path come as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _within(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")
