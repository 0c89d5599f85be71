"""The containers of one node: how each begins, and how it ends. Paths are relative: we stand in the state directory."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import deque
from functools import partial
from typing import Any

from hrm.nm.cpus.pins import format_cpus
from hrm.nm.shepherd import faults, processes, records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.ends import Ends
from hrm.nm.shepherd.freezing import Freezing
from hrm.nm.shepherd.guests import Guests
from hrm.nm.shepherd.homes import Homes
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log, log_bug
from hrm.nm.shepherd.launches import PROGRAM_FIELDS, Launches
from hrm.nm.shepherd.lease import LAPSED, Lease
from hrm.nm.shepherd.lock import StateLock
from hrm.nm.shepherd.loop import READABLE, Loop
from hrm.nm.shepherd.notices import Notices
from hrm.nm.shepherd.pinning import Pinning
from hrm.nm.shepherd.relaunching import Relaunching
from hrm.nm.shepherd.run_records import RunRecords
from hrm.nm.shepherd.spawn import DEFAULT_UMASK, Program, Spawner, SpawnError
from hrm.nm.shepherd.streams import Streams, explain
from hrm.nm.shepherd.trees import Trees

#: A killed tree is looked at again: a process that was just being made may have slipped through.
_KILL_AGAIN_S = 1.0
_REAPED_PER_TURN = 256
#: What a shell would give for a program that KILL ended.
_KILLED = 137
_OUT_OF_MEMORY = "out of memory"
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
        #: Those that run.
        self.live: dict[str, Container] = {}
        self.isolation = Isolation(loop)
        self.isolation.on_out_of_memory = lambda container: self.fail(
            container.id, self.isolation.explain(container, _KILLED, _OUT_OF_MEMORY)
        )
        self._trees = Trees(self._by_pid, self.isolation)
        self._pinning = Pinning(self.live, self.isolation, self._trees)
        self._homes = Homes()
        self._streams = Streams(loop, self._null_fd, self._lives)
        self._freezing = Freezing(loop, self.isolation, self._trees, self._lives)
        self.guests = Guests(loop, self._spawner, self.isolation, self._trees)
        self._notices = Notices(loop, self._trees, self._lives)
        self.ends = Ends()
        self.lease = Lease(loop, self._lapse)
        self.boot_id = records.boot_id()
        self._run_records = RunRecords(self.boot_id)
        self.relaunching = Relaunching(
            loop,
            self._spawner,
            self.isolation,
            self._trees,
            self._streams,
            self._run_records,
            self._by_pid,
            self._null_fd,
            lives=self._lives,
            began=lambda container: self._news_started.append(container.report()),
            gone=lambda container: self._news_between.append(container.id),
            over=self._end_idle,
        )
        #: Specs of those that are about to be started.
        self.waiting: deque[dict[str, Any]] = deque()
        #: Of those some that the disk holds back, by id.
        self.held_back: dict[str, dict[str, Any]] = {}
        #: True once the state directory is no more ours: nothing begins here then.
        self.dispossessed = False
        #: What began since it was last taken.
        self._news_started: list[dict[str, Any]] = []
        #: Those in which nothing runs until their next launch.
        self._news_between: list[str] = []
        records.make_folders()
        #: Of what we know about claims; what another incarnation knew is forgotten.
        self.incarnation = records.incarnation()

    @property
    def only_starts(self) -> bool:
        """True iff all that is new is that containers began."""
        others = self.ends.news or self._streams.news or self._news_between
        return bool(self._news_started) and not others

    def take_news(self) -> dict[str, Any]:
        """What began, ended or dropped output since the last call, as it goes over the wire; {} if nothing did."""
        news: dict[str, Any] = {}
        if self._news_between:
            news["between"], self._news_between = self._news_between, []
        if self._news_started:
            news["started"], self._news_started = self._news_started, []
        if self.ends.news:
            news["ended"], self.ends.news = self.ends.news, []
        if self._streams.news:
            news["dropped"], self._streams.news = self._streams.news, {}
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
            self.forget_what_waits()
        if self.waiting:
            self._launch(self.waiting.popleft())
        self._loop.busy = bool(self.waiting)

    def forget_what_waits(self) -> None:
        """What was asked for and has not begun never begins: whoever wants it asks again.

        Else it would begin beside what replaced it, for a NodeManager that comes anew hears nothing of it.
        """
        self.waiting.clear()
        self.held_back.clear()

    def running(self, container_id: str) -> Container | None:
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
            if self.lease.lapsed:
                self.ends.write(container, reason="lost", code=None, detail=LAPSED)
                return
            faults.point("shepherd.prepare")
            self._start(container, spec)
        except SpawnError as error:
            self._release(container)
            if error.program:
                explain(container, error.message)
                self.ends.write(container, reason="exited", code=error.code, detail=error.message)
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
            self.ends.write(container, reason="not_started", code=126, detail=f"cannot start it: {error!r}")

    def _not_started(self, container: Container, code: int, detail: str) -> None:
        """Its surroundings are at fault. Where they were deleted meanwhile, the task is not: it is lost."""
        if self._lock.holds:
            self.ends.write(container, reason="not_started", code=code, detail=detail)
        else:
            self.ends.write(container, reason="lost", code=None, detail="the state of its node was deleted")

    def _claim(self, container: Container) -> bool:
        """True iff nobody ever started a container of this id here. Else what became of it is told again.

        Raises OSError.
        """
        container_id = container.id
        if earlier := self.live.get(container_id):
            self._news_started.append(earlier.report())
        elif not self.ends.tell_again(container_id):
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
        container.log_limit_bytes = spec["log_limit_bytes"]
        if (again := spec.get("again")) is not None:
            container.launches = Launches({**again, **{name: spec[name] for name in PROGRAM_FIELDS}})
        if account and "refused" in account:
            raise SpawnError(account["refused"], code=126, program=False)
        home = self._homes.make(container, staged=spec.get("staged", False))
        theirs: list[int] = []
        try:
            keyboard_fd = self._null_fd
            if spec["stdin"] or spec["terminal"]:
                keyboard_fd = self._streams.make_input(container)
                theirs.append(keyboard_fd)
            if spec["terminal"]:
                self._streams.make_terminal(container, spec, keyboard_fd)
                # The terminal's from now on.
                theirs.remove(keyboard_fd)
            else:
                theirs += self._streams.make_pipes(container)
            terminal = container.terminal
            first_tick = processes.ticks_since_boot()
            self._pinning.take(container)
            program = Program(
                spec["argv"],
                {**spec["env"], "HRM_CPUS": format_cpus(container.own_cpus)} if container.own_cpus else spec["env"],
                spec["workdir"] or home,
                fds=None if terminal else [keyboard_fd, *theirs[-2:]],
                terminal=terminal.slave_name if terminal else None,
                umask=spec.get("umask", DEFAULT_UMASK),
                account=account,
                cpus=container.cpus,
            )
            slot = self.isolation.take(container)
            container.pid = self._spawner.spawn(program, self.isolation.pool, slot)
        finally:
            if container.launches is not None and not container.terminal and len(theirs) >= len(records.STREAMS):
                # The next launch writes to them.
                container.write_fds = theirs[-len(records.STREAMS) :]
            for fd in theirs:
                if fd not in container.write_fds:
                    os.close(fd)
            if container.terminal:
                container.terminal.close_slave()
        container.started_at = time.time()
        self._by_pid[container.pid] = self.live[container_id] = container
        self._news_started.append(container.report())
        self.isolation.be_nice(container)
        self._run_records.began(container, first_tick)
        self._run_records.write(container)
        faults.point("shepherd.recorded")

    def close_input(self, container_id: str) -> None:
        """No more input will come."""
        if container := self.running(container_id):
            self._streams.close_input(container)

    def resize(self, container_id: str, rows: int, columns: int) -> None:
        container = self.running(container_id)
        if container and container.terminal:
            container.terminal.resize(rows, columns)

    def limit(self, container_id: str, changed: dict[str, int]) -> None:
        """Hold it to other limits from now on; ``changed`` are fields of its limits."""
        container = self.running(container_id)
        if container is None or container.limits is None:
            return
        container.limits = {**container.limits, **changed}
        try:
            self.isolation.hold_to(container)
        except OSError as error:
            log(f"{container_id}: cannot hold it to its new limits: {error}")
            if "memory_mib" in changed:
                # Version 1 refuses a limit below what is in use; version 2 takes it, and ends the container.
                self.fail(container_id, f"out of memory: it uses more than the {changed['memory_mib']} MiB left to it")
        self._run_records.note(container, limits=container.limits)

    # Warning

    def warn(self, container_id: str, notice: dict[str, Any]) -> None:
        """See `Notices.put`."""
        if container := self.running(container_id):
            self._notices.put(container, notice)

    def spare(self, container_id: str) -> None:
        """It need not end after all: the notice goes."""
        if container := self.running(container_id):
            self._notices.take_away(container)

    # Halting

    def freeze(self, container_ids: list[str], *, frozen: bool) -> None:
        """Halt all of these, or let them go on."""
        for container_id in container_ids:
            if container := self.running(container_id):
                if frozen and not container.stopped:
                    self._freezing.freeze(container)
                else:
                    self._freezing.thaw(container)

    # Ending

    def signal(self, container_id: str, signum: int) -> None:
        """One signal to the process group of the container's first process."""
        if container := self.running(container_id):
            for process in self._trees.members(container):
                if process.pgrp == container.pid:
                    processes.send_signal(process, signum)

    def stop(self, container_id: str, grace_s: float) -> None:
        """TERM to the whole tree, and KILL to what is left of it after ``grace_s``."""
        container = self.running(container_id)
        if self.held_back.pop(container_id, None):
            why = "stopped before it could begin"
            self.ends.write(Container(container_id), reason="not_started", code=None, detail=why)
        if container is None:
            return
        container.stopped = True
        if container.pid < 0:
            self._end_idle(container, container.code, "stopped before it was started anew")
        elif grace_s > 0:
            self._trees.signal(container, signal.SIGTERM)
            # A process that was halted takes the TERM when it goes on.
            self._trees.signal(container, signal.SIGCONT)
            self._freezing.thaw(container)
            self._loop.call_later(grace_s, partial(self._kill, container))
        else:
            self._kill(container)

    def fail(self, container_id: str, why: str) -> None:
        """KILL a container that used more than it may; ``why`` is told as how it ended."""
        if container := self.running(container_id):
            container.verdict = container.verdict or why
            if container.pid < 0:
                self._end_idle(container, _KILLED, why)
            else:
                self._kill(container)

    def _lapse(self) -> None:
        """Nothing may run here any more."""
        for container in list(self.live.values()):
            container.lapsed = True
            self.fail(container.id, LAPSED)

    def _kill(self, container: Container) -> None:
        if self._lives(container):
            self._trees.kill(container)
            # In the freezer of version 1 it dies only when it goes on.
            self._freezing.thaw(container)
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
                _, status = os.waitpid(ended.si_pid, 0)
                self._trees.reaped(ended.si_pid)
                self.guests.reaped(ended.si_pid, status)
                self.relaunching.helpers.reaped(ended.si_pid, status)
        self._loop.call_later(0, self.reap)

    def _finish(self, container: Container) -> None:
        """Its first process has ended, and with it the container."""
        if self._trees.outlive(container):
            self._trees.kill(container)
        for stream in container.streams:
            stream.drain()
        _, status, usage = os.wait4(container.pid, 0)
        del self._by_pid[container.pid]
        container.cpu_s += usage.ru_utime + usage.ru_stime
        container.max_rss_mib = max(container.max_rss_mib, -(-usage.ru_maxrss // 1024))
        code = os.waitstatus_to_exitcode(status)
        detail = "" if code >= 0 else f"ended by {_signal_name(-code)}"
        if code and not container.verdict:
            detail = self.isolation.explain(container, code, detail)
        code = code if code >= 0 else 128 - code
        if failure := self.relaunching.failure(container):
            code, detail = failure["code"], failure["message"]
        # Who had too much memory would have it once more.
        if detail.startswith(_OUT_OF_MEMORY) or not self.relaunching.goes_on(container, code):
            self._over(container, code, detail)

    def _over(self, container: Container, code: int, detail: str) -> None:
        """Nothing of it runs, and nothing will."""
        del self.live[container.id]
        self._release(container)
        reason = "stopped" if container.stopped and not container.verdict else "exited"
        code = _KILLED if container.verdict else code
        self.ends.write(
            container,
            # It did not fail: it may be run again.
            reason="lost" if container.lapsed else reason,
            code=None if container.lapsed else code,
            detail=container.verdict or detail,
            cpu_s=round(container.cpu_s, 6),
            max_rss_mib=container.max_rss_mib,
        )

    def _end_idle(self, container: Container, code: int, detail: str) -> None:
        """It is over between two launches: whoever was left of it ends too."""
        self._trees.kill(container)
        for stream in container.streams:
            stream.drain()
        self._over(container, code, detail)

    def _release(self, container: Container) -> None:
        """Let go of what the shepherd holds for it, but its record."""
        self._freezing.release(container)
        self.isolation.give_back(container)
        self._pinning.give_back(container)
        self._streams.close(container)
        self.relaunching.release(container)
        if container.pidfd >= 0:
            self._loop.forget(container.pidfd)
            os.close(container.pidfd)

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
        self._pinning.adopt(container)
        self._freezing.adopt(container)
        self.live[container.id] = container
        self._loop.watch(pidfd, READABLE, lambda _events: self._adopted_ended(container))
        return True

    def settle(self) -> None:
        """All that live are adopted: what is left of others goes."""
        self.isolation.remove_strays()
        self._pinning.settle()

    def _adopted_ended(self, container: Container) -> None:
        self._trees.kill(container)
        if self.relaunching.makes_way(container) and self.relaunching.goes_on(container, _KILLED):
            return
        del self.live[container.id]
        self._release(container)
        self.ends.write(
            container, reason="lost", code=None, detail="its shepherd had died: nobody could see how it ended"
        )

    def _lives(self, container: Container) -> bool:
        return self.live.get(container.id) is container


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
