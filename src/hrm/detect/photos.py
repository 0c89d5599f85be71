"""Which photographs a user means, and what their pictures with boxes are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from hrm.model.errors import InvalidInput, NotFound, TooLarge

MAX_PHOTOS = 1_000_000
#: Files of a directory that count as photographs; a file that is named is taken whatever its name.
SUFFIXES = frozenset({".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
#: Stands before the suffix of every picture with boxes, so that a directory read again does not yield them.
BOXES_MARK = ".boxes"
_SAMPLES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg")
_SHOWN = 5


def find_photos(wanted: Iterable[str | Path]) -> list[Path]:
    """Absolute paths from files, directories (with all below them, hidden ones apart) and globs, each once, in order.

    Raises InvalidInput naming every one that is not there or holds no photograph, before anything is done.
    """
    found: dict[Path, None] = {}
    problems = []
    for each in wanted:
        text = os.path.expanduser(str(each))
        paths: Iterable[Path]
        if os.path.isdir(text):
            paths = sorted(_photos_below(text))
            problem = "no photograph in this directory"
        elif os.path.lexists(text):
            paths, problem = [Path(text)], ""
        else:
            paths = sorted(Path(name) for name in glob.iglob(text, recursive=True) if os.path.isfile(name))
            problem = "nothing matches" if glob.has_magic(text) else "no such file or directory"
        absolute = [Path(os.path.abspath(path)) for path in paths]
        if not absolute:
            problems.append(f"{each}: {problem}")
        found.update(dict.fromkeys(absolute))
        if len(found) > MAX_PHOTOS:
            raise TooLarge(f"more than {MAX_PHOTOS:,} photographs", next_step="submit them in parts")
    if problems:
        more = f" … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InvalidInput("; ".join(problems[:_SHOWN]) + more, field="photos", next_step="correct the path")
    if not found:
        raise InvalidInput("none given", field="photos", next_step="give files, directories or globs")
    return list(found)


def picture_names(photos: Sequence[Path]) -> list[str]:
    """A file name for each photo's picture: ``dog.boxes.jpg``; a second dog gets ``dog-2.boxes.jpg``.

    No two are the same, also where upper and lower case are one. PNG for PNG, else JPEG.
    """
    used: set[str] = set()
    names = []
    for photo in photos:
        suffix = ".png" if photo.suffix.lower() == ".png" else ".jpg"
        # Together with marks and number it stays below the 255 bytes that file systems take.
        stem = photo.stem.encode()[:200].decode(errors="ignore")
        number = 1
        name = f"{stem}{BOXES_MARK}{suffix}"
        while name.casefold() in used:
            number += 1
            name = f"{stem}-{number}{BOXES_MARK}{suffix}"
        used.add(name.casefold())
        names.append(name)
    return names


def sample_photos() -> list[Path]:
    """Real photographs that came with the extra ``detect``: those that scikit-image's wheel holds.

    Not all of them show something that the model knows. Raises NotFound if scikit-image is not installed.
    """
    spec = find_spec("skimage")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for place in places for name in _SAMPLES if (path := Path(place) / "data" / name).is_file()]
    if not found:
        raise NotFound("scikit-image's photographs are not installed", next_step="pip install 'hrm[detect]'")
    return found


def _photos_below(directory: str) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InvalidInput(f"{error.filename}: {error.strerror}", field="photos") from error

    for place, directories, files in os.walk(directory, onerror=refuse):
        directories[:] = [name for name in directories if not name.startswith(".")]
        for name in files:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and not name.startswith(".") and not stem.endswith(BOXES_MARK):
                yield Path(place) / name
