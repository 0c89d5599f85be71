"""What a container is to run next, where it may run more than one program in turn: decided here, carried out elsewhere.

The rules are those of YARN's ContainerImpl (re-initialise, restart, roll back, commit) and SlidingWindowRetryPolicy.
Nothing here knows processes or the time.
"""

from __future__ import annotations

from typing import Any

#: Where a container is between two launches (`hrm.model.relaunching.LaunchPhase`).
RUNS, PREPARES, ENDS, WAITS = "runs", "prepares", "ends", "waits"
#: What may be asked for (`hrm.model.relaunching.RelaunchKind`).
REPLACE, RESTART, ROLL_BACK, COMMIT = "replace", "restart", "roll_back", "commit"
#: These are nobody's failure: success, KILL and TERM.
_NEVER_RETRIED = (0, 137, 143)
_MAX_NOTES = 20
_MAX_NOTE_CHARS = 2000

#: What a launch runs, and besides: ``retry`` (None iff never) and ``links``, the names of its files.
Program = dict[str, Any]
PROGRAM_FIELDS = ("argv", "env", "workdir", "umask")


class Refused(Exception):
    """It cannot be done now, or there is nothing to do; in words."""


class Launches:
    """Of one container. ``program`` is what its first launch runs; None iff nobody here knows it."""

    __slots__ = ("_before", "_next", "_retried_at", "_retries", "key", "notes", "number", "phase", "program")

    def __init__(self, program: Program | None, number: int = 1) -> None:
        self.number = number
        self.program = program
        self.phase = RUNS
        #: Of the order that was taken last.
        self.key = ""
        #: What happened, in words, the newest last.
        self.notes: list[str] = []
        #: What ran before and can be gone back to; None iff nothing.
        self._before: Program | None = None
        #: What is to run, and what could be gone back to from there; None iff nothing is to follow.
        self._next: tuple[Program, Program | None] | None = None
        self._retries = 0
        #: When the program was started again, where only the last ones count.
        self._retried_at: list[float] = []

    @property
    def can_roll_back(self) -> bool:
        return self._before is not None

    def want(
        self,
        kind: str,
        *,
        program: Program | None = None,
        auto_commit: bool = True,
        prepares: bool = False,
        key: str = "",
    ) -> bool:
        """Take an order; True iff what runs is to make way, after files were fetched iff ``prepares``.

        Raises Refused, with nothing changed.
        """
        if key and key == self.key:
            return False
        if self.phase != RUNS:
            raise Refused("it is being started anew already")
        if kind == COMMIT:
            if self._before is None:
                raise Refused("nothing to commit")
            self._before = None
            self._note("what replaced its program stays")
        elif kind == ROLL_BACK:
            if self._before is None:
                raise Refused("nothing to roll back to")
            self._next = (self._before, None)
            self._note("it is rolled back to what it ran before")
        elif kind == RESTART:
            if self.program is None:
                raise Refused("what it runs is not known any more: the shepherd that started it has ended since")
            self._next = (self.program, self._before)
            self._note("it is restarted")
        elif kind == REPLACE and program is not None:
            self._next = (program, None if auto_commit else self.program)
            self._note("its program is replaced")
        else:
            raise Refused(f"no such order: {kind!r:.40}")
        self.key = key
        if self._next is None:
            return False
        self.phase = PREPARES if prepares else ENDS
        return True

    def prepared(self) -> None:
        """All that the next launch needs is there."""
        assert self.phase == PREPARES
        self.phase = ENDS

    def not_prepared(self, why: str) -> None:
        """What runs goes on."""
        assert self.phase == PREPARES
        self.phase, self._next = RUNS, None
        self._note(f"its program is not replaced: {why}")

    def ended(self, code: int, now: float) -> float | None:
        """What ran has ended with ``code``: after how many seconds the next launch begins; None iff it is over.

        ``now`` is any clock that never goes back.
        """
        if self.phase == ENDS:
            self._retries = 0
            self._retried_at.clear()
            self.phase = WAITS
            return 0.0
        assert self.phase != WAITS
        self._next = None
        if self.phase == PREPARES:
            # It has ended by itself, before it was to make way.
            self.phase = RUNS
        elif code in _NEVER_RETRIED or self.program is None:
            pass
        elif self._may_retry(code, now):
            retry = self.program["retry"]
            self._next = (self.program, self._before)
            self._note(f"launch {self.number} ended with exit code {code}: it is tried again")
            self.phase = WAITS
            return float(retry["interval_s"])
        elif self._before is not None:
            self._next = (self._before, None)
            self._retries = 0
            self._retried_at.clear()
            self._note(f"launch {self.number} ended with exit code {code}: it is rolled back to what it ran before")
            self.phase = WAITS
            return 0.0
        return None

    def begin(self) -> Program:
        """The next launch begins: what it runs."""
        assert self.phase == WAITS
        assert self._next is not None
        (self.program, self._before), self._next = self._next, None
        self.phase = RUNS
        self.number += 1
        return self.program

    def _may_retry(self, code: int, now: float) -> bool:
        retry = self.program["retry"] if self.program else None
        if not retry or (retry["codes"] is not None and code not in retry["codes"]):
            return False
        if retry["max"] < 0:
            return True
        if retry["validity_s"] is None:
            used = self._retries
            self._retries += used < retry["max"]
        else:
            self._retried_at = [at for at in self._retried_at if now - at <= retry["validity_s"]]
            used = len(self._retried_at)
            if used < retry["max"]:
                self._retried_at.append(now)
        return bool(used < retry["max"])

    def _note(self, text: str) -> None:
        self.notes.append(text[:_MAX_NOTE_CHARS])
        del self.notes[:-_MAX_NOTES]
