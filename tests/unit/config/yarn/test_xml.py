"""XML from people who may be hostile: lines are kept, nothing expands, nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.config.documents import MAX_BYTES, BadDocument
from hrm.config.yarn.xml import MAX_ELEMENTS, load_xml, parse_xml
from hrm.model.errors import InvalidInput


def problem_of(raw: bytes) -> str:
    with pytest.raises(BadDocument) as refused:
        parse_xml(raw, "f.xml")
    return str(refused.value)


def test_elements_know_their_lines_attributes_and_text() -> None:
    root = parse_xml(b'<a>\n  <!-- no\n text -->\n  <b name="x"> one <c/>\n two </b>\n</a>', "f.xml")

    (b,) = root.children
    assert (root.name, root.line, b.name, b.line, b.attributes) == ("a", 1, "b", 4, {"name": "x"})
    assert b.text.split() == ["one", "two"]
    assert [child.name for child in b.children] == ["c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_the_encoding_that_it_declares_is_read(encoding: str) -> None:
    raw = f'<?xml version="1.0" encoding="{encoding}"?><a>für</a>'.encode(encoding)

    assert parse_xml(raw, "f.xml").text == "für"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "f.xml:1: not well-formed XML: no element found"),
        (b"<a>\n<b></a>", "f.xml:2: not well-formed XML: mismatched tag"),
        (b"<a>\n&nbsp;</a>", "f.xml:2: not well-formed XML: undefined entity"),
        (b"<a/>\n<b/>", "f.xml:2: not well-formed XML: junk after document element"),
        (b"\n\nhello", "f.xml:3: not well-formed XML: syntax error"),
        (b"<a>\n\xff</a>", "f.xml:2: not well-formed XML: not well-formed (invalid token)"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "f.xml:1: cannot be decoded: unknown encoding: klingon"),
    ],
)
def test_what_is_not_well_formed_is_told_with_its_line(raw: bytes, problem: str) -> None:
    assert problem_of(raw) == problem


BILLION_LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [
 <!ENTITY lol "lol">
 <!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
 <!ENTITY lol2 "&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;&lol1;">
]>
<allocations>&lol2;</allocations>"""


@pytest.mark.parametrize(
    "raw",
    [
        BILLION_LAUGHS,
        b"<a/>".join([b'<!DOCTYPE a SYSTEM "file:///etc/passwd">', b""]),
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd">%p;]><a/>',
        b"<!DOCTYPE a><a/>",
    ],
)
def test_a_dtd_is_refused_before_anything_in_it_is_looked_at(raw: bytes) -> None:
    assert "has a DTD or entities of its own, which are not read (remove the <!DOCTYPE …>)" in problem_of(raw)


def test_depth_and_number_of_elements_are_limited() -> None:
    deep = b"<a>" * 1000 + b"</a>" * 1000
    many = b"<a>" + b"<b/>" * (MAX_ELEMENTS + 1) + b"</a>"

    assert "levels of them" in problem_of(deep)
    assert "levels of them" in problem_of(many)


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.xml"
    large.write_bytes(b" " * (MAX_BYTES + 1))

    with pytest.raises(InvalidInput, match="larger than 1 MiB"):
        load_xml(large)
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        load_xml(tmp_path / "none.xml")
