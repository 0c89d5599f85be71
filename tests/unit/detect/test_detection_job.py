"""A detection job: its manifest, its tasks' shares, and results that are never doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrm.detect.job import collect, detection_job, discard, manifest_path
from hrm.detect.worker import main, run_share
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.jobs import JobSpec
from tests.unit.detect.tiny_nets import TinyNet


@pytest.fixture
def model(tmp_path: Path) -> str:
    # A head that always sees something: each test compares what it sees with itself.
    return str(TinyNet(tmp_path / "tiny").files.cfg.parent)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    chance = np.random.default_rng(6)
    paths = []
    for number in range(5):
        path = tmp_path / f"album{number}" / "photo.png"
        path.parent.mkdir()
        Image.fromarray(chance.integers(0, 256, size=(30, 20 + number, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    return paths


def run_task(job: JobSpec, index: int, *, attempt: str = "c1", **env: str) -> None:
    count = str(job.task_count)
    run_share(
        manifest_path(job),
        {"HRM_TASK_INDEX": str(index), "HRM_TASK_COUNT": count, "HRM_CONTAINER_ID": f"{index}-{attempt}"} | env,
    )


def lines(out: Path) -> list[Mapping[str, object]]:
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


def test_results_come_together_in_the_order_of_the_photos(tmp_path: Path, model: str, photos: list[Path]) -> None:
    out = tmp_path / "out"
    job = detection_job(photos, out, tasks=2, model=model, threshold=0.3)

    for index in reversed(range(job.task_count)):
        run_task(job, index)
    collect(job)

    assert [line["path"] for line in lines(out)] == [str(photo) for photo in photos]
    assert [line["width"] for line in lines(out)] == [20, 21, 22, 23, 24]
    assert sum(len(line["boxes"]) for line in lines(out)) > 0
    for line in lines(out):
        assert set(line) == {"path", "width", "height", "boxes", "picture", "model", "seconds"}
        assert line["model"] == "tiny"
        with Image.open(line["picture"]) as picture:
            assert picture.size == (line["width"], line["height"])
        for box in line["boxes"]:
            assert set(box) == {"label", "score", "x", "y", "width", "height"}
            assert box["label"] in ("cat", "dog")
            assert 0.3 < box["score"] <= 1
            assert 0 <= box["x"] <= box["x"] + box["width"] <= line["width"] + 0.01
    assert {path.name for path in out.iterdir()} == {
        "detections.jsonl",
        "photo.boxes.png",
        *(f"photo-{number}.boxes.png" for number in (2, 3, 4, 5)),
    }


def test_photos_that_cannot_be_read_are_results_like_others(tmp_path: Path, model: str, photos: list[Path]) -> None:
    photos[1].write_bytes(b"no picture")
    photos[3].unlink()
    out = tmp_path / "out"
    job = detection_job(photos, out, tasks=1, model=model)

    run_task(job, 0)
    results = collect(job)

    assert [result.error for result in results] == [
        None,
        "not a picture that Pillow can read",
        None,
        "No such file or directory",
        None,
    ]
    assert lines(out)[1]["boxes"] == []
    assert lines(out)[1]["picture"] is None
    assert len(list(out.glob("*.boxes.png"))) == 3


def test_a_second_attempt_does_only_what_is_missing(tmp_path: Path, model: str, photos: list[Path]) -> None:
    job = detection_job(photos, tmp_path / "out", tasks=1, model=model)
    run_task(job, 0)
    (results,) = (manifest_path(job).parent / "results").iterdir()
    whole = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(whole[:2]) + whole[2][:-20])  # as an attempt that died leaves it

    run_task(job, 0, attempt="c2")

    (again,) = (path for path in results.parent.iterdir() if path != results)
    assert [json.loads(line)["index"] for line in again.read_text().splitlines()] == [2, 3, 4]
    assert [result.error for result in collect(job)] == [None] * 5
    assert len(lines(tmp_path / "out")) == 5


def test_two_attempts_at_once_double_nothing(tmp_path: Path, model: str, photos: list[Path]) -> None:
    job = detection_job(photos, tmp_path / "out", tasks=1, model=model)
    run_task(job, 0)
    results = manifest_path(job).parent / "results"
    (first,) = results.iterdir()
    (results / "task-0-twin.jsonl").write_bytes(first.read_bytes())

    collect(job)

    assert [line["path"] for line in lines(tmp_path / "out")] == [str(photo) for photo in photos]


def test_photos_that_no_task_did_are_listed_as_such(tmp_path: Path, model: str, photos: list[Path]) -> None:
    job = detection_job(photos, tmp_path / "out", tasks=5, model=model)
    for index in (0, 1, 4):
        run_task(job, index)

    errors = [result.error for result in collect(job)]

    assert errors == [None, None, "no task finished it", "no task finished it", None]


def test_a_task_tells_how_far_it_is(tmp_path: Path, model: str, photos: list[Path]) -> None:
    progress = tmp_path / "progress"
    job = detection_job(photos, tmp_path / "out", tasks=2, model=model)

    run_task(job, 1, HRM_PROGRESS_FILE=str(progress))

    assert progress.read_text() == "1.0000\n"


def test_the_job_asks_for_no_more_tasks_than_photos(tmp_path: Path, model: str, photos: list[Path]) -> None:
    job = detection_job(photos, tmp_path / "out", tasks=100, model=model, queue="research")

    assert (job.task_count, job.queue) == (5, "research")


def test_a_discarded_job_leaves_nothing(tmp_path: Path, model: str, photos: list[Path]) -> None:
    job = detection_job(photos, tmp_path / "out", model=model)

    discard(job)

    assert list((tmp_path / "out").iterdir()) == []


def test_a_photo_is_never_overwritten(tmp_path: Path, model: str, photos: list[Path]) -> None:
    first, second = (tmp_path / name for name in ("dog.png", "dog.boxes.png"))
    photos[0].rename(first)
    photos[1].rename(second)

    with pytest.raises(InvalidInput, match=r"out: would overwrite the photo .*dog\.boxes\.png"):
        detection_job([first, second], tmp_path, model=model)
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match=r"would overwrite the photo .*dog\.boxes\.png"):
        detection_job([first, second], tmp_path / "elsewhere", model=model)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threshold": 0.0}, "threshold: must be between 0 and 1: 0.0"),
        ({"threshold": 1.5}, "threshold: must be between 0 and 1: 1.5"),
        ({"tasks": 0}, "tasks: must be at least 1: 0"),
        ({"device": "tpu"}, "device: no such device: 'tpu'"),
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, model: str, photos: list[Path], change: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        detection_job(photos, tmp_path / "out", **{"model": model} | change)

    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, model: str, photos: list[Path]) -> None:
    with pytest.raises(InvalidInput, match=r"out .*photo\.png: cannot be written"):
        detection_job(photos, photos[0], model=model)


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, photos: list[Path]) -> None:
    with pytest.raises(NotFound, match="no directory"):
        detection_job(photos, tmp_path / "out", model=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("manifest", "says"), [(None, "cannot be read: No such file"), ("{}", "not a manifest"), ("[", "not a manifest")]
)
def test_a_task_without_a_manifest_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: str | None, says: str
) -> None:
    path = tmp_path / "manifest.json"
    if manifest is not None:
        path.write_text(manifest)

    assert main(["--manifest", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    # A Python of its own in which onnxruntime cannot be found.
    hide = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'onnxruntime' else real(name, *rest)\n"
    )
    worker = f"{hide}import hrm.detect.worker as w\nsys.exit(w.main(['--manifest', 'none']))"
    library = f"{hide}import hrm.detect\nhrm.detect.Detector"

    for script in (worker, library):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=180,
            env=dict(os.environ),
            check=False,
        )
        assert done.returncode != 0
        assert "detection needs onnxruntime, which this Python does not have" in done.stderr
        assert "pip install 'hrm[detect]'" in done.stderr
        if script is worker:
            assert done.returncode == 2
