"""Finding things in photographs: darknet's YOLO models, read from darknet's own files, run by onnxruntime.

For programs: ``Detector.load("yolov3-tiny").detect(photo)``, no server needed. As a job of many tasks: `hrm detect`,
or `hrm.detect.job.detection_job`. What needs the extra ``detect`` is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Detection", "Detector"]

if TYPE_CHECKING:
    from hrm.detect.detector import Detector
    from hrm.detect.results import Detection


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): the command line lists models without paying for onnxruntime, or without having it.
    if name not in __all__:
        raise AttributeError(f"module 'hrm.detect' has no attribute {name!r}")
    from hrm.detect.extra import require_extra

    require_extra()
    from hrm.detect import detector, results

    return {"Detection": results.Detection, "Detector": detector.Detector}[name]
