"""A picture of any size in the square that a network reads, scaled as darknet scales.

The network was trained on pictures resized by darknet's own bilinear rule, where the corners of both grids fall
together. Pillow's rule smooths and shifts by half a pixel, which moves boxes and changes scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrm.detect.weights import Floats

#: What surrounds the picture: middle grey.
FILL = np.float32(0.5)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture of ``width`` × ``height`` pixels lies in the network's input: scaled to ``inner_*``, centred."""

    width: int
    height: int
    net_width: int
    net_height: int
    inner_width: int
    inner_height: int

    @classmethod
    def fit(cls, width: int, height: int, net_width: int, net_height: int) -> Letterbox:
        """As darknet's ``letterbox_image``: the larger side fills the network's, the other is rounded down."""
        if net_width * height < net_height * width:
            inner_width, inner_height = net_width, max(1, height * net_width // width)
        else:
            inner_width, inner_height = max(1, width * net_height // height), net_height
        return cls(width, height, net_width, net_height, inner_width, inner_height)

    def apply(self, pixels: NDArray[np.uint8]) -> Floats:
        """Height × width × channels of bytes to 1 × channels × net height × net width, 0 to 1."""
        inner = resize(pixels, self.inner_width, self.inner_height)
        canvas = np.full((self.net_height, self.net_width, pixels.shape[2]), FILL, dtype=np.float32)
        top = (self.net_height - self.inner_height) // 2
        left = (self.net_width - self.inner_width) // 2
        canvas[top : top + self.inner_height, left : left + self.inner_width] = inner
        return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])

    def undo(self, boxes: Floats) -> Floats:
        """Boxes (x and y of the centre, width, height; parts of the network's input) in pixels of the picture.

        As darknet's ``correct_yolo_boxes``, which does not round the border.
        """
        across = self.net_width / self.inner_width
        down = self.net_height / self.inner_height
        border_x = (self.net_width - self.inner_width) / 2 / self.net_width
        border_y = (self.net_height - self.inner_height) / 2 / self.net_height
        shift = np.array([border_x, border_y, 0, 0], dtype=np.float32)
        scale = np.array([across, down, across, down], dtype=np.float32)
        pixels = np.array([self.width, self.height, self.width, self.height], dtype=np.float32)
        return (boxes - shift) * scale * pixels


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> Floats:
    """Bytes (height × width × channels) to floats from 0 to 1 at another size, as darknet's ``resize_image``.

    First along the width, then along the height, each point between the two nearest: corners map to corners. The last
    column and row are those of the source, also where rounding would put them just before.
    """
    left, right, across = _neighbours(pixels.shape[1], width)
    above, below, down = _neighbours(pixels.shape[0], height)
    across, down = across[None, :, None], down[:, None, None]

    def along(rows: NDArray[np.intp]) -> Floats:
        # Only the rows that are needed: a large photo has far more.
        return (1 - across) * _unit(pixels[np.ix_(rows, left)]) + across * _unit(pixels[np.ix_(rows, right)])

    return (1 - down) * along(above) + down * along(below)


def _neighbours(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each of ``target`` points the two points of ``source`` around it, and how far it lies toward the second."""
    step = np.float32(source - 1) / np.float32(max(target - 1, 1))
    position = np.arange(target, dtype=np.float32) * step
    position[-1] = source - 1
    first = np.minimum(position.astype(np.intp), source - 1)
    second = np.minimum(first + 1, source - 1)
    return first, second, position - first.astype(np.float32)


def _unit(pixels: NDArray[np.uint8]) -> Floats:
    return pixels.astype(np.float32) / np.float32(255)
