"""Answers that go on: server-sent events, how many may be open, and their end when the server ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hrm.api.settings import ApiSettings
from hrm.api.wire import error_response, to_json
from hrm.model.error_codec import error_to_dict
from hrm.model.errors import HrmError, NoServer, TooManyRequests

Answer = TypeVar("Answer")
_HEARTBEAT = b":\n\n"


class StreamGate:
    """Counts the streams that are open, per user and in all, and ends them together."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._open: Counter[str] = Counter()
        self.closing = asyncio.Event()

    @contextmanager
    def entered(self, user: str) -> Iterator[None]:
        """One more stream while inside. Raises TooManyRequests, and NoServer once the server is about to end."""
        if self.closing.is_set():
            raise _about_to_end()
        if self._open[user] >= self._settings.max_streams_per_user or self._open.total() >= self._settings.max_streams:
            raise TooManyRequests(
                f"{self._open[user]} streams of {user} are open, {self._open.total()} in all",
                next_step="close some of the log followers, event streams or attached runs",
            )
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            if not self._open[user]:
                del self._open[user]

    async def unless_closing(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What ``work``, which may take long, gives. Raises NoServer if the server is about to end before that."""
        working = asyncio.create_task(work)
        closing = asyncio.create_task(self.closing.wait())
        try:
            await asyncio.wait((working, closing), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise _about_to_end()
        finally:
            await cancel_all(*(task for task in (working, closing) if not task.done()))

    def end_all(self) -> None:
        """The server is about to end: every stream ends now, so that clients notice and nothing holds the end up."""
        self.closing.set()


def sse_frame(data: Any, *, event: str, event_id: str | None = None) -> bytes:
    """One server-sent event whose data are JSON."""
    head = f"event: {event}\n" if event_id is None else f"event: {event}\nid: {event_id}\n"
    return head.encode() + b"data: " + to_json(data) + b"\n\n"


class EventStream(Response):
    """Server-sent events from ``frames``, one at a time: the next is made when the last one is on its way.

    So a slow reader holds up its own stream and nothing grows. While there is nothing to say, a comment goes out
    every ``heartbeat_interval_s``. Ends with ``frames``, with the client or with the server. An error that
    ``frames`` raises is the last event (``event: error``).
    """

    def __init__(
        self, frames: AsyncGenerator[bytes, None], *, gate: StreamGate, user: str, heartbeat_interval_s: float
    ) -> None:
        super().__init__(
            headers={"cache-control": "no-store", "x-accel-buffering": "no"}, media_type="text/event-stream"
        )
        del self.headers["content-length"]
        self._frames = frames
        self._gate = gate
        self._user = user
        self._heartbeat_interval_s = heartbeat_interval_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._gate.entered(self._user):
                await self._run(receive, send)
        except (NoServer, TooManyRequests) as error:
            await error_response(error)(scope, receive, send)
        finally:
            await self._frames.aclose()

    async def _run(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        produce = asyncio.create_task(self._produce(send))
        others = (asyncio.create_task(_disconnected(receive)), asyncio.create_task(self._gate.closing.wait()))
        try:
            await asyncio.wait((produce, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(*others, *(() if produce.done() else (produce,)))
        if produce.done() and not produce.cancelled():
            produce.result()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _produce(self, send: Send) -> None:
        async def body(frame: bytes) -> None:
            await send({"type": "http.response.body", "body": frame, "more_body": True})

        upcoming = asyncio.ensure_future(anext(self._frames))
        try:
            while True:
                done, _ = await asyncio.wait((upcoming,), timeout=self._heartbeat_interval_s)
                if not done:
                    await body(_HEARTBEAT)
                    continue
                await body(upcoming.result())
                upcoming = asyncio.ensure_future(anext(self._frames))
        except StopAsyncIteration:
            return
        except HrmError as error:
            await body(sse_frame(error_to_dict(error), event="error"))
        finally:
            await cancel_all(upcoming)


def _about_to_end() -> NoServer:
    return NoServer("the server is about to end", next_step="`hrm up` starts it again")


async def cancel_all(*tasks: asyncio.Future[Any]) -> None:
    """Cancel and wait until each is over; what they ended with is dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
