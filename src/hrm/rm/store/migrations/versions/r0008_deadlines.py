"""Until when an application may live."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("applications", sa.Column("deadline_at", sa.Double))
