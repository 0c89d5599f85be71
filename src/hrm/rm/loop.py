"""The loop of turns: what waits is handled, what that decided is committed, then it is carried out.

Everything that changes the ResourceManager's state goes through here, one turn after another. Commits overlap with
later turns; they succeed, and are carried out, in the order of the turns.

A turn that raises has half changed the state, and a decision that cannot be written leaves memory ahead of the disk.
Either breaks the loop for good: the truth is on the disk, and a new life begins from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog

from hrm.model.errors import CallerError, ClusterError, StoreError
from hrm.rm.durations import Durations
from hrm.rm.store import Store
from hrm.rm.turn import Turn

log = structlog.get_logger(__name__)

#: How long an orderly end waits for a disk that refuses what was decided.
CLOSE_PATIENCE_S = 5.0

#: What `TurnLoop.each` does before it looks at the time.
SLICE = 16

T = TypeVar("T")
Handler = Callable[..., None]


class TurnLoop:
    """Takes turns on the running asyncio loop.

    ``decide`` is called in each turn after the inbox and says whether it has more to do; ``carry_out`` after the
    turn's commit. ``on_broken`` is called once if no further turn can be taken.
    """

    def __init__(
        self,
        store: Store,
        *,
        decide: Callable[[Turn], bool],
        carry_out: Callable[[Turn], None],
        clock: Callable[[], float],
        on_broken: Callable[[], None],
    ) -> None:
        self._store = store
        self._decide = decide
        self._carry_out = carry_out
        self._clock = clock
        self._on_broken = on_broken
        self._inbox: deque[tuple[Handler, tuple[Any, ...]]] = deque()
        self._open = False
        self._due = False
        #: False once nothing that is decided is carried out any more.
        self._acting = True
        #: Turns whose commit is under way.
        self._unwritten = 0
        #: Of callers who wait for what they asked for to be on disk.
        self._answers: set[asyncio.Future[None]] = set()
        #: The one that is being taken.
        self.turn: Turn | None = None
        #: Why no further turn can be taken, in words; "" while one can.
        self.broken = ""
        #: How long each turn held the loop, and from its end until what it decided was on disk.
        self.turn_durations = Durations()
        self.commit_durations = Durations()

    def open(self) -> None:
        """Begin to take turns. What was posted before is handled now."""
        self._open = True
        self._wake()

    async def close(self) -> None:
        """Handle what has come in, commit it, carry it out, and take no further turn."""
        while self._inbox and self._open:
            self._take_turn()
        self._open = False
        with contextlib.suppress(TimeoutError, StoreError):
            await asyncio.wait_for(self._store.commit(()), CLOSE_PATIENCE_S)
        self._stop_acting("the server ends")

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def idle(self) -> bool:
        """True iff nothing waits to be handled, written or carried out."""
        return not (self._inbox or self._due or self._unwritten)

    def post(self, handler: Handler, *args: Any) -> None:
        """Have ``handler(turn, *args)`` called in a turn, after all that was posted before."""
        self._inbox.append((handler, args))
        self._wake()

    def each(self, turn: Turn, do: Callable[[Turn, T], None], things: Sequence[T]) -> None:
        """``do(turn, thing)`` as far as the turn's time goes; the rest comes in the next, before all that waits."""
        for done, thing in enumerate(things):
            if done >= SLICE and turn.half_over:
                self._inbox.appendleft((self.each, (do, things[done:])))
                self._wake()
                return
            do(turn, thing)

    def ask(self, handler: Handler, *args: Any) -> asyncio.Future[None]:
        """As `post`; done when what the handler decided is on disk.

        Fails with the handler's CallerError, which it must raise before it changes anything, or with ClusterError if
        the loop ends before.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._acting:
            answer.set_exception(_ended("the server ends"))
            return answer
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

        def asked(turn: Turn) -> None:
            try:
                handler(turn, *args)
            except CallerError as refused:
                if not answer.done():
                    answer.set_exception(refused)
            else:
                turn.after_commit(partial(_resolve, answer))

        self.post(asked)
        return answer

    def _wake(self) -> None:
        if self._open and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._due = False
        if not self._open:
            return
        turn = self.turn = Turn(self._clock())
        try:
            # The inbox first: what is in it happened before any deadline that passes now.
            while self._inbox and not turn.half_over:
                handler, args = self._inbox.popleft()
                handler(turn, *args)
            more = self._decide(turn)
            rows = list(turn.rows())
        except Exception as error:  # noqa: BLE001 - whatever it is, the state may be half changed
            self._break("a turn failed", error)
            return
        finally:
            self.turn = None
        if self._inbox or more:
            self._wake()
        if not turn.empty:
            self._unwritten += 1
            self._store.commit(rows).add_done_callback(partial(self._committed, turn, turn.spent_s))
        self.turn_durations.note(turn.spent_s)

    def _committed(self, turn: Turn, at_s: float, done: asyncio.Future[None]) -> None:
        self._unwritten -= 1
        self.commit_durations.note(turn.spent_s - at_s)
        if (error := done.exception()) is not None:
            if self._acting:
                self._break("a decision could not be written", error)
        elif self._acting:
            try:
                self._carry_out(turn)
            except Exception as failure:  # noqa: BLE001 - part of what was decided was not carried out
                self._break("a decision could not be carried out", failure)

    def _break(self, what: str, error: BaseException) -> None:
        log.critical(what, error=str(error), exc_info=error)
        self._open = False
        self.broken = f"{what}: {error}"
        self._stop_acting(what)
        self._on_broken()

    def _stop_acting(self, why: str) -> None:
        self._acting = False
        self._inbox.clear()
        for answer in list(self._answers):
            if not answer.done():
                answer.set_exception(_ended(why))


def _ended(why: str) -> ClusterError:
    return ClusterError(f"not done: {why}", next_step="ask again when the server is up")


def _resolve(answer: asyncio.Future[None]) -> None:
    if not answer.done():  # its caller may have gone
        answer.set_result(None)
