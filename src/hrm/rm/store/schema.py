"""Tables of the store. One table per row type of `hrm.rm.records`, one column per field, under the field's name.

Three kinds of field take another shape: `Resources` are four columns (so that accounting can sum them), lists,
mappings and other values are JSON text, states are their names. A change here needs a revision in
``migrations/versions``; a test proves that the revisions and these tables make the same schema.
"""

from __future__ import annotations

import sqlalchemy as sa

from hrm.model.states import ApplicationState, ContainerState
from hrm.rm import records

#: Alembic revisions from the first to the newest. A database whose revision is not among them is from a newer HRM.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012")
HEAD = REVISIONS[-1]

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows itself only under a column declared INTEGER, which there holds 64 bits too.
_Seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_Amount = sa.BigInteger()
_Json = sa.Text()
_Time: sa.Double[float] = sa.Double()


def _application(*, key: bool = False) -> sa.Column[int]:
    return sa.Column(
        "application_seq",
        _Seq,
        sa.ForeignKey("applications.seq", ondelete="CASCADE"),
        primary_key=key,
        autoincrement=False,
        nullable=False,
    )


def _resources() -> list[sa.Column[object]]:
    return [
        sa.Column("memory_mib", _Amount, nullable=False),
        sa.Column("vcores_milli", _Amount, nullable=False),
        sa.Column("gpus_milli", _Amount, nullable=False),
        sa.Column("other_resources", _Json),
    ]


#: One row: who this cluster is. ``epoch`` grows with each start of the ResourceManager. ``deleted_…_seq`` are the
#: highest that were ever deleted: no number is given twice.
cluster = sa.Table(
    "cluster",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("cluster_timestamp", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("deleted_application_seq", _Seq, nullable=False, server_default="0"),
    sa.Column("deleted_event_seq", _Seq, nullable=False, server_default="0"),
)

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("seq", _Seq, primary_key=True, autoincrement=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("submitted_at", _Time, nullable=False),
    sa.Column("started_at", _Time),
    sa.Column("ended_at", _Time),
    sa.Column("submit_id", sa.Text),
    sa.Column("tasks_total", sa.Integer, nullable=False),
    sa.Column("tasks_succeeded", sa.Integer, nullable=False),
    sa.Column("tasks_failed", sa.Integer, nullable=False),
    sa.Column("tasks_killed", sa.Integer, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("kill_requested", sa.Boolean, nullable=False),
    sa.Column("suspended_at", _Time),
    sa.Column("deadline_at", _Time),
    sa.UniqueConstraint("user", "submit_id"),
    sa.Index(None, "state", "seq"),
    sa.Index(None, "user", "seq"),
    sa.Index(None, "queue", "seq"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _application(key=True),
    sa.Column("spec", _Json, nullable=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _application(key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", _Time, nullable=False),
    sa.Column("ended_at", _Time),
    sa.Column("final_status", sa.Text),
    sa.Column("diagnostics", sa.Text, nullable=False, server_default=""),
    sa.Column("host", sa.Text, nullable=False, server_default=""),
    sa.Column("rpc_port", sa.Integer, nullable=False, server_default="-1"),
    sa.Column("tracking_url", sa.Text, nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

tasks = sa.Table(
    "tasks",
    metadata,
    _application(key=True),
    sa.Column("task_index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    sa.Column("container_id", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("message", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

containers = sa.Table(
    "containers",
    metadata,
    sa.Column("container_id", sa.Text, primary_key=True),
    _application(),
    sa.Column("attempt_number", sa.Integer, nullable=False),
    sa.Column("node_id", sa.Text, nullable=False),
    *_resources(),
    sa.Column("device_ids", _Json, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("allocated_at", _Time, nullable=False),
    sa.Column("task_index", sa.Integer),
    sa.Column("task_attempt", sa.Integer),
    sa.Column("task_state", sa.Text),
    sa.Column("pid", sa.Integer),
    sa.Column("started_at", _Time),
    sa.Column("ended_at", _Time),
    sa.Column("exit_code", sa.Integer),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("cpu_s", _Time),
    sa.Column("max_rss_mib", sa.BigInteger),
    sa.Column("preemption", _Json),
    sa.Column("read_bytes", sa.BigInteger),
    sa.Column("written_bytes", sa.BigInteger),
    sa.Column("suspended_s", _Time),
    sa.Column("tags", _Json),
    sa.Column("launches", sa.Integer),
    sa.Column("execution_type", sa.Text, nullable=False, server_default="guaranteed"),
    sa.Index(None, "application_seq", "allocated_at"),
    sa.Index(None, "application_seq", "task_index"),
    sa.Index(None, "allocated_at"),
)

FINAL_APPLICATIONS = tuple(state.value for state in ApplicationState if state.final)
FINAL_CONTAINERS = tuple(state.value for state in ContainerState if state.final)

#: What recovery loads: few, however long the history is.
live_container = containers.c.state.not_in([sa.literal_column(f"'{state}'") for state in FINAL_CONTAINERS])
# A whole index elsewhere: the word for PostgreSQL would make SQLAlchemy import that dialect (40 ms) in any case.
sa.Index("ix_containers_live", containers.c.application_seq, containers.c.state, sqlite_where=live_container)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("node_id", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("rack", sa.Text, nullable=False),
    *_resources(),
    sa.Column("last_seen_at", _Time, nullable=False),
    sa.Column("drained_at", _Time),
    sa.Column("drained_by", sa.Text, nullable=False, server_default=""),
    sa.Column("drain_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("said_attributes", _Json),
    sa.Column("said_label", sa.Text),
)

node_labels = sa.Table(
    "node_labels",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("exclusive", sa.Boolean, nullable=False),
    sa.Column("removed", sa.Boolean, nullable=False),
)

#: No foreign keys: the log outlives what it tells about.
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", _Seq, primary_key=True, autoincrement=False),
    sa.Column("at", _Time, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("application_seq", _Seq),
    sa.Column("container_id", sa.Text),
    sa.Column("node_id", sa.Text),
    sa.Column("detail", _Json),
    sa.Index(None, "application_seq", "seq"),
)

#: In the order in which they are written: what is pointed at comes before what points at it.
TABLES: dict[type[records.Row], sa.Table] = {
    records.ApplicationRow: applications,
    records.JobRow: jobs,
    records.AttemptRow: attempts,
    records.NodeRow: nodes,
    records.NodeLabelRow: node_labels,
    records.TaskRow: tasks,
    records.ContainerRow: containers,
    records.EventRow: events,
}

#: Alembic's own table, made here too so that a new database needs no import of Alembic (0.3 s).
alembic_version = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
