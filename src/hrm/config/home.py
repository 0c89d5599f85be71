"""The home directory of one HRM: where it keeps what is its own, and the lock that makes one server of it.

Only the standard library: the command line imports this to find the server.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from hrm.config.files import write_whole
from hrm.config.mounts import mount_of, read_mounts
from hrm.model.errors import ClusterError, Conflict, Forbidden, InvalidInput

ENVIRONMENT_VARIABLE = "HRM_HOME"
SECRET_BYTES = 32
_PRIVATE = 0o700
#: Others may go through to a name that they know, and list nothing.
_PASSABLE = 0o711


@dataclass(frozen=True, slots=True)
class Home:
    """Paths under one directory. Nothing is made before `create`."""

    path: Path

    @classmethod
    def locate(cls, explicit: Path | None = None) -> Home:
        """``explicit``, else ``$HRM_HOME``, else ``~/.hrm``."""
        if explicit is None and (named := os.environ.get(ENVIRONMENT_VARIABLE)):
            explicit = Path(named)
        try:
            return cls((explicit or Path("~/.hrm")).expanduser().absolute())
        except RuntimeError:
            raise InvalidInput(
                f"no home directory is known for {explicit or '~/.hrm'}", next_step=f"set {ENVIRONMENT_VARIABLE}"
            ) from None

    @property
    def is_anothers(self) -> bool:
        """True iff it is there, and another user's: a server for all users has one home for all of them."""
        try:
            return self.path.stat().st_uid != os.geteuid()
        except OSError:
            return False

    @property
    def config_file(self) -> Path:
        return self.path / "hrm.yaml"

    @property
    def database(self) -> Path:
        return self.path / "hrm.db"

    @property
    def server_file(self) -> Path:
        """Where the server is, as JSON; there while it is ready for requests."""
        return self.path / "server.json"

    @property
    def server_pid(self) -> int | None:
        """Of the server that is ready for requests, or was when it died; None iff none says so."""
        try:
            pid = json.loads(self.server_file.read_bytes())["pid"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if isinstance(pid, int) else None

    @property
    def away_file(self) -> Path:
        """There while the server waits for its engine to be back (`hrm.config.keeper`)."""
        return self.path / "away.json"

    def note_away(self, why: str) -> None:
        """The server has ended because of its engine, and this process starts it again."""
        self.write_private(self.away_file, json.dumps({"pid": os.getpid(), "since": time.time(), "why": why}).encode())

    def forget_away(self) -> None:
        """The server is back, or nobody waits any more."""
        if (away := self._away()) and away["pid"] == os.getpid():
            self.away_file.unlink(missing_ok=True)

    def away(self) -> tuple[int, str] | None:
        """Who starts the server again as soon as its engine is back, and since when and why; None iff nobody waits."""
        fields = self._away()
        if fields is None or not Path(f"/proc/{fields['pid']}").exists():
            return None
        since = time.strftime("%H:%M:%S", time.localtime(fields["since"]))
        return fields["pid"], f"since {since} ({fields['why']})"

    def _away(self) -> dict[str, Any] | None:
        try:
            fields = json.loads(self.away_file.read_bytes())
            return {"pid": int(fields["pid"]), "since": float(fields["since"]), "why": str(fields["why"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def token_file(self) -> Path:
        """The operator's bearer token."""
        return self.path / "token"

    @property
    def secret_file(self) -> Path:
        """What tokens are signed with."""
        return self.path / "secret"

    @property
    def yarn_keys_file(self) -> Path:
        """What passwords of YARN's tokens are made of, and which delegation tokens are good."""
        return self.path / "yarn-keys"

    @property
    def socket_file(self) -> Path:
        """The Unix socket of the server, by which its own machine comes in without a token."""
        return self.path / "hrm.sock"

    @property
    def log_file(self) -> Path:
        return self.path / "server.log"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def node_dir(self) -> Path:
        return self.path / "node"

    @property
    def ray_dir(self) -> Path:
        """This machine's place in a Ray cluster, the token too."""
        return self.path / "ray"

    @property
    def uploads_dir(self) -> Path:
        """What users uploaded for their jobs."""
        return self.path / "uploads"

    @property
    def models_dir(self) -> Path:
        return self.path / "models"

    def create(self) -> None:
        """Make the directory, for its owner alone, or see that an existing one is fit.

        One of root's that others may pass through (`admit_others`) stays so.

        Raises InvalidInput (something else stands there), Forbidden (it is another's, or others can write to it) and
        ClusterError (it cannot be made).
        """
        try:
            self.path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            status = self.path.stat()
        except FileExistsError:
            raise InvalidInput(f"{self.path} is no directory", next_step=f"set {ENVIRONMENT_VARIABLE}") from None
        except OSError as error:
            raise ClusterError(
                f"cannot make {self.path}: {error.strerror}",
                next_step=f"set {ENVIRONMENT_VARIABLE} to a place of yours",
            ) from None
        if status.st_uid != os.geteuid():
            raise Forbidden(
                f"{self.path} belongs to user {status.st_uid}, not to you ({os.geteuid()})",
                next_step=f"set {ENVIRONMENT_VARIABLE} to a directory of yours",
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Forbidden(
                f"others can write to {self.path} (mode {stat.S_IMODE(status.st_mode):04o})",
                next_step=f"look whether what is in it is yours, then: chmod 700 {self.path}",
            )
        allowed = _PASSABLE if os.geteuid() == 0 else _PRIVATE
        if stat.S_IMODE(status.st_mode) & ~allowed:
            self.path.chmod(_PRIVATE)

    def admit_others(self) -> None:
        """Let all users of the machine through to what is for them: the socket, ``node`` and ``models``.

        Only for a server of root, which runs jobs as other users; call it under the lock. Everything else here loses
        what others could do with it before the directory becomes passable, so that no file's safety hangs on whoever
        made it. Raises ClusterError.
        """
        for_others = {self.socket_file.name, self.node_dir.name, self.models_dir.name}
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.name in for_others or entry.is_symlink():
                        continue
                    mode = stat.S_IMODE(entry.stat().st_mode)
                    if mode & ~_PRIVATE:
                        os.chmod(entry.path, mode & _PRIVATE)
            self.path.chmod(_PASSABLE)
        except OSError as error:
            raise ClusterError(
                f"cannot close what is in {self.path}: {error.strerror}", next_step="check the disk"
            ) from None

    def check_filesystem(self, mountinfo: str | None = None) -> None:
        """Refuse a network filesystem: SQLite's locks and shared memory do not hold there.

        ``mountinfo`` is text in the form of ``/proc/self/mountinfo`` (proc(5)), which is read if it is None. Raises
        InvalidInput, naming a local path to use.
        """
        mounts = read_mounts(mountinfo)
        mount = mount_of(self.path, mounts)
        if mount is None or not mount.network:
            return
        local = next(
            (place for place in _local_places() if not getattr(mount_of(place, mounts), "network", False)), None
        )
        raise InvalidInput(
            f"{self.path} is on a network filesystem ({mount.kind} at {mount.point}); the database needs a local disk",
            next_step=f"export {ENVIRONMENT_VARIABLE}={local or '/a/local/directory'}",
        )

    def lock(self) -> HomeLock:
        """Hold this home until the lock is released or the process ends, however it ends.

        Raises Conflict if another server holds it, naming its pid and address.
        """
        return HomeLock(self.lock_file)

    def ensure_secret(self) -> bytes:
        """The secret that signs tokens, made the first time. Call it under the lock."""
        secret = self.read_private(self.secret_file)
        if len(secret) < SECRET_BYTES:
            secret = os.urandom(SECRET_BYTES)
            # The old token was signed with what is gone.
            self.token_file.unlink(missing_ok=True)
            self.write_private(self.secret_file, secret)
        return secret

    def ensure_token(self, token: str, *, still_good: Callable[[str], bool] = bool) -> str:
        """The operator's token: the one kept if it is ``still_good``, else ``token``, kept from now on.

        Call it under the lock.
        """
        kept = self.read_private(self.token_file).decode(errors="replace").strip()
        if kept and still_good(kept):
            return kept
        self.write_private(self.token_file, token.encode() + b"\n")
        return token

    def write_private(self, path: Path, data: bytes) -> None:
        """Write a file of this home that only its owner can read, as `write_whole` does."""
        write_whole(path, data, mode=0o600)

    def read_private(self, path: Path) -> bytes:
        """Empty if it is not there. Raises Forbidden if others could have written or read it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Forbidden(f"cannot read {path}: {error.strerror}", next_step="make it a file of yours") from None
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise Forbidden(
                    f"others have access to {path} (mode {stat.S_IMODE(status.st_mode):04o}): it is no secret any more",
                    next_step=f"delete it, and a new one is made: rm {path}",
                )
            return file.read()


class HomeLock:
    """Held from its making. The kernel lets go of it when the process ends, so that it is never stale."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ClusterError(f"cannot open {path}: {error.strerror}", next_step="check the directory") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._read_holder()
            os.close(self._descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise ClusterError(f"cannot lock {path}: {error.strerror}", next_step="use a local disk") from None
            pid, address = holder.get("pid", "unknown"), holder.get("address", "")
            raise Conflict(
                f"another HRM server holds {path.parent}: pid {pid}, "
                + (f"at {address}" if address else "starting up"),
                next_step=f"use that one, end it with `hrm down`, or set {ENVIRONMENT_VARIABLE} to another directory",
            ) from None
        self.note(address="")

    def note(self, *, address: str) -> None:
        """Say where the holder can be reached, for whoever finds the lock taken."""
        text = json.dumps({"pid": os.getpid(), "address": address}).encode()
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Let go. The file stays: a deleted one would let two servers each lock their own."""
        if self._descriptor >= 0:
            # Closing alone would leave it to a child that is between fork and exec.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _read_holder(self) -> dict[str, object]:
        try:
            holder = json.loads(os.pread(self._descriptor, 4096, 0))
        except ValueError:
            return {}
        return holder if isinstance(holder, dict) else {}


def _local_places() -> list[Path]:
    """Where a home may be made instead, the most lasting first."""
    parents = [Path("/var/lib"), Path("/var/tmp"), Path("/tmp")]
    return [parent / f"hrm-{os.geteuid()}" for parent in parents if os.access(parent, os.W_OK)]
