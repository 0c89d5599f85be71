from __future__ import annotations

import os
from pathlib import Path

import pytest

from hrm.model.containers import LogStream
from hrm.model.errors import ClusterError, NotFound
from hrm.nm.logs import read_log
from hrm.nm.shepherd import processes, records
from hrm.nm.usage import disk_use_mib, last_change, proportional_memory_mib, read_progress


@pytest.mark.parametrize(("text", "progress"), [("0.5", 0.5), ("1\n", 1.0), ("0", 0.0), ("  .25  \n", 0.25)])
def test_progress_is_the_number_in_the_file(tmp_path: Path, text: str, progress: float) -> None:
    (tmp_path / "progress").write_text(text)
    assert read_progress(tmp_path / "progress") == progress


@pytest.mark.parametrize("data", [b"", b"half", b"1.5", b"-1", b"nan", b"inf", b"\xff\x00", b"1" * 1000])
def test_what_is_no_progress_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "progress").write_bytes(data)
    assert read_progress(tmp_path / "progress") is None


def test_a_checkpoint_is_as_old_as_its_file_and_a_link_is_none(tmp_path: Path) -> None:
    (tmp_path / "saved").touch()
    os.utime(tmp_path / "saved", (1000.0, 1234.5))
    (tmp_path / "link").symlink_to(tmp_path / "saved")
    assert [last_change(tmp_path / name) for name in ("saved", "link", "missing")] == [1234.5, None, None]


def test_a_fifo_a_link_or_a_folder_in_place_of_the_progress_is_ignored_and_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/proc/loadavg")
    (tmp_path / "folder").mkdir()
    assert [read_progress(tmp_path / name) for name in ("fifo", "link", "folder", "missing")] == [None] * 4


def test_disk_use_counts_what_is_below_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "data").write_bytes(os.urandom(3 << 20))
    (tmp_path / "root").symlink_to("/usr")
    assert disk_use_mib(tmp_path) in (3, 4)
    assert disk_use_mib(tmp_path / "missing") == 0


def test_a_log_that_is_a_fifo_is_an_error_and_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / records.LOGS).mkdir()
    os.mkfifo(tmp_path / records.LOGS / "c.stdout")
    with pytest.raises(ClusterError, match="no plain file"):
        read_log(tmp_path, "c", LogStream.STDOUT, offset=0, max_bytes=10)


def test_a_container_that_printed_nothing_has_an_empty_log_and_an_unknown_one_has_none(tmp_path: Path) -> None:
    (tmp_path / records.EXITS).mkdir()
    (tmp_path / records.EXITS / "silent").touch()
    assert read_log(tmp_path, "silent", LogStream.STDOUT, offset=5, max_bytes=10).data == b""
    with pytest.raises(NotFound):
        read_log(tmp_path, "unknown", LogStream.STDOUT, offset=0, max_bytes=10)


def test_a_process_is_read_whatever_its_name_is() -> None:
    line = b"42 (a) R (1 2) S 7 8 9 0 -1 4194560 1 2 3 4 11 13 17 19 20 0 1 0 555 1000 33 0"
    process = processes.Process(42, line)
    assert (process.state, process.ppid, process.pgrp, process.session) == (b"S", 7, 8, 9)
    assert (process.cpu_ticks, process.waited_cpu_ticks) == (24, 36)
    assert (process.start_ticks, process.rss_pages) == (555, 33)


def test_a_signal_goes_to_the_process_meant_and_not_to_a_later_bearer_of_its_number() -> None:
    pid = os.fork()
    if not pid:
        os.execvp("sleep", ["sleep", "1000"])
    process = processes.look_up(pid)
    assert process is not None
    process.start_ticks += 1
    assert not processes.send_signal(process, 9)
    process.start_ticks -= 1
    assert processes.send_signal(process, 9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert not processes.send_signal(process, 9)


def test_memory_is_divided_between_those_that_share_it() -> None:
    own = processes.look_up(os.getpid())
    assert own is not None

    once = proportional_memory_mib([own])

    assert 0 < once <= own.rss_pages * os.sysconf("SC_PAGE_SIZE") // (1 << 20) + 1
    assert proportional_memory_mib([]) == 0
    gone = processes.Process(1 << 22, b"1 (x) S 1 1 1 0 -1 0 0 0 0 0 1 1 1 1 20 0 1 0 555 1000 33 0")
    assert proportional_memory_mib([gone]) == 0
