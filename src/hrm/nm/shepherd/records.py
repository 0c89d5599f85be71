"""What a node writes down about its containers, and where. Shared by the shepherd and the NodeManager.

Under the state directory of the node (0700):

================  =====================================================================================================
``containers/ID`` the container's own directory (``HRM_CONTAINER_DIR``, 0700); all else is HRM's
``staged/ID``     what it is to find there, until it begins
``applications/`` directories of applications, by their ids: what their containers share, made by the NodeManager
``running/ID``    the claim, made once and for ever before anything is started, and the run record: line 1, who the
                  process is; line 2, once it has ended, how
``ended/ID``      the same file, moved here when complete, until the end is acknowledged
``exits/ID``      the same file after that
``logs/ID.*``     stdout and stderr, each made with its first byte
``inputs/ID``     a FIFO, where there is input
================  =====================================================================================================

The commit point of an end is the rename from ``running`` to ``ended``: whoever lists ``ended`` sees whole records. No
record is synced to the disk. The kernel keeps what was written when a process dies, however it dies; and when the
machine dies, every container dies with it, so that a record that did not reach the disk reads as LOST, which is true.
"""

from __future__ import annotations

import errno
import json
import os
import re
from typing import Any

SOCKET = "shepherd.sock"
LOCK = "shepherd.lock"
LOG = "shepherd.log"
#: Directories of this node's cgroups, as JSON: where a successor finds those of its containers.
CGROUPS = "cgroups"
CONTAINERS = "containers"
STAGED = "staged"
APPLICATIONS = "applications"
RUNNING = "running"
ENDED = "ended"
EXITS = "exits"
LOGS = "logs"
INPUTS = "inputs"
#: In ``running``.
INCARNATION = ".incarnation"
FOLDERS = (CONTAINERS, RUNNING, ENDED, EXITS, LOGS, INPUTS)
STREAMS = ("stdout", "stderr")
#: In the container's own directory: the task writes a number from 0 to 1 there.
PROGRESS = ".hrm-progress"
#: The same: it writes or touches this one when it has saved its work.
CHECKPOINT = ".hrm-checkpoint"
#: The same, the other way round: there iff the container is to end for others, as JSON.
PREEMPTION = ".hrm-preemption"
#: The same: why the container could not be prepared, in words.
FAILURE = ".hrm-failure"
#: With this begin the ids of programs that serve containers, in place of an application's.
_SERVICE = "service_"
#: The longest record that is believed.
MAX_RECORD_BYTES = 64 << 10
# Made once: `json.dumps` with separators of one's own makes a new encoder for each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def is_container_id(text: object) -> bool:
    """True iff the id may become a file name: letters, digits, ``_`` and ``-``, at most 128 of them."""
    return isinstance(text, str) and _CONTAINER_ID.fullmatch(text) is not None


def service_id(name: str, digest: str, life: str) -> str:
    """Of one life of an auxiliary service; ``digest`` is of what it was started with."""
    return f"{_SERVICE}{name}_{digest}_{life}"


def is_service(container_id: str) -> bool:
    """True iff it is no container of an application's but a program that serves those."""
    return container_id.startswith(_SERVICE)


def service_of(container_id: str) -> tuple[str, str]:
    """Name and digest of what `service_id` made."""
    name, _, digest = container_id.removeprefix(_SERVICE).rpartition("_")[0].rpartition("_")
    return name, digest


def make_folders() -> None:
    for folder in FOLDERS:
        os.makedirs(folder, 0o700, exist_ok=True)


def incarnation() -> str:
    """The name of this memory of claims: another one if they were deleted. Stands among them, and is made with them."""
    path = f"{RUNNING}/{INCARNATION}"
    try:
        with open(path, "xb") as file:
            file.write(os.urandom(16).hex().encode())
    except FileExistsError:
        pass
    with open(path, encoding="ascii") as file:
        return file.read()


def boot_id() -> str:
    """The kernel's name for this boot. A pid means nothing in another."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def unlink(path: str) -> None:
    """Remove the file, if it is there. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def encode_line(record: dict[str, Any]) -> bytes:
    return f"{_encode(record)}\n".encode()


def append(fd: int, record: dict[str, Any]) -> None:
    """Write a record's next line. Raises OSError, also where the disk took only a part of it."""
    line = encode_line(record)
    if os.write(fd, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def parse(data: bytes) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(who it is, how it ended) from a run record; None for what is missing, torn or not a record."""
    identity = ended = None
    *lines, _torn = data.split(b"\n")
    for line in lines:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            if "reason" in fields:
                ended = fields
            elif "pid" in fields:
                identity = fields
    return identity, ended


def read(path: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Parse the record at ``path``. Raises OSError (FileNotFoundError where there is none)."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return parse(os.read(fd, MAX_RECORD_BYTES))
    finally:
        os.close(fd)
