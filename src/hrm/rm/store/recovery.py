"""What a restart begins from: all that is not over. Its time and memory do not grow with the history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from hrm.model.states import ApplicationState
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow, JobRow, NodeRow, Row, TaskRow
from hrm.rm.store.codec import codec_of
from hrm.rm.store.schema import FINAL_APPLICATIONS, applications, events, live_container

R = TypeVar("R", bound=Row)
P = TypeVar("P", AttemptRow, TaskRow)

_NOT_OVER = applications.c.state.not_in(FINAL_APPLICATIONS)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows in the order of their keys."""

    #: Applications that are not over.
    applications: list[ApplicationRow]
    #: Theirs, by the application's seq: each has a job; attempts and tasks may be empty lists.
    jobs: dict[int, JobRow]
    attempts: dict[int, list[AttemptRow]]
    tasks: dict[int, list[TaskRow]]
    #: Containers that are not over, of finished applications too (they are to be stopped).
    containers: list[ContainerRow]
    nodes: list[NodeRow]
    next_application_seq: int
    next_event_seq: int
    #: How many applications ended in which way.
    finished: dict[ApplicationState, int]


def load(connection: sa.Connection) -> Loaded:
    """In one transaction, so that all of it is of one moment."""
    with connection.begin():
        loaded_applications = _where(connection, ApplicationRow, _NOT_OVER)
        counts = connection.execute(
            sa.select(applications.c.state, sa.func.count())
            .where(applications.c.state.in_(FINAL_APPLICATIONS))
            .group_by(applications.c.state)
        )
        return Loaded(
            applications=loaded_applications,
            jobs={row.application_seq: row for row in _of_open(connection, JobRow)},
            attempts=_by_application(loaded_applications, _of_open(connection, AttemptRow)),
            tasks=_by_application(loaded_applications, _of_open(connection, TaskRow)),
            containers=_where(connection, ContainerRow, live_container),
            nodes=_where(connection, NodeRow, sa.true()),
            next_application_seq=1 + (connection.scalar(sa.select(sa.func.max(applications.c.seq))) or 0),
            next_event_seq=1 + (connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0),
            finished={ApplicationState(state): count for state, count in counts},
        )


def _where(connection: sa.Connection, row_type: type[R], condition: sa.ColumnElement[bool]) -> list[R]:
    codec = codec_of(row_type)
    query = sa.select(*codec.selection()).where(condition).order_by(*codec.table.primary_key)
    return [codec.decode(columns) for columns in connection.execute(query)]


def _of_open(connection: sa.Connection, row_type: type[R]) -> list[R]:
    """Rows of applications that are not over."""
    open_seqs = sa.select(applications.c.seq).where(_NOT_OVER)
    return _where(connection, row_type, codec_of(row_type).table.c.application_seq.in_(open_seqs))


def _by_application(loaded: Iterable[ApplicationRow], rows: Iterable[P]) -> dict[int, list[P]]:
    by_seq: dict[int, list[P]] = {row.seq: [] for row in loaded}
    for row in rows:
        by_seq[row.application_seq].append(row)
    return by_seq
