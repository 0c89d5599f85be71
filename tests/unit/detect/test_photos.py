"""Which photographs a user means."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.detect.photos import find_photos, picture_names, sample_photos
from hrm.model.errors import InvalidInput


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "sub/c.webp", ".hidden/d.jpg", ".e.jpg", "b.boxes.jpg", "sub/x.json"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "album"


def names(paths: list[Path], album: Path) -> list[str]:
    assert all(path.is_absolute() for path in paths)
    return [str(path.relative_to(album)) for path in paths]


def test_a_directory_stands_for_the_photos_below_it(album: Path) -> None:
    assert names(find_photos([album]), album) == ["a.PNG", "b.jpg", "sub/c.webp"]


def test_a_file_that_is_named_counts_whatever_its_name(album: Path) -> None:
    assert names(find_photos([album / "notes.txt"]), album) == ["notes.txt"]


def test_globs_are_matched_in_order(album: Path) -> None:
    assert names(find_photos([f"{album}/*.jpg", f"{album}/**/*.webp"]), album) == ["b.boxes.jpg", "b.jpg", "sub/c.webp"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(album: Path) -> None:
    (album / "c[1].jpg").write_bytes(b"")

    assert names(find_photos([album / "c[1].jpg"]), album) == ["c[1].jpg"]


def test_each_photo_counts_once(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)

    assert names(find_photos(["b.jpg", album / "b.jpg", "./sub/../b.jpg"]), album) == ["b.jpg"]


def test_all_that_is_not_there_is_said_at_once(album: Path) -> None:
    (album / "empty").mkdir()

    with pytest.raises(InvalidInput) as caught:
        find_photos([album / "b.jpg", "/none/x.jpg", "/none/*.jpg", album / "empty"])

    assert caught.value.problem == (
        "/none/x.jpg: no such file or directory; /none/*.jpg: nothing matches; "
        f"{album}/empty: no photograph in this directory"
    )


def test_no_photo_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput, match="photos: none given"):
        find_photos([])


def test_pictures_of_one_name_get_numbers() -> None:
    photos = [Path(path) for path in ("/a/dog.jpg", "/b/dog.jpeg", "/c/DOG.tif", "/d/dog.png", "/e/dog-2.jpg")]

    assert picture_names(photos) == [
        "dog.boxes.jpg",
        "dog-2.boxes.jpg",
        "DOG-3.boxes.jpg",
        "dog.boxes.png",
        "dog-2-2.boxes.jpg",
    ]


def test_long_names_stay_names() -> None:
    (name,) = picture_names([Path("/a/" + "ö" * 120 + ".jpg")])

    assert name == "ö" * 100 + ".boxes.jpg"


def test_sample_photos_are_real_files() -> None:
    samples = sample_photos()

    assert {"coffee.png", "motorcycle_left.png"} <= {path.name for path in samples}
    assert all(path.is_file() and path.is_absolute() for path in samples)
