"""A loaded model: photographs in, detections out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import onnxruntime
from PIL import Image

from hrm.detect.boxes import find_boxes
from hrm.detect.graph import INPUT_NAME, build_model
from hrm.detect.letterbox import Letterbox
from hrm.detect.models import ModelFiles, check_device, find_model
from hrm.detect.network import Network, read_network
from hrm.detect.pictures import open_picture, pixels_of, upright_rgb
from hrm.detect.results import Detection
from hrm.detect.weights import read_names, read_weights
from hrm.model.errors import InvalidInput

DEFAULT_THRESHOLD = 0.5


class Detector:
    """Finds the things that a darknet YOLO model knows. Safe to use from several threads.

    ``Detector.load("yolov3-tiny").detect("street.jpg")`` gives a list of `Detection`, best first.
    """

    def __init__(self, files: ModelFiles, *, threads: int | None = None, device: str = "cpu") -> None:
        """Read ``files`` and make the model ready.

        ``threads`` defaults to the CPUs that HRM granted (`granted_threads`). ``device`` is "cpu" or "cuda" (the
        onnxruntime that is installed must be able to). Raises InvalidInput for files that do not fit together.
        """
        self.name = files.name
        self.network: Network = read_network(files.cfg)
        self.names = read_names(files.names, self.network.heads[0].classes)
        if any(head.classes != len(self.names) for head in self.network.heads):
            raise InvalidInput("its [yolo] sections differ in classes", field=str(files.cfg))
        if self.network.inputs.channels != 3:
            raise InvalidInput("reads no colour pictures: channels must be 3", field=str(files.cfg))
        model = build_model(self.network, read_weights(files.weights, self.network))
        self._session = _session(model.SerializeToString(), threads or granted_threads(), device)

    @classmethod
    def load(
        cls, model: str = "yolov3-tiny", *, home: Path | None = None, threads: int | None = None, device: str = "cpu"
    ) -> Detector:
        """The model of that name under ``$HRM_HOME/models``, or in the directory ``model``; read once per process.

        Raises NotFound if it was not pulled (`hrm models pull`).
        """
        return _loaded(find_model(model, home=home), threads or granted_threads(), device)

    def detect(self, picture: Image.Image | Path | str, *, threshold: float = DEFAULT_THRESHOLD) -> list[Detection]:
        """What is in ``picture`` (a file or an open Pillow image), with a score above ``threshold``, best first.

        Raises UnreadablePicture for a file that is none.
        """
        if not 0 < threshold < 1:
            raise InvalidInput(f"must be between 0 and 1: {threshold}", field="threshold")
        image = upright_rgb(picture) if isinstance(picture, Image.Image) else open_picture(Path(picture))
        inputs = self.network.inputs
        letterbox = Letterbox.fit(image.width, image.height, inputs.width, inputs.height)
        heads = self._session.run(None, {INPUT_NAME: letterbox.apply(pixels_of(image))})
        return find_boxes(heads, self.network, letterbox, self.names, threshold)


def granted_threads(env: Mapping[str, str] | None = None) -> int:
    """How many CPUs this task was granted: ``HRM_CPUS_PER_TASK``, else ``OMP_NUM_THREADS``, else 1."""
    env = os.environ if env is None else env
    for name in ("HRM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        try:
            return max(1, int(float(env[name])))
        except (KeyError, ValueError, OverflowError):
            continue
    return 1


@lru_cache(maxsize=4)
def _loaded(files: ModelFiles, threads: int, device: str) -> Detector:
    return Detector(files, threads=threads, device=device)


def _session(model: bytes, threads: int, device: str) -> onnxruntime.InferenceSession:
    check_device(device)
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise InvalidInput(
                "this onnxruntime cannot use CUDA", field="device", next_step="pip install onnxruntime-gpu, or use cpu"
            )
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would burn CPUs that belong to other containers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=providers)
