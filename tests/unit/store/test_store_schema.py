"""The schema, made in two ways, and for two kinds of database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from hrm.model.states import TaskState
from hrm.rm.records import TaskRow
from hrm.rm.store import open_store
from hrm.rm.store.codec import CODECS
from hrm.rm.store.migrations import configuration, upgrade
from hrm.rm.store.schema import REVISIONS, metadata
from hrm.rm.store.writer import Upsert


def by_revisions(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection)
    return engine


def described(engine: sa.Engine) -> dict[str, Any]:
    """Everything SQLAlchemy can see of every table, and what it cannot: the text after the closing parenthesis."""
    inspector = sa.inspect(engine)
    found: dict[str, Any] = {}
    for name in inspector.get_table_names():
        with engine.connect() as connection:
            text = connection.scalar(sa.text("SELECT sql FROM sqlite_schema WHERE name = :name"), {"name": name})
        found[name] = {
            "columns": [{**column, "type": str(column["type"])} for column in inspector.get_columns(name)],
            "primary key": inspector.get_pk_constraint(name),
            "foreign keys": sorted(map(str, inspector.get_foreign_keys(name))),
            "unique": sorted(map(str, inspector.get_unique_constraints(name))),
            "indexes": sorted(
                str({**index, "dialect_options": {k: str(v) for k, v in index.get("dialect_options", {}).items()}})
                for index in inspector.get_indexes(name)
            ),
            "options": text[text.rindex(")") + 1 :].strip(),
        }
    return found


def test_the_revisions_and_the_tables_make_the_same_schema(tmp_path: Path) -> None:
    open_store(tmp_path / "made.db", now=1.0)
    made = sa.create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    revised = by_revisions(tmp_path / "revised.db")

    assert described(revised) == described(made)
    assert described(made)["tasks"]["options"] == "WITHOUT ROWID"


def test_alembic_finds_nothing_to_change_after_the_last_revision(tmp_path: Path) -> None:
    with by_revisions(tmp_path / "revised.db").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_revisions_known_without_alembic_are_those_it_finds() -> None:
    found = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]

    assert tuple(reversed(found)) == REVISIONS


def test_a_database_made_by_revisions_is_opened(tmp_path: Path) -> None:
    engine = by_revisions(tmp_path / "hrm.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO cluster (id, cluster_timestamp, epoch) VALUES (1, 1763900000000, 4)")

    store = open_store(tmp_path / "hrm.db", now=1.0)

    assert (store.cluster_timestamp, store.epoch) == (1_763_900_000_000, 5)


def test_a_revision_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'hrm.db'}")
    with pytest.raises(RuntimeError), engine.begin() as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection)
        raise RuntimeError("power cut")

    assert sa.inspect(engine).get_table_names() == []


def test_postgresql_takes_the_same_tables_and_upserts() -> None:
    dialect = postgresql.dialect()

    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).strip().startswith("CREATE TABLE")
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).startswith("CREATE INDEX")
    for codec in CODECS.values():
        upsert = Upsert(codec, dialect)
        assert "ON CONFLICT" in upsert.sql and "DO UPDATE SET" in upsert.sql


def test_a_driver_with_named_parameters_gets_them_by_name() -> None:
    upsert = Upsert(CODECS[TaskRow], postgresql.dialect())

    (parameters,) = upsert.parameters([TaskRow(application_seq=1, task_index=2, state=TaskState.PENDING)])

    assert "%(task_index)s" in upsert.sql
    assert parameters["task_index"] == 2 and parameters["state"] == "PENDING"
