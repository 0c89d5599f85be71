from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.nm.shepherd.pump import Stream


@pytest.fixture(scope="module")
def null_fd() -> Iterator[int]:
    fd = os.open("/dev/null", os.O_WRONLY)
    yield fd
    os.close(fd)


def pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    return read_fd, write_fd


@given(st.lists(st.binary(max_size=200), max_size=10), st.integers(min_value=0, max_value=1000))
def test_up_to_the_limit_every_byte_is_kept_and_past_it_every_byte_is_counted(
    tmp_path_factory: pytest.TempPathFactory, null_fd: int, pieces: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "stdout"
    read_fd, write_fd = pipe()
    stream = Stream(read_fd, str(path), limit, null_fd)
    for piece in pieces:
        os.write(write_fd, piece)
        stream.pump()
    os.close(write_fd)
    stream.drain()
    stream.close()
    whole = b"".join(pieces)
    assert (path.read_bytes() if path.exists() else b"") == whole[:limit]
    assert stream.dropped_bytes == max(0, len(whole) - limit)


def test_silence_makes_no_file(tmp_path: Path, null_fd: int) -> None:
    read_fd, write_fd = pipe()
    stream = Stream(read_fd, str(tmp_path / "stdout"), 100, null_fd)
    assert stream.pump() == 0
    os.close(write_fd)
    assert stream.pump() is None
    stream.close()
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_loses_output_but_stops_nobody(tmp_path: Path, null_fd: int) -> None:
    read_fd, write_fd = pipe()
    stream = Stream(read_fd, str(tmp_path / "missing" / "stdout"), 100, null_fd)
    os.write(write_fd, b"lost")
    assert stream.pump() == 4
    (tmp_path / "missing").mkdir()
    os.write(write_fd, b"kept")
    stream.pump()
    os.close(write_fd)
    stream.close()
    assert stream.dropped_bytes == 4
    assert (tmp_path / "missing" / "stdout").read_bytes() == b"kept"


def test_a_full_disk_drops_what_does_not_fit_and_goes_on(tmp_path: Path, null_fd: int) -> None:
    read_fd, write_fd = pipe()
    stream = Stream(read_fd, str(tmp_path / "stdout"), 1000, null_fd)
    os.write(write_fd, b"first")
    stream.pump()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, stream._file_fd)
    os.close(full)
    os.write(write_fd, b"second")
    assert stream.pump() == 6
    os.close(write_fd)
    stream.close()
    assert stream.dropped_bytes == 6
