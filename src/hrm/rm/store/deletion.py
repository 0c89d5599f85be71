"""Deleting what is not kept any more: applications that are over, and old events.

Done in slices of `SLICE_ROWS` rows, each a transaction in the writer's order: a commit never waits for more than one of
them. An application goes children first, so a crash in between leaves one that is deleted the next time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from hrm.rm.store.schema import FINAL_APPLICATIONS, applications, cluster, containers, events, live_container, tasks

#: Rows of one transaction; 500 take 5 ms.
SLICE_ROWS = 500


@dataclass(slots=True)
class Deletion:
    """Statements for one transaction of the writer. ``deleted`` rows is set when it is done."""

    statements: tuple[sa.Delete | sa.Update, ...]
    deleted: int = field(default=0)

    def run(self, cursor: Any, dialect: sa.Dialect) -> None:
        """In the writer's thread, over the driver's cursor. May be run again after a failure."""
        self.deleted = 0
        for statement in self.statements:
            compiled = statement.compile(dialect=dialect)
            values = compiled.params
            parameters = [values[name] for name in compiled.positiontup] if compiled.positiontup else values
            cursor.execute(str(compiled), parameters)
            if isinstance(statement, sa.Delete):
                self.deleted += max(0, cursor.rowcount)


def some_containers(application_seq: int) -> Deletion:
    """At most a slice of an application's containers."""
    column = containers.c.container_id
    chosen = sa.select(column).where(containers.c.application_seq == application_seq).limit(SLICE_ROWS)
    return Deletion((sa.delete(containers).where(column.in_(chosen)),))


def some_tasks(application_seq: int) -> Deletion:
    """At most a slice of its tasks."""
    mine = tasks.c.application_seq == application_seq
    chosen = sa.select(tasks.c.task_index).where(mine).limit(SLICE_ROWS)
    return Deletion((sa.delete(tasks).where(mine, tasks.c.task_index.in_(chosen)),))


def whole_application(application_seq: int) -> Deletion:
    """The row itself with its job and attempts, if it is over and nothing of it runs. Its number is not given again."""
    nothing_runs = ~sa.exists().where(containers.c.application_seq == application_seq, live_container)
    return Deletion(
        (
            sa.update(cluster)
            .where(cluster.c.deleted_application_seq < application_seq)
            .values(deleted_application_seq=application_seq),
            sa.delete(applications).where(applications.c.seq == application_seq, _is_over(applications), nothing_runs),
        )
    )


def skipped_numbers(up_to_seq: int) -> Deletion:
    """Of applications, whether or not there ever is one with them: as if they had been used and deleted."""
    highest = cluster.c.deleted_application_seq
    return Deletion((sa.update(cluster).where(highest < up_to_seq).values(deleted_application_seq=up_to_seq),))


def some_events(up_to_seq: int) -> Deletion:
    """At most a slice of the events up to this one, the oldest first. Their numbers are not given again."""
    chosen = sa.select(events.c.seq).where(events.c.seq <= up_to_seq).order_by(events.c.seq).limit(SLICE_ROWS)
    return Deletion(
        (
            sa.update(cluster).where(cluster.c.deleted_event_seq < up_to_seq).values(deleted_event_seq=up_to_seq),
            sa.delete(events).where(events.c.seq.in_(chosen)),
        )
    )


def over_before(ended_before: float | None, keep: int | None) -> sa.ColumnElement[bool]:
    """Which applications are not kept: over since before then, or over and not among the ``keep`` newest of those.

    Only such as nothing of runs any more.
    """
    nothing_runs = ~sa.exists().where(containers.c.application_seq == applications.c.seq, live_container)
    beyond: list[sa.ColumnElement[bool]] = []
    if ended_before is not None:
        beyond.append(applications.c.ended_at < ended_before)
    if keep is not None:
        newest = applications.alias("newest")
        # NULL, and so nothing, where there are not that many.
        last_kept = (
            sa.select(newest.c.seq)
            .where(_is_over(newest))
            .order_by(newest.c.seq.desc())
            .offset(keep)
            .limit(1)
            .scalar_subquery()
        )
        beyond.append(applications.c.seq <= last_kept)
    return sa.and_(_is_over(applications), nothing_runs, sa.or_(sa.false(), *beyond))


def _is_over(table: sa.FromClause) -> sa.ColumnElement[bool]:
    # Written out: what is compiled here has no lists among its parameters.
    return table.c.state.in_([sa.literal_column(f"'{state}'") for state in FINAL_APPLICATIONS])
