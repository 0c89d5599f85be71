"""The containers of one node: how each begins, and how it ends. Everything here stands in the state directory."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from hrm.nm.shepherd import records, tree
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.loop import EDGE, READABLE, Loop
from hrm.nm.shepherd.orphans import Orphans
from hrm.nm.shepherd.pump import REST_S, Stream
from hrm.nm.shepherd.spawn import Spawner, SpawnError
from hrm.nm.shepherd.terminal import Terminal

#: A killed tree is looked at again: a process that was just being made may have slipped through.
_KILL_AGAIN_S = 1.0
_KILL_ROUNDS = 8
_REAPED_PER_TURN = 256
_TELL_DROPPED_S = 1.0


class Herd:
    """Starts containers, waits for them, ends them, and keeps what became of them until it is acknowledged."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._spawner = Spawner()
        self._boot_id = records.boot_id()
        self._null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        #: Specs of those that are about to be started.
        self.waiting: deque[dict[str, Any]] = deque()
        self._orphans = Orphans()
        self._by_pid: dict[int, Container] = {}
        #: Those that run.
        self.live: dict[str, Container] = {}
        #: How those ended whose end is not acknowledged.
        self.ended: dict[str, dict[str, Any]] = {}
        #: What happened since it was last taken.
        self._news_started: list[dict[str, Any]] = []
        self._news_ended: list[dict[str, Any]] = []
        self._news_dropped: dict[str, list[int]] = {}
        for folder in (records.CONTAINERS, records.RUNNING, records.ENDED):
            os.makedirs(folder, 0o700, exist_ok=True)

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
        if self.waiting:
            self._launch(self.waiting.popleft())
        self._loop.busy = bool(self.waiting)

    def _launch_now(self, container_id: str) -> Container | None:
        """The container, started out of turn if it still waits; None if it does not run."""
        if container_id not in self.live:
            for spec in self.waiting:
                if spec["id"] == container_id:
                    self.waiting.remove(spec)
                    self._launch(spec)
                    break
        return self.live.get(container_id)

    def _launch(self, spec: dict[str, Any]) -> None:
        container_id = spec["id"]
        if container := self.live.get(container_id):
            self._news_started.append(container.report())
            return
        if record := self.ended.get(container_id):
            self._news_ended.append(record)
            return
        container = Container(container_id)
        try:
            os.mkdir(f"{records.CONTAINERS}/{container_id}", 0o700)
        except FileExistsError:
            self._tell_again(container_id)
            return
        except OSError as error:
            self._end(container, reason="not_started", code=126, detail=f"cannot make its directory: {error.strerror}")
            return
        try:
            self._start(container, spec)
        except SpawnError as error:
            self._release(container)
            if error.program:
                self._explain(container, error.message)
            reason = "exited" if error.program else "not_started"
            self._end(container, reason=reason, code=error.code, detail=error.message)
        except (OSError, KeyError, TypeError, ValueError) as error:
            self._release(container)
            detail = error.strerror if isinstance(error, OSError) and error.strerror else f"{error!r}"
            self._end(container, reason="not_started", code=126, detail=detail)

    def _start(self, container: Container, spec: dict[str, Any]) -> None:
        """Everything between the claim and a running process. What fails is undone by `_release`."""
        home = f"{records.CONTAINERS}/{container.id}"
        os.mkdir(f"{home}/{records.WORK}", 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        container.record_fd = os.open(f"{records.RUNNING}/{container.id}", flags, 0o600)
        theirs: list[int] = []
        try:
            keyboard_fd = self._null_fd
            if spec["stdin"] or spec["terminal"]:
                keyboard_fd = self._make_input(container, f"{home}/{records.STDIN}")
                theirs.append(keyboard_fd)
            if spec["terminal"]:
                self._make_terminal(container, spec, theirs.pop(), f"{home}/stdout")
            else:
                for name in records.STREAMS:
                    fd, write_fd = os.pipe2(os.O_CLOEXEC)
                    theirs.append(write_fd)
                    os.set_blocking(fd, False)
                    self._add_stream(container, Stream(fd, f"{home}/{name}", spec["log_limit_bytes"], self._null_fd))
            terminal = container.terminal
            container.pid = self._spawner.spawn(
                spec["argv"],
                spec["env"],
                spec["workdir"] or f"{home}/{records.WORK}",
                fds=None if terminal else (keyboard_fd, *theirs[-2:]),  # type: ignore[arg-type]
                terminal=terminal.slave_name if terminal else None,
            )
        finally:
            for fd in theirs:
                os.close(fd)
            if container.terminal:
                container.terminal.close_slave()
        container.started_at = time.time()
        self._by_pid[container.pid] = self.live[container.id] = container
        self._news_started.append(container.report())
        # The process waits for us even if it has ended by now: its line of /proc is still its own.
        process = tree.look_up(container.pid)
        identity = {
            "pid": container.pid,
            "start_ticks": process.start_ticks if process else None,
            "boot_id": self._boot_id,
            "started_at": container.started_at,
        }
        try:
            os.write(container.record_fd, records.encode_line(identity))
        except OSError as error:
            # It runs all the same. Should this shepherd die, its successor will have to call it lost.
            log(f"{container.id}: cannot write its run record: {error}")

    def _make_input(self, container: Container, path: str) -> int:
        """Make the FIFO; the end that the container (or its terminal) reads."""
        os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        container.keeper_fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(fd, True)
        return fd

    def _make_terminal(self, container: Container, spec: dict[str, Any], keyboard_fd: int, log_path: str) -> None:
        rows, columns = spec["terminal"]
        os.set_blocking(keyboard_fd, False)
        terminal = container.terminal = Terminal(rows, columns, keyboard_fd)
        screen = Stream(terminal.master_fd, log_path, spec["log_limit_bytes"], self._null_fd, is_terminal=True)
        self._add_stream(container, screen)
        self._loop.watch(keyboard_fd, READABLE | EDGE, lambda _events: self._type(container, terminal))

    # Output and input

    def _add_stream(self, container: Container, stream: Stream) -> None:
        container.streams.append(stream)

        def look(events: int) -> None:
            # Only a hang-up: there is nothing to move, and the end of the container follows at once or much later.
            if events & READABLE and not stream.resting:
                self._pump(container, stream)

        self._loop.watch(stream.fd, READABLE | EDGE, look)

    def _pump(self, container: Container, stream: Stream) -> None:
        stream.resting = False
        if self.live.get(container.id) is container and stream.pump():
            # Not until it is found empty will the loop tell of it again (EDGE).
            stream.resting = True
            self._loop.call_later(REST_S, partial(self._pump, container, stream))
            if stream.dropped_bytes:
                self._tell_dropped(container)

    def _tell_dropped(self, container: Container) -> None:
        if not container.telling_dropped:
            container.telling_dropped = True

            def tell() -> None:
                container.telling_dropped = False
                if self.live.get(container.id) is container:
                    self._news_dropped[container.id] = container.dropped

            self._loop.call_later(_TELL_DROPPED_S, tell)

    def _type(self, container: Container, terminal: Terminal) -> None:
        if self.live.get(container.id) is container and terminal.type():
            self._loop.call_later(REST_S, partial(self._type, container, terminal))

    def close_input(self, container_id: str) -> None:
        """No more input will come. The FIFO's name goes too, so that nobody opens it again."""
        container = self._launch_now(container_id)
        if container and container.keeper_fd >= 0:
            os.close(container.keeper_fd)
            container.keeper_fd = -1
            _unlink(f"{records.CONTAINERS}/{container_id}/{records.STDIN}")

    def resize(self, container_id: str, rows: int, columns: int) -> None:
        container = self._launch_now(container_id)
        if container and container.terminal:
            container.terminal.resize(rows, columns)

    # Signals

    def signal(self, container_id: str, signum: int) -> None:
        """One signal to the process group of the container's first process."""
        container = self._launch_now(container_id)
        if container is None:
            return
        if container.pidfd < 0:
            # Its first process is not reaped before it leaves `live`: the number is its own.
            _ignoring_gone(os.killpg, container.pid, signum)
        else:
            for process in self._tree(container):
                if process.pgrp == container.pid:
                    tree.send_signal(process, signum)

    def stop(self, container_id: str, grace_s: float) -> None:
        """TERM to the whole tree, and KILL to what is left of it after ``grace_s``."""
        container = self._launch_now(container_id)
        if container is None:
            return
        container.stopped = True
        if grace_s > 0:
            self._signal_tree(container, signal.SIGTERM)
            # A process that was stopped takes the TERM when it goes on.
            self._signal_tree(container, signal.SIGCONT)
            self._loop.call_later(grace_s, partial(self._kill, container))
        else:
            self._kill(container)

    def _kill(self, container: Container) -> None:
        if self.live.get(container.id) is container:
            self._kill_tree(container)
            self._loop.call_later(_KILL_AGAIN_S, partial(self._kill, container))

    def _tree(self, container: Container) -> list[tree.Process]:
        """Its processes: the first, its descendants, its orphans and their descendants."""
        if container.pidfd < 0:
            return tree.family([container.pid, *self._orphans.of(container, self._by_pid)])
        # Another shepherd's: its orphans went elsewhere, but the session tells whose they are.
        members = [process.pid for process in tree.all_processes() if process.session == container.pid]
        return tree.family([container.pid, *members])

    def _signal_tree(self, container: Container, signum: int) -> None:
        for process in self._tree(container):
            if process.alive:
                tree.send_signal(process, signum)

    def _kill_tree(self, container: Container) -> None:
        """KILL until nobody is left who was not sent one: a tree that is growing is walked again."""
        sent: set[tuple[int, int]] = set()
        for _ in range(_KILL_ROUNDS):
            fresh = [
                process
                for process in self._tree(container)
                if process.alive and (process.pid, process.start_ticks) not in sent
            ]
            if not fresh:
                return
            for process in fresh:
                tree.send_signal(process, signal.SIGKILL)
                sent.add((process.pid, process.start_ticks))

    # Ending

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
            container = self._by_pid.get(ended.si_pid)
            if container:
                self._finish(container)
            else:
                os.waitpid(ended.si_pid, 0)
                self._orphans.reaped(ended.si_pid)
        self._loop.call_later(0, self.reap)

    def _finish(self, container: Container) -> None:
        """Its first process has ended, and with it the container."""
        if self._orphans.of(container, self._by_pid):
            self._kill_tree(container)
        for stream in container.streams:
            stream.drain()
        _, status, usage = os.wait4(container.pid, 0)
        del self._by_pid[container.pid]
        del self.live[container.id]
        self._release(container)
        code = os.waitstatus_to_exitcode(status)
        self._end(
            container,
            reason="stopped" if container.stopped else "exited",
            code=code if code >= 0 else 128 - code,
            detail="" if code >= 0 else f"ended by {_signal_name(-code)}",
            cpu_s=round(usage.ru_utime + usage.ru_stime, 6),
            max_rss_mib=-(-usage.ru_maxrss // 1024),
        )

    def _release(self, container: Container) -> None:
        """Let go of what the shepherd holds for it, but its record."""
        for stream in container.streams:
            self._loop.forget(stream.fd)
            stream.close()
        if container.terminal:
            self._loop.forget(container.terminal.keyboard_fd)
            os.close(container.terminal.keyboard_fd)
        if container.keeper_fd >= 0:
            os.close(container.keeper_fd)
        if container.pidfd >= 0:
            self._loop.forget(container.pidfd)
            os.close(container.pidfd)

    def _end(
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
            if container.record_fd < 0:
                container.record_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.write(container.record_fd, records.encode_line(record))
            os.rename(path, f"{records.ENDED}/{container.id}")
        except OSError as error:
            # Kept in memory until acknowledged; a successor would have to call it lost.
            log(f"{container.id}: cannot write how it ended: {error}")
        if container.record_fd >= 0:
            os.close(container.record_fd)
        self.ended[container.id] = record
        self._news_ended.append(record)

    def _explain(self, container: Container, message: str) -> None:
        """Say in the container's own stderr why its program did not run, as a shell would."""
        try:
            with open(f"{records.CONTAINERS}/{container.id}/stderr", "x", encoding="utf-8", errors="replace") as file:
                file.write(f"hrm: {message}\n")
        except OSError as error:
            log(f"{container.id}: cannot write its stderr: {error}")

    def acknowledge(self, container_ids: list[str]) -> None:
        """The ends of these are safe elsewhere."""
        for container_id in container_ids:
            if self.ended.pop(container_id, None) is not None:
                try:
                    os.rename(f"{records.ENDED}/{container_id}", f"{records.CONTAINERS}/{container_id}/exit")
                except OSError:
                    # The container's directory is gone, or its end could not be written: nothing more to keep.
                    _unlink(f"{records.ENDED}/{container_id}")
                    _unlink(f"{records.RUNNING}/{container_id}")

    # After another shepherd

    def recover(self) -> None:
        """Take over what an earlier shepherd left: its unacknowledged ends, and what still runs."""
        for container_id in sorted(os.listdir(records.ENDED)):
            _, record = records.read(f"{records.ENDED}/{container_id}")
            if record:
                self.ended[container_id] = record
            else:
                os.rename(f"{records.ENDED}/{container_id}", f"{records.RUNNING}/{container_id}")
        for container_id in sorted(os.listdir(records.RUNNING)):
            identity, record = records.read(f"{records.RUNNING}/{container_id}")
            container = Container(container_id)
            if identity:
                container.pid, container.started_at = identity["pid"], identity["started_at"]
            if record:
                self.ended[container_id] = record
                os.rename(f"{records.RUNNING}/{container_id}", f"{records.ENDED}/{container_id}")
            elif identity is None:
                self._end_unseen(container, "nobody saw whether it started")
            elif identity["boot_id"] != self._boot_id:
                self._end_unseen(container, "the machine was started anew")
            elif not self._adopt(container, identity["start_ticks"]):
                self._end_unseen(container, "it ended while no shepherd was there")

    def _adopt(self, container: Container, start_ticks: int | None) -> bool:
        """Watch a process that is no child of ours. False if it is gone."""
        try:
            pidfd = os.pidfd_open(container.pid)
        except OSError:
            return False
        process = tree.look_up(container.pid)
        if process is None or process.start_ticks != start_ticks or not process.alive:
            os.close(pidfd)
            return False
        container.pidfd = pidfd
        self.live[container.id] = container
        self._loop.watch(pidfd, READABLE, lambda _events: self._adopted_ended(container))
        return True

    def _adopted_ended(self, container: Container) -> None:
        self._kill_tree(container)
        del self.live[container.id]
        self._release(container)
        self._end_unseen(container, "its shepherd had died: nobody could see how it ended")

    def _end_unseen(self, container: Container, detail: str) -> None:
        self._end(container, reason="lost", code=None, detail=detail)

    def _tell_again(self, container_id: str) -> None:
        """It was claimed, runs no more and was acknowledged, or its claim is all there is."""
        try:
            _, record = records.read(f"{records.CONTAINERS}/{container_id}/exit")
        except OSError:
            record = None
        if record:
            self._news_ended.append(record)
        else:
            self._end_unseen(Container(container_id), "it was claimed, and nobody saw whether it started")


def log(message: str) -> None:
    """One line for the operator, in ``shepherd.log``."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {message}\n")
    sys.stderr.flush()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _ignoring_gone(call: Callable[..., None], *arguments: int) -> None:
    try:
        call(*arguments)
    except ProcessLookupError:
        pass


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
