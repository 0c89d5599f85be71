"""Aggregated logs that are laid out and not written: read here by the rules of the format, and by Hadoop elsewhere."""

from __future__ import annotations

import pytest

from hrm.yarn.web.tfile import Log, Piece, TFile
from tests.unit.yarn.tfile_reader import logs_of

CONTENTS = {"out": b"hello\n", "empty": b"", "long": bytes(range(256)) * 3000}


def laid_out() -> TFile[str]:
    logs = [Log(name, len(data), name) for name, data in CONTENTS.items()]
    return TFile("ada", [("container_1", logs), ("container_2", []), ("container_3", logs[:1])])


def written(file: TFile[str], offset: int, size: int) -> bytes:
    return b"".join(
        CONTENTS[part.source][part.offset : part.offset + part.size] if isinstance(part, Piece) else part
        for part in file.read(offset, size)
    )


def test_each_container_has_its_logs_with_names_and_lengths() -> None:
    file = laid_out()
    data = written(file, 0, file.size)
    assert len(data) == file.size
    assert logs_of(data) == {
        "container_1": CONTENTS,
        "container_2": {},
        "container_3": {"out": b"hello\n"},
    }


@pytest.mark.parametrize("step", [1000, 65_536])
def test_any_part_of_it_is_what_stands_there(step: int) -> None:
    file = laid_out()
    whole = written(file, 0, file.size)
    assert b"".join(written(file, at, step) for at in range(0, file.size, step)) == whole
    assert written(file, file.size, 10) == b""
    assert written(file, 30, 1) == whole[30:31]


def test_a_log_of_more_than_an_int_of_java_can_count_is_in_several_chunks() -> None:
    size = 5 << 30
    file = TFile("ada", [("container_1", [Log("huge", size, "huge")])])
    pieces = [part for part in file.read(0, file.size) if isinstance(part, Piece)]
    assert sum(piece.size for piece in pieces) == size
    assert [piece.offset for piece in pieces] == [number << 30 for number in range(5)]
    assert size < file.size < size + 1000
