"""A directory as a stream and back: nothing outside of it is read, nothing outside of the other is written."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from hrm.files.archive import Reader, extract
from hrm.model.errors import ClusterError, Conflict, InvalidInput, NotFound


def read(folder: Path, path: str = "") -> io.BytesIO:
    reader = Reader(folder, path)
    try:
        return io.BytesIO(b"".join(reader.pieces))
    finally:
        reader.close()


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a task left."""
    folder = tmp_path / "container"
    (folder / "out" / "deep").mkdir(parents=True)
    (folder / "out" / "model.pt").write_bytes(b"m" * 3_000_000)
    (folder / "out" / "deep" / "größe.txt").write_text("x")
    (folder / "out" / "run").write_text("#!/bin/sh\n")
    (folder / "out" / "run").chmod(0o755)
    (folder / "out" / "latest").symlink_to("model.pt")
    return folder


def test_a_directory_arrives_as_it_was(left: Path, tmp_path: Path) -> None:
    done = extract(read(left, "out"), tmp_path / "here", overwrite=False)

    here = tmp_path / "here" / "out"
    assert (here / "model.pt").read_bytes() == b"m" * 3_000_000
    assert (here / "deep" / "größe.txt").read_text() == "x"
    assert os.access(here / "run", os.X_OK)
    assert os.readlink(here / "latest") == "model.pt"
    assert (done.files, done.left_out) == (3, [])


def test_one_file_arrives_by_its_last_name(left: Path, tmp_path: Path) -> None:
    extract(read(left, "out/deep/größe.txt"), tmp_path / "here", overwrite=False)

    assert (tmp_path / "here" / "größe.txt").read_text() == "x"


@pytest.mark.parametrize("path", ["../container", "out/../..", "/etc/passwd", "a\0b"])
def test_a_path_out_of_the_directory_is_refused(left: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="path"):
        Reader(left, path)


def test_nothing_is_read_through_a_link(left: Path, tmp_path: Path) -> None:
    (left / "etc").symlink_to("/etc")
    (left / "passwd").symlink_to("/etc/passwd")

    with pytest.raises(NotFound, match="through a link"):
        Reader(left, "etc/passwd")
    with pytest.raises(Conflict, match="neither a file nor a directory"):
        Reader(left, "passwd")
    done = extract(read(left), tmp_path / "here", overwrite=False)

    assert not os.path.lexists(tmp_path / "here" / "passwd")
    assert [words.split(" ")[0] for words in done.left_out] == ["'etc'", "'passwd'"]


def test_what_is_no_file_is_passed_over(left: Path, tmp_path: Path) -> None:
    os.mkfifo(left / "pipe")

    done = extract(read(left), tmp_path / "here", overwrite=False)

    assert done.left_out == ["1 that are no files, or went meanwhile"]


def test_a_file_that_becomes_shorter_while_it_is_read_is_told_by_its_name(left: Path, tmp_path: Path) -> None:
    reader = Reader(left, "out/model.pt")
    first = next(reader.pieces)
    os.truncate(left / "out" / "model.pt", 10)
    stream = io.BytesIO(first + b"".join(reader.pieces))
    reader.close()

    with pytest.raises(ClusterError, match=r"broke off|out/model\.pt became shorter"):
        extract(stream, tmp_path / "here", overwrite=False)


def test_a_stream_that_is_torn_off_is_known_as_such(left: Path, tmp_path: Path) -> None:
    whole = read(left).getvalue()

    for cut in (0, 100, len(whole) // 2, len(whole) - tarfile.RECORDSIZE - 600):
        with pytest.raises(ClusterError, match="broke off"):
            extract(io.BytesIO(whole[:cut]), tmp_path / f"here{cut}", overwrite=False)


def test_what_is_there_is_overwritten_only_if_that_is_wanted(left: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "run").write_text("mine")

    with pytest.raises(Conflict, match="run is there already"):
        extract(read(left, "out/run"), here, overwrite=False)
    assert (here / "run").read_text() == "mine"
    extract(read(left, "out/run"), here, overwrite=True)

    assert (here / "run").read_text() == "#!/bin/sh\n"


def evil(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """(name, type, target) as no node of ours would send."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        last = tarfile.TarInfo("end")
        last.pax_headers = {"HRM.end": ""}
        archive.addfile(last)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_nothing_is_written_outside_of_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ClusterError, match="outside"):
        extract(evil((name, tarfile.REGTYPE, "")), tmp_path / "here", overwrite=True)

    assert not (tmp_path / "evil").exists()


def test_nothing_is_written_through_a_link_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here" / "a").symlink_to("../elsewhere")

    with pytest.raises(ClusterError, match="outside"):
        extract(evil(("a/evil", tarfile.REGTYPE, "")), tmp_path / "here", overwrite=True)

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_that_leads_out_is_left_out(tmp_path: Path) -> None:
    done = extract(evil(("a", tarfile.SYMTYPE, "../..")), tmp_path / "here", overwrite=True)

    assert len(done.left_out) == 1
    assert not os.path.lexists(tmp_path / "here" / "a")
