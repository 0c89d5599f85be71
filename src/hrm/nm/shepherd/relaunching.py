"""Starts the program of a container anew in place: what ran ends, all of it, and the next launch begins where it was.

The cgroups, the directory, the logs and the claim stay. It is the shepherd that does it, so that what was asked for is
done though the server dies meanwhile, and done once. The child enters the cgroups by itself and nobody waits for it, as
with guests: the container may have used up its time on the CPUs, and the shepherd must not be held up in it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from hrm.nm.cpus.pins import format_cpus
from hrm.nm.shepherd import faults, launches, processes, records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.helpers import Helpers
from hrm.nm.shepherd.isolation import Isolation
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.launches import Launches, Refused
from hrm.nm.shepherd.loop import READABLE, Loop
from hrm.nm.shepherd.run_records import BETWEEN, RunRecords
from hrm.nm.shepherd.spawn import DEFAULT_UMASK, Program, Spawner, SpawnError
from hrm.nm.shepherd.streams import Streams
from hrm.nm.shepherd.trees import Trees

_KILL_AGAIN_S = 1.0
#: How often it is looked whether all that was killed is gone, and whether one that is halted goes on.
_LOOK_S = 0.01
_FROZEN_LOOK_S = 0.5
#: A file system that does not answer must not keep a child between two worlds for longer.
_START_S = 10.0
#: Files of one container that are kept count of.
MAX_LOCALIZATIONS = 10_000
_PENDING, _COMPLETED, _FAILED = "pending", "completed", "failed"


class Relaunching:
    """Of all containers of one shepherd.

    ``began`` is told of each launch, ``gone`` of a container in which nothing runs for now, and ``over`` of one where
    nothing runs and nothing will: with which exit code, and why.
    """

    def __init__(
        self,
        loop: Loop,
        spawner: Spawner,
        isolation: Isolation,
        trees: Trees,
        streams: Streams,
        run_records: RunRecords,
        by_pid: dict[int, Container],
        null_fd: int,
        *,
        lives: Callable[[Container], bool],
        began: Callable[[Container], None],
        gone: Callable[[Container], None],
        over: Callable[[Container, int, str], None],
    ) -> None:
        self._loop = loop
        self._spawner = spawner
        self._isolation = isolation
        self._trees = trees
        self._streams = streams
        self._run_records = run_records
        self._by_pid = by_pid
        self._null_fd = null_fd
        self._lives = lives
        self._began = began
        self._gone = gone
        self._over = over
        self.helpers = Helpers(loop, spawner, isolation, trees, null_fd)

    # What is asked for

    def order(self, container: Container, message: dict[str, Any]) -> None:
        """Take an order of the NodeManager's. Raises Refused, SpawnError and OSError, with nothing changed."""
        self._check(container)
        lives = container.launches = container.launches or Launches(None, container.launch)
        prepare = message.get("prepare")
        kind, key = str(message["kind"]), str(message.get("key", ""))
        wanted = lives.want(
            kind,
            program=message.get("program"),
            auto_commit=bool(message.get("auto_commit", True)),
            prepares=prepare is not None,
            key=key,
        )
        if not wanted:
            return
        if message.get("log_limit_bytes") is not None:
            container.log_limit_bytes = int(message["log_limit_bytes"])
        grace_s = float(message["grace_s"])
        if prepare is None:
            self._end(container, grace_s)
            return
        try:
            self.helpers.start(
                container, prepare, lambda _said: None, partial(self._prepared, container, lives.number, grace_s)
            )
        except (SpawnError, OSError) as error:
            lives.key = ""
            lives.not_prepared(str(error))
            raise

    def localize(self, container: Container, program: dict[str, Any], links: list[str]) -> None:
        """Have more files brought into the container's directory. Raises Refused, SpawnError and OSError."""
        self._check(container)
        if container.launches is not None and container.launches.phase != launches.RUNS:
            raise Refused("it is being started anew")
        localized = container.localized
        if len(localized.keys() | set(links)) > MAX_LOCALIZATIONS:
            raise Refused(f"more than {MAX_LOCALIZATIONS} files")

        def said(line: dict[str, Any]) -> None:
            if (link := line.get("link")) in wanted:
                why = str(line.get("failed", ""))
                localized[link] = (_FAILED, why) if why else (_COMPLETED, "")

        def ended(_code: int, words: str) -> None:
            for link in wanted:
                if localized[link][0] == _PENDING:
                    localized[link] = (_FAILED, words or "what was to fetch it has ended")

        wanted = {link for link in links if localized.get(link, ("", ""))[0] not in (_PENDING, _COMPLETED)}
        if not wanted:
            return
        self.helpers.start(container, program, said, ended)
        for link in wanted:
            localized[link] = (_PENDING, "")

    def state(self, container: Container) -> dict[str, Any]:
        """As `hrm.model.relaunching.LaunchState` has it."""
        lives = container.launches
        program = lives.program if lives else None
        first = {}
        for link in (program or {}).get("links", ()):
            there = os.path.lexists(f"{records.CONTAINERS}/{container.id}/{link}")
            first[link] = (_COMPLETED if there else _PENDING, "")
        return {
            "launch": container.launch,
            "phase": lives.phase if lives else launches.RUNS,
            "can_roll_back": lives is not None and lives.can_roll_back,
            "notes": lives.notes if lives else [],
            "localizations": [[link, *state] for link, state in (first | container.localized).items()],
        }

    def _check(self, container: Container) -> None:
        """Raises Refused where nothing can be asked of it now."""
        if container.stopped or container.verdict or container.lapsed:
            raise Refused("it is about to end")
        if container.terminal is not None or container.keeper_fd >= 0:
            raise Refused("somebody types into it")
        if container.frozen or self._isolation.is_frozen(container):
            raise Refused("its application is suspended: `hrm resume` lets it go on")

    def _prepared(self, container: Container, number: int, grace_s: float, code: int, words: str) -> None:
        lives = container.launches
        if not self._lives(container) or lives is None or lives.phase != launches.PREPARES or lives.number != number:
            return
        if code:
            lives.not_prepared(words or f"its files could not be fetched (exit code {code})")
        else:
            lives.prepared()
            self._end(container, grace_s)

    # What runs ends

    def _end(self, container: Container, grace_s: float) -> None:
        number = container.launch
        if grace_s > 0:
            self._trees.signal(container, signal.SIGTERM)
            self._loop.call_later(grace_s, partial(self._kill, container, number))
        else:
            self._kill(container, number)

    def _kill(self, container: Container, number: int) -> None:
        if self._lives(container) and container.launch == number and self.makes_way(container):
            self._trees.kill(container)
            self._loop.call_later(_KILL_AGAIN_S, partial(self._kill, container, number))

    def makes_way(self, container: Container) -> bool:
        """True iff what runs was told to end for what is to follow."""
        return _phase(container) == launches.ENDS

    def failure(self, container: Container) -> dict[str, Any] | None:
        """Why the launch that has ended never became its program; None iff it did."""
        self._hear(container, container.told_fd)
        failure, container.failure = container.failure, None
        return failure

    def goes_on(self, container: Container, code: int) -> bool:
        """Its first process has ended: True iff another launch follows, which then begins by itself."""
        lives = container.launches
        if lives is None or container.stopped or container.verdict or container.lapsed:
            return False
        delay_s = lives.ended(code, time.monotonic())
        if delay_s is None:
            return False
        container.code = code
        container.pid = -1
        if container.pidfd >= 0:
            self._loop.forget(container.pidfd)
            os.close(container.pidfd)
            container.pidfd = -1
        self._run_records.note(container, **{BETWEEN: True})
        self._gone(container)
        self._loop.call_later(delay_s, partial(self._begin, container, lives.number))
        return True

    def release(self, container: Container) -> None:
        """It is over: let go of what is kept for another launch."""
        for fd in container.write_fds:
            os.close(fd)
        container.write_fds = []
        if container.told_fd >= 0:
            self._loop.forget(container.told_fd)
            os.close(container.told_fd)
            container.told_fd = -1

    # The next begins

    def _begin(self, container: Container, number: int) -> None:
        lives = container.launches
        if not self._lives(container) or lives is None or lives.phase != launches.WAITS or lives.number != number:
            return
        again = partial(self._begin, container, number)
        if container.frozen or self._isolation.is_frozen(container):
            self._loop.call_later(_FROZEN_LOOK_S, again)
            return
        if self._trees.members(container):
            # Nobody of the launch before may live beside the next.
            self._trees.kill(container)
            self._loop.call_later(_LOOK_S, again)
            return
        program = lives.begin()
        container.launch = lives.number
        try:
            faults.point("shepherd.relaunch")
            self._start(container, program)
        except (SpawnError, OSError) as error:
            log(f"{container.id}: launch {lives.number} cannot begin: {error}")
            self._streams.say(container, str(error))
            code = error.code if isinstance(error, SpawnError) else 126
            if not self.goes_on(container, code):
                self._over(container, code, f"cannot start it anew: {error}")

    def _start(self, container: Container, program: dict[str, Any]) -> None:
        """Raises SpawnError, OSError."""
        self._streams.reopen(container)
        env = dict(program["env"])
        if container.own_cpus:
            env["HRM_CPUS"] = format_cpus(container.own_cpus)
        first_tick = processes.ticks_since_boot()
        container.pid, container.told_fd = self._spawner.begin(
            Program(
                program["argv"],
                env,
                program["workdir"] or os.path.abspath(f"{records.CONTAINERS}/{container.id}"),
                fds=[self._null_fd, *container.write_fds],
                umask=program.get("umask", DEFAULT_UMASK),
                account=container.account,
                cpus=container.cpus,
            ),
            self._isolation.pool,
            container.slot,
        )
        self._by_pid[container.pid] = container
        self._run_records.began(container, first_tick)
        self._run_records.note(container)
        faults.point("shepherd.relaunched")
        told_fd = container.told_fd
        self._loop.watch(told_fd, READABLE, lambda _events: self._hear(container, told_fd))
        self._loop.call_later(_START_S, partial(self._must_have_begun, container, container.launch))
        self._began(container)

    def _hear(self, container: Container, told_fd: int) -> None:
        """The child has become the program, or says why it could not."""
        if told_fd < 0 or container.told_fd != told_fd:
            return
        said = os.read(told_fd, 1 << 16)
        self._loop.forget(told_fd)
        os.close(told_fd)
        container.told_fd = -1
        if said:
            container.failure = json.loads(said)
            self._streams.say(container, container.failure["message"])
        elif self._lives(container):
            self._isolation.be_nice(container)

    def _must_have_begun(self, container: Container, number: int) -> None:
        if self._lives(container) and container.launch == number and container.told_fd >= 0 and container.pid > 0:
            log(f"{container.id}: launch {number} has not begun within {_START_S:g} s")
            self._trees.kill(container)


def _phase(container: Container) -> str:
    return container.launches.phase if container.launches else launches.RUNS
