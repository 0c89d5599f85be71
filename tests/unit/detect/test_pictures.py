"""Photographs of all kinds, and pictures with boxes drawn into them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrm.detect.pictures import UnreadablePicture, draw_boxes, open_picture, save_picture
from hrm.detect.results import Detection

ORIENTATION = 0x0112
RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), BLUE)
    picture.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # held so that the top is at the right
    picture.save(tmp_path / "turned.png", exif=exif)

    upright = open_picture(tmp_path / "turned.png")

    assert upright.size == (20, 40)
    assert (upright.getpixel((10, 5)), upright.getpixel((10, 35))) == (RED, BLUE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_red_green_blue(tmp_path: Path, mode: str) -> None:
    path = tmp_path / f"picture.{'tif' if mode in ('CMYK', 'YCbCr') else 'png'}"
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(path)

    picture = open_picture(path)

    assert picture.mode == "RGB"
    assert min(picture.getpixel((4, 4))) >= 250


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 100], [257 * 200, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")

    picture = np.asarray(open_picture(tmp_path / "deep.png"))

    assert picture[:, :, 0].tolist() == [[0, 100], [200, 255]]


def test_floats_from_zero_to_one_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.2], [0.4, 1]], dtype=np.float32)).save(tmp_path / "floats.tif")

    picture = np.asarray(open_picture(tmp_path / "floats.tif"))

    assert picture[:, :, 0].tolist() == [[0, 51], [102, 255]]


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])

    assert open_picture(tmp_path / "moving.gif").getpixel((4, 4)) == RED


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("text.jpg", b"just words", "not a picture that Pillow can read"),
        ("empty.png", b"", "not a picture that Pillow can read"),
    ],
)
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(UnreadablePicture, match=f"{name}: {says}"):
        open_picture(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp"])
def test_a_photo_that_breaks_off_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(5).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"half{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(UnreadablePicture, match="half"):
        open_picture(path)


def test_a_photo_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match=r"none\.jpg: No such file"):
        open_picture(tmp_path / "none.jpg")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(UnreadablePicture, match=r"pipe\.jpg: not a file"):
        open_picture(tmp_path / "pipe.jpg")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 60):  # Pillow warns from the limit on, and refuses from twice the limit on
        Image.new("L", (side, side)).save(tmp_path / f"{side}.png")

        with pytest.raises(UnreadablePicture, match="has more than 1,000 pixels"):
            open_picture(tmp_path / f"{side}.png")


def found(label: str = "dog", **place: float) -> Detection:
    return Detection(label=label, score=0.9, **{"x": 20, "y": 30, "width": 40, "height": 30} | place)


def test_a_box_is_framed_and_the_rest_stays() -> None:
    picture = Image.new("RGB", (100, 100), (128, 128, 128))

    drawn = np.asarray(draw_boxes(picture, [found()])).astype(int)

    changed = (drawn != 128).any(axis=2)
    assert changed[59, 20:60].all(), "the lower edge"
    assert changed[30:60, 20].all(), "the left edge"
    assert not changed[50:57, 25:55].any(), "the inside"
    assert not changed[62:].any(), "below"
    assert changed[10:28, 20:60].any(), "the label above"
    assert picture.getpixel((20, 59)) == (128, 128, 128), "the photo itself"


@pytest.mark.parametrize("place", [{"y": 0}, {"x": 90, "width": 10}, {"width": 0, "height": 0}, {"x": 0, "width": 100}])
def test_boxes_at_the_edges_can_be_drawn(place: dict[str, float]) -> None:
    picture = Image.new("RGB", (100, 100), (128, 128, 128))

    drawn = draw_boxes(picture, [found(**place), found("motorbike", **place)])

    assert drawn.size == (100, 100)
    assert drawn.tobytes() != picture.tobytes()


def test_pictures_are_png_for_png_and_jpeg_for_the_rest(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), RED)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name, kind in (("a.png", "PNG"), ("a.jpg", "JPEG")):
        save_picture(picture, tmp_path / name, scratch=scratch)
        with Image.open(tmp_path / name) as saved:
            assert saved.format == kind
    assert list(scratch.iterdir()) == []
