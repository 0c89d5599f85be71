"""The server's end of the line to one agent.

A link greets its agent, fetches what happened there again and again, and sends what is to be done, batch by batch. If
the agent falls silent its node is lost; the link goes on trying, and a new greeting brings the node back with all that
it runs. Knows nothing of Ray: an agent is anything that can be called by names of methods.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

import hrm
from hrm.engines.ray.agent import AgentSettings
from hrm.engines.ray.messages import PROTOCOL, Parcel, Report, Verdict, pack, unpack_reports
from hrm.model.errors import ClusterError, HrmError

_log = structlog.get_logger(__name__)
#: How often the link looks whether its node is overdue, and tries again to reach one that is.
LOOK_S = 0.25
RETRY_S = 0.5
#: What cannot be a node now is asked again.
REFUSED_RETRY_S = 2.0
#: The first answer may take as long as a shepherd's start.
GREETING_S = 20.0
#: An agent answers a fetch after this, also with nothing to tell.
FETCH_WAIT_S = 1.0
#: Of this many seconds at least between a lease's end and the loss of its node: for its containers to die in.
LEASE_MARGIN_S = 2.0
#: Commands of one call.
BATCH = 500
_MAX_HELD = 10_000
#: Commands that are not kept for the next session.
_NEVER_LATE = ("launch", "signal")


class Unreachable(Exception):
    """The agent did not answer, and may or may not have done what it was asked."""


class Outdated(Exception):
    """The agent runs another version of HRM than we do."""


class Remote(Protocol):
    """An agent from afar."""

    async def call(self, method: str, *arguments: Any) -> Any:
        """Raises Unreachable, and whatever HrmError the method raised."""


class LinkListener(Protocol):
    """Hears of one node, on the loop."""

    def welcomed(self, welcome: dict[str, Any], clock_offset_s: float) -> str:
        """An agent answers, whose clock is ahead by so much; why it cannot be a node after all, "" iff it can."""

    def reported(self, report: Report) -> None: ...

    def silent(self, reason: str) -> None:
        """The node is lost, until it is `welcomed` again."""

    def refused(self, reason: str) -> None:
        """The machine is there and cannot be a node."""


class Link:
    """See the module. ``gone`` says whether the machine itself is known to have left the cluster."""

    def __init__(
        self,
        remote: Remote,
        listener: LinkListener,
        settings: AgentSettings,
        *,
        server: str,
        generations: Callable[[], tuple[int, int]],
        timeout_s: float,
        gone: Callable[[], Awaitable[bool]],
    ) -> None:
        self._remote = remote
        self._listener = listener
        self._settings = settings
        self._server = server
        self._generations = generations
        self._timeout_s = timeout_s
        self._gone = gone
        self._generation: tuple[int, int] = (0, 0)
        #: True while a session is under way, and its node is not given up.
        self._in_session = False
        #: True from the first word of an agent until its node is lost.
        self._up = False
        self._stamp = 0.0
        #: Set by the first parcel of a session, which brings the registration, and the stamp that commands need.
        self._stamped = asyncio.Event()
        self._heard_at = 0.0
        self._heard = 0
        self._incarnation = ""
        self._commands: list[_Command] = []
        self._wanted = asyncio.Event()
        self._sent = 0
        #: True while a batch is under way.
        self._sending = False
        self._over = asyncio.Event()
        #: Set while the node is given up, or was never there.
        self._silence = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Raises Outdated where the agent is of another version, and will be until it is ended."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                try:
                    await self._greet()
                except (Unreachable, TimeoutError) as error:
                    await self._perhaps_gone(str(error) or "its agent is silent")
                    await asyncio.sleep(RETRY_S)
                except Outdated as outdated:
                    self._lose(str(outdated))
                    raise
                except _Refused as refused:
                    self._listener.refused(str(refused))
                    await asyncio.sleep(REFUSED_RETRY_S)
                else:
                    await self._session()
        finally:
            watching.cancel()
            self._in_session = False

    # Commands

    def send(self, name: str, *arguments: Any, **keywords: Any) -> None:
        """Have a method of the NodeManager called, after all that was sent before.

        Between two sessions launches are dropped, as the registration to come says that they do not run, and signals;
        the rest waits.
        """
        if not self._in_session and (name in _NEVER_LATE or len(self._commands) >= _MAX_HELD):
            return
        self._commands.append(_Command(name, arguments, keywords))
        self._wanted.set()

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call the agent, after all that was sent before, and wait for the answer. Raises ClusterError without one."""
        answer: asyncio.Future[Any] | None = None
        silence = asyncio.ensure_future(self._silence.wait())
        try:
            await self._all_sent()
            answer = asyncio.ensure_future(self._remote.call(method, *arguments))
            await asyncio.wait({answer, silence}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Unreachable("it has fallen silent")
            return answer.result()
        except Unreachable as error:
            raise ClusterError(f"the node does not answer: {error}", next_step="`hrm nodes` shows it") from None
        finally:
            silence.cancel()
            if answer is not None:
                answer.cancel()

    async def _all_sent(self) -> None:
        """Raises Unreachable."""
        if not self._in_session:
            raise Unreachable("it is out of reach")
        if self._commands or self._sending:
            mark = asyncio.get_running_loop().create_future()
            self._commands.append(_Command("", (), {}, mark))
            self._wanted.set()
            await mark

    def lose(self, reason: str) -> None:
        """Somebody knows that the machine is gone. Where its containers may still run, its lease is waited for."""
        if not self._settings.lease_ends_containers:
            self._lose(reason)

    # A session

    async def _greet(self) -> None:
        """Raises Unreachable, TimeoutError, Outdated and _Refused."""
        self._generation = self._generations()
        began, began_at = time.monotonic(), time.time()
        call = self._remote.call(
            "hello",
            {
                "protocol": PROTOCOL,
                "version": hrm.__version__,
                "server": self._server,
                "generation": self._generation,
                "settings": pack(self._settings),
            },
        )
        try:
            # Not `wait_for`: in Python 3.11 it drops a cancellation that comes together with the answer.
            async with asyncio.timeout(GREETING_S if not self._up else max(GREETING_S, self._timeout_s)):
                welcome = await call
        except HrmError as error:
            raise _Refused(error.message) from None
        took_s = time.monotonic() - began
        if refused := welcome.get("refused"):
            raise _Refused(refused) if welcome.get("retry") else Outdated(refused)
        # The node's clock was read somewhere between question and answer.
        offset_s = welcome["clock"] - (began_at + took_s / 2)
        if refused := self._listener.welcomed(welcome, offset_s if abs(offset_s) > 1.0 + took_s else 0.0):
            raise _Refused(refused)
        self._incarnation = welcome["incarnation"]
        self._heard = self._sent = 0
        self._stamp = 0.0
        self._stamped.clear()
        self._heard_at = asyncio.get_running_loop().time()

    async def _session(self) -> None:
        self._drop_stale()
        self._over.clear()
        fetching = asyncio.create_task(self._fetch())
        sending = asyncio.create_task(self._send())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({fetching, over, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._in_session = self._sending = False
            self._drop_stale()
            for task in (fetching, sending, over):
                task.cancel()
                if task.done() and not task.cancelled() and (error := task.exception()):
                    _log.critical("a link stopped working", error=str(error), exc_info=error)

    async def _fetch(self) -> None:
        """Ends when the agent does not know the session any more, or cannot be reached."""
        loop = asyncio.get_running_loop()
        wait_s = min(FETCH_WAIT_S, self._timeout_s / 4)
        while True:
            try:
                parcel: Parcel = await self._remote.call("fetch", self._generation, self._heard, self._stamp, wait_s)
            except Unreachable as error:
                _log.info("an agent cannot be reached", error=str(error))
                return
            if parcel.verdict is not Verdict.DONE:
                return
            self._heard_at = loop.time()
            self._stamp = parcel.stamp
            self._stamped.set()
            for report in unpack_reports(parcel):
                if report.number > self._heard:
                    self._heard = report.number
                    self._up = self._in_session = True
                    self._silence.clear()
                    self._listener.reported(report)

    async def _send(self) -> None:
        await self._stamped.wait()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._commands:
                batch, self._commands = self._commands[:BATCH], self._commands[BATCH:]
                said = [(one.name, one.arguments, one.keywords) for one in batch if one.mark is None]
                if said:
                    self._sent += 1
                    self._sending = True
                    delivered = False
                    try:
                        delivered = await self._deliver(pack(said))
                    finally:
                        if not delivered:
                            # Said again in the next session, whether it was done or not.
                            self._commands = [*batch, *self._commands]
                    if not delivered:
                        return
                    self._sending = False
                for one in batch:
                    if one.mark is not None and not one.mark.done():
                        one.mark.set_result(None)

    async def _deliver(self, batch: bytes) -> bool:
        while True:
            try:
                verdict = await self._remote.call("obey", self._generation, self._sent, self._stamp, batch)
            except Unreachable:
                # Whether it was done is not known, and asked by its number, for as long as the session lives.
                await asyncio.sleep(RETRY_S)
            else:
                return verdict is Verdict.DONE

    def _drop_stale(self) -> None:
        """Whoever launched something finds out by the registration; a late signal might hit another program."""
        for one in self._commands:
            if one.mark is not None and not one.mark.done():
                one.mark.set_exception(Unreachable("it is out of reach"))
        self._commands = [one for one in self._commands if one.mark is None and one.name not in _NEVER_LATE]

    # Silence

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        looked_at = loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now = loop.time()
            if now - looked_at > 4 * LOOK_S:
                # We were asleep, not the node: what it sent meanwhile is about to be read.
                self._heard_at += now - looked_at
            looked_at = now
            if self._up and now - self._heard_at > self._timeout_s:
                self._lose(f"nothing was heard of it for {self._timeout_s:g} s")

    async def _perhaps_gone(self, why: str) -> None:
        if await self._gone():
            # Ray lists it for a while yet. There is nothing to be done about it.
            self.lose("its raylet has ended")
        elif not self._incarnation:
            self._listener.refused(f"it is in the cluster and does not answer: {why}")

    def _lose(self, reason: str) -> None:
        if self._up:
            self._up = self._in_session = False
            self._over.set()
            self._silence.set()
            self._listener.silent(reason)


@dataclass(frozen=True, slots=True)
class _Command:
    """A method of the NodeManager to be called, or a mark that somebody waits for."""

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    mark: asyncio.Future[None] | None = None


class _Refused(Exception):
    """The agent, or whoever gives names to nodes, says no for now."""
