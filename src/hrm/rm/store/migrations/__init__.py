"""Revisions of the schema, from one release to the next. Imported only when a database is older than this HRM."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the database up to ``revision`` inside the caller's transaction."""
    command.upgrade(configuration(connection), revision)


def configuration(connection: sa.Connection | None = None) -> Config:
    """Alembic's, for the revisions in this package."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
