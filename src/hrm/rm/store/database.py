"""Opening a database: is it ours, is it whole, is its schema ours, and which start of the ResourceManager is this?

Nothing is changed before all questions about an existing database have their answers.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from hrm.model.errors import StoreError
from hrm.rm.store.schema import HEAD, REVISIONS, alembic_version, cluster, metadata

#: How long a statement waits for another process that holds the database (somebody's `sqlite3 hrm.db`).
BUSY_TIMEOUT_MS = 5_000
LOG_KEPT_BYTES = 16 << 20
#: Up to this size a file is read through at each opening.
ALWAYS_CHECKED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Database:
    """Where the rows are, ready for use."""

    engine: sa.Engine
    #: The file of SQLite, None of others.
    path: Path | None
    cluster_timestamp: int
    epoch: int

    @property
    def name(self) -> str:
        return str(self.path) if self.path else self.engine.url.render_as_string(hide_password=True)


def open_database(database: Path | str, *, now: float) -> Database:
    """Open or create it, bring its schema up to date, and count this start.

    ``database`` is the path of a SQLite file, or a URL of SQLAlchemy for another kind. ``now`` is epoch seconds.
    Raises StoreError: cannot be opened, corrupt, not HRM's, made by a newer HRM.
    """
    path = database if isinstance(database, Path) else None
    engine = _sqlite_engine(path) if path else sa.create_engine(str(database), poolclass=NullPool)
    name = str(path or engine.url.render_as_string(hide_password=True))
    with _explained(name):
        revision = _look_into_file(path) if path else _look_into(engine, name)
        if revision is not None and revision != HEAD:
            _upgrade(engine)
        with _transaction(engine) as connection:
            if revision is None:
                _create(connection, cluster_timestamp=int(now * 1000))
            connection.execute(sa.update(cluster).values(epoch=cluster.c.epoch + 1))
            cluster_timestamp, epoch = connection.execute(sa.select(cluster.c.cluster_timestamp, cluster.c.epoch)).one()
    return Database(engine, path, cluster_timestamp, epoch)


def _look_into_file(path: Path) -> str | None:
    """The file's revision, None if it is new; over a connection that cannot write. Made private if it is fit."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise StoreError(f"{path} is no regular file", next_step="move it away")
    if not path.exists():
        _make_file(path)
        return None
    engine = sa.create_engine(_url(path, "ro"), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            # 2 ms per MiB. A large file is read through only if its last user did not end well: then its log is left.
            log = path.with_name(f"{path.name}-wal")
            if path.stat().st_size <= ALWAYS_CHECKED_BYTES or (log.exists() and log.stat().st_size):
                problem = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if problem != "ok":
                    raise _corrupt(path, problem)
        revision = _look_into(engine, str(path))
    except sa.exc.DatabaseError as error:
        if isinstance(error, sa.exc.OperationalError):
            raise
        raise _corrupt(path, error.orig) from None
    path.chmod(0o600)
    return revision


def _make_file(path: Path) -> None:
    """Empty and private from its first moment on. SQLite gives its companions the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreError(
            f"cannot create {path}: {error.strerror}", next_step=f"check the directory {path.parent}"
        ) from None


def _corrupt(path: Path, problem: object) -> StoreError:
    return StoreError(
        f"{path} is corrupt: {problem}",
        next_step=f"restore a copy, or move it away to begin anew: mv {path} {path}.corrupt",
    )


def _url(path: Path, mode: str) -> str:
    return f"sqlite:///{path.absolute().as_uri()}?mode={mode}&uri=true"


def _sqlite_engine(path: Path) -> sa.Engine:
    # mode=rw: a connection made after the file vanished must fail, not make an empty one.
    engine = sa.create_engine(_url(path, "rw"), poolclass=NullPool, connect_args={"check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            # After one large commit the log is cut back, not kept at its largest.
            f"journal_size_limit = {LOG_KEPT_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _look_into(engine: sa.Engine, name: str) -> str | None:
    """The revision; None for an empty database. Raises StoreError if it is not HRM's, or a newer HRM's."""
    with engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        if not tables:
            return None
        if not {alembic_version.name, cluster.name} <= tables:
            raise StoreError(
                f"{name} is a database, but not HRM's (it has the tables {', '.join(sorted(tables)[:5])})",
                next_step="name another place, or move it away",
            )
        revision = connection.execute(sa.select(alembic_version.c.version_num)).scalar()
    if revision not in REVISIONS:
        raise StoreError(
            f"{name} was made by a newer HRM (schema {revision}, this HRM knows up to {HEAD})",
            next_step="upgrade HRM; nothing was changed",
        )
    return str(revision)


def _create(connection: sa.Connection, *, cluster_timestamp: int) -> None:
    # Not by running every revision: importing Alembic alone takes longer than all of this.
    metadata.create_all(connection, checkfirst=False)
    alembic_version.create(connection)
    connection.execute(sa.insert(alembic_version).values(version_num=HEAD))
    connection.execute(sa.insert(cluster).values(id=1, cluster_timestamp=cluster_timestamp, epoch=0))


def _upgrade(engine: sa.Engine) -> None:
    from hrm.rm.store.migrations import upgrade

    with _transaction(engine) as connection:
        upgrade(connection)


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """All or nothing, changes of the schema among it."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # The driver begins by itself before INSERT, UPDATE and DELETE only, not before CREATE TABLE.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise StoreError(
            f"cannot open {name}: {error.orig}", next_step="check its owner, the disk and its space"
        ) from error


def quiet_close(connection: sa.Connection | Any) -> None:
    """Close what may be broken already."""
    try:
        connection.close()
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
        connection.invalidate()
