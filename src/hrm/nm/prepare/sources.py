"""Where a container's files come from: this machine, a web server, or any file system that fsspec knows."""

from __future__ import annotations

import email.utils
import os
import shutil
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from hrm.model.launch_contexts import LocalResource
from hrm.nm.prepare.errors import PrepareError

#: No file or folder is larger that is fetched.
MAX_BYTES = 64 << 30
#: The view of this machine's files that `hrm.config.yarn.client_files` gives to programs that cannot do with file:///.
LOCAL_VIEW = "hrm"
_HTTP_TIMEOUT_S = 60.0
_COPY_BYTES = 1 << 20
#: What the file systems of fsspec call the time of change: local and SFTP, HDFS over the web, S3, Azure, Google, FTP.
_MODIFIED = ("mtime", "modificationTime", "LastModified", "last_modified", "updated", "modify")


def fetch(resource: LocalResource, target: Path, *, max_bytes: int = MAX_BYTES, folders: bool = True) -> None:
    """Copy it to ``target``; a folder only with ``folders``.

    Raises PrepareError if it is not there, cannot be read, is another version or too large, or no file at all.
    """
    room = _Room(resource, max_bytes)
    parts = urllib.parse.urlsplit(resource.url)
    try:
        if parts.scheme == "file" or (parts.scheme, parts.netloc) == ("viewfs", LOCAL_VIEW):
            _from_file(resource, urllib.parse.unquote(parts.path), target, room, folders)
        elif parts.scheme in ("http", "https"):
            _from_web(resource, target, room)
        else:
            _from_fsspec(resource, parts.scheme, target, room, folders)
    except OSError as error:
        raise PrepareError(f"resource {resource.url} cannot be had: {error.strerror or error}") from None


def file_name(resource: LocalResource) -> str:
    """What the last part of its address calls it."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(resource.url).path)
    return path.rstrip("/").rsplit("/", 1)[-1] or "file"


class _Room:
    """What may still be written."""

    def __init__(self, resource: LocalResource, max_bytes: int) -> None:
        self._url = resource.url
        self._bytes = self._most = max_bytes

    def take(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise PrepareError(f"resource {self._url} cannot be had: it has more than {self._most} bytes")

    def copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        while data := source.read(_COPY_BYTES):
            self.take(len(data))
            target.write(data)


def _from_file(resource: LocalResource, path: str, target: Path, room: _Room, folders: bool) -> None:
    # Before and after: a copy of something that changes meanwhile is neither version.
    _check_version(resource, _modified_ms(path))
    if os.path.isdir(path):
        if not folders:
            raise PrepareError("a folder is no copy for all")
        shutil.copytree(path, target, symlinks=True, copy_function=lambda one, other: _copy(one, other, room))
    else:
        _copy(path, target, room)
    _check_version(resource, _modified_ms(path))


def _copy(path: str, target: Path | str, room: _Room) -> None:
    # Not to wait for a writer of a pipe; what is no file may have no end.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as source:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise PrepareError(f"{path} is neither a file nor a folder")
        with open(target, "xb") as file:
            room.copy(source, file)
    os.chmod(target, 0o755 if mode & 0o111 else 0o644)


def _modified_ms(path: str) -> int:
    return os.stat(path).st_mtime_ns // 1_000_000


def _from_web(resource: LocalResource, target: Path, room: _Room) -> None:
    try:
        with urllib.request.urlopen(resource.url, timeout=_HTTP_TIMEOUT_S) as answer:
            modified = answer.headers.get("Last-Modified")
            if modified and resource.timestamp_ms > 0:
                # It counts in seconds.
                at_ms = int(email.utils.parsedate_to_datetime(modified).timestamp() * 1000)
                if at_ms // 1000 != resource.timestamp_ms // 1000:
                    raise _changed(resource, at_ms)
            with target.open("wb") as file:
                room.copy(answer, file)
    except urllib.error.HTTPError as error:
        raise PrepareError(f"resource {resource.url} cannot be had: HTTP {error.code} {error.reason}") from None
    except (urllib.error.URLError, ValueError) as error:
        raise PrepareError(f"resource {resource.url} cannot be had: {error}") from None


def _from_fsspec(resource: LocalResource, scheme: str, target: Path, room: _Room, folders: bool) -> None:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise PrepareError(
            f"resource {resource.url} cannot be had: {scheme or 'no'} file system without fsspec; "
            "install fsspec and what it needs for that on the nodes"
        ) from None
    try:
        filesystem, path = url_to_fs(resource.url)
        found = filesystem.info(path)
        for key in _MODIFIED:
            if (at_ms := _as_ms(found.get(key))) is not None and resource.timestamp_ms > 0:
                # Most keep seconds only.
                if at_ms // 1000 != resource.timestamp_ms // 1000:
                    raise _changed(resource, at_ms)
                break
        if found.get("type") == "directory" and not folders:
            raise PrepareError("a folder is no copy for all")
        with filesystem.open(path, "rb") as source, target.open("wb") as file:
            room.copy(source, file)
    except PrepareError:
        raise
    except Exception as error:  # noqa: BLE001
        # Each file system has errors of its own.
        raise PrepareError(f"resource {resource.url} cannot be had: {error}") from None


def _as_ms(value: object) -> int | None:
    if isinstance(value, str):
        value = _moment(value)
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # WebHDFS counts in milliseconds, others in seconds.
        return int(value if value > 1e11 else value * 1000)
    return None


def _moment(text: str) -> datetime | None:
    """Of ISO 8601, or of FTP's facts (RFC 3659: ``20260131120000.5``, always UTC); None for anything else."""
    digits = text.partition(".")[0]
    try:
        if len(digits) == 14 and digits.isdecimal():
            return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _check_version(resource: LocalResource, modified_ms: int) -> None:
    if modified_ms != resource.timestamp_ms:
        raise _changed(resource, modified_ms)


def _changed(resource: LocalResource, modified_ms: int) -> PrepareError:
    return PrepareError(
        f"Resource {resource.url} changed on src filesystem - expected: {_time(resource.timestamp_ms)}, "
        f"was: {_time(modified_ms)}"
    )


def _time(at_ms: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_ms / 1000))}.{at_ms % 1000:03d}Z"
