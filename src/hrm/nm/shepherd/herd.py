"""The containers of one node: how each begins, and how it ends. Paths are relative: we stand in the state directory."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import deque
from functools import partial
from typing import Any

from hrm.nm.shepherd import faults, processes, records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log, log_bug
from hrm.nm.shepherd.lock import StateLock
from hrm.nm.shepherd.loop import EDGE, READABLE, Loop
from hrm.nm.shepherd.pump import REST_S, Stream
from hrm.nm.shepherd.spawn import DEFAULT_UMASK, Program, Spawner, SpawnError
from hrm.nm.shepherd.terminal import Terminal
from hrm.nm.shepherd.trees import Trees

#: A killed tree is looked at again: a process that was just being made may have slipped through.
_KILL_AGAIN_S = 1.0
_REAPED_PER_TURN = 256
_TELL_DROPPED_S = 1.0
#: What a shell would give for a program that KILL ended.
_KILLED = 137
#: A full or failing disk holds back what is to begin: it is tried again this often.
_DISK_RETRY_S = 1.0
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOENT)


class Herd:
    """Starts containers, waits for them, ends them, and keeps what became of them until it is acknowledged."""

    def __init__(self, loop: Loop, lock: StateLock) -> None:
        self._loop = loop
        self._lock = lock
        self._spawner = Spawner()
        self._null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._by_pid: dict[int, Container] = {}
        self.isolation = Isolation(loop)
        self.isolation.on_out_of_memory = lambda container: self.fail(
            container.id, self.isolation.explain(container, _KILLED, "out of memory")
        )
        self._trees = Trees(self._by_pid, self.isolation)
        self._admits_others = False
        self.boot_id = records.boot_id()
        #: Specs of those that are about to be started.
        self.waiting: deque[dict[str, Any]] = deque()
        #: Of those some that the disk holds back, by id.
        self.held_back: dict[str, dict[str, Any]] = {}
        #: True once the state directory is no more ours: nothing begins here then.
        self.dispossessed = False
        #: Those that run.
        self.live: dict[str, Container] = {}
        #: How those ended whose end is not acknowledged.
        self.ended: dict[str, dict[str, Any]] = {}
        #: What happened since it was last taken.
        self._news_started: list[dict[str, Any]] = []
        self._news_ended: list[dict[str, Any]] = []
        self._news_dropped: dict[str, list[int]] = {}
        records.make_folders()
        #: Of what we know about claims; what another incarnation knew is forgotten.
        self.incarnation = records.incarnation()

    @property
    def only_starts(self) -> bool:
        """True iff all that is new is that containers began."""
        return bool(self._news_started) and not self._news_ended and not self._news_dropped

    def take_news(self) -> dict[str, Any]:
        """What began, ended or dropped output since the last call, as it goes over the wire; {} if nothing did."""
        news: dict[str, Any] = {}
        if self._news_started:
            news["started"], self._news_started = self._news_started, []
        if self._news_ended:
            news["ended"], self._news_ended = self._news_ended, []
        if self._news_dropped:
            news["dropped"], self._news_dropped = self._news_dropped, {}
        return news

    # Beginning

    def launch(self, specs: list[dict[str, Any]]) -> None:
        """Start these, in order, one a turn of the loop, so that ends are seen meanwhile.

        Raises ValueError, and starts none, if an id is none.
        """
        for spec in specs:
            if not records.is_container_id(spec["id"]):
                raise ValueError(f"not a container id: {spec['id']!r}")
        self.waiting.extend(specs)
        self._loop.busy = True

    def launch_next(self) -> None:
        """Start the next of those that wait."""
        if self.waiting and not self._lock.holds:
            # What is claimed here now another shepherd would not know of.
            log("the state directory was deleted: nothing can begin here any more")
            self.dispossessed = True
            self.waiting.clear()
            self.held_back.clear()
        if self.waiting:
            self._launch(self.waiting.popleft())
        self._loop.busy = bool(self.waiting)

    def _running(self, container_id: str) -> Container | None:
        """The container, started out of turn if it still waits; None if it does not run."""
        if container_id not in self.live:
            for spec in self.waiting:
                if spec["id"] == container_id:
                    self.waiting.remove(spec)
                    self._launch(spec)
                    break
        return self.live.get(container_id)

    def _launch(self, spec: dict[str, Any]) -> None:
        container = Container(spec["id"])
        try:
            if not self._claim(container):
                return
            faults.point("shepherd.prepare")
            self._start(container, spec)
        except SpawnError as error:
            self._release(container)
            if error.program:
                self._explain(container, error.message)
                self.end(container, reason="exited", code=error.code, detail=error.message)
            else:
                self._not_started(container, error.code, error.message)
        except OSError as error:
            self._release(container)
            if error.errno in _DISK_ERRORS and self._unclaim(container):
                self._hold_back(spec, error)
            else:
                self._not_started(container, 126, f"cannot start it: {error}")
        except Exception as error:  # noqa: BLE001
            # A spec that is none, or a bug of ours: told as what it is, so that nobody waits for an end.
            log_bug()
            self._release(container)
            self.end(container, reason="not_started", code=126, detail=f"cannot start it: {error!r}")

    def _not_started(self, container: Container, code: int, detail: str) -> None:
        """Its surroundings are at fault. Where they were deleted meanwhile, the task is not: it is lost."""
        if self._lock.holds:
            self.end(container, reason="not_started", code=code, detail=detail)
        else:
            self.end(container, reason="lost", code=None, detail="the state of its node was deleted")

    def _claim(self, container: Container) -> bool:
        """True iff nobody ever started a container of this id here. Else what became of it is told again.

        Raises OSError.
        """
        container_id = container.id
        if earlier := self.live.get(container_id):
            self._news_started.append(earlier.report())
        elif container_id in self.ended:
            self._news_ended.append(self.ended[container_id])
        elif os.path.exists(f"{records.EXITS}/{container_id}"):
            _, record = records.read(f"{records.EXITS}/{container_id}")
            if record:
                self._news_ended.append(record)
            else:
                self.end(container, reason="lost", code=None, detail="its record was torn")
        else:
            faults.point("shepherd.claim")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            container.record_fd = os.open(f"{records.RUNNING}/{container_id}", flags, 0o600)
            return True
        return False

    def _unclaim(self, container: Container) -> bool:
        """Nothing of it was started: leave no trace. False if even that the disk refuses."""
        for remove, path in (
            (os.unlink, f"{records.INPUTS}/{container.id}"),
            (os.rmdir, f"{records.CONTAINERS}/{container.id}"),
            (os.unlink, f"{records.RUNNING}/{container.id}"),
        ):
            try:
                remove(path)
            except OSError as error:
                # A disk that can only be read refuses to remove what is not there, too.
                if os.path.lexists(path):
                    log(f"{container.id}: cannot take back its claim: {error}")
                    return False
        if container.record_fd >= 0:
            os.close(container.record_fd)
        return True

    def _hold_back(self, spec: dict[str, Any], error: OSError) -> None:
        """The disk is full or sick, which is no fault of the container: it waits."""
        if not self.held_back:
            log(f"nothing can begin: {error}; it is tried again until it can")
            self._loop.call_later(_DISK_RETRY_S, self._try_again)
        self.held_back[spec["id"]] = spec

    def _try_again(self) -> None:
        held_back, self.held_back = self.held_back, {}
        try:
            records.make_folders()
        except OSError as error:
            log(f"cannot make the node's folders: {error}")
        self.launch(list(held_back.values()))

    def _start(self, container: Container, spec: dict[str, Any]) -> None:
        """Everything between the claim and a running process. What fails is undone by `_release`."""
        container_id = container.id
        container.limits = spec.get("limits")
        container.account = account = spec.get("account")
        if account and "refused" in account:
            raise SpawnError(account["refused"], code=126, program=False)
        home = self._make_home(container)
        theirs: list[int] = []
        try:
            keyboard_fd = self._null_fd
            if spec["stdin"] or spec["terminal"]:
                keyboard_fd = self._make_input(container)
                theirs.append(keyboard_fd)
            if spec["terminal"]:
                self._make_terminal(container, spec, keyboard_fd)
                # The terminal's from now on.
                theirs.remove(keyboard_fd)
            else:
                for name in records.STREAMS:
                    fd, write_fd = os.pipe2(os.O_CLOEXEC)
                    theirs.append(write_fd)
                    if container.owner:
                        # `echo > /dev/stderr` opens the pipe anew.
                        os.fchown(write_fd, *container.owner)
                    os.set_blocking(fd, False)
                    self._add_stream(container, fd, name, spec)
            terminal = container.terminal
            first_tick = processes.ticks_since_boot()
            program = Program(
                spec["argv"],
                spec["env"],
                spec["workdir"] or home,
                fds=None if terminal else [keyboard_fd, *theirs[-2:]],
                terminal=terminal.slave_name if terminal else None,
                umask=spec.get("umask", DEFAULT_UMASK),
                account=account,
            )
            slot = self.isolation.take(container)
            container.pid = self._spawner.spawn(program, self.isolation.pool, slot)
        finally:
            for fd in theirs:
                os.close(fd)
            if container.terminal:
                container.terminal.close_slave()
        container.started_at = time.time()
        self._by_pid[container.pid] = self.live[container_id] = container
        self._news_started.append(container.report())
        self.isolation.be_nice(container)
        identity = {
            "pid": container.pid,
            # When it began, as the kernel will say: to look it up takes longer than all else that is written here.
            "start_ticks": [first_tick, processes.ticks_since_boot()],
            "boot_id": self.boot_id,
            "started_at": container.started_at,
            "limits": container.limits,
        }
        try:
            faults.point("shepherd.spawned")
            records.append(container.record_fd, identity)
        except OSError as error:
            # It runs all the same. Should this shepherd die, its successor finds it by its environment.
            log(f"{container_id}: cannot write its run record: {error}")
            self._wipe(container)
        faults.point("shepherd.recorded")

    def _wipe(self, container: Container) -> None:
        """No half line may stand before the next."""
        try:
            os.ftruncate(container.record_fd, 0)
        except OSError as error:
            log(f"{container.id}: cannot mend its run record: {error}")

    def _make_home(self, container: Container) -> str:
        """The container's own directory: for its user alone. What is above it admits others, and shows them nothing."""
        home = f"{records.CONTAINERS}/{container.id}"
        os.mkdir(home, 0o700)
        if container.owner is None:
            return home
        if not self._admits_others:
            os.chmod(".", 0o711)
            os.chmod(records.CONTAINERS, 0o711)
            self._admits_others = True
        # Nobody but us can put anything in its place, so that this follows no link.
        os.chown(home, *container.owner, follow_symlinks=False)
        return os.path.abspath(home)

    def _make_input(self, container: Container) -> int:
        """Make the FIFO; the end that the container (or its terminal) reads."""
        path = f"{records.INPUTS}/{container.id}"
        os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if container.owner:
            os.fchown(fd, *container.owner)
        container.keeper_fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(fd, True)
        return fd

    def _make_terminal(self, container: Container, spec: dict[str, Any], keyboard_fd: int) -> None:
        rows, columns = spec["terminal"]
        os.set_blocking(keyboard_fd, False)
        terminal = container.terminal = Terminal(rows, columns, keyboard_fd, owner=container.owner)
        self._loop.watch(keyboard_fd, READABLE | EDGE, lambda _events: self._type(container, terminal))
        self._add_stream(container, terminal.master_fd, "stdout", spec)

    def _explain(self, container: Container, message: str) -> None:
        """Say in the container's own stderr why its program did not run, as a shell would."""
        try:
            with open(f"{records.LOGS}/{container.id}.stderr", "x", encoding="utf-8", errors="replace") as file:
                file.write(f"hrm: {message}\n")
                if container.owner:
                    os.fchown(file.fileno(), *container.owner)
        except OSError as error:
            log(f"{container.id}: cannot write its stderr: {error}")

    # Output and input

    def _add_stream(self, container: Container, fd: int, name: str, spec: dict[str, Any]) -> None:
        path = f"{records.LOGS}/{container.id}.{name}"
        limit_bytes = spec["log_limit_bytes"]
        stream = Stream(
            fd,
            path,
            limit_bytes,
            self._null_fd,
            is_terminal=container.terminal is not None,
            owner=container.owner,
        )
        container.streams.append(stream)

        def look(events: int) -> None:
            # Only a hang-up: there is nothing to move, and the end of the container follows at once or much later.
            if events & READABLE and not stream.resting:
                self._pump(container, stream)

        self._loop.watch(fd, READABLE | EDGE, look)

    def _pump(self, container: Container, stream: Stream) -> None:
        stream.resting = False
        if self._lives(container) and stream.pump():
            # Not until it is found empty will the loop tell of it again (EDGE).
            stream.resting = True
            self._loop.call_later(REST_S, partial(self._pump, container, stream))
            if stream.dropped_bytes and not container.telling_dropped:
                container.telling_dropped = True
                self._loop.call_later(_TELL_DROPPED_S, partial(self._tell_dropped, container))

    def _tell_dropped(self, container: Container) -> None:
        container.telling_dropped = False
        if self._lives(container):
            self._news_dropped[container.id] = container.dropped

    def _type(self, container: Container, terminal: Terminal) -> None:
        if self._lives(container) and terminal.type():
            self._loop.call_later(REST_S, partial(self._type, container, terminal))

    def close_input(self, container_id: str) -> None:
        """No more input will come."""
        if container := self._running(container_id):
            self._close_keeper(container)

    def resize(self, container_id: str, rows: int, columns: int) -> None:
        container = self._running(container_id)
        if container and container.terminal:
            container.terminal.resize(rows, columns)

    # Ending

    def signal(self, container_id: str, signum: int) -> None:
        """One signal to the process group of the container's first process."""
        if container := self._running(container_id):
            for process in self._trees.members(container):
                if process.pgrp == container.pid:
                    processes.send_signal(process, signum)

    def stop(self, container_id: str, grace_s: float) -> None:
        """TERM to the whole tree, and KILL to what is left of it after ``grace_s``."""
        container = self._running(container_id)
        if self.held_back.pop(container_id, None):
            self.end(Container(container_id), reason="not_started", code=None, detail="stopped before it could begin")
        if container is None:
            return
        container.stopped = True
        if grace_s > 0:
            self._trees.signal(container, signal.SIGTERM)
            # A process that was halted takes the TERM when it goes on.
            self._trees.signal(container, signal.SIGCONT)
            self._loop.call_later(grace_s, partial(self._kill, container))
        else:
            self._kill(container)

    def fail(self, container_id: str, why: str) -> None:
        """KILL a container that used more than it may; ``why`` is told as how it ended."""
        if container := self._running(container_id):
            container.verdict = container.verdict or why
            self._kill(container)

    def _kill(self, container: Container) -> None:
        if self._lives(container):
            self._trees.kill(container)
            self._loop.call_later(_KILL_AGAIN_S, partial(self._kill, container))

    def reap(self) -> None:
        """Take note of every child that has ended."""
        for _ in range(_REAPED_PER_TURN):
            try:
                # It stays a zombie while we clean up behind it, so that its number and its session stay its own.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if container := self._by_pid.get(ended.si_pid):
                self._finish(container)
            else:
                os.waitpid(ended.si_pid, 0)
                self._trees.reaped(ended.si_pid)
        self._loop.call_later(0, self.reap)

    def _finish(self, container: Container) -> None:
        """Its first process has ended, and with it the container."""
        if self._trees.outlive(container):
            self._trees.kill(container)
        for stream in container.streams:
            stream.drain()
        _, status, usage = os.wait4(container.pid, 0)
        del self._by_pid[container.pid]
        del self.live[container.id]
        code = os.waitstatus_to_exitcode(status)
        detail = "" if code >= 0 else f"ended by {_signal_name(-code)}"
        if code and not container.verdict:
            detail = self.isolation.explain(container, code, detail)
        self._release(container)
        self.end(
            container,
            reason="stopped" if container.stopped and not container.verdict else "exited",
            code=_KILLED if container.verdict else code if code >= 0 else 128 - code,
            detail=container.verdict or detail,
            cpu_s=round(usage.ru_utime + usage.ru_stime, 6),
            max_rss_mib=-(-usage.ru_maxrss // 1024),
        )

    def _release(self, container: Container) -> None:
        """Let go of what the shepherd holds for it, but its record."""
        self.isolation.give_back(container)
        for stream in container.streams:
            self._loop.forget(stream.fd)
            stream.close()
        if container.terminal:
            self._loop.forget(container.terminal.keyboard_fd)
            os.close(container.terminal.keyboard_fd)
        if container.pidfd >= 0:
            self._loop.forget(container.pidfd)
            os.close(container.pidfd)
        self._close_keeper(container)

    def _close_keeper(self, container: Container) -> None:
        """Once nobody else writes, the container reads the end of input. The FIFO's name goes: none opens it again."""
        if container.keeper_fd >= 0:
            os.close(container.keeper_fd)
            container.keeper_fd = -1
            _unlink(f"{records.INPUTS}/{container.id}")

    def end(
        self,
        container: Container,
        *,
        reason: str,
        code: int | None,
        detail: str,
        cpu_s: float | None = None,
        max_rss_mib: int | None = None,
    ) -> None:
        """Write down how it ended, then tell it."""
        record = {
            "id": container.id,
            "reason": reason,
            "code": code,
            "started_at": container.started_at or None,
            "ended_at": time.time(),
            "detail": detail,
            "cpu_s": cpu_s,
            "max_rss_mib": max_rss_mib,
            "dropped": container.dropped,
        }
        path = f"{records.RUNNING}/{container.id}"
        try:
            faults.point("shepherd.exited")
            if container.record_fd < 0:
                container.record_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            records.append(container.record_fd, record)
            faults.point("shepherd.exit_written")
            os.rename(path, f"{records.ENDED}/{container.id}")
            faults.point("shepherd.exit_recorded")
        except OSError as error:
            # Kept in memory until acknowledged; a successor would have to call it lost.
            log(f"{container.id}: cannot write how it ended: {error}")
        if container.record_fd >= 0:
            os.close(container.record_fd)
        self.ended[container.id] = record
        self._news_ended.append(record)

    def acknowledge(self, container_ids: list[str]) -> None:
        """The ends of these are safe elsewhere."""
        for container_id in container_ids:
            if self.ended.pop(container_id, None) is not None:
                try:
                    faults.point("shepherd.acknowledge")
                    os.rename(f"{records.ENDED}/{container_id}", f"{records.EXITS}/{container_id}")
                    faults.point("shepherd.acknowledged")
                except OSError as error:
                    # Its end could not be written: no successor may call it lost now.
                    log(f"{container_id}: cannot keep how it ended: {error}")
                    _unlink(f"{records.RUNNING}/{container_id}")

    # After another shepherd

    def adopt(self, container: Container, start_ticks: list[int]) -> bool:
        """Watch a process that is no child of ours, and began between these two ticks. False if it is gone."""
        try:
            pidfd = os.pidfd_open(container.pid)
        except OSError:
            return False
        process = processes.look_up(container.pid)
        first, last = start_ticks
        if process is None or not first <= process.start_ticks <= last or not process.alive:
            os.close(pidfd)
            return False
        container.pidfd = pidfd
        self.isolation.adopt(container)
        self.live[container.id] = container
        self._loop.watch(pidfd, READABLE, lambda _events: self._adopted_ended(container))
        return True

    def _adopted_ended(self, container: Container) -> None:
        self._trees.kill(container)
        del self.live[container.id]
        self._release(container)
        self.end(container, reason="lost", code=None, detail="its shepherd had died: nobody could see how it ended")

    def _lives(self, container: Container) -> bool:
        return self.live.get(container.id) is container


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
