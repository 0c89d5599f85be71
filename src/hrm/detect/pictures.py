"""Photographs from files, and pictures with boxes drawn into them."""

from __future__ import annotations

import colorsys
import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from hrm.detect.results import Detection
from hrm.model.errors import CallerError

JPEG_QUALITY = 90
_BAND_ROWS = 512
_GOLDEN_RATIO = 0.618034


class UnreadablePicture(CallerError):
    """A file is no picture, a damaged one, or one larger than Pillow's limit."""

    code = "unreadable_picture"


def open_picture(path: Path) -> Image.Image:
    """The picture in RGB, upright (EXIF orientation applied), the first frame of an animated one.

    Raises UnreadablePicture with the reason; also for more than ``PIL.Image.MAX_IMAGE_PIXELS`` pixels, which would be
    a decompression bomb.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # A pipe would be waited for without end.
            raise UnreadablePicture(f"{path}: not a file")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                # In place, so that no more than two copies of a large photo lie in memory at any time.
                ImageOps.exif_transpose(file, in_place=True)
                file.load()
                return _rgb(file)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise UnreadablePicture(f"{path}: has more than {limit} pixels", next_step="scale it down first") from None
    except UnidentifiedImageError:
        raise UnreadablePicture(f"{path}: not a picture that Pillow can read") from None
    except OSError as error:
        raise UnreadablePicture(f"{path}: {error.strerror or error}") from error
    except (ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError) as error:
        # Pillow's decoders raise these for damaged files.
        raise UnreadablePicture(f"{path}: damaged ({error})") from error


def upright_rgb(picture: Image.Image) -> Image.Image:
    """``picture`` turned as its EXIF says, in three channels of 8 bits; transparency is dropped, as darknet does."""
    turned = picture.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return _rgb(ImageOps.exif_transpose(picture) if turned else picture)


def pixels_of(picture: Image.Image) -> NDArray[np.uint8]:
    """Height × width × channels. In bands: for a whole picture at once Pillow needs its size twice over."""
    pixels = np.empty((picture.height, picture.width, len(picture.getbands())), dtype=np.uint8)
    for top in range(0, picture.height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of 16 or 32 bits, or floats, to bytes; Pillow's own conversion would cut them off at 255."""
    finite = np.nan_to_num(values.astype(np.float32))
    highest = float(finite.max(initial=0.0))
    if values.dtype.kind == "f" and highest <= 1:
        finite = finite * 255
    elif highest > 255:
        finite = finite / (257 if highest <= 65_535 else highest / 255)
    return np.clip(finite, 0, 255).astype(np.uint8)


def draw_boxes(picture: Image.Image, detections: Sequence[Detection]) -> Image.Image:
    """A copy with a frame and a label for each detection, one colour per class, the best drawn last."""
    canvas = picture.copy()
    draw = ImageDraw.Draw(canvas)
    line = max(2, round(max(canvas.size) / 300))
    font = ImageFont.load_default(size=max(12, round(max(canvas.size) / 45)))
    for found in reversed(detections):
        colour = _colour(found.label)
        right, bottom = found.x + found.width, found.y + found.height
        draw.rectangle((found.x, found.y, max(right, found.x), max(bottom, found.y)), outline=colour, width=line)
        text = f"{found.label} {found.score:.2f}"
        _, _, text_width, text_height = draw.textbbox((0, 0), text, font=font)
        tag_width, tag_height = text_width + 2 * line, text_height + 2 * line
        # Above the frame where there is room, else inside it; never past the picture's right edge.
        x = max(0, min(found.x, canvas.width - tag_width))
        y = found.y - tag_height if found.y >= tag_height else found.y
        draw.rectangle((x, y, x + tag_width, y + tag_height), fill=colour)
        draw.text((x + line, y + line), text, font=font, fill=_readable_on(colour))
    return canvas


def save_picture(picture: Image.Image, path: Path, *, scratch: Path) -> None:
    """Write a PNG if ``path`` ends so, else a JPEG: first into ``scratch``, so that nobody ever sees half of one.

    ``scratch`` is a directory on the same file system; a task that is killed meanwhile leaves its half there.
    """
    partial = scratch / f"{path.name}.{os.getpid()}.part"
    if path.suffix == ".png":
        picture.save(partial, format="PNG")
    else:
        picture.save(partial, format="JPEG", quality=JPEG_QUALITY)
    partial.replace(path)


def _colour(label: str) -> tuple[int, int, int]:
    """A strong colour, always the same for one label, far from that of its neighbours."""
    hue = sum(label.encode()) * _GOLDEN_RATIO % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
