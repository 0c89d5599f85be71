"""The server's end of what an agent wants of uploads (`hrm.engines.ray.wanted`)."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from hrm.engines.ray.link import Link
from hrm.model.errors import ClusterError, HrmError
from hrm.model.streams import ContentSource

_log = structlog.get_logger(__name__)


async def send(link: Link, contents: ContentSource | None, number: int, user: str, digests: Sequence[str]) -> None:
    """What the agent said under that number."""
    try:
        try:
            if contents is None:
                raise ClusterError("this server keeps no uploads")
            stream = await contents.contents(user, digests)
            try:
                while data := await stream.read():
                    if not await link.ask("supply", number, data, ""):
                        return
            finally:
                await stream.close()
        except HrmError as error:
            await link.ask("supply", number, b"", error.message)
        else:
            await link.ask("supply", number, b"", "")
    except ClusterError as error:
        # It asks again in its next session, should it still want it.
        _log.info("cannot send an upload to a node", error=str(error))
