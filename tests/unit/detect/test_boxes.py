"""From raw heads to boxes."""

from __future__ import annotations

import numpy as np
import pytest

from hrm.detect.boxes import Candidates, decode_head, find_boxes, suppress
from hrm.detect.letterbox import Letterbox
from hrm.detect.network import Network, parse_network

NET = "[net]\nwidth=32\nheight=32\n[maxpool]\nsize=8\nstride=8\npadding=0\n"
TWO_ANCHORS = NET + ("[convolutional]\nfilters=14\nactivation=linear\n[yolo]\nanchors=4,8, 16,10\nnum=2\nclasses=2\n")


@pytest.fixture
def network() -> Network:
    return parse_network(TWO_ANCHORS, source="two.cfg")


def quiet_head() -> np.ndarray:
    """Nothing anywhere: 2 anchors × (x, y, width, height, object, cat, dog) × 4 rows × 4 columns."""
    return np.full((1, 14, 4, 4), -20.0, dtype=np.float32)


def logit(part: float) -> float:
    return float(np.log(part / (1 - part)))


def candidates(*rows: tuple[float, float, float, float, int, float]) -> Candidates:
    table = np.array(rows, dtype=np.float32)
    return Candidates(table[:, :4], table[:, 4].astype(np.intp), table[:, 5])


def test_a_cell_becomes_the_box_that_darknet_computes(network: Network) -> None:
    head = quiet_head()
    # Anchor 1 (16 × 10), row 2, column 3.
    head[0, 7:14, 2, 3] = [logit(0.25), logit(0.75), np.log(0.5), np.log(2), logit(0.9), logit(0.2), logit(0.8)]

    found = decode_head(head, network.heads[0], network, threshold=0.5)

    np.testing.assert_allclose(found.boxes, [[3.25 / 4, 2.75 / 4, 8 / 32, 20 / 32]], rtol=1e-5)
    assert found.classes.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-5)


def test_a_box_may_bear_two_classes(network: Network) -> None:
    head = quiet_head()
    head[0, :7, 0, 0] = [0, 0, 0, 0, 20, logit(0.7), logit(0.6)]

    found = decode_head(head, network.heads[0], network, threshold=0.5)

    assert found.classes.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.7, 0.6], rtol=1e-5)


def test_a_score_that_only_reaches_the_threshold_is_left_out(network: Network) -> None:
    head = quiet_head()
    head[0, :7, 0, 0] = [0, 0, 0, 0, 20, 0, -20]  # σ(20) · σ(0) is a half in 32 bits

    assert len(decode_head(head, network.heads[0], network, threshold=0.5).scores) == 0
    assert len(decode_head(head, network.heads[0], network, threshold=0.49).scores) == 1


def test_of_overlapping_boxes_of_one_class_the_better_stays() -> None:
    kept = suppress(candidates((10, 10, 8, 8, 0, 0.6), (11, 10, 8, 8, 0, 0.9), (30, 30, 8, 8, 0, 0.55)))

    assert kept.scores.tolist() == pytest.approx([0.9, 0.55])


def test_boxes_of_two_classes_do_not_suppress_each_other() -> None:
    kept = suppress(candidates((10, 10, 8, 8, 0, 0.6), (10, 10, 8, 8, 1, 0.9)))

    assert kept.classes.tolist() == [1, 0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    # Each overlaps its neighbour by 0.6, the outer two by 0.33 only.
    kept = suppress(candidates((10, 10, 8, 8, 0, 0.9), (12, 10, 8, 8, 0, 0.8), (14, 10, 8, 8, 0, 0.7)))

    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])


def test_nothing_found_is_an_empty_list(network: Network) -> None:
    assert find_boxes([quiet_head()], network, Letterbox.fit(64, 32, 32, 32), ("cat", "dog"), 0.5) == []


def test_boxes_come_in_pixels_of_the_picture_and_end_at_its_edges(network: Network) -> None:
    head = quiet_head()
    # Column 0, row 1: the centre lies at x = 0.125, y = 0.375 of the square; 16 × 10 pixels of it.
    head[0, 7:14, 1, 0] = [0, 0, 0, 0, 20, 20, -20]

    # 64 × 32 pixels: halved, they fill the middle rows (8 to 24) of the 32 × 32 square.
    (found,) = find_boxes([head], network, Letterbox.fit(64, 32, 32, 32), ("cat", "dog"), 0.5)

    assert found.label == "cat"
    assert found.score == pytest.approx(1)
    # In the square x from -4 to 12, y from 7 to 17; in the picture x from -8 to 24, y from -2 to 18.
    assert (found.x, found.y, found.width, found.height) == pytest.approx((0, 0, 24, 18), abs=1e-4)
