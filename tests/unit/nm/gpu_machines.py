"""Machines with GPUs that are not here: as NVML would tell of them, and as they were recorded."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hrm.nm.gpus.reading import Reading

TESTS = Path(__file__).parents[2]
RECORDING = TESTS / "recordings" / "two_rtx_2080_ti.json"
FAKE_NVML = TESTS / "fake_nvml"
FIRST = "GPU-20fbec52-8c31-118f-52a7-8678af956128"
SECOND = "GPU-014deb77-a5fa-7ea2-eda6-a170cec4f64f"


def recorded() -> Reading:
    """Two RTX 2080 Ti under driver 418.39."""
    return Reading.from_json(RECORDING.read_bytes())


def machine() -> dict[str, Any]:
    """The same machine as the fake NVML describes it."""
    return json.loads((FAKE_NVML / "two_rtx_2080_ti.json").read_text())


@cache
def fake_pynvml() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_pynvml", FAKE_NVML / "pynvml.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # It looks itself up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
