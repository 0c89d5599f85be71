"""Deleting directories whose content is anybody's."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.nm.trash import FOLDER, Trash, tree_bytes

NOBODY = 65534


def never() -> bool:
    return False


@pytest.fixture
def node(tmp_path: Path) -> Path:
    (tmp_path / "containers").mkdir()
    return tmp_path


def thrown_away(node: Path, name: str = "c1") -> bool:
    """Take it, empty the trash; True iff nothing is left."""
    trash = Trash(node)
    trash.take("containers", name)
    return trash.empty(stop=never) and not os.listdir(node / FOLDER)


def test_a_tree_of_all_kinds_of_files_goes(node: Path) -> None:
    home = node / "containers" / "c1"
    (home / "a" / "b").mkdir(parents=True)
    (home / "a" / "file").write_text("x")
    (home / "a" / "b" / "-rf *\n").write_text("x")
    os.mkfifo(home / "fifo")
    (home / "broken").symlink_to("nowhere")
    os.link(home / "a" / "file", home / "hard")

    assert thrown_away(node)
    assert not home.exists()


def test_links_are_not_followed(node: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "file").write_text("kept")
    precious.chmod(0o750)
    home = node / "containers" / "c1"
    home.mkdir()
    (home / "directory").symlink_to(precious)
    (home / "file").symlink_to(precious / "file")

    assert thrown_away(node)
    assert (precious / "file").read_text() == "kept"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o750


def test_a_link_in_place_of_the_directory_itself_is_only_unlinked(node: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (node / "containers" / "c1").symlink_to(precious)

    assert thrown_away(node)
    assert (precious / "file").read_text() == "kept"


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "c1").mkdir(parents=True)
    node = tmp_path / "node"
    node.mkdir()
    (node / "containers").symlink_to(elsewhere)

    with pytest.raises(OSError):
        Trash(node).take("containers", "c1")
    assert (elsewhere / "c1").exists()


@pytest.fixture
def node_of_a_user() -> Iterator[Path]:
    """A node's directory, and we are no root while the test runs: rights mean nothing to root."""
    path = Path(tempfile.mkdtemp(prefix="hrm-trash-"))
    (path / "containers").mkdir()
    user = os.geteuid()
    if user == 0:
        os.chown(path, NOBODY, NOBODY)
        os.chown(path / "containers", NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield path
    finally:
        os.seteuid(user)
        shutil.rmtree(path)


def test_a_directory_whose_owner_lost_the_rights_to_it_goes_too(node_of_a_user: Path) -> None:
    node = node_of_a_user
    home = node / "containers" / "c1"
    (home / "locked" / "deeper").mkdir(parents=True)
    (home / "locked" / "deeper" / "file").write_text("x")
    (home / "locked" / "deeper").chmod(0)
    (home / "locked").chmod(0o500)
    home.chmod(0)

    assert thrown_away(node)


def test_a_tree_deeper_than_any_recursion_goes(node: Path) -> None:
    home = node / "containers" / "c1"
    home.mkdir()
    fd = os.open(home, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)

    assert thrown_away(node)


def test_more_entries_than_are_read_at_a_time_go(node: Path) -> None:
    home = node / "containers" / "c1"
    home.mkdir()
    for number in range(2500):
        (home / str(number)).touch()

    assert thrown_away(node)


def test_when_the_time_is_over_it_ends_and_goes_on_later(node: Path) -> None:
    (node / "containers" / "c1" / "sub").mkdir(parents=True)
    trash = Trash(node)
    trash.take("containers", "c1")

    assert not trash.empty(stop=lambda: True)
    assert os.listdir(node / FOLDER)
    # As after a crash: somebody else finds what is there.
    assert Trash(node).empty(stop=never)
    assert not os.listdir(node / FOLDER)


def test_what_is_not_there_is_no_error(node: Path) -> None:
    assert thrown_away(node, "never")


def test_the_bytes_of_a_tree_are_those_on_disk_without_what_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "large").write_bytes(b"x" * (1 << 20))
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "large")
    without = tree_bytes(tmp_path / "tree")
    (tmp_path / "tree" / "sub" / "file").write_bytes(b"x" * (256 << 10))

    assert without < 64 << 10
    assert tree_bytes(tmp_path / "tree") - without == 256 << 10
