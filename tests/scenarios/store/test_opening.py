"""Opening: what is taken, what is refused, and that a refusal touches nothing."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from hrm.model.errors import StoreError
from hrm.rm.store import database, open_store
from tests.scenarios.store.store_rows import application, opened, submission, task


def close(store: object) -> None:
    asyncio.run(store.close())  # type: ignore[attr-defined]


def fill(path: Path, applications: int = 50) -> None:
    async def write() -> None:
        store = open_store(path, now=1.0)
        for seq in range(1, applications + 1):
            await store.commit([*submission(seq, message="m" * 200), *(task(seq, index) for index in range(20))])
        await store.close()

    asyncio.run(write())


def test_each_opening_is_a_new_epoch_of_the_same_cluster(tmp_path: Path) -> None:
    seen = []
    for now in (1_763_900_000.5, 1_763_999_999.0, 1_764_000_000.0):
        store = open_store(tmp_path / "hrm.db", now=now)
        seen.append((store.cluster_timestamp, store.epoch))
        close(store)

    assert seen == [(1_763_900_000_500, 1), (1_763_900_000_500, 2), (1_763_900_000_500, 3)]


def test_a_commit_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    # No test can cut the power: these two are SQLite's words for it.
    opened_file = database.open_database(tmp_path / "hrm.db", now=1.0)
    with opened_file.engine.connect() as connection:
        asked = [connection.exec_driver_sql(f"PRAGMA {what}").scalar() for what in ("journal_mode", "synchronous")]

    assert asked == ["wal", 2], "2 is FULL"


def test_a_new_database_opens_fast(tmp_path: Path) -> None:
    def took_s(attempt: int) -> float:
        begin = time.perf_counter()
        store = open_store(tmp_path / f"{attempt}.db", now=1.0)
        took_s = time.perf_counter() - begin
        close(store)
        return took_s

    # One of them is not disturbed by what else the machine does.
    assert any(took_s(attempt) < 0.5 for attempt in range(20)), "30 ms when measured; a run that starts a server waits"


def test_opening_needs_no_alembic(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from hrm.rm.store import open_store; "
        f"open_store(pathlib.Path({str(tmp_path / 'hrm.db')!r}), now=1.0); print('alembic' in sys.modules)"
    )
    for _ in ("new", "again"):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert result.stdout.strip() == "False"


def test_only_the_owner_may_read_the_database_and_its_companions(tmp_path: Path) -> None:
    path = tmp_path / "hrm.db"
    fill(path)
    path.chmod(0o644)

    store = open_store(path, now=1.0)

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes["hrm.db"] == 0o600
    assert set(modes.values()) == {0o600}
    close(store)


@pytest.mark.parametrize("left_by_a_crash", [b"", None], ids=["empty file", "header only"])
def test_what_a_crash_during_creation_leaves_is_a_new_database(tmp_path: Path, left_by_a_crash: bytes | None) -> None:
    path = tmp_path / "hrm.db"
    if left_by_a_crash is not None:
        path.write_bytes(left_by_a_crash)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.close()

    store = open_store(path, now=1.0)

    assert store.epoch == 1
    close(store)


def damaged_header(path: Path) -> None:
    path.write_bytes(b"once upon a time" + path.read_bytes()[16:])


def damaged_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    pages = len(data) // 4096
    for page in range(pages - 3, pages):
        data[page * 4096 : page * 4096 + 200] = b"\x5a" * 200
    path.write_bytes(data)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_database(path: Path) -> None:
    path.write_text("queues:\n  research: {weight: 3}\n" * 100)


@pytest.mark.parametrize("damage", [damaged_header, damaged_page, cut_off, no_database], ids=lambda f: f.__name__)
def test_a_corrupt_file_is_refused_with_a_way_on_and_left_as_it_is(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "hrm.db"
    fill(path)
    damage(path)  # type: ignore[operator]
    path.chmod(0o640)
    before = path.read_bytes()

    with pytest.raises(StoreError, match="corrupt") as refused:
        open_store(path, now=1.0)

    assert str(path) in refused.value.message
    assert f"mv {path} {path}.corrupt" in refused.value.next_step
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_database_of_a_newer_hrm_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "hrm.db"
    fill(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"newer HRM \(schema 9999") as refused:
        open_store(path, now=1.0)

    assert "upgrade" in refused.value.next_step
    assert path.read_bytes() == before


def test_a_refused_database_keeps_even_the_log_that_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "alive").mkdir()
    fill(tmp_path / "alive" / "hrm.db", applications=3)
    connection = sqlite3.connect(tmp_path / "alive" / "hrm.db", isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    crashed = tmp_path / "crashed"
    shutil.copytree(tmp_path / "alive", crashed)
    connection.close()
    before = {name: (crashed / name).read_bytes() for name in ("hrm.db", "hrm.db-wal")}
    assert before["hrm.db-wal"]

    with pytest.raises(StoreError, match="newer HRM"):
        open_store(crashed / "hrm.db", now=1.0)

    assert {name: (crashed / name).read_bytes() for name in before} == before


def test_a_large_file_is_read_through_only_if_its_last_user_did_not_end_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ALWAYS_CHECKED_BYTES", 0)
    path = tmp_path / "hrm.db"
    fill(path)
    damaged_page(path)

    close(open_store(path, now=1.0))
    (tmp_path / "hrm.db-wal").write_bytes(b"left by a crash")
    with pytest.raises(StoreError, match="corrupt"):
        open_store(path, now=1.0)


def test_a_creation_that_fails_half_way_leaves_a_new_database(tmp_path: Path) -> None:
    def cut(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith("INSERT INTO alembic_version"):
            raise OSError("power cut")

    sa.event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(OSError, match="power cut"):
            open_store(tmp_path / "hrm.db", now=1.0)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", cut)

    store = open_store(tmp_path / "hrm.db", now=1.0)

    assert store.epoch == 1
    close(store)


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "hrm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"not HRM's.*bookmarks"):
        open_store(path, now=1.0)

    assert path.read_bytes() == before


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere.db")

    for name in ("directory", "link"):
        with pytest.raises(StoreError, match="no regular file"):
            open_store(tmp_path / name, now=1.0)
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot create") as refused:
        open_store(tmp_path / "nowhere" / "hrm.db", now=1.0)

    assert str(tmp_path / "nowhere") in refused.value.next_step


async def test_a_file_that_vanishes_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (tmp_path / "hrm.db").unlink()

    with pytest.raises(StoreError):
        await store.commit([application(1)], must=False)

    assert not (tmp_path / "hrm.db").exists()
    await store.close()
