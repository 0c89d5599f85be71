"""Which shared paths this node has: looked at when it joins, and again and again.

Each is looked at by a process (`hrm.nm.shared_probe`) that may hang with its server, while the node goes on: what does
not answer in time is missing, and is not asked again before it has answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from hrm.model.files import FileSettings, SharedPath, offer_of
from hrm.nm import shared_probe

_log = structlog.get_logger(__name__)
_PROBE = Path(shared_probe.__file__)
_MAX_WORDS = 500
_DYING_S = 1.0


class SharedPaths:
    """Those that are declared. ``problems`` are as of the last `look`: in words, by path, for each that is missing.

    ``changed`` is called where a later look finds something that is not what it was.
    """

    def __init__(self, settings: FileSettings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._hanging: dict[str, asyncio.Task[str]] = {}
        self.problems: Mapping[str, str] = {}

    @property
    def offers(self) -> tuple[str, ...]:
        """What may be placed here that needs it (`hrm.model.nodes.NodeSpec.offers`)."""
        return tuple(offer_of(one.path) for one in self._settings.shared_paths if one.path not in self.problems)

    @property
    def message(self) -> str:
        """What is missing, in one line; "" iff nothing."""
        return "; ".join(f"{offer_of(path)} {why}" for path, why in self.problems.items())

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.shared_check_interval_s)
            await self.look_again()

    async def take(self, settings: FileSettings) -> None:
        """Others may be declared by now."""
        other = settings.shared_paths != self._settings.shared_paths
        self._settings = settings
        if other:
            await self.look()

    async def look_again(self) -> None:
        """As `look`, and tell of what changed."""
        if await self.look():
            log = _log.warning if self.problems else _log.info
            log("shared paths changed", message=self.message)
            self._changed()

    async def look(self) -> bool:
        """Look at all of them, for as long as may be; True iff something is not what it was."""
        declared = self._settings.shared_paths
        found = await asyncio.gather(*(self._problem(shared) for shared in declared))
        problems = {shared.path: why for shared, why in zip(declared, found, strict=True) if why}
        changed = problems != self.problems
        self.problems = problems
        return changed

    async def _problem(self, shared: SharedPath) -> str:
        probing = self._hanging.get(shared.path) or asyncio.create_task(_probe(shared))
        done, _ = await asyncio.wait({probing}, timeout=self._settings.shared_check_timeout_s)
        if not done:
            self._hanging[shared.path] = probing
            return f"does not answer within {self._settings.shared_check_timeout_s:g} s"
        self._hanging.pop(shared.path, None)
        return probing.result()

    async def close(self) -> None:
        """End those that hang; one that hangs in the kernel is left to it."""
        for probing in self._hanging.values():
            probing.cancel()
        if self._hanging:
            await asyncio.wait(self._hanging.values(), timeout=2 * _DYING_S)


async def _probe(shared: SharedPath) -> str:
    arguments = (shared.path, shared.marker or "", shared.source or "", "yes" if shared.read_only else "no")
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_PROBE), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    try:
        words, _ = await process.communicate()
    except asyncio.CancelledError:
        # One that hangs in the kernel takes the signal when its server is back.
        process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DYING_S):
                await process.wait()
        raise
    if process.returncode:
        return "cannot be looked at"
    return words.decode(errors="replace")[:_MAX_WORDS]
