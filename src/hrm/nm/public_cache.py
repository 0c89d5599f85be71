"""Copies of PUBLIC files for all users of a node (YARN's public cache and LocalCacheCleaner).

Where containers run as their users, each has copies of their own; what is PUBLIC is kept once for all of them, made by
the node (`hrm.nm.prepare.public`). A copy names the containers that use it, and stays while one of them runs. What is
too much goes, that which was not used for longest first. What cannot be had this way is fetched by the container.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from hrm.model.containers import LaunchSpec
from hrm.model.errors import InvalidInput
from hrm.model.launch_contexts import LocalResource, Visibility, taken_from
from hrm.nm import prepare
from hrm.nm.prepare import sources
from hrm.nm.prepare.cache import CLEAN_INTERVAL_S, MAX_BYTES, size_of
from hrm.nm.prepare.contract import PUBLIC_VARIABLE
from hrm.nm.prepare.public import order_of
from hrm.nm.shepherd import records

_log = structlog.get_logger(__name__)
FOLDER = "public"
#: Whose rights are those of anybody.
ANYBODY = "nobody"
#: Copies that are made at once, and how long one may take.
AT_ONCE = 4
MAKE_WITHIN_S = 1800.0
#: A container that is named by a copy and not there yet is about to begin.
LAUNCH_WITHIN_S = 600.0
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(prepare.__file__)), "public.py")
#: A user's name and password in an address.
_NAMES = re.compile(r"//[^/@\s]*@")
_USERS, _COPY, _INCOMING = "users", "copy", "incoming"


class PublicCache:
    """Of one node of root's; all of it on its loop."""

    def __init__(self, state_dir: Path, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._state_dir = state_dir
        self._folder = state_dir / FOLDER
        self._max_bytes = max_bytes
        self._clock = clock
        #: By container: under which name it finds which copy. Until it is launched.
        self._found: dict[str, dict[str, str]] = {}
        #: By key: that are being made.
        self._making: dict[str, asyncio.Task[bool]] = {}
        #: By key: when those that cannot be had were last tried.
        self._refused: dict[str, float] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        #: Of who names a copy or clears away.
        self._turn = asyncio.Lock()
        self._cleaned_at = float("-inf")

    def variables(self, container_id: str) -> dict[str, str]:
        """By which the program that prepares the container knows its copies; {} iff it has none."""
        found = self._found.pop(container_id, None)
        return {PUBLIC_VARIABLE: json.dumps(found)} if found else {}

    async def get(self, spec: LaunchSpec) -> None:
        """Have the copies there that the container may use; it does without those that cannot be had."""
        wanted = await asyncio.to_thread(_public_of, spec)
        if not wanted:
            return
        if self._clock() - self._cleaned_at >= CLEAN_INTERVAL_S:
            self._cleaned_at = self._clock()
            await self.clean()
        found = await asyncio.gather(*(self._copy(resource, spec.container_id) for resource in wanted.values()))
        self._found[spec.container_id] = {
            link: str(path) for link, path in zip(wanted, found, strict=True) if path is not None
        }

    def _is_refused(self, key: str) -> bool:
        """True iff it could not be had a short while ago."""
        return self._clock() - self._refused.get(key, float("-inf")) < CLEAN_INTERVAL_S

    async def _copy(self, resource: LocalResource, container_id: str) -> Path | None:
        key = _key(resource)
        entry = self._folder / key
        for _ in range(2):
            async with self._turn:
                if await asyncio.to_thread(self._name_user, entry, container_id):
                    return entry / _COPY / sources.file_name(resource)
            if self._is_refused(key):
                return None
            making = self._making.get(key)
            if making is None:
                making = self._making[key] = asyncio.get_running_loop().create_task(self._make(resource, entry))
                making.add_done_callback(lambda _: self._making.pop(key, None))
            # Others may wait for the same, though this container be stopped.
            if not await asyncio.shield(making):
                return None
        return None

    def _name_user(self, entry: Path, container_id: str) -> bool:
        """The copy is in use from now on; False if it is not there."""
        if not (entry / _COPY).is_dir():
            return False
        (entry / _USERS / container_id).touch(mode=0o600)
        os.utime(entry)
        return True

    async def _make(self, resource: LocalResource, entry: Path) -> bool:
        try:
            anybody = pwd.getpwnam(ANYBODY)
            async with self._at_once:
                await asyncio.to_thread(_make_folders, self._folder, entry)
                order = {
                    "resource": order_of(resource),
                    "entry": str(entry / _COPY),
                    "incoming": str(self._folder / _INCOMING / entry.name),
                    "uid": anybody.pw_uid,
                    "gid": anybody.pw_gid,
                }
                said = await _run(json.dumps(order).encode())
        except (KeyError, OSError, TimeoutError) as error:
            said = f"{type(error).__name__}: {error}"
        if said:
            self._refused[entry.name] = self._clock()
            told, why = _NAMES.sub("//", resource.url), _NAMES.sub("//", said)
            _log.info("no copy for all users: its containers fetch it", url=told, why=why[:500])
        return not said

    async def clean(self) -> None:
        """Clear away what is too much and not in use, that which was not used for longest first."""
        self._refused = {key: at for key, at in self._refused.items() if self._is_refused(key)}
        async with self._turn:
            await asyncio.to_thread(self._clean)

    def _clean(self) -> None:
        if not self._folder.is_dir():
            return
        there = [one for one in self._folder.iterdir() if one.name != _INCOMING and one.name not in self._making]
        entries = [(entry.stat().st_mtime, size_of(entry), entry) for entry in there]
        total = sum(size for _, size, _ in entries)
        for _, size, entry in sorted(entries):
            if total <= self._max_bytes:
                return
            if not self._is_used(entry):
                doomed = self._folder / _INCOMING / f"{entry.name}.gone"
                entry.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
                total -= size

    def _is_used(self, entry: Path) -> bool:
        """True iff a container that it names runs or is about to; others it names no more."""
        used = False
        for user in (entry / _USERS).iterdir():
            begins = self._clock() - user.stat().st_mtime < LAUNCH_WITHIN_S
            if (self._state_dir / records.RUNNING / user.name).exists() or (
                begins and not (self._state_dir / records.EXITS / user.name).exists()
            ):
                used = True
            else:
                user.unlink()
        return used


def _public_of(spec: LaunchSpec) -> Mapping[str, LocalResource]:
    try:
        context = taken_from(dict(spec.env))
    except InvalidInput:
        # The container says so itself.
        return {}
    return {link: one for link, one in context.local_resources.items() if one.visibility is Visibility.PUBLIC}


def _key(resource: LocalResource) -> str:
    return hashlib.sha256(json.dumps(order_of(resource), sort_keys=True).encode()).hexdigest()[:40]


def _make_folders(folder: Path, entry: Path) -> None:
    # As with containers' directories: what is above lets others through and shows them nothing.
    folder.parent.chmod(0o711)
    folder.mkdir(mode=0o711, exist_ok=True)
    folder.chmod(0o711)
    (folder / _INCOMING).mkdir(mode=0o711, exist_ok=True)
    (folder / _INCOMING).chmod(0o711)
    entry.mkdir(mode=0o711, exist_ok=True)
    entry.chmod(0o711)
    (entry / _USERS).mkdir(mode=0o700, exist_ok=True)


async def _run(order: bytes) -> str:
    """What went wrong, in words; "" iff nothing did. Raises OSError, TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        _PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(order), MAKE_WITHIN_S)
    except BaseException:
        if process.returncode is None:
            # With the child that fetches.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        raise
    if process.returncode == 0:
        return ""
    return said.decode(errors="replace").strip() or f"exit code {process.returncode}"
