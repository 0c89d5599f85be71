"""The doctor's rounds on this node, again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from hrm.doctor.expected import Expected
from hrm.model.errors import ClusterError
from hrm.model.findings import DoctorReport
from hrm.nm.examiner import Examiner

_log = structlog.get_logger(__name__)


#: From the start to the first round: a server that is there for one command only makes none.
FIRST_S = 5.0


class Rounds:
    """Runs a quick round each `hrm.doctor.expected.rounds.Rounds.every_s`; ``tell`` hears of each.

    Without ``expected`` there are none until somebody says what is.
    """

    def __init__(
        self,
        node_id: str,
        expected: Expected | None,
        tell: Callable[[DoctorReport], None],
        *,
        first_s: float = FIRST_S,
    ) -> None:
        self.examiner = Examiner(node_id, expected)
        self._first_s = first_s
        self._wanted = expected is not None
        self._tell = tell
        self._changed = asyncio.Event()
        #: Why there was no round, as it was last said.
        self._trouble = ""

    def take(self, expected: Expected) -> None:
        """What is expected from now on; the next round is at once."""
        if not self._wanted or expected != self.examiner.expected:
            self._wanted = True
            self.examiner.expected = expected
            self._changed.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._pause(self._first_s)
        while True:
            every_s = self.examiner.expected.rounds.every_s if self._wanted else 0.0
            if every_s > 0:
                await self._round()
            await self._pause(every_s or None)

    async def _pause(self, pause_s: float | None) -> None:
        """None: until something else is expected, which ends every pause."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), pause_s)

    async def _round(self) -> None:
        try:
            self._tell(await self.examiner.quick())
            self._trouble = ""
        except ClusterError as error:
            if error.message != self._trouble:
                self._trouble = error.message
                _log.warning("the doctor made no round", error=error.message)
