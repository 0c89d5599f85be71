"""Where a container's files come from: this machine, a web server, or any file system that fsspec knows."""

from __future__ import annotations

import email.utils
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

from hrm.model.launch_contexts import LocalResource
from hrm.nm.prepare.errors import PrepareError

MAX_DOWNLOAD_BYTES = 64 << 30
#: The view of this machine's files that `hrm.config.yarn.client_files` gives to programs that cannot do with file:///.
LOCAL_VIEW = "hrm"
_HTTP_TIMEOUT_S = 60.0
_COPY_BYTES = 1 << 20
#: What the file systems of fsspec call the time of change: local and SFTP, HDFS over the web, S3, Azure, Google, FTP.
_MODIFIED = ("mtime", "modificationTime", "LastModified", "last_modified", "updated", "modify")


def fetch(resource: LocalResource, target: Path) -> None:
    """Copy it to ``target``. Raises PrepareError if it is not there, cannot be read, or is another version."""
    parts = urllib.parse.urlsplit(resource.url)
    try:
        if parts.scheme == "file" or (parts.scheme, parts.netloc) == ("viewfs", LOCAL_VIEW):
            _from_file(resource, urllib.parse.unquote(parts.path), target)
        elif parts.scheme in ("http", "https"):
            _from_web(resource, target)
        else:
            _from_fsspec(resource, parts.scheme, target)
    except OSError as error:
        raise PrepareError(f"resource {resource.url} cannot be had: {error.strerror or error}") from None


def file_name(resource: LocalResource) -> str:
    """What the last part of its address calls it."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(resource.url).path)
    return path.rstrip("/").rsplit("/", 1)[-1] or "file"


def _from_file(resource: LocalResource, path: str, target: Path) -> None:
    # Before and after: a copy of something that changes meanwhile is neither version.
    _check_version(resource, _modified_ms(path))
    if os.path.isdir(path):
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copyfile(path, target)
        if os.access(path, os.X_OK):
            target.chmod(0o755)
    _check_version(resource, _modified_ms(path))


def _modified_ms(path: str) -> int:
    return os.stat(path).st_mtime_ns // 1_000_000


def _from_web(resource: LocalResource, target: Path) -> None:
    try:
        with urllib.request.urlopen(resource.url, timeout=_HTTP_TIMEOUT_S) as answer:
            modified = answer.headers.get("Last-Modified")
            if modified and resource.timestamp_ms > 0:
                # It counts in seconds.
                at_ms = int(email.utils.parsedate_to_datetime(modified).timestamp() * 1000)
                if at_ms // 1000 != resource.timestamp_ms // 1000:
                    raise _changed(resource, at_ms)
            with target.open("wb") as file:
                shutil.copyfileobj(answer, file, _COPY_BYTES)
    except urllib.error.HTTPError as error:
        raise PrepareError(f"resource {resource.url} cannot be had: HTTP {error.code} {error.reason}") from None
    except (urllib.error.URLError, ValueError) as error:
        raise PrepareError(f"resource {resource.url} cannot be had: {error}") from None


def _from_fsspec(resource: LocalResource, scheme: str, target: Path) -> None:
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
        filesystem.get_file(path, str(target))
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
