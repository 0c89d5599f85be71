"""What the node does for a launch with a context: the program that prepares it, its user's cache, what went wrong.

The preparing itself is done in the container, by its user (`hrm.nm.prepare`).
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrm.model.containers import LaunchSpec
from hrm.model.errors import InvalidInput
from hrm.model.files import FileSettings
from hrm.model.launch_contexts import PROGRAM, LaunchContext, taken_from
from hrm.model.python_envs import Order, put_into
from hrm.model.retrying import MIN_RETRY_INTERVAL_S, RetryPolicy
from hrm.nm import prepare, python_env
from hrm.nm.accounts import Account
from hrm.nm.prepare.contract import APPLICATION_VARIABLE, CACHE_VARIABLE, CANNOT
from hrm.nm.prepare.script import FROM_NODE
from hrm.nm.shepherd import records

CACHE = "cache"
_MAX_FAILURE_BYTES = 16 << 10


def has_context(spec: LaunchSpec) -> bool:
    return spec.command == (PROGRAM,)


def kept(spec: LaunchSpec) -> dict[str, Any] | None:
    """What the shepherd keeps of a launch to start it anew: when, and its files' names. None: it keeps nothing."""
    context = context_of(spec)
    if context is None:
        return {"retry": _fields(spec.retry), "links": []} if spec.restartable or spec.retry else None
    return {"retry": _fields(context.retry or spec.retry), "links": [*context.local_resources]}


def context_of(spec: LaunchSpec) -> LaunchContext | None:
    """Its launch context; None iff it has none that can be read: then its container says so itself."""
    if not has_context(spec):
        return None
    try:
        return taken_from(dict(spec.env))
    except (InvalidInput, ValueError):
        return None


def _fields(retry: RetryPolicy | None) -> dict[str, Any] | None:
    if retry is None:
        return None
    return {
        "codes": None if retry.exit_codes is None else sorted(retry.exit_codes),
        "max": retry.max_retries,
        "interval_s": max(MIN_RETRY_INTERVAL_S, retry.interval_s),
        "validity_s": retry.validity_s,
    }


def program() -> list[str]:
    """What prepares a container. It heeds none of the variables that the user may set for Python.

    The container's user must be able to run it, and to read it.
    """
    return [sys.executable, "-I", os.path.dirname(os.path.abspath(prepare.__file__))]


def in_python_env(spec: LaunchSpec, files: FileSettings, cache_dir: Path) -> tuple[list[str], dict[str, str]]:
    """What runs instead of its program, has the environment, and becomes the program; and the variables it needs."""
    assert spec.python_env is not None
    environ = {CACHE_VARIABLE: str(cache_dir)}
    order = Order(env=spec.python_env, sources=files.python_sources, cache_bytes=files.python_cache_bytes)
    put_into(environ, order)
    builder = os.path.dirname(os.path.abspath(python_env.__file__))
    return [sys.executable, "-I", builder, *spec.command], environ


def variables(cache_dir: Path, shared: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What it needs of the node besides what every container finds; ``shared``: its application's directory."""
    ours = {CACHE_VARIABLE: str(cache_dir), APPLICATION_VARIABLE: str(shared)}
    return ours | {name: environ[name] for name in FROM_NODE if name in environ}


def make_cache(state_dir: Path, account: Account | None) -> Path:
    """The folder of the user's copies, for that user alone. Raises OSError."""
    parent = state_dir / CACHE
    parent.mkdir(mode=0o700, exist_ok=True)
    folder = parent / (account.name if account else "own")
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return folder
    if account is not None:
        # As with containers' directories: what is above lets others through and shows them nothing.
        parent.chmod(0o711)
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    return folder


def failure(state_dir: Path, container_id: str, code: int | None) -> str:
    """Why a container could not be prepared, in the words that it left; "" if it left none.

    It is in the user's hands: no link is followed, and only a file that they could write is read.
    """
    if code != CANNOT:
        return ""
    path = state_dir / records.CONTAINERS / container_id / records.FAILURE
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        found, folder = os.fstat(fd), os.stat(path.parent)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != folder.st_uid or found.st_nlink != 1:
            return ""
        return os.read(fd, _MAX_FAILURE_BYTES).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
