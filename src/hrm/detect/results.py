"""What detection found: values that need none of the extra's libraries, and the files they lie in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

RESULTS_DIR = "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Something found. Pixels of the upright picture; ``x`` and ``y`` are of the top left corner."""

    label: str
    #: 0 to 1: how sure the network is that something is here, times how sure that it is this.
    score: float
    x: float
    y: float
    width: float
    height: float


class PhotoResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``detections.jsonl``. Where ``error`` is set, nothing was found out about the photo."""

    path: str
    width: int | None
    height: int | None
    #: Best first.
    boxes: list[Detection]
    #: The photo with its boxes drawn; None iff there is none.
    picture: str | None
    model: str
    #: To read the photo and find its boxes.
    seconds: float
    error: str | None = None

    @classmethod
    def failed(cls, path: str, model: str, error: str, *, seconds: float = 0.0) -> PhotoResult:
        return cls(
            path=path, width=None, height=None, boxes=[], picture=None, model=model, seconds=seconds, error=error
        )


class ResultLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a task's own results; ``index`` is the photo's place in the manifest."""

    index: int
    result: PhotoResult


def read_results(directory: Path, pattern: str = "*.jsonl") -> Iterator[ResultLine]:
    """Lines from the tasks' files. One that a dying task or machine left torn is passed over: its photo is not done."""
    for path in sorted((directory / RESULTS_DIR).glob(pattern)):
        with path.open("rb") as file:
            for line in file:
                try:
                    yield msgspec.json.decode(line, type=ResultLine)
                except msgspec.MsgspecError:
                    continue


def describe(result: PhotoResult) -> str:
    """``car 0.62, dog 0.56``, or what went wrong."""
    return result.error or describe_boxes(result.boxes)


def describe_boxes(boxes: Sequence[Detection]) -> str:
    return ", ".join(f"{box.label} {box.score:.2f}" for box in boxes) or "nothing"
