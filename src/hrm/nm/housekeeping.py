"""Clearing up on a node: when the ResourceManager asks for it, when an application is over, and unasked after silence.

What may go is the `hrm.nm.cleaner`'s business, and that of the `hrm.nm.application_dirs`; here is when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.errors import ClusterError
from hrm.nm.application_dirs import ApplicationDirs
from hrm.nm.cleaner import Cleaner, application_of

_log = structlog.get_logger(__name__)
#: After so long without being asked the node clears up by itself.
SILENCE_S = 6 * 3600.0
#: How long one clearing up may take.
CLEAN_BUDGET_S = 60.0


class Housekeeping:
    """Of one node, on its loop. ``here`` and ``ended`` give the containers that run or are about to, and those whose
    end is not acknowledged. ``spawn`` runs what takes time beside.
    """

    def __init__(
        self,
        state_dir: Path,
        applications: ApplicationDirs,
        *,
        here: Callable[[], Collection[str]],
        ended: Callable[[], Iterable[str]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._state_dir = state_dir
        self._cleaner = Cleaner(state_dir)
        self._applications = applications
        self._here = here
        self._ended = ended
        self._spawn = spawn
        self._cleaned_at = 0.0

    def forget(self, container_ids: Sequence[str]) -> None:
        """Clear away what these left, but of none that runs or whose end is not acknowledged."""
        self._spawn(self._forget([*container_ids]))

    async def _forget(self, container_ids: list[str]) -> None:
        try:
            await asyncio.to_thread(self._cleaner.forget, container_ids)
        except OSError as error:
            # What stays is old one day, and then it goes.
            _log.warning("cannot clear away what containers left", containers=len(container_ids), error=str(error))

    def end_applications(self, application_ids: Sequence[str]) -> None:
        """These are over: their directories go, when nothing of them runs here any more."""
        self._applications.end(application_ids)
        self.settle()

    def settle(self) -> None:
        """Containers ended: the last ones of an application that is over may be among them."""
        if gone := self._applications.settled(self._here):
            self._spawn(self._remove_applications(gone))

    async def _remove_applications(self, application_ids: Sequence[str]) -> None:
        try:
            await asyncio.to_thread(self._cleaner.remove_applications, application_ids)
        except OSError as error:
            # They are found again when the node clears up.
            _log.warning("cannot clear away what applications left", names=application_ids, error=str(error))

    async def clean(
        self, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float = CLEAN_BUDGET_S
    ) -> Freed:
        """See `hrm.nm.cleaner.Cleaner.clean`. Raises ClusterError."""
        self._cleaned_at = asyncio.get_running_loop().time()
        if not dry_run and (left := self._applications.left(spare, self._here())):
            _log.info("clearing away directories of applications that are over", names=left)
            await self._remove_applications(left)
        try:
            return await asyncio.to_thread(self._cleaner.clean, policy, spare=spare, dry_run=dry_run, budget_s=budget_s)
        except OSError as error:
            raise ClusterError(f"cannot clear up {self._state_dir}: {error}", next_step="check the disk") from None

    async def bound_itself(self, keep: CleanPolicy) -> None:
        """What the ResourceManager should ask for, should it not. Its live applications are then those seen here."""
        loop = asyncio.get_running_loop()
        self._cleaned_at = loop.time()
        while True:
            await asyncio.sleep(SILENCE_S / 4)
            if loop.time() - self._cleaned_at >= SILENCE_S:
                spare = {application_of(container_id) for container_id in (*self._here(), *self._ended())}
                # Whose containers ended here may go on elsewhere.
                spare |= self._applications.names()
                try:
                    freed = await self.clean(keep, spare=spare, dry_run=False)
                except ClusterError as error:
                    _log.error(error.message)
                else:
                    if freed.scratch or freed.logs:
                        _log.info("cleared up unasked", scratch=freed.scratch, logs=freed.logs)

    def close(self) -> None:
        """Come to an end soon."""
        self._cleaner.close()
