"""What the operator says of files: how much may be uploaded and kept, and which paths all machines share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hrm.model.errors import InvalidInput
from hrm.model.python_envs import PythonSources


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPath:
    """A directory that is the same on every node that has it (NFS, Lustre …), and by what that is known there."""

    path: str
    #: A file in it that nothing else mounted there would have, relative to it; None: any mount will do.
    marker: str | None = None
    #: What is mounted there, as ``/proc/self/mountinfo`` has it (``nas:/export/data``); None: that does not matter.
    source: str | None = None
    #: True iff a mount that can only be read is as it should be.
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """Sizes are bytes."""

    #: Of one upload, as it is unpacked.
    max_upload_bytes: int = 1 << 30
    #: Of all that one user's uploads keep at the server.
    upload_quota_bytes: int = 10 << 30
    #: Of uploads that each node keeps beside those that are being unpacked.
    node_cache_bytes: int = 10 << 30
    #: Of the Python environments that each user's jobs have on a node.
    python_cache_bytes: int = 10 << 30
    python_sources: PythonSources = field(default_factory=PythonSources)
    shared_paths: tuple[SharedPath, ...] = ()
    #: Which some nodes have on disks of their own: where one is, jobs that read it would like to run.
    local_paths: tuple[str, ...] = ()
    #: How often each node looks at them, and how long one may take to answer.
    shared_check_interval_s: float = 60.0
    shared_check_timeout_s: float = 5.0


def offer_of(path: str) -> str:
    """What a node that has the shared path offers (`hrm.model.nodes.NodeSpec.offers`)."""
    return f"shared path {path}"


def local_offer_of(path: str) -> str:
    """What a node offers that has the path on a disk of its own."""
    return f"local path {path}"


def offers_of(paths: Iterable[str]) -> frozenset[str]:
    """What a node must offer for a job that needs these shared paths."""
    return frozenset(map(offer_of, paths))


def within(path: str, above: str) -> bool:
    """True iff ``path`` is ``above`` or below it; both absolute."""
    return path == above or path.startswith(above.rstrip("/") + "/")


def check_path(path: str, field: str) -> str:
    """The path without needless parts. Raises InvalidInput unless it is absolute and has no ``..``."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise InvalidInput(f"must be an absolute path below /, without ..: {path!r:.80}", field=field)
    return "/" + "/".join(parts)
