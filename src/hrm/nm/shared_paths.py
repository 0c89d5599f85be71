"""Which shared paths this node has, and which local ones: looked at when it joins, and again and again.

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

from hrm.model.files import FileSettings, SharedPath, local_offer_of, offer_of
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
        #: Of the paths that some nodes have on disks of their own.
        self._local: tuple[str, ...] = ()

    @property
    def offers(self) -> tuple[str, ...]:
        """What may be placed here that needs it (`hrm.model.nodes.NodeSpec.offers`)."""
        shared = [offer_of(one.path) for one in self._settings.shared_paths if one.path not in self.problems]
        return (*shared, *map(local_offer_of, self._local))

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
        before = self._settings
        other = (settings.shared_paths, settings.local_paths) != (before.shared_paths, before.local_paths)
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
        settings = self._settings
        shared = [self._problem("shared", one) for one in settings.shared_paths]
        local = [self._problem("local", SharedPath(path=path)) for path in settings.local_paths]
        found = await asyncio.gather(*shared, *local)
        problems = {one.path: why for one, why in zip(settings.shared_paths, found, strict=False) if why}
        of_local = zip(settings.local_paths, found[len(shared) :], strict=True)
        here = tuple(path for path, why in of_local if not why)
        changed = (problems, here) != (self.problems, self._local)
        self.problems, self._local = problems, here
        return changed

    async def _problem(self, kind: str, shared: SharedPath) -> str:
        probing = self._hanging.get(shared.path) or asyncio.create_task(_probe(kind, shared))
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


async def _probe(kind: str, shared: SharedPath) -> str:
    arguments = (kind, shared.path, shared.marker or "", shared.source or "", "yes" if shared.read_only else "no")
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
