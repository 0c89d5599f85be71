from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.nm.shepherd import records, wire

_IDENTITY = {"pid": 7, "start_ticks": [9, 10], "boot_id": "b", "started_at": 1.5}
_END = {"id": "c", "reason": "exited", "code": 0}


def test_a_record_tells_who_it_is_and_how_it_ended() -> None:
    assert records.parse(records.encode_line(_IDENTITY)) == (_IDENTITY, None)
    assert records.parse(records.encode_line(_IDENTITY) + records.encode_line(_END)) == (_IDENTITY, _END)
    assert records.parse(records.encode_line(_END)) == (None, _END)


@given(st.integers(min_value=0, max_value=200))
def test_a_torn_record_never_tells_an_end(cut: int) -> None:
    whole = records.encode_line(_IDENTITY) + records.encode_line(_END)
    torn = whole[:cut]
    identity, end = records.parse(torn)
    assert identity in (None, _IDENTITY)
    assert end == (_END if torn == whole else None)


@given(st.binary(max_size=300))
def test_any_bytes_at_all_are_read_without_an_error(data: bytes) -> None:
    records.parse(data)


@pytest.mark.parametrize("text", ["container_e01_1_0001_01_000001", "a", "A-b_9"])
def test_what_may_be_a_file_name_is_a_container_id(text: str) -> None:
    assert records.is_container_id(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a\n", "-a", "_a", "é", "a" * 129, None, 7])
def test_what_may_not_is_none(text: object) -> None:
    assert not records.is_container_id(text)


def test_a_record_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="link"):
        records.read(str(tmp_path / "link"))


_messages = st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none(), max_size=3), max_size=8)


@given(_messages, st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[dict[str, object]], sizes: list[int]
) -> None:
    stream = b"".join(map(wire.encode, messages))
    decoder, received = wire.Decoder(), []
    position = turn = 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        received += decoder.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert received == messages


def test_bytes_that_are_no_text_survive_the_wire() -> None:
    argument = b"\xff\xfe".decode("utf-8", "surrogateescape")
    [message] = wire.Decoder().feed(wire.encode({"argv": [argument]}))
    assert message == {"argv": [argument]}


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_wire_error(data: bytes) -> None:
    try:
        for message in wire.Decoder().feed(data):
            json.dumps(message)
    except wire.WireError:
        pass


def test_a_line_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_LINE_BYTES", 100)
    decoder = wire.Decoder()
    with pytest.raises(wire.WireError, match="more than 100 bytes"):
        for _ in range(20):
            list(decoder.feed(b"x" * 10))
