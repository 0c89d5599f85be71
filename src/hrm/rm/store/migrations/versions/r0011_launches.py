"""How many programs a container has run in turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("containers", sa.Column("launches", sa.Integer))
