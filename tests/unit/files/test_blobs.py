"""Contents by their hash: what is believed of a pack, what is kept and what goes."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.files.blobs import GRACE_S, BlobStore
from hrm.files.layout import lay_out
from hrm.files.manifest import Manifest
from hrm.files.pack import Unpacker
from hrm.files.scan import Scan
from hrm.model.errors import InvalidInput, NotFound


def made(folder: Path, **files: str) -> Scan:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return Scan(folder)


def stored(store: BlobStore, scan: Scan) -> None:
    receiver = store.receiver(store.missing(scan.manifest))
    for piece in scan.pack(store.missing(scan.manifest)):
        receiver.feed(piece)
    receiver.finish()
    assert store.keep(scan.manifest) == {}


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store")


def test_what_is_packed_and_received_is_laid_out_as_it_was(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one", b="two", c="one", empty="")
    (tmp_path / "src" / "sub").mkdir()
    (tmp_path / "src" / "sub" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "src" / "sub" / "run").chmod(0o700)
    (tmp_path / "src" / "link").symlink_to("sub/run")
    scan = Scan(tmp_path / "src")

    stored(store, scan)
    lay_out(store.manifest(scan.manifest.upload_id), store, tmp_path / "out", owner=None, umask=0o027)

    assert Scan(tmp_path / "out").manifest == scan.manifest
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "out" / "sub" / "run").stat().st_mode & 0o777 == 0o750


def test_what_is_laid_out_is_a_copy_of_its_own(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one")
    stored(store, scan)
    lay_out(scan.manifest, store, tmp_path / "first", owner=None, umask=0)

    (tmp_path / "first" / "a").write_text("changed")
    lay_out(scan.manifest, store, tmp_path / "second", owner=None, umask=0)

    assert (tmp_path / "second" / "a").read_text() == "one"


def test_a_second_upload_of_the_same_content_misses_nothing(tmp_path: Path, store: BlobStore) -> None:
    stored(store, made(tmp_path / "one", a="same", b="other"))

    again = made(tmp_path / "two", x="same", y="new")

    assert list(store.missing(again.manifest)) == [hashlib.sha256(b"new").hexdigest()]


def test_a_content_that_is_not_what_its_hash_says_is_refused_and_not_kept(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one")
    pack = bytearray(b"".join(scan.pack(scan.manifest.contents)))
    pack[-1] ^= 1
    receiver = store.receiver(store.missing(scan.manifest))

    with pytest.raises(InvalidInput, match="not what its hash says"):
        receiver.feed(bytes(pack))
    receiver.close()

    assert store.missing(scan.manifest) == scan.manifest.contents
    with pytest.raises(NotFound):
        store.manifest(scan.manifest.upload_id)
    assert list((tmp_path / "store" / "new").iterdir()) == []


def test_a_content_that_nobody_asked_for_is_refused(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one")

    with pytest.raises(InvalidInput, match="was not asked for"):
        store.receiver({}).feed(b"".join(scan.pack(scan.manifest.contents)))


def test_a_pack_that_breaks_off_keeps_what_came_whole(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one", b="two")
    pack = b"".join(scan.pack(scan.manifest.contents))
    receiver = store.receiver(store.missing(scan.manifest))

    receiver.feed(pack[:-1])
    with pytest.raises(InvalidInput, match="broke off"):
        receiver.finish()
    receiver.close()

    assert len(store.missing(scan.manifest)) == 1


def test_the_upload_unused_for_longest_goes_first_but_not_one_in_use(tmp_path: Path, store: BlobStore) -> None:
    scans = [made(tmp_path / name, own=name * 100, shared="shared") for name in ("a", "b", "c")]
    for age, scan in zip((3, 2, 1), scans, strict=True):
        stored(store, scan)
        when = time.time() - GRACE_S - age
        os.utime(tmp_path / "store" / "manifests" / scan.manifest.upload_id, (when, when))
    ids = [scan.manifest.upload_id for scan in scans]

    told = store.prune(keep={ids[0]}, age_s=None, most_bytes=250, dry_run=True)
    done = store.prune(keep={ids[0]}, age_s=None, most_bytes=250)

    assert told == done == (1, 100)
    assert [(tmp_path / "store" / "manifests" / upload_id).exists() for upload_id in ids] == [True, False, True]
    assert store.missing(scans[0].manifest) == store.missing(scans[2].manifest) == {}
    assert len(store.missing(scans[1].manifest)) == 1


def test_what_was_used_just_now_stays_unless_everything_is_to_go(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one")
    stored(store, scan)

    assert store.prune(keep=(), age_s=None, most_bytes=0) == (0, 0)
    assert store.prune(keep=(), age_s=0.0, most_bytes=None) == (1, 3)
    assert store.size_bytes() == 0


@pytest.mark.parametrize("name", ["../manifests/x", "/etc/passwd", "", "ab"])
def test_what_is_no_hash_leads_to_no_file(store: BlobStore, name: str) -> None:
    with pytest.raises(NotFound):
        store.open(name)
    with pytest.raises(NotFound):
        store.manifest(name)


def test_a_manifest_that_was_damaged_on_the_disk_is_not_believed(tmp_path: Path, store: BlobStore) -> None:
    scan = made(tmp_path / "src", a="one")
    stored(store, scan)
    (tmp_path / "store" / "manifests" / scan.manifest.upload_id).write_bytes(Manifest(()).encode())

    with pytest.raises(NotFound, match="upload it again"):
        store.manifest(scan.manifest.upload_id)


@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(1, 40))
def test_a_pack_is_taken_apart_however_it_is_cut(contents: list[bytes], cut: int) -> None:
    whole = b"".join(hashlib.sha256(data).digest() + len(data).to_bytes(8, "big") + data for data in contents)
    begun: list[tuple[str, int]] = []
    ended: list[bytes] = []
    pieces: list[bytes] = []

    def end() -> None:
        ended.append(b"".join(pieces))
        pieces.clear()

    unpacker = Unpacker(lambda *header: begun.append(header), pieces.append, end)
    for at in range(0, len(whole), cut):
        unpacker.feed(whole[at : at + cut])
    unpacker.finish()

    assert ended == contents
    assert begun == [(hashlib.sha256(data).hexdigest(), len(data)) for data in contents]
