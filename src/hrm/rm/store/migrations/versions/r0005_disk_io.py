"""What a container read from disks and wrote to them; not known of those that ended before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("containers", sa.Column("read_bytes", sa.BigInteger))
    op.add_column("containers", sa.Column("written_bytes", sa.BigInteger))
