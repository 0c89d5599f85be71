"""Programs that join a container that runs: held to its limits, as its user, in its environment, and gone with it.

Who asks for one hands over its streams, and keeps the connection that it asked by: the end of that is the end of the
guest. A guest is the container's in all else: its limits, its signals and its end reach the guest as they reach the
task's own children.

The child enters the container's cgroups by itself, and nobody waits for it meanwhile: the container may have used up
its time on the CPUs, and the shepherd must not be held up in it.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from hrm.nm.shepherd import processes
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.loop import READABLE, Loop
from hrm.nm.shepherd.spawn import DEFAULT_UMASK, Program, Spawner, SpawnError
from hrm.nm.shepherd.trees import Trees

#: A file system that does not answer must not keep a guest between two worlds for longer.
_START_S = 10.0
#: Between HUP and KILL for a guest whose client is gone.
_LEAVE_S = 2.0
_MAX_ENVIRONMENT_BYTES = 2 << 20
_MARK = b"HRM_CONTAINER_ID="


class Guest:
    """One that was started and has not been told as over."""

    __slots__ = ("container", "failure", "pid", "start_ticks", "tell", "told_fd")

    def __init__(self, container: Container, pid: int, told_fd: int, tell: Callable[[dict[str, Any]], None]) -> None:
        self.container = container
        self.pid = pid
        self.tell = tell
        #: Ends when the program runs, and says before that why it does not; -1 once it has ended.
        self.told_fd = told_fd
        self.failure: dict[str, Any] | None = None
        process = processes.look_up(pid)
        self.start_ticks = process.start_ticks if process else -1


class Guests:
    """Of all containers of one shepherd."""

    def __init__(self, loop: Loop, spawner: Spawner, isolation: Isolation, trees: Trees) -> None:
        self._loop = loop
        self._spawner = spawner
        self._isolation = isolation
        self._trees = trees
        self._by_pid: dict[int, Guest] = {}

    def start(
        self,
        container: Container,
        message: dict[str, Any],
        fds: list[int],
        tell: Callable[[dict[str, Any]], None],
    ) -> Guest:
        """Start the program that ``message`` says. Its streams are ``fds``, or all three the one terminal among them.

        ``tell`` hears ``{"pid"}`` when it runs and ``{"exited"}`` in the end, or ``{"refused", "code"}``. Raises
        SpawnError.
        """
        if container.frozen or self._isolation.is_frozen(container):
            # Whoever enters is halted as well.
            raise SpawnError("its application is suspended: `hrm resume` lets it go on", code=126, program=False)
        if container.stopped:
            raise SpawnError("it is about to end", code=126, program=False)
        terminal = os.ttyname(fds[0]) if message["terminal"] else None
        if len(fds) != (1 if terminal else 3):
            raise ValueError(f"{len(fds)} descriptors")
        if container.owner:
            for fd in fds:
                os.fchown(fd, *container.owner)
        environment, first = self._environment(container)
        program = Program(
            list(map(str, message["argv"])),
            {**environment, **message["env"]},
            str(message["workdir"] or _working_directory(first)),
            fds=None if terminal else fds,
            terminal=terminal,
            umask=_umask(first),
            account=container.account,
            cpus=container.cpus,
        )
        pid, told_fd = self._spawner.begin(program, self._isolation.pool, container.slot)
        guest = self._by_pid[pid] = Guest(container, pid, told_fd, tell)
        self._trees.take_in(pid, container)
        self._loop.watch(told_fd, READABLE, lambda _events: self._said(guest))
        self._loop.call_later(_START_S, lambda: self._must_have_begun(guest))
        return guest

    def _environment(self, container: Container) -> tuple[dict[str, str], int]:
        """That of the container, as its first process began with, and the pid of who was asked. Raises SpawnError.

        A program may have written over its own; then another of the container's may still have it.
        """
        for pid in (container.pid, *(process.pid for process in self._trees.members(container))):
            data = processes.read_file(f"/proc/{pid}/environ", _MAX_ENVIRONMENT_BYTES) or b""
            variables = data.split(b"\0")
            if _MARK + container.id.encode() in variables:
                pairs = [variable.partition(b"=") for variable in variables if b"=" in variable]
                return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}, pid
        raise SpawnError(
            "its environment cannot be found: its processes have written over theirs", code=126, program=False
        )

    def _said(self, guest: Guest) -> None:
        """The child has become the program, or says why it could not."""
        if guest.told_fd < 0:
            return
        said = os.read(guest.told_fd, 1 << 16)
        self._loop.forget(guest.told_fd)
        os.close(guest.told_fd)
        guest.told_fd = -1
        if said:
            guest.failure = json.loads(said)
        elif guest.failure is None:
            guest.tell({"pid": guest.pid})

    def _must_have_begun(self, guest: Guest) -> None:
        if guest.told_fd >= 0 and guest.pid in self._by_pid:
            guest.failure = {"message": f"it was not started within {_START_S:g} s", "code": 126}
            os.kill(guest.pid, signal.SIGKILL)

    def reaped(self, pid: int, status: int) -> None:
        """A child that is no container has ended."""
        if (guest := self._by_pid.pop(pid, None)) is None:
            return
        self._said(guest)
        if failure := guest.failure:
            guest.tell({"refused": failure["message"], "code": failure["code"]})
        else:
            code = os.waitstatus_to_exitcode(status)
            guest.tell({"exited": code if code >= 0 else 128 - code})

    def signal(self, guest: Guest, signum: int) -> None:
        """One signal to its process group. No error if it has ended."""
        for process in self._session(guest):
            if process.pgrp == guest.pid:
                processes.send_signal(process, signum)

    def leave(self, guest: Guest) -> None:
        """Nobody is there for it any more: HUP to its session as when a terminal hangs up, and then KILL."""
        guest.tell = _nobody
        if guest.pid not in self._by_pid:
            return
        for process in self._session(guest):
            processes.send_signal(process, signal.SIGHUP)
            processes.send_signal(process, signal.SIGCONT)
        self._loop.call_later(_LEAVE_S, lambda: self._must_have_left(guest))

    def _must_have_left(self, guest: Guest) -> None:
        for process in self._session(guest):
            log(f"{guest.container.id}: a program of a client that is gone (pid {process.pid}) is killed")
            processes.send_signal(process, signal.SIGKILL)

    def _session(self, guest: Guest) -> list[processes.Process]:
        """Who is in its session; nobody once it has ended, as its number may soon be another's."""
        if guest.pid not in self._by_pid:
            return []
        first = processes.look_up(guest.pid)
        if first is None or first.start_ticks != guest.start_ticks:
            return []
        return [process for process in processes.everyone() if guest.pid in (process.pid, process.session)]


def _nobody(_message: dict[str, Any]) -> None:
    """Its client is gone."""


def _working_directory(pid: int) -> str:
    """Where a process stands. Raises SpawnError."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError as error:
        raise SpawnError(f"its working directory cannot be found: {error.strerror}", code=126, program=False) from None


def _umask(pid: int) -> int:
    for line in (processes.read_file(f"/proc/{pid}/status", 1 << 16) or b"").split(b"\n"):
        if line.startswith(b"Umask:"):
            return int(line.split()[1], 8)
    return DEFAULT_UMASK
