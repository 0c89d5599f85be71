"""The section `files` of ``hrm.yaml``: what jobs bring along, and the paths that all machines share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from hrm.config.documents import Document
from hrm.config.fields import MemoryMib, Seconds, Strict, reader
from hrm.model.errors import InvalidInput
from hrm.model.files import FileSettings, SharedPath, check_path
from hrm.model.python_envs import PythonSources

#: A node that joins is waited for no longer than this.
MAX_CHECK_TIMEOUT_S = 10.0
MIN_CHECK_INTERVAL_S = 1.0


def _shared_path(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput("must be a path", next_step="for example /data")
    return check_path(value, "")


def _marker(value: Any) -> str:
    if not isinstance(value, str) or value.startswith("/") or ".." in value.split("/") or not value:
        raise InvalidInput("must be a path within the shared one", next_step="for example .this-is-data")
    return value


class SharedPathShape(Strict):
    """One of `files.shared_paths`."""

    path: Annotated[str, reader(_shared_path)] = Field(description="The directory, the same on every node.")
    marker: Annotated[str, reader(_marker)] | None = Field(
        default=None, description="A file in it by which it is known."
    )
    source: str | None = Field(default=None, description="What must be mounted there, as nas:/export/data.")
    read_only: bool | None = Field(default=None, description="It need not be writable.")


class FilesShape(Strict):
    """The section `files`."""

    max_upload: MemoryMib | None = Field(default=None, description="Largest upload of a job, unpacked.")
    upload_quota: MemoryMib | None = Field(default=None, description="What one user's uploads may hold at the server.")
    node_cache: MemoryMib | None = Field(default=None, description="What a node keeps of uploads.")
    python_cache: MemoryMib | None = Field(
        default=None, description="What a user's Python environments may hold on a node."
    )
    python_index_url: str | None = Field(default=None, description="The index that packages come from.")
    python_extra_index_url: str | None = Field(default=None, description="Another index besides.")
    python_find_links: str | None = Field(default=None, description="A directory or page of packages besides.")
    python_no_index: bool | None = Field(default=None, description="No index is asked: python_find_links alone.")
    shared_paths: list[SharedPathShape] | None = Field(
        default=None, description="Directories that nodes share, checked on each."
    )
    local_paths: list[Annotated[str, reader(_shared_path)]] | None = Field(
        default=None, description="Directories that some nodes have on disks of their own."
    )
    shared_check_interval: Seconds | None = Field(default=None, description="How often each node checks them.")
    shared_check_timeout: Seconds | None = Field(default=None, description="One that is slower is missing.")


def files_settings(shape: FilesShape | None) -> FileSettings:
    """What the section says, defaults filled in."""
    given: dict[str, Any] = {} if shape is None else shape.model_dump(exclude_none=True)
    for key in ("max_upload", "upload_quota", "node_cache", "python_cache"):
        if key in given:
            given[f"{key}_bytes"] = given.pop(key) << 20
    for key in ("shared_check_interval", "shared_check_timeout"):
        if key in given:
            given[f"{key}_s"] = given.pop(key)
    names = ("index_url", "extra_index_url", "find_links", "no_index")
    sources = {name: given.pop(f"python_{name}") for name in names if f"python_{name}" in given}
    given["python_sources"] = PythonSources(**sources)
    given["local_paths"] = tuple(given.get("local_paths", ()))
    given["shared_paths"] = tuple(SharedPath(**one) for one in given.get("shared_paths", ()))
    return FileSettings(**given)


def check_files(document: Document, shape: FilesShape | None) -> None:
    """Add a finding for each rule that it breaks."""
    if shape is None:
        return
    seen: set[str] = set()
    for number, shared in enumerate(shape.shared_paths or ()):
        if shared.path in seen:
            document.add(("files", "shared_paths", number, "path"), f"{shared.path} is declared twice")
        seen.add(shared.path)
    if shape.shared_check_interval is not None and shape.shared_check_interval < MIN_CHECK_INTERVAL_S:
        document.add(("files", "shared_check_interval"), f"must be at least {MIN_CHECK_INTERVAL_S:g}s")
    if shape.shared_check_timeout is not None and not 0 < shape.shared_check_timeout <= MAX_CHECK_TIMEOUT_S:
        document.add(("files", "shared_check_timeout"), f"must be above zero, and at most {MAX_CHECK_TIMEOUT_S:g}s")


def plain_files(files: FileSettings) -> dict[str, Any]:
    """In the keys of the file."""
    return {
        "max_upload": f"{files.max_upload_bytes >> 20}M",
        "upload_quota": f"{files.upload_quota_bytes >> 20}M",
        "node_cache": f"{files.node_cache_bytes >> 20}M",
        "python_cache": f"{files.python_cache_bytes >> 20}M",
        **{
            f"python_{name}": value
            for name in ("index_url", "extra_index_url", "find_links", "no_index")
            if (value := getattr(files.python_sources, name)) is not None
        },
        "shared_paths": [
            {
                "path": shared.path,
                **({} if shared.marker is None else {"marker": shared.marker}),
                **({} if shared.source is None else {"source": shared.source}),
                "read_only": shared.read_only,
            }
            for shared in files.shared_paths
        ],
        "local_paths": list(files.local_paths),
        "shared_check_interval": f"{files.shared_check_interval_s:.15g}s",
        "shared_check_timeout": f"{files.shared_check_timeout_s:.15g}s",
    }
