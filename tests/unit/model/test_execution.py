"""Programs beside a task, as they are asked for and as their streams are carried."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.execution import (
    MAX_COMMAND_BYTES,
    ExecSpec,
    FrameDecoder,
    FrameKind,
    exec_from_dict,
    exec_to_dict,
    exit_code_of,
    exit_frame,
    frame,
    resize_frame,
    size_of,
)
from hrm.model.jobs import TerminalSize


def test_frames_are_found_again_however_they_were_cut() -> None:
    data = frame(FrameKind.STDIN, b"one") + resize_frame(40, 132) + frame(FrameKind.STDOUT) + exit_frame(-9)
    decoder = FrameDecoder()

    found = [each for at in range(len(data)) for each in decoder.feed(data[at : at + 1])]

    assert [kind for kind, _ in found] == [FrameKind.STDIN, FrameKind.RESIZE, FrameKind.STDOUT, FrameKind.EXIT]
    assert (found[0][1], size_of(found[1][1]), exit_code_of(found[3][1])) == (b"one", (40, 132), -9)


@pytest.mark.parametrize("data", [b"\x09\0\0\0\0", b"\0\xff\xff\xff\xff"], ids=["kind", "length"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a frame"):
        list(FrameDecoder().feed(data))


@pytest.mark.parametrize("payload", [b"", b"123"])
def test_what_says_no_size_and_no_exit_code_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidInput):
        size_of(payload)
    with pytest.raises(InvalidInput):
        exit_code_of(payload)


def test_a_program_survives_the_way_through_json() -> None:
    spec = ExecSpec(
        command=("sh", "-c", "ä"), env={"A": "1"}, workdir="/tmp", terminal=TerminalSize(rows=24, columns=80)
    )

    assert exec_from_dict(exec_to_dict(spec)) == spec
    assert exec_from_dict({"command": ["ls"]}) == ExecSpec(command=("ls",))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "not an object"),
        ({}, "not a list of strings"),
        ({"command": []}, "no command"),
        ({"command": [""]}, "no command"),
        ({"command": "ls"}, "not a list of strings"),
        ({"command": ["a\0b"]}, "has a NUL byte"),
        ({"command": ["x" * (MAX_COMMAND_BYTES + 1)]}, "more than 131072 bytes"),
        ({"command": ["ls"], "env": {"1": "a"}}, "not a variable's name"),
        ({"command": ["ls"], "env": {"HRM_CONTAINER_ID": "a"}}, "HRM's to say"),
        ({"command": ["ls"], "env": {"A": "\0"}}, "has a NUL byte"),
        ({"command": ["ls"], "env": ["A"]}, "not names with strings"),
        ({"command": ["ls"], "workdir": "here"}, "not an absolute path"),
        ({"command": ["ls"], "workdir": 1}, "not a string"),
        ({"command": ["ls"], "terminal": [24]}, "not \\[rows, columns\\]"),
        ({"command": ["ls"], "terminal": [24, True]}, "not \\[rows, columns\\]"),
        ({"command": ["ls"], "terminal": [0, 80]}, "not a terminal's size"),
    ],
)
def test_what_is_no_program_is_refused(data: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        exec_from_dict(data)
