"""What operators said of nodes: attributes and labels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("said_attributes", sa.Text))
    op.add_column("nodes", sa.Column("said_label", sa.Text))
    op.create_table(
        "node_labels",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("exclusive", sa.Boolean, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
    )
