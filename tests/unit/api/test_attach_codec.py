"""Frames of output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.model.attach_codec import decode_output, encode_output
from hrm.model.containers import LogStream


@given(st.sampled_from(LogStream), st.integers(0, 2**32 - 1), st.binary())
def test_output_arrives_as_it_was_sent(stream: LogStream, task_index: int, data: bytes) -> None:
    assert decode_output(encode_output(stream, task_index, data)) == (stream, task_index, data)


@pytest.mark.parametrize("frame", [b"", b"\x01\0\0\0", b"\x03\0\0\0\0x"])
def test_anything_else_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame"):
        decode_output(frame)
