"""What is taken of a directory that is uploaded, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hrm.files.scan import Scan
from hrm.model.errors import InvalidInput


def paths(scan: Scan) -> list[str]:
    return [entry.path for entry in scan.manifest.entries]


def test_files_directories_and_links_within_are_taken(tmp_path: Path) -> None:
    (tmp_path / "src" / "empty").mkdir(parents=True)
    (tmp_path / "src" / "run.sh").write_text("true\n")
    (tmp_path / "src" / "run.sh").chmod(0o755)
    (tmp_path / "latest").symlink_to("src/run.sh")

    scan = Scan(tmp_path)

    assert paths(scan) == ["latest", "src", "src/empty", "src/run.sh"]
    assert [entry.executable for entry in scan.manifest.entries] == [False, False, False, True]


def test_an_ignore_file_leaves_out_and_takes_in_again(tmp_path: Path) -> None:
    (tmp_path / ".hrmignore").write_text("# results\n*.log\nbuild/\n!keep.log\n/top\n")
    for name in ("a.log", "keep.log", "top", "code.py", "build/x.o", "sub/top", "sub/b.log", ".git/HEAD"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert paths(Scan(tmp_path)) == [".hrmignore", "code.py", "keep.log", "sub", "sub/top"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside"])
def test_a_link_out_of_the_directory_is_refused_by_its_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)

    with pytest.raises(InvalidInput, match="'link' is a link that points out") as refused:
        Scan(tmp_path)

    assert ".hrmignore" in refused.value.next_step


def test_a_fifo_is_refused_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InvalidInput, match="pipe is neither a file nor a directory"):
        Scan(tmp_path)


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    opened = os.open

    def denied(path: Any, *rest: Any, **more: Any) -> int:
        # Root may read everything, and tests may be root's.
        if path == secret:
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(InvalidInput, match="secret cannot be read: Permission denied"):
        Scan(tmp_path)


def test_what_is_not_there_or_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidInput, match="is not there"):
        Scan(tmp_path / "missing")
    with pytest.raises(InvalidInput, match="is not a directory"):
        Scan(tmp_path / "file")


def test_a_file_that_grows_while_it_is_read_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = tmp_path / "growing.log"
    growing.write_text("one\n")
    fdopen = os.fdopen

    def grows(*arguments: Any, **more: Any) -> Any:
        with growing.open("a") as file:
            file.write("two\n")
        return fdopen(*arguments, **more)

    monkeypatch.setattr(os, "fdopen", grows)
    with pytest.raises(InvalidInput, match=r"growing\.log changed while it was uploaded"):
        Scan(tmp_path)


@pytest.mark.parametrize("change", ["shorter", "other", "gone"])
def test_a_file_that_changes_before_it_is_sent_is_refused_by_its_name(tmp_path: Path, change: str) -> None:
    file = tmp_path / "data"
    file.write_text("content")
    scan = Scan(tmp_path)

    match change:
        case "shorter":
            os.truncate(file, 2)
        case "other":
            file.write_text("CONTENT")
        case "gone":
            file.unlink()

    with pytest.raises(InvalidInput, match="data changed while it was uploaded"):
        b"".join(scan.pack(scan.manifest.contents))
