"""Files that a container wrote beside what it printed: told and shown, and nothing else by way of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hrm.model.errors import NotFound
from hrm.nm.logs import log_files, read_log_file
from hrm.nm.shepherd import records

CONTAINER = "c"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a node on which a container printed, and wrote a file beside that."""
    for folder in (records.EXITS, records.LOGS):
        (tmp_path / folder).mkdir()
    (tmp_path / records.EXITS / CONTAINER).touch()
    (tmp_path / records.LOGS / f"{CONTAINER}.stdout").write_bytes(b"printed")
    logs = tmp_path / records.CONTAINERS / CONTAINER / "logs"
    logs.mkdir(parents=True)
    (logs / "gc.log").write_bytes(b"0123456789")
    return tmp_path


def beside(state: Path) -> Path:
    return state / records.CONTAINERS / CONTAINER / "logs"


def test_streams_come_first_and_then_files_by_name(state: Path) -> None:
    (beside(state) / "a.log").touch()
    told = [(file.name, file.size_bytes, file.modified_at is None) for file in log_files(state, CONTAINER)]
    assert told == [("stdout", 7, False), ("stderr", 0, True), ("a.log", 0, False), ("gc.log", 10, False)]


def test_a_file_is_read_in_pieces_and_from_its_end(state: Path) -> None:
    first = read_log_file(state, CONTAINER, "gc.log", offset=0, max_bytes=4)
    assert (first.data, first.next_offset, first.end) == (b"0123", 4, False)
    last = read_log_file(state, CONTAINER, "gc.log", offset=-3, max_bytes=100)
    assert (last.data, last.next_offset, last.end) == (b"789", 10, True)


def test_links_pipes_folders_and_files_of_others_are_neither_told_nor_read(state: Path) -> None:
    (state / "secret").write_text("secret")
    (beside(state) / "link").symlink_to(state / "secret")
    os.mkfifo(beside(state) / "pipe")
    (beside(state) / "folder").mkdir()
    names = ["link", "pipe", "folder"]
    if os.geteuid() == 0:
        (beside(state) / "foreign").write_text("secret")
        os.chown(beside(state) / "foreign", 12345, 12345)
        names.append("foreign")
    assert [file.name for file in log_files(state, CONTAINER)] == ["stdout", "stderr", "gc.log"]
    for name in names:
        with pytest.raises(NotFound, match="no log file"):
            read_log_file(state, CONTAINER, name, offset=0, max_bytes=10)


def test_a_folder_of_logs_that_is_a_link_leads_nowhere(state: Path) -> None:
    beside(state).rename(state / "elsewhere")
    beside(state).symlink_to(state / "elsewhere")
    with pytest.raises(NotFound):
        read_log_file(state, CONTAINER, "gc.log", offset=0, max_bytes=10)


@pytest.mark.parametrize("name", ["", ".", "..", "../logs/gc.log", "/etc/passwd", "no\nname", "missing"])
def test_what_is_no_name_of_a_file_there_is_not_found(state: Path, name: str) -> None:
    with pytest.raises(NotFound):
        read_log_file(state, CONTAINER, name, offset=0, max_bytes=10)


def test_a_container_that_never_was_has_none_and_one_without_a_directory_its_streams(state: Path) -> None:
    with pytest.raises(NotFound):
        log_files(state, "unknown")
    beside(state).rename(state / "gone")
    beside(state).parent.rmdir()
    assert [file.name for file in log_files(state, CONTAINER)] == ["stdout", "stderr"]
