"""The real model on real photographs: what darknet itself sees in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hrm.detect import Detector
from hrm.detect.models import ModelFiles
from hrm.detect.photos import sample_photos
from tests.scenarios.detect.darknet_photos import darknet_photos


@pytest.fixture(scope="module")
def real_detector(real_model: ModelFiles) -> Detector:
    return Detector(real_model)


@pytest.mark.parametrize(("name", "label", "score"), [("coffee", "cup", 0.64), ("motorcycle_left", "motorbike", 0.66)])
def test_real_photographs_show_what_darknet_sees(real_detector: Detector, name: str, label: str, score: float) -> None:
    (photo,) = (path for path in sample_photos() if path.stem == name)

    (found,) = real_detector.detect(photo)

    assert found.label == label
    assert found.score == pytest.approx(score, abs=0.02)


def test_a_box_lies_where_the_thing_is(real_detector: Detector) -> None:
    (photo,) = (path for path in sample_photos() if path.stem == "coffee")

    (cup,) = real_detector.detect(photo)

    # In the middle of a picture of 600 × 400, with its saucer.
    assert 100 < cup.x < 250
    assert 350 < cup.x + cup.width < 500
    assert 20 < cup.y < 150
    assert 250 < cup.y + cup.height < 400


def test_a_picture_turned_by_its_camera_is_seen_the_same(real_detector: Detector, tmp_path: Path) -> None:
    (photo,) = (path for path in sample_photos() if path.stem == "coffee")
    exif = Image.Exif()
    exif[0x0112] = 8
    with Image.open(photo) as picture:
        picture.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "turned.png", exif=exif)

    assert real_detector.detect(tmp_path / "turned.png") == real_detector.detect(photo)


def test_a_lower_threshold_finds_no_less(real_detector: Detector) -> None:
    (photo,) = (path for path in sample_photos() if path.stem == "motorcycle_left")

    sure, unsure = (real_detector.detect(photo, threshold=threshold) for threshold in (0.5, 0.1))

    assert set(sure) <= set(unsure)
    assert len(unsure) > len(sure)
    assert [found.score for found in unsure] == sorted((found.score for found in unsure), reverse=True)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        ("kite.jpg", [("kite", 0.874), ("person", 0.728)], 0.002),
        # Stored with colours at half height, which darknet's decoder and Pillow's smooth differently.
        ("person.jpg", [("horse", 0.943), ("dog", 0.911), ("dog", 0.898), ("person", 0.862)], 0.002),
        ("dog.jpg", [("car", 0.615), ("bicycle", 0.585), ("dog", 0.571), ("truck", 0.558), ("car", 0.517)], 0.01),
        ("eagle.jpg", [("bird", 0.765)], 0.01),
    ],
)
def test_darknets_own_photographs_show_what_darknet_sees(
    real_detector: Detector,
    request: pytest.FixtureRequest,
    name: str,
    expected: list[tuple[str, float]],
    tolerance: float,
) -> None:
    photos = darknet_photos(request.config.cache.mkdir("darknet-photos"))

    found = real_detector.detect(photos / name)

    assert [each.label for each in found] == [label for label, _ in expected]
    assert [each.score for each in found] == pytest.approx([score for _, score in expected], abs=tolerance)
