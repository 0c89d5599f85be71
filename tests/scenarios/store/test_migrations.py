"""Databases of earlier versions are opened, and what they hold reads as it should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from msgspec.structs import replace

from hrm.model.states import ApplicationState, NodeState
from hrm.rm.records import NodeLabelRow, NodeRow
from hrm.rm.store import Store
from hrm.rm.store.migrations import upgrade
from tests.scenarios.store.store_rows import opened


@asynccontextmanager
async def reopened(directory: Path) -> AsyncIterator[Store]:
    store = opened(directory)
    try:
        yield store
    finally:
        await store.close()


def make_database(revision: str, path: Path, *statements: str) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection, revision)
        for statement in statements:
            connection.exec_driver_sql(statement)


_CLUSTER = "INSERT INTO cluster (id, cluster_timestamp, epoch) VALUES (1, 1763900000000, 4)"
_APPLICATION = (
    "INSERT INTO applications (seq, user, name, queue, state, priority, submitted_at, tasks_total, tasks_succeeded,"
    " tasks_failed, tasks_killed, message, kill_requested)"
    " VALUES (7, 'ada', 'old', 'default', 'FINISHED', 0, 1.0, 1, 1, 0, 0, '', 0)"
)
_NODE = (
    "INSERT INTO nodes (node_id, state, rack, memory_mib, vcores_milli, gpus_milli, last_seen_at)"
    " VALUES ('n1', 'RUNNING', '/default-rack', 4096, 4000, 0, 2.0)"
)


async def test_a_database_of_the_first_schema_is_opened_and_nobody_drains_its_nodes(tmp_path: Path) -> None:
    make_database("0001", tmp_path / "hrm.db", _CLUSTER, _APPLICATION, _NODE)

    async with reopened(tmp_path) as store:
        loaded = await store.load()
        assert (store.cluster_timestamp, store.epoch) == (1_763_900_000_000, 5)
        assert loaded.next_application_seq == 8
        assert loaded.finished == {ApplicationState.FINISHED: 1}
        (node,) = loaded.nodes
        assert (node.node_id, node.drained_at, node.drained_by, node.drain_reason) == ("n1", None, "", "")


async def test_a_drain_is_kept(tmp_path: Path) -> None:
    make_database("0001", tmp_path / "hrm.db", _CLUSTER, _NODE)
    async with reopened(tmp_path) as store:
        (node,) = (await store.load()).nodes
        drained = NodeRow(
            node_id=node.node_id,
            state=NodeState.DRAINING,
            rack=node.rack,
            total=node.total,
            last_seen_at=3.0,
            drained_at=2.5,
            drained_by="ada",
            drain_reason="new disk",
        )
        await store.commit([drained])

    async with reopened(tmp_path) as store:
        assert (await store.load()).nodes == [drained]


async def test_what_operators_say_of_nodes_is_kept(tmp_path: Path) -> None:
    make_database("0009", tmp_path / "hrm.db", _CLUSTER, _NODE)
    async with reopened(tmp_path) as store:
        loaded = await store.load()
        (node,) = loaded.nodes
        assert (node.said_attributes, node.said_label, loaded.node_labels) == (None, None, [])
        said = replace(node, said_attributes={"os": "debian12"}, said_label="tape")
        labels = [
            NodeLabelRow(name="disk", exclusive=True, removed=True),
            NodeLabelRow(name="tape", exclusive=False),
        ]
        await store.commit([said, *labels])

    async with reopened(tmp_path) as store:
        loaded = await store.load()
        assert (loaded.nodes, loaded.node_labels) == ([said], labels)
