"""The one seam between checks and the machine: files, commands, sockets, the clock."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import stat as stat_module
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Protocol
from urllib.parse import urlsplit

#: What one read or one command gives at most; of files that grow the end counts, see `System.read`.
MAX_TEXT_BYTES = 1 << 20
COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0


class CannotSee(Exception):
    """Something is there and cannot be looked at. A check lets it pass: the runner notes it as unseen."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command did."""

    argv: tuple[str, ...]
    #: 127 where there is no such program, 128+N where signal N ended it.
    status: int
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.status == 0 and not self.timed_out

    @property
    def missing(self) -> bool:
        """Whether there is no such program."""
        return self.status == 127 and not self.timed_out

    @property
    def text(self) -> str:
        """All it printed."""
        return self.stdout + self.stderr

    @property
    def lines(self) -> list[str]:
        """Of its standard output, without the empty ones."""
        return [line for line in self.stdout.splitlines() if line.strip()]


class Reached(StrEnum):
    """What came of connecting to a port."""

    OPEN = "open"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came of one GET; ``status`` 0 where there was no answer."""

    reached: Reached
    status: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class FileStat:
    """Of a file, links followed."""

    mode: int
    uid: int
    gid: int
    size_bytes: int
    changed_at: float
    #: Of a device node; 0, 0 of all else.
    major: int = 0
    minor: int = 0

    @property
    def is_dir(self) -> bool:
        return stat_module.S_ISDIR(self.mode)

    @property
    def is_device(self) -> bool:
        return stat_module.S_ISCHR(self.mode) or stat_module.S_ISBLK(self.mode)

    @property
    def executable(self) -> bool:
        return bool(self.mode & 0o111)


class System(Protocol):
    """A machine as checks see it. Paths are absolute.

    File calls are for places that are local for certain (``/proc``, ``/sys``, ``/etc``, ``/var``). What may lie on a
    server that does not answer is asked by a command, which has a limit.
    """

    @property
    def uid(self) -> int:
        """Who looks; 0 sees everything."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def read(self, path: str, *, tail: bool = False) -> str | None:
        """At most `MAX_TEXT_BYTES` from the beginning, or from the end; None where there is none. Raises CannotSee."""

    def list(self, path: str) -> Sequence[str]:
        """Names in a directory, sorted; none where there is no such directory. Raises CannotSee."""

    def stat(self, path: str) -> FileStat | None:
        """None where there is none. Raises CannotSee."""

    def link(self, path: str) -> str | None:
        """Where a symbolic link leads, as it says; None where ``path`` is none. Raises CannotSee."""

    def which(self, program: str) -> str | None:
        """Where a program lies that can be run; None where there is none."""

    def run(self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S, tail: bool = False) -> Output:
        """Run a program to its end, without a shell, in the C locale; `Output.timed_out` where it takes longer.

        Of what it prints `MAX_TEXT_BYTES` are kept, from the beginning, or with ``tail`` from the end.
        """

    def connect(self, host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Reached:
        """Whether something listens there."""

    def get(self, url: str, *, timeout_s: float = CONNECT_TIMEOUT_S) -> HttpAnswer:
        """One plain HTTP request."""


class LocalSystem:
    """This machine."""

    @property
    def uid(self) -> int:
        return os.geteuid()

    def now(self) -> float:
        return time.time()

    def read(self, path: str, *, tail: bool = False) -> str | None:
        try:
            with open(path, "rb") as file:
                if tail and (size := os.fstat(file.fileno()).st_size) > MAX_TEXT_BYTES:
                    file.seek(size - MAX_TEXT_BYTES)
                return file.read(MAX_TEXT_BYTES).decode(errors="replace")
        except OSError as error:
            _check_absent(path, error)
            return None

    def list(self, path: str) -> Sequence[str]:
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            _check_absent(path, error)
            return ()

    def stat(self, path: str) -> FileStat | None:
        try:
            return as_file_stat(os.stat(path))
        except OSError as error:
            _check_absent(path, error)
            return None

    def link(self, path: str) -> str | None:
        try:
            return os.readlink(path)
        except OSError as error:
            if error.errno != errno.EINVAL:
                _check_absent(path, error)
            return None

    def which(self, program: str) -> str | None:
        # Tools for root lie where other users' PATH does not lead.
        return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")

    def run(self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S, tail: bool = False) -> Output:
        program = self.which(argv[0])
        if program is None:
            return Output(argv, 127, stderr=f"{argv[0]}: not found")
        # Files, not pipes: a service that a command starts may keep them open, and is not waited for.
        with _memory() as out, _memory() as err:
            try:
                child = subprocess.Popen(
                    argv,
                    executable=program,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, "LC_ALL": "C", "LANGUAGE": "", "DEBIAN_FRONTEND": "noninteractive"},
                    start_new_session=True,
                )
            except OSError as error:
                return Output(argv, 126, stderr=f"{argv[0]}: {error.strerror}")
            try:
                code = _ended(child, timeout_s)
            except subprocess.TimeoutExpired:
                # With what it started; what ended just now needs nothing.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
                # What hangs in the kernel does not go by being killed: it is left behind.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=0.2)
                return Output(argv, 124, timed_out=True)
            return Output(argv, code if code >= 0 else 128 - code, _kept(out, tail), _kept(err, tail=False))

    def connect(self, host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Reached:
        try:
            with socket.create_connection((host, port), timeout=timeout_s):
                return Reached.OPEN
        except TimeoutError:
            return Reached.TIMEOUT
        except ConnectionRefusedError:
            return Reached.REFUSED
        except OSError:
            return Reached.UNREACHABLE

    def get(self, url: str, *, timeout_s: float = CONNECT_TIMEOUT_S) -> HttpAnswer:
        # Here, not above: it is a third of what a quick round imports, and few checks ask over HTTP.
        import http.client

        address = urlsplit(url)
        port = address.port or 80
        if (reached := self.connect(address.hostname or "", port, timeout_s=timeout_s)) is not Reached.OPEN:
            return HttpAnswer(reached)
        connection = http.client.HTTPConnection(address.hostname or "", port, timeout=timeout_s)
        try:
            connection.request("GET", address.path or "/")
            answer = connection.getresponse()
            return HttpAnswer(Reached.OPEN, answer.status, _text(answer.read(MAX_TEXT_BYTES)))
        except TimeoutError:
            return HttpAnswer(Reached.TIMEOUT)
        except (OSError, http.client.HTTPException):
            return HttpAnswer(Reached.OPEN)
        finally:
            connection.close()


def as_file_stat(found: os.stat_result) -> FileStat:
    """What checks may know of a file."""
    return FileStat(
        mode=found.st_mode,
        uid=found.st_uid,
        gid=found.st_gid,
        size_bytes=found.st_size,
        changed_at=found.st_mtime,
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
    )


def _check_absent(path: str, error: OSError) -> None:
    """Raises CannotSee unless there is nothing at ``path``."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESRCH):
        return
    hint = " (needs root)" if error.errno in (errno.EACCES, errno.EPERM) else ""
    raise CannotSee(f"{path}: {error.strerror}{hint}") from None


def _ended(child: subprocess.Popen[bytes], timeout_s: float) -> int:
    """Its status. Raises TimeoutExpired. Where the kernel can tell of an end, nobody looks again and again."""
    try:
        held = os.pidfd_open(child.pid)
    except (AttributeError, OSError):
        return child.wait(timeout=timeout_s)
    try:
        waiting = select.poll()
        waiting.register(held, select.POLLIN)
        if not waiting.poll(timeout_s * 1000.0):
            raise subprocess.TimeoutExpired(child.args, timeout_s)
        return child.wait()
    finally:
        os.close(held)


def _memory() -> IO[bytes]:
    """A file that lies nowhere; disks may be full."""
    try:
        return open(os.memfd_create("output"), "w+b", buffering=0)
    except (AttributeError, OSError):
        # Python was built for an older C library.
        import tempfile

        return tempfile.TemporaryFile(buffering=0)


def _kept(written: IO[bytes], tail: bool) -> str:
    """At most `MAX_TEXT_BYTES` from the beginning, or from the end."""
    size = os.fstat(written.fileno()).st_size
    return _text(os.pread(written.fileno(), MAX_TEXT_BYTES, max(0, size - MAX_TEXT_BYTES) if tail else 0))


def _text(output: bytes) -> str:
    return output[:MAX_TEXT_BYTES].decode(errors="replace")
