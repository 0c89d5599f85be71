"""What is always true of detection, whatever the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hrm.detect.boxes import MAX_OVERLAP, Candidates, suppress
from hrm.detect.letterbox import Letterbox, resize
from hrm.detect.photos import picture_names
from hrm.detect.worker import share

sides = st.integers(1, 3000)
parts = st.floats(0, 1, width=32)


@given(photos=st.integers(0, 500), tasks=st.integers(1, 60))
def test_the_tasks_share_every_photo_exactly_once(photos: int, tasks: int) -> None:
    shares = [share(photos, index, tasks) for index in range(tasks)]

    assert sorted(photo for each in shares for photo in each) == list(range(photos))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(
    stems=st.lists(
        st.tuples(st.sampled_from(["dog", "DOG", "dog-2", "ö", "x" * 250]), st.sampled_from([".jpg", ".png", ".TIF"])),
        max_size=30,
    )
)
def test_no_two_pictures_have_one_name(stems: list[tuple[str, str]]) -> None:
    names = picture_names([Path(f"/{number}/{stem}{suffix}") for number, (stem, suffix) in enumerate(stems)])

    assert len({name.casefold() for name in names}) == len(names)
    assert all(len(name.encode()) <= 255 for name in names)


@given(width=sides, height=sides, box=st.tuples(parts, parts, parts, parts))
def test_a_box_comes_back_from_the_letterbox_where_it_was(
    width: int, height: int, box: tuple[float, float, float, float]
) -> None:
    letterbox = Letterbox.fit(width, height, 416, 416)
    x, y, box_width, box_height = (part * side for part, side in zip(box, (width, height, width, height), strict=True))
    # Into the square as the picture's own pixels go, by hand.
    across, down = letterbox.inner_width / width, letterbox.inner_height / height
    left, top = (416 - letterbox.inner_width) / 2, (416 - letterbox.inner_height) / 2
    square = np.array(
        [[(x * across + left) / 416, (y * down + top) / 416, box_width * across / 416, box_height * down / 416]],
        dtype=np.float32,
    )

    (back,) = letterbox.undo(square)

    # A pixel of the square may be many of the picture: what counts is how far off it is in the square.
    off = np.abs(back - np.array([x, y, box_width, box_height])) * [across, down, across, down]
    assert (off < 0.01).all()


@given(width=sides, height=sides)
def test_the_inner_picture_keeps_its_proportions_and_fills_one_side(width: int, height: int) -> None:
    letterbox = Letterbox.fit(width, height, 416, 416)

    assert max(letterbox.inner_width, letterbox.inner_height) == 416
    assert min(letterbox.inner_width, letterbox.inner_height) >= 1
    assert abs(letterbox.inner_width * height - letterbox.inner_height * width) <= max(width, height)


@settings(max_examples=50)
@given(
    pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))),
    width=st.integers(1, 30),
    height=st.integers(1, 30),
)
def test_resizing_makes_no_value_that_was_not_between_others(pixels: np.ndarray, width: int, height: int) -> None:
    resized = resize(pixels, width, height)

    assert resized.shape == (height, width, 3)
    assert resized.dtype == np.float32
    assert resized.min() >= pixels.min() / 255 - 1e-6
    assert resized.max() <= pixels.max() / 255 + 1e-6


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    count = draw(st.integers(0, 12))
    # Few places and sizes, so that boxes do overlap.
    places = arrays.arrays(np.float32, (count, 2), elements=st.sampled_from([0.0, 2.0, 4.0, 9.0]))
    sizes = arrays.arrays(np.float32, (count, 2), elements=st.sampled_from([0.0, 4.0, 5.0, 10.0]))
    scores = arrays.arrays(np.float32, count, elements=st.sampled_from([0.5, 0.6, 0.75, 0.9]))
    classes = arrays.arrays(np.intp, count, elements=st.integers(0, 1))
    return Candidates(np.concatenate([draw(places), draw(sizes)], axis=1), draw(classes), draw(scores))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    shared = 1.0
    for axis in (0, 1):
        low = max(one[axis] - one[axis + 2] / 2, other[axis] - other[axis + 2] / 2)
        high = min(one[axis] + one[axis + 2] / 2, other[axis] + other[axis + 2] / 2)
        shared *= max(0.0, high - low)
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union else 0.0


@given(found=candidates())
def test_what_is_suppressed_overlaps_something_better_that_stays(found: Candidates) -> None:
    kept = suppress(found)
    rows = list(zip(kept.boxes, kept.classes, kept.scores, strict=True))

    assert kept.scores.tolist() == sorted(kept.scores.tolist(), reverse=True)
    for number, (box, label, _) in enumerate(rows):
        for other, other_label, _ in rows[number + 1 :]:
            assert label != other_label or overlap(box, other) <= MAX_OVERLAP + 1e-6
    for box, label, score in zip(found.boxes, found.classes, found.scores, strict=True):
        assert any(
            (np.array_equal(box, stays) and score == stays_score)
            or (stays_score >= score and overlap(box, stays) > MAX_OVERLAP - 1e-6)
            for stays, stays_label, stays_score in rows
            if stays_label == label
        )
