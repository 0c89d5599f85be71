"""Which number an application gets. One may be handed out before there is an application (YARN's getNewApplication)."""

from __future__ import annotations

from hrm.model.errors import Conflict
from hrm.rm.store import Store

#: Numbers are kept on disk so many at a time: a restart skips those of them that nobody used.
BLOCK = 64
#: Handed out and not used; of more the oldest are forgotten, and count for nothing.
MAX_HANDED_OUT = 100_000


class ApplicationNumbers:
    """One instance, on the manager's loop. ``next_seq`` is the lowest number that no life of the server gave."""

    def __init__(self, store: Store, next_seq: int) -> None:
        self._store = store
        self._next = next_seq
        #: Up to here a restart gives no number again.
        self._kept = next_seq - 1
        #: In the order in which they were handed out.
        self._handed_out: dict[int, None] = {}

    def was_given(self, seq: int) -> bool:
        return 0 < seq < self._next

    def take(self) -> int:
        """For an application that is made now."""
        seq = self._next
        self._next += 1
        return seq

    async def hand_out(self) -> int:
        """For one that somebody will submit, or not; never given again. Raises StoreError."""
        seq = self.take()
        if seq > self._kept:
            up_to = seq + BLOCK - 1
            await self._store.skip_application_numbers(up_to)
            self._kept = max(self._kept, up_to)
        self._handed_out[seq] = None
        if len(self._handed_out) > MAX_HANDED_OUT:
            del self._handed_out[next(iter(self._handed_out))]
        return seq

    def claim(self, seq: int) -> None:
        """Use one that was handed out. Raises Conflict for any other."""
        if seq not in self._handed_out:
            raise Conflict(
                f"application number {seq} was not handed out by this server since its start, or was used",
                next_step="ask for a new application, and submit that",
            )
        del self._handed_out[seq]

    def give_back(self, seq: int) -> None:
        """Nothing came of it: it may be claimed again."""
        self._handed_out[seq] = None
