"""Nodes that are drained; the highest numbers of what was deleted, so that none is given a second time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("cluster", sa.Column("deleted_application_seq", _SEQ, nullable=False, server_default="0"))
    op.add_column("cluster", sa.Column("deleted_event_seq", _SEQ, nullable=False, server_default="0"))
    op.add_column("nodes", sa.Column("drained_at", sa.Double))
    op.add_column("nodes", sa.Column("drained_by", sa.Text, nullable=False, server_default=""))
    op.add_column("nodes", sa.Column("drain_reason", sa.Text, nullable=False, server_default=""))
