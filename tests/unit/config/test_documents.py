"""YAML files as data with line marks: `hrm.config.documents`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.config.documents import MAX_BYTES, BadDocument, Document
from hrm.config.keys import nearest, show_path
from hrm.model.errors import InvalidInput


def findings(text: str) -> list[tuple[int, str, str]]:
    """(line, key, problem) of all that is found in ``text``."""
    try:
        document = Document(text, "f.yaml")
        document.raise_findings()
    except BadDocument as error:
        return [(finding.line, finding.key, finding.problem) for finding in error.findings]
    return []


def test_scalars_follow_the_core_schema_so_that_no_and_times_stay_text() -> None:
    document = Document("{a: no, b: 10:30, c: 0o17, d: 2024-01-01, e: true, f: 1.5, g: 010, h: ~, i: '5'}", "f.yaml")

    assert document.data == {
        "a": "no", "b": "10:30", "c": "0o17", "d": "2024-01-01", "e": True, "f": 1.5, "g": 10, "h": None, "i": "5",
    }  # fmt: skip


def test_the_text_of_a_scalar_is_kept_as_written() -> None:
    document = Document("a: [1.50, true, 010]", "f.yaml")

    assert [document.text(("a", i)) for i in range(3)] == ["1.50", "true", "010"]


def test_the_line_of_a_key_is_that_of_the_key_and_of_a_missing_one_that_of_its_parent() -> None:
    document = Document("a: 1\nb:\n  c:\n    - x\n    - y\n", "f.yaml")

    assert document.line_of(("b", "c")) == 3
    assert document.line_of(("b", "c", 1)) == 5
    assert document.line_of(("b", "nothing", "below")) == 2


def test_a_key_given_twice_is_found_with_both_lines() -> None:
    assert findings("a: 1\nb: 2\na: 3\n") == [(3, "a", "given twice, first on line 1")]


def test_all_findings_of_reading_come_at_once() -> None:
    found = findings("a: 1\na: 2\nb: !!python/object:os.system x\n? [1]\n: 2\n")

    assert [line for line, _, _ in found] == [2, 3, 4]


def test_a_syntax_error_names_its_line() -> None:
    ((line, _, problem),) = findings("a: 1\nb: [1, 2\nc: 3\n")

    assert line == 3
    assert problem.startswith("not YAML")


@pytest.mark.parametrize("text", ["a: 1\nb: \x00", "a: 1\n\x1b[31m: x"])
def test_a_control_character_is_found_with_its_line(text: str) -> None:
    ((line, _, problem),) = findings(text)

    assert line == 2
    assert problem.startswith("has the control character")


def test_two_documents_in_one_file_are_refused() -> None:
    ((_, _, problem),) = findings("a: 1\n---\nb: 2\n")

    assert problem.startswith("not YAML")


def test_an_alias_bomb_is_refused_without_being_blown_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]

    ((line, _, problem),) = findings("\n".join(lines))

    assert "aliases followed" in problem
    assert line > 0


def test_an_alias_that_holds_itself_is_refused() -> None:
    assert findings("a: &a [*a]")


def test_deep_nesting_is_refused() -> None:
    assert findings("[" * 5000 + "]" * 5000)
    assert findings("[" * 100 + "]" * 100)


def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"a" * (MAX_BYTES + 1))

    with pytest.raises(InvalidInput, match="larger than 1 MiB"):
        Document.load(path)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: object) -> None:
    path = tmp_path / "there.yaml"
    make(path)  # type: ignore[operator]

    with pytest.raises(InvalidInput, match=r"there\.yaml: cannot be read: "):
        Document.load(path)


def test_what_is_not_utf_8_is_found_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: gr\xfcn\n")

    with pytest.raises(BadDocument, match=r"latin\.yaml:2: is not UTF-8 text"):
        Document.load(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")

    assert Document.load(path).data == {"a": 1, "b": 2}


def test_paths_read_as_people_write_them() -> None:
    assert show_path(("groups", 2, "env", "PATH")) == "groups[2].env.PATH"


def test_the_nearest_word_is_found_and_a_far_one_is_not() -> None:
    assert nearest("wieght", ["weight", "policy"]) == "weight"
    assert nearest("Weight", ["weight", "policy"]) == "weight"
    assert nearest("xyzzy", ["weight", "policy"]) is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_good_order(text: str) -> None:
    try:
        Document(text, "f.yaml")
    except BadDocument as error:
        assert error.findings
