"""One task of a detection job: ``python -m hrm.detect.worker --manifest FILE``.

Takes its share of the photos by ``HRM_TASK_INDEX`` and ``HRM_TASK_COUNT``, leaves out what an earlier attempt of it
has done, and tells how far it is by ``HRM_PROGRESS_FILE``. A photo that cannot be read is a result like any other; the
task fails only if it cannot go on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hrm.detect.extra import require_extra
from hrm.detect.job import Manifest, PhotoTask, read_manifest
from hrm.detect.results import RESULTS_DIR, Detection, PhotoResult, ResultLine, describe, read_results
from hrm.model.errors import HrmError, InvalidInput


def share(photo_count: int, task_index: int, task_count: int) -> range:
    """The photos of one task: every ``task_count``-th, so that neighbours of one size spread over the tasks."""
    return range(task_index, photo_count, task_count)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hrm.detect.worker", description="One task of `hrm detect`.")
    parser.add_argument("--manifest", type=Path, required=True)
    # Whoever follows the log sees each photo as it is done.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    manifest_path: Path = parser.parse_args(arguments).manifest
    try:
        require_extra()
        run_share(manifest_path, os.environ)
    except HrmError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or manifest_path.parent}: {error.strerror or error}\n")
        return 1
    return 0


def run_share(manifest_path: Path, env: Mapping[str, str]) -> None:
    """Do this task's photos. Raises HrmError or OSError where it cannot go on."""
    manifest = read_manifest(manifest_path)
    task_index, task_count = _number(env, "HRM_TASK_INDEX", 0), _number(env, "HRM_TASK_COUNT", 1)
    mine = share(len(manifest.photos), task_index, task_count)
    directory = manifest_path.parent
    earlier = {line.index for line in read_results(directory, f"task-{task_index}-*.jsonl")}
    todo = [index for index in mine if index not in earlier]
    progress = _Progress(env.get("HRM_PROGRESS_FILE"), len(mine), len(mine) - len(todo))
    attempt = env.get("HRM_CONTAINER_ID") or f"pid{os.getpid()}"
    finder = _Finder(manifest, directory)
    with (directory / RESULTS_DIR / f"task-{task_index}-{attempt}.jsonl").open("ab") as file:
        for index in todo:
            result = finder.look(manifest.photos[index])
            # At once, so that another attempt need not do it again if this one dies.
            file.write(msgspec.json.encode(ResultLine(index=index, result=result)) + b"\n")
            file.flush()
            progress.step()
            sys.stdout.write(f"{result.path}: {describe(result)}\n")
        os.fsync(file.fileno())


class _Finder:
    """The model, and what is done with each photo."""

    def __init__(self, manifest: Manifest, scratch: Path) -> None:
        from hrm.detect.detector import Detector

        self._scratch = scratch
        self._threshold = manifest.threshold
        self._detector = Detector.load(manifest.model, device=manifest.device)

    def look(self, photo: PhotoTask) -> PhotoResult:
        from hrm.detect.pictures import UnreadablePicture, draw_boxes, open_picture, save_picture

        started = time.monotonic()
        try:
            image = open_picture(Path(photo.path))
        except UnreadablePicture as error:
            reason = error.message.removeprefix(f"{photo.path}: ")
            seconds = round(time.monotonic() - started, 4)
            return PhotoResult.failed(photo.path, self._detector.name, reason, seconds=seconds)
        found = self._detector.detect(image, threshold=self._threshold)
        seconds = round(time.monotonic() - started, 4)
        save_picture(draw_boxes(image, found), Path(photo.picture), scratch=self._scratch)
        return PhotoResult(
            path=photo.path,
            width=image.width,
            height=image.height,
            boxes=[_rounded(each) for each in found],
            picture=photo.picture,
            model=self._detector.name,
            seconds=seconds,
        )


class _Progress:
    """Tells HRM the part of this task that is done."""

    def __init__(self, path: str | None, total: int, done: int) -> None:
        self._path = Path(path) if path else None
        self._total = total
        self._done = done
        self._write()

    def step(self) -> None:
        self._done += 1
        self._write()

    def _write(self) -> None:
        if self._path:
            partial = self._path.with_name(f".{self._path.name}.part")
            partial.write_text(f"{self._done / self._total if self._total else 1.0:.4f}\n")
            partial.replace(self._path)


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"not a number: {text!r}", field=name)
    return int(text)


def _rounded(found: Detection) -> Detection:
    """With no more digits than mean something."""
    x, y, width, height = (round(value, 2) for value in (found.x, found.y, found.width, found.height))
    return Detection(label=found.label, score=round(found.score, 4), x=x, y=y, width=width, height=height)


if __name__ == "__main__":
    sys.exit(main())
