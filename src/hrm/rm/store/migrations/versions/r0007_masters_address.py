"""Where an application's master can be spoken to, and where it shows what it does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("host", sa.Text, nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("rpc_port", sa.Integer, nullable=False, server_default="-1"))
    op.add_column("attempts", sa.Column("tracking_url", sa.Text, nullable=False, server_default=""))
