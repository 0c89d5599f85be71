"""Since when an application is suspended, and for how long each of its containers was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("applications", sa.Column("suspended_at", sa.Double))
    op.add_column("containers", sa.Column("suspended_s", sa.Double))
