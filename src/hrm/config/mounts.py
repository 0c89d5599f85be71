"""Which filesystem a path of this machine is on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hrm.model import mounts as mounted
from hrm.model.mounts import Mount

MOUNTINFO = Path("/proc/self/mountinfo")


def read_mounts(mountinfo: str | None = None) -> list[Mount]:
    """From text in the form of ``/proc/self/mountinfo`` (proc(5)), which is read if it is None.

    Empty where the system has no such file.
    """
    if mountinfo is None:
        try:
            mountinfo = MOUNTINFO.read_text(errors="surrogateescape")
        except OSError:
            return []
    return mounted.parse_mounts(mountinfo)


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that ``path`` is or will be on, links followed; None if none of them covers it."""
    return mounted.mount_of(os.path.realpath(path), mounts)
