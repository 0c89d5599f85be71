"""What a manifest may say, and that its name is that of its content."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.files.manifest import Manifest, make
from hrm.model.errors import InvalidInput

DIGEST = "ab" * 32


def plain(*entries: list[Any]) -> dict[str, Any]:
    return {"entries": list(entries)}


def test_a_manifest_reads_back_as_it_was_written_and_keeps_its_name() -> None:
    manifest = Manifest.of_plain(plain(["d", "src"], ["f", "src/a.py", 3, DIGEST, True], ["l", "src/b.py", "a.py"]))

    again = Manifest.decode(manifest.encode())

    assert again == manifest
    assert again.upload_id == manifest.upload_id
    assert (again.files, again.size_bytes, again.contents) == (1, 3, {DIGEST: 3})


def test_the_order_in_which_files_are_found_does_not_change_the_name() -> None:
    entries = Manifest.of_plain(plain(["d", "a"], ["f", "a/x", 1, DIGEST, False], ["f", "a.txt", 1, DIGEST, False]))

    assert make(reversed(entries.entries)).upload_id == entries.upload_id


@pytest.mark.parametrize(
    "path", ["../etc/passwd", "/etc/passwd", "a/../../b", "a//b", ".", "", "a/./b", "a\0b", "x" * 256]
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="manifest"):
        Manifest.of_plain(plain(["f", path, 1, DIGEST, False]))


def test_a_file_below_a_link_is_refused_for_it_would_be_written_elsewhere() -> None:
    with pytest.raises(InvalidInput, match="no directory above"):
        Manifest.of_plain(plain(["l", "a", "."], ["f", "a/passwd", 1, DIGEST, False]))


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../../x", "", "b/../../.."])
def test_a_link_that_points_out_of_the_upload_is_refused(target: str) -> None:
    with pytest.raises(InvalidInput, match="points out of the directory"):
        Manifest.of_plain(plain(["d", "a"], ["l", "a/link", f"../{target}" if target == ".." else target]))


def test_a_link_to_what_is_beside_the_directory_it_stands_in_is_kept() -> None:
    manifest = Manifest.of_plain(plain(["d", "a"], ["l", "a/link", "../b"], ["f", "b", 0, DIGEST, False]))

    assert manifest.entries[1].target == "../b"


@pytest.mark.parametrize(
    "entries",
    [
        [["f", "b", 1, DIGEST, False], ["f", "a", 1, DIGEST, False]],
        [["f", "a", 1, DIGEST, False], ["f", "a", 1, DIGEST, False]],
        [["f", "a", -1, DIGEST, False]],
        [["f", "a", True, DIGEST, False]],
        [["f", "a", 1, "../../etc/passwd", False]],
        [["f", "a", 1]],
        [["x", "a"]],
        ["a"],
        [["f", "\ud800", 1, DIGEST, False]],
    ],
)
def test_what_is_no_manifest_is_refused(entries: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="manifest"):
        Manifest.of_plain({"entries": entries})


def test_hrms_own_names_at_the_top_are_refused() -> None:
    with pytest.raises(InvalidInput, match="HRM's own"):
        Manifest.of_plain(plain(["f", ".hrm-progress", 1, DIGEST, False]))
