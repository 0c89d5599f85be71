"""The first schema.

Written out, not taken from `hrm.rm.store.schema`: a revision says what was, for good.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = sa.text("(state NOT IN ('COMPLETED', 'LOST'))")


def upgrade() -> None:
    op.create_table(
        "cluster",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("cluster_timestamp", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cluster"),
    )
    op.create_table(
        "applications",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("submitted_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("submit_id", sa.Text),
        sa.Column("tasks_total", sa.Integer, nullable=False),
        sa.Column("tasks_succeeded", sa.Integer, nullable=False),
        sa.Column("tasks_failed", sa.Integer, nullable=False),
        sa.Column("tasks_killed", sa.Integer, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("kill_requested", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_applications"),
        sa.UniqueConstraint("user", "submit_id", name="uq_applications_user_submit_id"),
    )
    for column in ("state", "user", "queue"):
        op.create_index(f"ix_applications_{column}_seq", "applications", [column, "seq"])
    op.create_table(
        "jobs",
        sa.Column("application_seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("application_seq", name="pk_jobs"),
        _of_application("jobs"),
    )
    op.create_table(
        "attempts",
        sa.Column("application_seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.PrimaryKeyConstraint("application_seq", "number", name="pk_attempts"),
        _of_application("attempts"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tasks",
        sa.Column("application_seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("task_index", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("losses", sa.Integer, nullable=False),
        sa.Column("container_id", sa.Text),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("application_seq", "task_index", name="pk_tasks"),
        _of_application("tasks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "containers",
        sa.Column("container_id", sa.Text, nullable=False),
        sa.Column("application_seq", _SEQ, nullable=False),
        sa.Column("attempt_number", sa.Integer, nullable=False),
        sa.Column("node_id", sa.Text, nullable=False),
        *_resources(),
        sa.Column("device_ids", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("allocated_at", sa.Double, nullable=False),
        sa.Column("task_index", sa.Integer),
        sa.Column("task_attempt", sa.Integer),
        sa.Column("task_state", sa.Text),
        sa.Column("pid", sa.Integer),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("cpu_s", sa.Double),
        sa.Column("max_rss_mib", sa.BigInteger),
        sa.PrimaryKeyConstraint("container_id", name="pk_containers"),
        _of_application("containers"),
    )
    op.create_index("ix_containers_application_seq_allocated_at", "containers", ["application_seq", "allocated_at"])
    op.create_index("ix_containers_application_seq_task_index", "containers", ["application_seq", "task_index"])
    op.create_index("ix_containers_allocated_at", "containers", ["allocated_at"])
    op.create_index("ix_containers_live", "containers", ["application_seq", "state"], sqlite_where=_LIVE)
    op.create_table(
        "nodes",
        sa.Column("node_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("rack", sa.Text, nullable=False),
        *_resources(),
        sa.Column("last_seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("node_id", name="pk_nodes"),
    )
    op.create_table(
        "events",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("application_seq", _SEQ),
        sa.Column("container_id", sa.Text),
        sa.Column("node_id", sa.Text),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_index("ix_events_application_seq_seq", "events", ["application_seq", "seq"])


def _of_application(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["application_seq"], ["applications.seq"], name=f"fk_{table}_application_seq", ondelete="CASCADE"
    )


def _resources() -> list[sa.Column[object]]:
    return [
        sa.Column("memory_mib", sa.BigInteger, nullable=False),
        sa.Column("vcores_milli", sa.BigInteger, nullable=False),
        sa.Column("gpus_milli", sa.BigInteger, nullable=False),
        sa.Column("other_resources", sa.Text),
    ]
