"""What an application's own master said when it finished: it stands from then on, whatever happens after."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("final_status", sa.Text))
    op.add_column("attempts", sa.Column("diagnostics", sa.Text, nullable=False, server_default=""))
