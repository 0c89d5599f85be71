"""The detector as programs use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hrm.detect import Detection, Detector
from hrm.detect.detector import granted_threads
from hrm.model.errors import InvalidInput
from tests.unit.detect.tiny_nets import HEAD, NET, TinyNet


def test_files_and_open_pictures_give_the_same(tmp_path: Path) -> None:
    detector = Detector(TinyNet(tmp_path / "tiny").files)
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(7).integers(0, 256, size=(40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)

    from_file = detector.detect(path, threshold=0.2)

    assert from_file
    assert all(isinstance(found, Detection) for found in from_file)
    assert detector.detect(str(path), threshold=0.2) == from_file
    with Image.open(path) as picture:
        assert detector.detect(picture, threshold=0.2) == from_file


def test_a_model_is_loaded_once_for_each_directory(tmp_path: Path) -> None:
    directory = str(TinyNet(tmp_path / "tiny").files.cfg.parent)

    assert Detector.load(directory) is Detector.load(directory)


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    files = TinyNet(tmp_path / "tiny").files
    files.names.write_text("cat\n")

    with pytest.raises(InvalidInput, match="names 1 classes, but the network has 2"):
        Detector(files)


def test_a_model_for_grey_pictures_is_refused(tmp_path: Path) -> None:
    files = TinyNet(tmp_path / "tiny", NET.replace("channels=3", "channels=1") + HEAD).files

    with pytest.raises(InvalidInput, match="channels must be 3"):
        Detector(files)


@pytest.mark.parametrize("device", ["tpu", "cuda"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    import onnxruntime

    if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can use CUDA")
    files = TinyNet(tmp_path / "tiny").files

    with pytest.raises(InvalidInput, match="device: "):
        Detector(files, device=device)


@pytest.mark.parametrize("threshold", [0, 1, -0.5, float("nan")])
def test_a_threshold_out_of_range_is_refused(tmp_path: Path, threshold: float) -> None:
    detector = Detector(TinyNet(tmp_path / "tiny").files)

    with pytest.raises(InvalidInput, match="threshold: must be between 0 and 1"):
        detector.detect(Image.new("RGB", (8, 8)), threshold=threshold)


@pytest.mark.parametrize(
    ("env", "threads"),
    [
        ({}, 1),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"HRM_CPUS_PER_TASK": "2", "OMP_NUM_THREADS": "3"}, 2),
        ({"HRM_CPUS_PER_TASK": "0.5"}, 1),
        ({"HRM_CPUS_PER_TASK": "many", "OMP_NUM_THREADS": "4"}, 4),
    ],
)
def test_threads_are_those_that_were_granted(env: dict[str, str], threads: int) -> None:
    assert granted_threads(env) == threads
