"""Whether containers are guaranteed or opportunistic: all were the former."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("containers", sa.Column("execution_type", sa.Text, nullable=False, server_default="guaranteed"))
