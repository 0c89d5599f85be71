"""What a restart begins from: all that is not over. Its time and memory do not grow with the history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from hrm.model.errors import StoreError
from hrm.model.states import ApplicationState
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow, JobRow, NodeLabelRow, NodeRow, Row, TaskRow
from hrm.rm.store.codec import codec_of
from hrm.rm.store.schema import FINAL_APPLICATIONS, applications, cluster, events, live_container

R = TypeVar("R", bound=Row)
P = TypeVar("P", AttemptRow, TaskRow, ContainerRow)

_NOT_OVER = applications.c.state.not_in(FINAL_APPLICATIONS)


@dataclass(frozen=True, slots=True)
class SavedApplication:
    """One that is not over, rows in the order of their keys."""

    row: ApplicationRow
    job: JobRow
    attempts: list[AttemptRow]
    tasks: list[TaskRow]
    #: Those that are not over.
    containers: list[ContainerRow]

    @property
    def attempt(self) -> int:
        """Number of the latest attempt; 1 before any began."""
        return self.attempts[-1].number if self.attempts else 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that a restart begins from."""

    #: By seq.
    applications: list[SavedApplication]
    #: Containers that are not over though their application is: they are to be stopped.
    orphans: list[ContainerRow]
    nodes: list[NodeRow]
    node_labels: list[NodeLabelRow]
    next_application_seq: int
    next_event_seq: int
    #: How many applications ended in which way.
    finished: dict[ApplicationState, int]


def load(connection: sa.Connection) -> Loaded:
    """What a restart begins from; the caller's transaction makes it all of one moment.

    Raises StoreError for an application without its job, which no commit of HRM's leaves behind.
    """
    jobs = {row.application_seq: row for row in _of_open(connection, JobRow)}
    attempts = _by_application(_of_open(connection, AttemptRow))
    tasks = _by_application(_of_open(connection, TaskRow))
    containers = _by_application(_where(connection, ContainerRow, live_container))
    rows = _where(connection, ApplicationRow, _NOT_OVER)
    if jobless := [row.seq for row in rows if row.seq not in jobs]:
        raise StoreError(
            f"the store is damaged: no job is kept for application {jobless[0]}", next_step="restore a copy of it"
        )
    saved = [
        SavedApplication(
            row,
            jobs[row.seq],
            attempts.pop(row.seq, []),
            tasks.pop(row.seq, []),
            containers.pop(row.seq, []),
        )
        for row in rows
    ]
    counts = connection.execute(
        sa.select(applications.c.state, sa.func.count())
        .where(applications.c.state.in_(FINAL_APPLICATIONS))
        .group_by(applications.c.state)
    )
    return Loaded(
        applications=saved,
        orphans=[row for rows in containers.values() for row in rows],
        nodes=_where(connection, NodeRow, sa.true()),
        node_labels=_where(connection, NodeLabelRow, sa.true()),
        next_application_seq=1 + _highest(connection, applications.c.seq, cluster.c.deleted_application_seq),
        next_event_seq=1 + _highest(connection, events.c.seq, cluster.c.deleted_event_seq),
        finished={ApplicationState(state): count for state, count in counts},
    )


def _highest(connection: sa.Connection, seq: sa.Column[int], deleted: sa.Column[int]) -> int:
    """The highest number that was ever given; 0 before the first."""
    return max(connection.scalar(sa.select(sa.func.max(seq))) or 0, connection.scalar(sa.select(deleted)) or 0)


def _where(connection: sa.Connection, row_type: type[R], condition: sa.ColumnElement[bool]) -> list[R]:
    codec = codec_of(row_type)
    query = sa.select(*codec.selection()).where(condition).order_by(*codec.table.primary_key)
    return [codec.decode(columns) for columns in connection.execute(query)]


def _of_open(connection: sa.Connection, row_type: type[R]) -> list[R]:
    """Rows of applications that are not over."""
    open_seqs = sa.select(applications.c.seq).where(_NOT_OVER)
    return _where(connection, row_type, codec_of(row_type).table.c.application_seq.in_(open_seqs))


def _by_application(rows: Iterable[P]) -> dict[int, list[P]]:
    by_seq: defaultdict[int, list[P]] = defaultdict(list)
    for row in rows:
        by_seq[row.application_seq].append(row)
    return by_seq
