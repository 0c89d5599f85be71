"""One step of the loop: what changed, and what is to be done once the change is on disk.

The order is always the same: decide, commit in one transaction, then act. A turn collects what was decided; its
effects (launch, stop, acknowledge, answer) run when its commit has succeeded, in the order of the turns.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterator
from itertools import groupby
from typing import Protocol

from hrm.engines.base import Engine
from hrm.model.containers import LaunchSpec, PreemptionNotice
from hrm.model.resources import Resources
from hrm.rm.records import Row

#: TERM, then this long, then KILL (Slurm's KillWait).
STOP_GRACE_S = 30.0
#: A turn hands the loop back after about this long; what is left comes in the next one.
BUDGET_S = 0.004


class Recorded(Protocol):
    """Something live whose row is written when it changed."""

    @property
    def row(self) -> Row: ...


class Turn:
    """Collects one step's changes and effects. ``now`` is the same for all of it (epoch seconds)."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._began = time.perf_counter()
        self._changed: dict[int, Recorded] = {}
        self._rows: list[Row] = []
        self._launches: dict[str, list[LaunchSpec]] = defaultdict(list)
        #: In order: whether each is halted or goes on.
        self._freezes: list[tuple[str, str, bool]] = []
        #: In order: each with what it is told of its end for others, or None if that is taken back.
        self._warnings: list[tuple[str, str, PreemptionNotice | None]] = []
        #: By node and seconds of grace.
        self._stops: dict[tuple[str, float], list[str]] = defaultdict(list)
        self._sizes: list[tuple[str, str, Resources]] = []
        self._acknowledgements: dict[str, list[str]] = defaultdict(list)
        self._callbacks: list[Callable[[], None]] = []

    @property
    def spent_s(self) -> float:
        """How long it has held the loop."""
        return time.perf_counter() - self._began

    @property
    def half_over(self) -> bool:
        """What came in may take half the budget: the other half is for what follows from it."""
        return self.spent_s > BUDGET_S / 2

    @property
    def over(self) -> bool:
        return self.spent_s > BUDGET_S

    def touch(self, thing: Recorded) -> None:
        """Write the row that ``thing`` has when the turn ends."""
        self._changed[id(thing)] = thing

    def put(self, row: Row) -> None:
        self._rows.append(row)

    def launch(self, node_id: str, spec: LaunchSpec) -> None:
        self._launches[node_id].append(spec)

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice | None) -> None:
        """It is to end for others; or need not, if there is no notice."""
        self._warnings.append((node_id, container_id, notice))

    def freeze(self, node_id: str, container_id: str, *, frozen: bool) -> None:
        """Halt it, or let it go on."""
        self._freezes.append((node_id, container_id, frozen))

    def resize(self, node_id: str, container_id: str, resources: Resources) -> None:
        """Hold it to this much from now on."""
        self._sizes.append((node_id, container_id, resources))

    def stop(self, node_id: str, container_id: str, grace_s: float = STOP_GRACE_S) -> None:
        self._stops[node_id, grace_s].append(container_id)

    def acknowledge(self, node_id: str, container_id: str) -> None:
        self._acknowledgements[node_id].append(container_id)

    def after_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def rows(self) -> Iterator[Row]:
        for thing in self._changed.values():
            yield thing.row
        yield from self._rows

    @property
    def empty(self) -> bool:
        return not (
            self._changed
            or self._rows
            or self._launches
            or self._freezes
            or self._warnings
            or self._stops
            or self._sizes
            or self._acknowledgements
            or self._callbacks
        )

    def act(self, engine: Engine, *, live: Container[str]) -> None:
        """Carry out the effects. Called once, after the commit; only containers that are still ``live`` are launched.

        Their node may have been lost, and they with it, since this was decided.
        """
        for node_id, specs in self._launches.items():
            engine.launch(node_id, [spec for spec in specs if spec.container_id in live])
        # After the launches: one that was launched in the same turn may be meant.
        for (node_id, frozen), group in groupby(self._freezes, key=lambda one: (one[0], one[2])):
            engine.freeze(node_id, [container_id for _, container_id, _ in group], frozen=frozen)
        for node_id, container_id, resources in self._sizes:
            engine.resize(node_id, container_id, resources)
        for node_id, container_id, notice in self._warnings:
            if notice is None:
                engine.spare(node_id, container_id)
            else:
                engine.warn(node_id, container_id, notice)
        for (node_id, grace_s), container_ids in self._stops.items():
            engine.stop_containers(node_id, container_ids, grace_s=grace_s)
        for node_id, container_ids in self._acknowledgements.items():
            engine.acknowledge(node_id, container_ids)
        for callback in self._callbacks:
            callback()
