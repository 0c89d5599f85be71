"""That a container is to end for another application: it counts as that, not as a failure, also after a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("containers", sa.Column("preemption", sa.Text))
