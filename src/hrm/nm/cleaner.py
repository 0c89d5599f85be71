"""Keeps a node's directory within bounds: clears away what containers that are over left behind.

Only of containers whose end the ResourceManager has acknowledged, and of none whose application is spared. What a claim
or an unacknowledged end names is not touched, whatever its age.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.errors import InvalidInput
from hrm.model.ids import ContainerId
from hrm.nm.shepherd import records
from hrm.nm.trash import FILES_AT_A_TIME, Trash, opened, tree_bytes

_log = structlog.get_logger(__name__)
_PAUSE_S = 0.001
#: How long the record of an acknowledged end stays at least: a launch that is told twice comes within that time.
RECORD_AGE_S = 3600.0
FORGET_BUDGET_S = 60.0


@dataclass(slots=True)
class _Left:
    """What a container left behind."""

    container_id: str
    ended_at: float
    bytes: int
    files: tuple[str, ...] = ()


class Cleaner:
    """Of one node. `clean` and `forget` are called in worker threads, and take turns."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._trash = Trash(state_dir)
        self._turn = threading.Lock()
        #: What directories hold that nobody writes to any more, by container id: worked out once.
        self._sizes: dict[str, int] = {}
        self._closing = False

    def clean(self, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float) -> Freed:
        """Clear away what is beyond ``policy``, but nothing of the applications in ``spare``.

        With ``dry_run`` only say what that would be. It ends after ``budget_s``, then with ``more`` to do. Raises
        OSError if the node's directory cannot be read.
        """
        stop = self._after(budget_s)
        with self._turn:
            scratch, logs = self._scratch(), self._logs()
            # Looked at after the directories: what has one has its claim, and a claim goes on from here to there.
            taken = self._names(records.RUNNING) | self._names(records.ENDED)
            ended_at = self._ended_at()
            for left in (*scratch, *logs):
                left.ended_at = ended_at.get(left.container_id, left.ended_at)
            spared = set(spare)

            def over(left: _Left) -> bool:
                return left.container_id not in taken and application_of(left.container_id) not in spared

            freed = Freed()
            now = time.time()
            for left in self._beyond(
                filter(over, scratch), now, policy.scratch_age_s, policy.scratch_bytes, measure=True
            ):
                freed += Freed(scratch=1, scratch_bytes=self._size(left))
                if not dry_run:
                    self._remove_scratch(left.container_id)
                if stop():
                    return freed + Freed(more=True)
            for left in self._beyond(filter(over, logs), now, policy.logs_age_s, policy.logs_bytes):
                freed += Freed(logs=1, logs_bytes=left.bytes)
                if not dry_run:
                    self._remove_logs(left)
                if stop():
                    return freed + Freed(more=True)
            if not dry_run:
                if policy.logs_age_s is not None:
                    self._remove_records(ended_at, older_than=now - max(RECORD_AGE_S, policy.logs_age_s), spared=spared)
                freed += Freed(more=not self._trash.empty(stop=stop))
            return freed

    def forget(self, container_ids: Iterable[str]) -> None:
        """Clear away all of these, but of none that runs or whose end is not acknowledged. Raises OSError."""
        wanted = {container_id for container_id in container_ids if records.is_container_id(container_id)}
        with self._turn:
            wanted -= self._names(records.RUNNING)
            wanted -= self._names(records.ENDED)
            stop = self._after(FORGET_BUDGET_S)
            for at, container_id in enumerate(sorted(wanted)):
                if stop():
                    # What stays is old one day.
                    return
                self._remove_scratch(container_id)
                for stream in records.STREAMS:
                    self._unlink(records.LOGS, f"{container_id}.{stream}")
                self._unlink(records.EXITS, container_id)
                _breathe(at)
            self._trash.empty(stop=stop)

    def remove_applications(self, application_ids: Iterable[str]) -> None:
        """Clear away the directories of these applications. Raises OSError."""
        with self._turn:
            for application_id in application_ids:
                self._trash.take(records.APPLICATIONS, application_id)
            # What is not done in time is gone on with when the node clears up.
            self._trash.empty(stop=self._after(FORGET_BUDGET_S))

    def close(self) -> None:
        """Come to an end soon, whatever is being done: who waits for the threads must not wait for a disk."""
        self._closing = True

    def _after(self, budget_s: float) -> Callable[[], bool]:
        until = time.monotonic() + budget_s
        return lambda: self._closing or time.monotonic() > until

    # What there is

    def _scratch(self) -> list[_Left]:
        return [
            _Left(name, modified_at, 0)
            for name, modified_at, _ in self._entries(records.CONTAINERS)
            if records.is_container_id(name)
        ]

    def _logs(self) -> list[_Left]:
        by_id: dict[str, _Left] = {}
        for name, modified_at, size in self._entries(records.LOGS):
            container_id, _, stream = name.partition(".")
            if stream in records.STREAMS and records.is_container_id(container_id):
                left = by_id.setdefault(container_id, _Left(container_id, modified_at, 0))
                left.bytes += size
                left.files += (name,)
        return list(by_id.values())

    def _ended_at(self) -> dict[str, float]:
        """When each container whose end is acknowledged ended: its record was last written then."""
        return {name: modified_at for name, modified_at, _ in self._entries(records.EXITS)}

    def _entries(self, folder: str) -> Iterator[tuple[str, float, int]]:
        """(name, when it was last modified, bytes on disk)."""
        try:
            entries = os.scandir(self._state_dir / folder)
        except FileNotFoundError:
            return
        with entries:
            for at, entry in enumerate(entries):
                _breathe(at)
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield entry.name, status.st_mtime, status.st_blocks * 512

    def _names(self, folder: str) -> set[str]:
        try:
            return set(os.listdir(self._state_dir / folder))
        except FileNotFoundError:
            return set()

    def _beyond(
        self,
        lefts: Iterable[_Left],
        now: float,
        age_s: float | None,
        most_bytes: int | None,
        *,
        measure: bool = False,
    ) -> Iterator[_Left]:
        """Those older than the age, then of the others the oldest until the rest is within the size."""
        young = []
        for left in sorted(lefts, key=lambda left: left.ended_at):
            if age_s is not None and now - left.ended_at >= age_s:
                yield left
            else:
                young.append(left)
        if most_bytes is None:
            return
        total = sum(self._size(left) if measure else left.bytes for left in young)
        for left in young:
            if total <= most_bytes:
                return
            total -= left.bytes
            yield left

    def _size(self, left: _Left) -> int:
        if left.container_id not in self._sizes:
            home = self._state_dir / records.CONTAINERS / left.container_id
            self._sizes[left.container_id] = tree_bytes(home, lambda: self._closing)
        left.bytes = self._sizes[left.container_id]
        return left.bytes

    # Removing

    def _remove_scratch(self, container_id: str) -> None:
        self._sizes.pop(container_id, None)
        try:
            self._trash.take(records.CONTAINERS, container_id)
        except OSError as error:
            _log.warning("cannot clear away a container's directory", container=container_id, error=str(error))

    def _remove_logs(self, left: _Left) -> None:
        for name in left.files:
            self._unlink(records.LOGS, name)

    def _remove_records(self, ended_at: dict[str, float], *, older_than: float, spared: set[str]) -> None:
        """A record whose output is gone by age serves nobody."""
        for at, (container_id, when) in enumerate(ended_at.items()):
            if when < older_than and application_of(container_id) not in spared:
                self._unlink(records.EXITS, container_id)
            _breathe(at)

    def _unlink(self, folder: str, name: str) -> None:
        try:
            with opened(self._state_dir / folder) as fd:
                os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("cannot clear away a file", file=f"{folder}/{name}", error=str(error))


def application_of(container_id: str) -> str:
    """The id of the application that a container is of; "" for an id of another form."""
    try:
        return str(ContainerId.parse(container_id).attempt.application)
    except InvalidInput:
        return ""


def _breathe(at: int) -> None:
    """Let the loop have the interpreter now and then."""
    if at % FILES_AT_A_TIME == FILES_AT_A_TIME - 1:
        time.sleep(_PAUSE_S)
