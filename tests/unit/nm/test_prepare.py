"""Preparing a container: archives that are safe, copies that are shared, tokens in Hadoop's form, the script."""

from __future__ import annotations

import contextlib
import io
import os
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hrm.model import hadoop_tokens
from hrm.model.errors import InvalidInput
from hrm.model.launch_contexts import LaunchContext, LocalResource, ResourceKind, Visibility, taken_from
from hrm.nm.prepare import archives, sources
from hrm.nm.prepare.cache import APPLICATION_AGE_S, CLEAN_INTERVAL_S, Cache
from hrm.nm.prepare.errors import PrepareError
from hrm.nm.prepare.script import launch_script
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.credentials import Credentials


def a_zip(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


def a_tar(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """Of (name, type, where it leads)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"text"))
    return path


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..\\outside"])
def test_no_member_of_an_archive_lands_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(PrepareError, match="outside of itself"):
        archives.unpack(tmp_path / "bad.zip", tmp_path / "folder", "bad.zip")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("link", tarfile.SYMTYPE, "..")],
        [("link", tarfile.SYMTYPE, "/etc")],
        [("a/up", tarfile.SYMTYPE, ".."), ("out", tarfile.SYMTYPE, "a/up/../..")],
        [("a/here", tarfile.SYMTYPE, ".."), ("a/here/file", tarfile.REGTYPE, "")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("hard", tarfile.LNKTYPE, "../outside")],
    ],
)
def test_no_link_of_an_archive_leads_out_of_it(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    (tmp_path / "outside").write_text("x")
    with pytest.raises(PrepareError):
        archives.unpack(a_tar(tmp_path / "bad.tgz", *members), tmp_path / "folder", "bad.tgz")


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    path = a_tar(
        tmp_path / "good.tar.gz",
        ("lib/real", tarfile.REGTYPE, ""),
        ("bin/link", tarfile.SYMTYPE, "../lib/real"),
        ("lib/hard", tarfile.LNKTYPE, "lib/real"),
    )
    archives.unpack(path, tmp_path / "folder", "good.tar.gz")
    assert (tmp_path / "folder/bin/link").read_text() == (tmp_path / "folder/lib/hard").read_text() == "text"


def test_an_archive_that_unpacks_to_too_much_is_refused_however_small_it_is(tmp_path: Path) -> None:
    bomb = a_zip(tmp_path / "bomb.zip", zeros="0" * 5_000_000)
    with pytest.raises(PrepareError, match="unpacks to more than 1000000 bytes"):
        archives.unpack(bomb, tmp_path / "folder", "bomb.zip", max_bytes=1_000_000)
    many = a_zip(tmp_path / "many.zip", a="", b="", c="")
    with pytest.raises(PrepareError, match="too many files"):
        archives.unpack(many, tmp_path / "other", "many.zip", max_files=2)


def test_something_that_is_no_archive_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(PrepareError, match=r"archive x\.zip cannot be unpacked"):
        archives.unpack(tmp_path / "x.zip", tmp_path / "folder", "x.zip")


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_damaged_archive_is_refused_wherever_it_is_damaged(tmp_path: Path, form: str) -> None:
    whole = tmp_path / f"x.{form}"
    text = random.Random(7).randbytes(20_000).hex()
    if form == "zip":
        a_zip(whole, a=text, b=text)
    else:
        with tarfile.open(whole, f"w:{form[4:]}") as archive:
            member = tarfile.TarInfo("a")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    data = whole.read_bytes()
    for number, at in enumerate(range(0, len(data), len(data) // 20)):
        whole.write_bytes(data[:at] + bytes(byte ^ 0x5A for byte in data[at : at + 40]) + data[at + 40 :])
        # Some of it looks like trouble with the disk.
        with contextlib.suppress(PrepareError, OSError):
            archives.unpack(whole, tmp_path / f"folder{number}", whole.name)


def test_a_link_without_an_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(link, "a/" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises((PrepareError, OSError)):
            archives.unpack(tmp_path / "x.zip", tmp_path / "folder", "x.zip")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1_000_000


def test_what_is_larger_than_may_be_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 1001)
    with pytest.raises(PrepareError, match="more than 1000 bytes"):
        sources.fetch(resource(tmp_path / "large"), tmp_path / "copy", max_bytes=1000)
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        (tmp_path / "folder" / name).write_bytes(b"x" * 600)
    with pytest.raises(PrepareError, match="more than 1000 bytes"):
        sources.fetch(resource(tmp_path / "folder"), tmp_path / "copies", max_bytes=1000)


def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        wanted = LocalResource(url=path.as_uri(), timestamp_ms=path.stat().st_mtime_ns // 1_000_000)
        with pytest.raises(PrepareError, match="neither a file nor a folder"):
            sources.fetch(wanted, tmp_path / "copy")


def test_no_folder_is_copied_for_all(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(PrepareError, match="a folder is no copy for all"):
        sources.fetch(resource(tmp_path / "folder"), tmp_path / "copy", folders=False)
    assert not (tmp_path / "copy").exists()


def test_of_a_pattern_only_what_fits_is_unpacked(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "job.jar", lib__a="1", doc__b="2")
    archives.unpack(path, tmp_path / "folder", "job.jar", pattern="lib/.*")
    assert [entry.name for entry in (tmp_path / "folder").iterdir()] == ["lib"]


def resource(path: Path, **fields: object) -> LocalResource:
    path.touch()
    return LocalResource(url=path.as_uri(), timestamp_ms=path.stat().st_mtime_ns // 1_000_000, **fields)  # type: ignore[arg-type]


@pytest.fixture
def at() -> list[float]:
    return [1e9]


@pytest.fixture
def cache_of(tmp_path: Path, at: list[float]) -> Callable[[str], Cache]:
    (tmp_path / "cache").mkdir()
    return lambda application: Cache(tmp_path / "cache", application, clock=lambda: at[0])


def let_go(cache: Cache) -> None:
    """As when the last process of its container has ended."""
    for fd in cache.held:
        os.close(fd)


def test_what_an_application_left_goes_some_time_after_its_last_use_but_not_while_it_is_used(
    tmp_path: Path, cache_of: Callable[[str], Cache], at: list[float]
) -> None:
    first = cache_of("app_1")
    path = first.get(resource(tmp_path / "file"))
    at[0] = path.parents[1].stat().st_mtime + APPLICATION_AGE_S + 10
    cache_of("app_2").clean()
    assert path.exists(), "its container runs"
    let_go(first)
    cache_of("app_2").clean()
    assert path.exists(), "it was looked a moment ago"
    at[0] += CLEAN_INTERVAL_S + APPLICATION_AGE_S
    cache_of("app_2").clean()
    assert not (tmp_path / "cache" / "app_1").exists()


def test_of_what_is_shared_that_goes_which_was_not_used_for_longest(
    tmp_path: Path, cache_of: Callable[[str], Cache]
) -> None:
    paths = []
    for number in range(3):
        file = tmp_path / f"file{number}"
        file.write_bytes(b"x" * 100_000)
        cache = cache_of("app_1")
        paths.append(cache.get(resource(file, visibility=Visibility.PUBLIC)))
        os.utime(paths[-1].parents[1] / "lock", (1000 + number, 1000 + number))
        let_go(cache)
    cache_of("app_1").clean(max_bytes=250_000)
    assert [path.exists() for path in paths] == [False, True, True]


def test_a_copy_that_broke_off_is_made_anew(tmp_path: Path, cache_of: Callable[[str], Cache]) -> None:
    a_zip(tmp_path / "x.zip", a="1")
    wanted = resource(tmp_path / "x.zip", kind=ResourceKind.ARCHIVE)
    cache = cache_of("app_1")
    entry = cache._entry(wanted)
    (entry / "new" / "x.zip" / "half").mkdir(parents=True)
    assert [found.name for found in cache.get(wanted).iterdir()] == ["a"]


def test_tokens_of_several_files_are_one_file_and_the_first_of_a_name_wins() -> None:
    ours, theirs, other = (
        Credentials({kind: TokenProto(identifier=identifier, password=b"p", kind=kind, service="")}).write()
        for kind, identifier in (("YARN_AM_RM_TOKEN", b"a" * 300), ("YARN_AM_RM_TOKEN", b"b"), ("HDFS", b"c"))
    )
    both = hadoop_tokens.merged(ours, theirs + b"\0\0", b"", other)
    assert both.count(b"a" * 300) == 1
    assert hadoop_tokens.merged(both) == both
    assert both[:6] == b"HDTS\0\2"


@pytest.mark.parametrize("data", [b"HDTS\0\5abc", b"HDTS\1", b"nothing", b"HDTS\0\x88" + b"\xff" * 8, b"H"])
def test_what_are_no_tokens_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="tokens"):
        hadoop_tokens.merged(data)


def test_a_context_comes_back_out_of_the_variables_that_carry_it_and_leaves_none() -> None:
    context = LaunchContext(
        commands=("run", "it"),
        environment={"A": "ü" * 200_000},
        local_resources={"a/b": LocalResource(url="file:/x", timestamp_ms=1, kind=ResourceKind.PATTERN, pattern="x")},
        tokens=os.urandom(300_000),
    )
    environ = context.variables() | {"PATH": "/bin"}
    assert all(len(value) < 128 * 1024 for value in environ.values())
    assert taken_from(environ) == context
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize("link", ["../up", "/abs", "a//b", "", "a/./b"])
def test_a_file_cannot_be_wanted_outside_of_the_containers_directory(link: str) -> None:
    with pytest.raises(InvalidInput, match="not a name inside"):
        LaunchContext(commands=("x",), local_resources={link: LocalResource(url="file:/x", timestamp_ms=1)})


def test_a_file_at_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="which is no address"):
        LaunchContext(commands=("x",), local_resources={"a": LocalResource(url="http://[::1/x", timestamp_ms=1)})


def test_the_script_goes_through_two_shells_as_yarns_does() -> None:
    context = LaunchContext(
        commands=("java", "-Dx='a b'", "\\$HOME", "1><LOG_DIR>/out"), environment={"B": "$A", "A": "1"}
    )
    script = launch_script(context, log_dir="/logs", ours={"PWD": "/it's"})
    assert script.splitlines()[3:] == [
        r"export PWD='/it'\''s'",
        'export A="1"',
        'export B="$A"',
        "exec /bin/bash -c \"java -Dx='a b' \\$HOME 1>/logs/out\"",
    ]
