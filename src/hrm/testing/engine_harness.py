"""An engine under test: started, with a node, and short words for what checks do with it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from hrm.engines.base import Engine
from hrm.model.containers import ExitRecord, LaunchSpec, LogStream
from hrm.model.errors import HrmError, NotFound
from hrm.testing.conditions import eventually_async
from hrm.testing.recording import RecordingListener

EngineMaker = Callable[[str], Engine]
EngineCheck = Callable[[EngineMaker], Awaitable[None]]
_serial = itertools.count(1)


class EngineHarness:
    """A started engine, its first node, and short words for what checks do."""

    def __init__(self, engine: Engine, listener: RecordingListener) -> None:
        self.engine = engine
        self.heard = listener
        self.node_id = next(iter(listener.nodes))

    def launch(self, *command: str, **fields: object) -> str:
        """Launch a command; its new container id."""
        spec = self.spec(*command, **fields)
        self.engine.launch(self.node_id, [spec])
        return spec.container_id

    def spec(self, *command: str, **fields: object) -> LaunchSpec:
        container_id = f"container_e01_{os.getpid()}_0001_01_{next(_serial):06d}"
        known = {"container_id": container_id, "application_id": "application_1_0001", "user": getpass.getuser()}
        return LaunchSpec(command=command, **{**known, **fields})  # type: ignore[arg-type]

    async def ended(self, container_id: str, timeout_s: float = 60.0) -> ExitRecord:
        """How it ended, as soon as that is told."""

        def found() -> list[ExitRecord]:
            return [record for record in self.heard.ends if record.container_id == container_id]

        records: list[ExitRecord] = await eventually_async(found, timeout_s, describe=f"{container_id} ends")
        return records[0]

    async def printed(self, container_id: str, text: str) -> str:
        """All of stdout, once ``text`` is in it."""

        async def found() -> str:
            # Before it has begun there may be no log yet.
            with contextlib.suppress(NotFound):
                log = await self.log(container_id)
                return log if text in log else ""
            return ""

        log: str = await eventually_async(found, describe=f"{container_id} prints {text!r}")
        return log

    async def log(self, container_id: str, stream: LogStream = LogStream.STDOUT) -> str:
        chunk = await self.engine.read_log(self.node_id, container_id, stream, offset=0, max_bytes=1 << 20)
        return chunk.data.decode()

    def stop(self, container_id: str, *, grace_s: float = 5.0) -> None:
        self.engine.stop_containers(self.node_id, [container_id], grace_s=grace_s)


@contextlib.asynccontextmanager
async def started(engine: Engine) -> AsyncIterator[EngineHarness]:
    """The engine, started and with a node; closed in the end."""
    listener = RecordingListener()
    await engine.start(listener)
    try:
        await eventually_async(lambda: listener.nodes, describe="a node registers")
        yield EngineHarness(engine, listener)
    finally:
        await engine.close()


async def raises(kind: type[HrmError], call: Awaitable[object]) -> None:
    """The call is refused so, within a minute."""
    try:
        await asyncio.wait_for(call, 60)
    except kind:
        return
    raise AssertionError(f"should have raised {kind.__name__}")
