"""Launches that wait until what their containers are to find is in place, and what is said to these meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hrm.model.errors import HrmError

_Command = Callable[[], None]


class Preparations:
    """Of one node. ``failed`` is told the id of a container that cannot begin, and why, in words."""

    def __init__(self, failed: Callable[[str, str], None]) -> None:
        self._failed = failed
        self._waiting: dict[str, _Waiting] = {}

    def begin(self, container_id: str, prepare: Coroutine[Any, Any, None], launch: _Command) -> None:
        """Launch it when that is done. Nothing is done for one that is being prepared already."""
        if container_id in self._waiting:
            prepare.close()
            return
        waiting = self._waiting[container_id] = _Waiting()
        waiting.task = asyncio.get_running_loop().create_task(self._prepare(container_id, prepare, launch))

    def later(self, container_id: str, command: _Command) -> bool:
        """Have it done after the launch; False if it does not wait for one."""
        if (waiting := self._waiting.get(container_id)) is None:
            return False
        waiting.commands.append(command)
        return True

    def stop(self, container_id: str) -> bool:
        """It need not begin any more; False if it does not wait for that."""
        if (waiting := self._waiting.pop(container_id, None)) is None:
            return False
        waiting.task.cancel()
        self._failed(container_id, "")
        return True

    def drop_all(self) -> None:
        """Whoever wants them asks for them again."""
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.task.cancel()

    async def _prepare(self, container_id: str, prepare: Coroutine[Any, Any, None], launch: _Command) -> None:
        try:
            await prepare
        except HrmError as error:
            if self._waiting.pop(container_id, None) is not None:
                self._failed(container_id, error.message)
            return
        if (waiting := self._waiting.pop(container_id, None)) is not None:
            launch()
            for command in waiting.commands:
                command()


class _Waiting:
    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.commands: list[_Command] = []
