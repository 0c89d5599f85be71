"""Answers of calls that must not be done twice, kept for clients that ask again because they heard none.

As Hadoop's `RetryCache`. A client numbers its calls, and repeats one under the same number. What a caller may get from
here is its own: the name that was proven is part of the key.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from hrm.yarn.calls import Caller
from hrm.yarn.errors import Retriable
from hrm.yarn.rpc.limits import RpcLimits

_CLIENT_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class CallKey:
    """One call of one caller, however often it is sent."""

    user: str
    real_user: str | None
    client_id: bytes
    call_id: int
    protocol: str
    method: str

    @classmethod
    def of(cls, caller: Caller, protocol: str, method: str) -> CallKey | None:
        """None iff the client does not number its calls so that they could be told apart."""
        if len(caller.client_id) != _CLIENT_ID_BYTES or caller.call_id < 0:
            return None
        return cls(caller.user, caller.real_user, caller.client_id, caller.call_id, protocol, method)


@dataclass(slots=True)
class _Kept:
    task: asyncio.Task[bytes]
    began: float
    size: int = 0


class KeptAnswers:
    """Within ``limits``; the oldest go first. ``clock`` gives seconds."""

    def __init__(self, limits: RpcLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._kept: OrderedDict[CallKey, _Kept] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def answer(self, key: CallKey, make: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """The answer that ``make`` gives, or gave when this call came before. What it raises is not kept.

        Raises Retriable where there is no room for one more.
        """
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= self._limits.max_kept_answers and not self._drop_oldest():
                raise Retriable("the server has as many calls under way as it can remember")
            kept = self._kept[key] = _Kept(asyncio.create_task(make()), self._clock())
            kept.task.add_done_callback(lambda task: self._done(key, task))
        # Who asked may go; who asks again will wait for the same.
        return await asyncio.shield(kept.task)

    def sweep(self) -> None:
        """Give up what takes too long, forget what is old."""
        now = self._clock()
        for key, kept in list(self._kept.items()):
            if not kept.task.done() and now - kept.began > self._limits.call_timeout_s:
                kept.task.cancel()
            elif now - kept.began > self._limits.kept_s:
                self._forget(key)
            elif kept.task.done():
                break  # those behind it began later

    def close(self) -> None:
        for key in list(self._kept):
            self._kept[key].task.cancel()
            self._forget(key)

    def _done(self, key: CallKey, task: asyncio.Task[bytes]) -> None:
        kept = self._kept.get(key)
        if task.cancelled() or task.exception() is not None:
            if kept is not None and kept.task is task:
                self._forget(key)
        elif kept is not None and kept.task is task:
            kept.size = len(task.result())
            self.size_bytes += kept.size
            self._shrink()

    def _shrink(self) -> None:
        limits = self._limits
        while len(self._kept) > limits.max_kept_answers or self.size_bytes > limits.max_kept_bytes:
            if not self._drop_oldest():
                return

    def _drop_oldest(self) -> bool:
        """False iff all are still being made."""
        oldest = next((key for key, kept in self._kept.items() if kept.task.done()), None)
        if oldest is not None:
            self._forget(oldest)
        return oldest is not None

    def _forget(self, key: CallKey) -> None:
        self.size_bytes -= self._kept.pop(key).size
