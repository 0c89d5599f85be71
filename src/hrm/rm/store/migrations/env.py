"""Run by Alembic: applies revisions over the connection of `hrm.rm.store.migrations.upgrade`, in its transaction."""

from __future__ import annotations

from alembic import context

from hrm.rm.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot change most things in place: the table is made anew and its rows are copied.
    render_as_batch=True,
)
context.run_migrations()
