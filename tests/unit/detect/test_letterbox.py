"""Pictures scaled as darknet scales them."""

from __future__ import annotations

import numpy as np
import pytest

from hrm.detect.letterbox import Letterbox, resize


def darknet_resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """darknet's resize_image, loop by loop: along the width into ``part``, then along the height."""
    source_height, source_width, channels = pixels.shape
    image = pixels.astype(np.float32) / np.float32(255)
    part = np.zeros((source_height, width, channels), dtype=np.float32)
    resized = np.zeros((height, width, channels), dtype=np.float32)
    width_scale = np.float32(source_width - 1) / np.float32(width - 1)
    height_scale = np.float32(source_height - 1) / np.float32(height - 1)
    for k in range(channels):
        for r in range(source_height):
            for c in range(width):
                if c == width - 1 or source_width == 1:
                    part[r, c, k] = image[r, source_width - 1, k]
                else:
                    sx = np.float32(c) * width_scale
                    ix = int(sx)
                    dx = sx - np.float32(ix)
                    part[r, c, k] = (1 - dx) * image[r, ix, k] + dx * image[r, ix + 1, k]
        for r in range(height):
            sy = np.float32(r) * height_scale
            iy = int(sy)
            dy = sy - np.float32(iy)
            for c in range(width):
                resized[r, c, k] = (1 - dy) * part[iy, c, k]
            if r == height - 1 or source_height == 1:
                continue
            for c in range(width):
                resized[r, c, k] += dy * part[iy + 1, c, k]
    return resized


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((13, 9), (5, 7)),
        ((5, 7), (13, 9)),
        ((8, 8), (8, 8)),
        ((1, 6), (4, 4)),
        ((6, 1), (4, 4)),
        ((1, 1), (3, 2)),
        ((40, 3), (7, 11)),
    ],
)
def test_resizing_follows_darknets_loops(source: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, size=(source[1], source[0], 3), dtype=np.uint8)

    ours = resize(pixels, *target)

    # In 32 bits darknet's last row may come to lie a hair before the source's, and it then leaves out the rest: a
    # darkened row. Ours is the source's last row, as the rule means.
    darknets = darknet_resize(pixels, *target)
    np.testing.assert_allclose(ours[:-1], darknets[:-1], atol=1e-5)
    np.testing.assert_allclose(ours[-1, [0, -1]], pixels[-1, [0, -1]] / np.float32(255), atol=1e-6)


def test_corners_stay_corners() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, size=(31, 57, 3), dtype=np.uint8)

    small = resize(pixels, 20, 10)

    for row in (0, -1):
        for column in (0, -1):
            np.testing.assert_allclose(small[row, column], pixels[row, column] / 255, atol=1e-6)


def test_a_wide_picture_lies_in_the_middle_of_grey() -> None:
    pixels = np.full((50, 100, 3), 255, dtype=np.uint8)

    square = Letterbox.fit(100, 50, 40, 40).apply(pixels)

    assert square.shape == (1, 3, 40, 40)
    assert square.dtype == np.float32
    assert (square[0, :, 10:30] == 1).all()
    assert (square[0, :, :10] == 0.5).all()
    assert (square[0, :, 30:] == 0.5).all()


def test_colours_come_as_red_green_blue() -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :] = (255, 51, 0)

    square = Letterbox.fit(8, 8, 8, 8).apply(pixels)

    np.testing.assert_allclose(square[0, :, 4, 4], (1, 0.2, 0), atol=1e-6)


def test_the_other_side_is_rounded_down_as_darknet_does() -> None:
    assert Letterbox.fit(773, 512, 416, 416).inner_height == 275
    assert Letterbox.fit(424, 640, 416, 416).inner_width == 275


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1)])
def test_a_picture_as_thin_as_a_line_keeps_one_pixel(size: tuple[int, int]) -> None:
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)

    assert Letterbox.fit(*size, 416, 416).apply(pixels).shape == (1, 3, 416, 416)


def test_a_side_of_one_pixel_takes_the_last_as_darknet_does() -> None:
    pixels = np.array([[[0], [51]], [[102], [255]]], dtype=np.uint8)

    assert resize(pixels, 1, 1).tolist() == [[[1.0]]]
