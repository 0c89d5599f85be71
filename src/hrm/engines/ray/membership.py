"""What stands on disk about a machine's place in a Ray cluster: who keeps it there, and by which token."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hrm.model.errors import ClusterError, Conflict, NotFound
from hrm.nm.shepherd import records
from hrm.nm.shepherd_client import ShepherdClient

_END_S = 30.0
_POLL_S = 0.05
_STOP_GRACE_S = 10.0


class Membership:
    """In ``folder`` (0700): ``member.json`` (who, while it lasts), ``token`` (0600) and ``ray.log``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise ClusterError(f"cannot make {self.folder}: {error.strerror}", next_step="set HRM_HOME") from None

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def log(self) -> Path:
        return self.folder / "ray.log"

    @property
    def _file(self) -> Path:
        return self.folder / "member.json"

    @property
    def _lock(self) -> Path:
        return self.folder / "lock"

    def write_token(self, token: str) -> None:
        descriptor = os.open(self.token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as file:
            file.write(token)

    @contextlib.contextmanager
    def hold(self, *, address: str, head: bool, state_dir: str) -> Iterator[None]:
        """Be the one who keeps the machine in the cluster. Raises Conflict where somebody does."""
        lock_fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock_fd)
            raise Conflict(f"another process holds {self.folder}", next_step="`hrm leave` ends it") from None
        if litter := self._read().get("temp_dir"):
            # Of a predecessor that was killed.
            shutil.rmtree(litter, ignore_errors=True)
        self._write({"pid": os.getpid(), "address": address, "head": head, "state_dir": state_dir})
        try:
            yield
        finally:
            self._file.unlink(missing_ok=True)
            os.close(lock_fd)

    def note(self, **fields: Any) -> None:
        """What has become known meanwhile."""
        self._write({**self._read(), **fields})

    @property
    def pid(self) -> int | None:
        """Who keeps it in the cluster; None iff nobody does."""
        try:
            lock_fd = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return self._read().get("pid")
        finally:
            os.close(lock_fd)
        return None

    @property
    def is_ready(self) -> bool:
        return bool(self._read().get("ready"))

    @property
    def is_head(self) -> bool:
        return bool(self._read().get("head"))

    @property
    def address(self) -> str:
        """HOST:PORT of the cluster's head."""
        fields = self._read()
        host, _, port = fields.get("address", ":").rpartition(":")
        return f"{host or fields.get('node_address', '')}:{port}"

    @property
    def temp_dir(self) -> Path | None:
        """Where Ray's processes have their sockets and logs; None iff they never were started."""
        found = self._read().get("temp_dir")
        return Path(found) if found else None

    @property
    def node_address(self) -> str | None:
        """Of this machine, as the others know it."""
        return self._read().get("node_address")

    def leave(self, *, kill: bool) -> int:
        """End what keeps the machine in the cluster, and return when it has ended.

        Raises NotFound (it is in none) and Conflict (containers run here).
        """
        pid, fields = self.pid, self._read()
        if pid is None:
            raise NotFound("this machine is in no cluster", next_step="`hrm join HOST:PORT` takes it into one")
        state_dirs = self._state_dirs(fields.get("state_dir", ""))
        running = [one for folder in state_dirs for one in _running(folder)]
        if running and not kill:
            raise Conflict(
                f"{len(running)} containers run here",
                next_step="`hrm nodes drain NODE` lets them come to their end; `hrm leave --kill` ends them",
            )
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        while self.pid == pid:
            if time.monotonic() > deadline:
                raise ClusterError(f"process {pid} has not ended", next_step=f"see {self.log}")
            time.sleep(_POLL_S)
        for folder in state_dirs:
            if _running(folder):
                asyncio.run(_end_all(folder))
        print(f"this machine has left the cluster at {fields.get('address')}")  # noqa: T201
        return 0

    @staticmethod
    def _state_dirs(state_dir: str) -> list[Path]:
        """That of the node, and those of further namespaces beside it."""
        path = Path(state_dir)
        return (
            [one for one in path.parent.glob(f"{path.name}*") if (one / records.RUNNING).is_dir()] if state_dir else []
        )

    def _read(self) -> dict[str, Any]:
        try:
            fields: dict[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return fields

    def _write(self, fields: dict[str, Any]) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(fields))
        fresh.replace(self._file)


def _running(state_dir: Path) -> list[str]:
    return [name for name in os.listdir(state_dir / records.RUNNING) if records.is_container_id(name)]


async def _end_all(state_dir: Path) -> None:
    """Have the shepherd end everything. Raises ClusterError where that takes too long."""
    client = ShepherdClient(state_dir)
    await client.connect(lambda _: None, lambda _: None, lambda: None)
    try:
        client.send({"op": "stop", "ids": _running(state_dir), "grace_s": _STOP_GRACE_S})
        deadline = time.monotonic() + _STOP_GRACE_S + _END_S
        while left := _running(state_dir):
            if time.monotonic() > deadline:
                raise ClusterError(f"{len(left)} containers have not ended", next_step="`hrm leave --kill` once more")
            await asyncio.sleep(_POLL_S)
    finally:
        client.close()
