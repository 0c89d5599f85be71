"""Pages that are open are drawn anew on the server, once for all who see the same, and sent where something changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from hrm.api.streams import cancel_all, sse_frame
from hrm.model.errors import HrmError, InvariantBroken

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    """What somebody sees: two whose topics are equal see the same."""

    #: With its query.
    url: str
    language: str
    user: str
    admin: bool


@dataclass(eq=False, slots=True)
class _Channel:
    """One topic that is being watched."""

    watchers: int = 0
    version: int = 0
    html: str = ""
    error: HrmError | None = None
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    drawing: asyncio.Task[None] | None = None


class Live:
    """The topics that are watched now. A topic nobody watches costs nothing."""

    def __init__(self) -> None:
        self._channels: dict[Topic, _Channel] = {}

    async def watch(
        self, topic: Topic, draw: Callable[[], Awaitable[str]], *, period_s: float
    ) -> AsyncGenerator[bytes, None]:
        """A server-sent event ``main`` with the HTML, now and each time it is another. Raises what ``draw`` does."""
        channel = self._channels.setdefault(topic, _Channel())
        channel.watchers += 1
        if channel.drawing is None:
            channel.drawing = asyncio.create_task(self._draw(channel, draw, period_s))
        try:
            seen = 0
            while True:
                async with channel.news:
                    while channel.version == seen:
                        await channel.news.wait()
                if channel.error is not None:
                    raise channel.error
                seen = channel.version
                yield sse_frame({"html": channel.html}, event="main")
        finally:
            channel.watchers -= 1
            if not channel.watchers:
                self._channels.pop(topic, None)
                await cancel_all(channel.drawing)

    async def _draw(self, channel: _Channel, draw: Callable[[], Awaitable[str]], period_s: float) -> None:
        while channel.error is None:
            try:
                html = await draw()
            except HrmError as error:
                html, channel.error = "", error
            except Exception:
                logger.exception("a page could not be drawn anew")
                html, channel.error = "", InvariantBroken("the page could not be drawn anew", next_step="load it anew")
            if html != channel.html or channel.error is not None or channel.version == 0:
                async with channel.news:
                    channel.html, channel.version = html, channel.version + 1
                    channel.news.notify_all()
            await asyncio.sleep(period_s)
