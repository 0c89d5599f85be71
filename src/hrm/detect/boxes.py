"""From a network's raw heads to boxes in a picture (darknet's ``yolo_layer.c`` and ``box.c``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hrm.detect.letterbox import Letterbox
from hrm.detect.network import Network, Yolo
from hrm.detect.results import Detection
from hrm.detect.weights import Floats

#: Of two boxes of one class that overlap more (intersection over union), only the better stays.
MAX_OVERLAP = 0.45


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes before overlaps are settled, one row each: centre x, centre y, width, height; class; score."""

    boxes: Floats
    classes: NDArray[np.intp]
    scores: Floats

    def chosen(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Candidates:
        return Candidates(self.boxes[rows], self.classes[rows], self.scores[rows])


def find_boxes(
    heads: Sequence[Floats], network: Network, letterbox: Letterbox, names: Sequence[str], threshold: float
) -> list[Detection]:
    """What the heads say of one picture, best first. A box may bear two classes, as in darknet."""
    found = [decode_head(raw, layer, network, threshold) for raw, layer in zip(heads, network.heads, strict=True)]
    candidates = Candidates(
        letterbox.undo(np.concatenate([each.boxes for each in found])),
        np.concatenate([each.classes for each in found]),
        np.concatenate([each.scores for each in found]),
    )
    kept = suppress(candidates)
    return [
        _detection(names[label], float(score), box, letterbox)
        for box, label, score in zip(kept.boxes, kept.classes, kept.scores, strict=True)
    ]


def decode_head(raw: Floats, layer: Yolo, network: Network, threshold: float) -> Candidates:
    """Boxes of one head (1 × anchors·(5 + classes) × rows × columns) that score above ``threshold``.

    Centre = (cell + σ) / grid, size = exp · anchor / input, score = σ(object) · σ(class): parts of the input.
    """
    rows, columns = layer.output.height, layer.output.width
    cells = raw.reshape(len(layer.anchors), 5 + layer.classes, rows, columns)
    objectness = _sigmoid(cells[:, 4])
    # Few cells hold anything: the rest of the work is done for those alone.
    anchor, row, column = np.nonzero(objectness > threshold)
    values = cells[anchor, :, row, column]
    anchors = np.array(layer.anchors, dtype=np.float32)[anchor]
    boxes = np.empty((len(values), 4), dtype=np.float32)
    boxes[:, 0] = (column + _sigmoid(values[:, 0])) / columns
    boxes[:, 1] = (row + _sigmoid(values[:, 1])) / rows
    boxes[:, 2] = np.exp(values[:, 2]) * anchors[:, 0] / network.inputs.width
    boxes[:, 3] = np.exp(values[:, 3]) * anchors[:, 1] / network.inputs.height
    scores = objectness[anchor, row, column][:, None] * _sigmoid(values[:, 5:])
    box, label = np.nonzero(scores > threshold)
    return Candidates(boxes[box], label, scores[box, label])


def suppress(candidates: Candidates, max_overlap: float = MAX_OVERLAP) -> Candidates:
    """Non-maximum suppression within each class; best first, equal scores in the order they came."""
    waiting = np.argsort(-candidates.scores, kind="stable")
    kept = []
    while len(waiting):
        best, rest = waiting[0], waiting[1:]
        kept.append(best)
        overlap = _overlap(candidates.boxes[best], candidates.boxes[rest])
        waiting = rest[(candidates.classes[rest] != candidates.classes[best]) | (overlap <= max_overlap)]
    return candidates.chosen(np.array(kept, dtype=np.intp))


def _overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box with each of others."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(box[2:]) + np.prod(others[:, 2:], axis=1) - shared
    ratio: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def _detection(label: str, score: float, box: Floats, letterbox: Letterbox) -> Detection:
    x, y, width, height = (float(value) for value in box)
    left, right = (min(max(edge, 0.0), letterbox.width) for edge in (x - width / 2, x + width / 2))
    top, bottom = (min(max(edge, 0.0), letterbox.height) for edge in (y - height / 2, y + height / 2))
    return Detection(label=label, score=score, x=left, y=top, width=right - left, height=bottom - top)


def _sigmoid(values: Floats) -> Floats:
    return np.float32(1) / (np.float32(1) + np.exp(-values))
