"""What is asked of NVML, over machines that are described in a file."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from hrm.nm.gpus import nvml
from hrm.nm.gpus.reading import Failure, GpuProcess, Reading
from tests.unit.nm.gpu_machines import FIRST, SECOND, fake_pynvml, machine, recorded

Read = Callable[[dict[str, Any]], Reading]
OLD_DRIVER = [
    *(
        f"nvmlDeviceGet{kind}RunningProcesses{version}"
        for kind in ("Compute", "Graphics")
        for version in ("_v2", "_v3")
    ),
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetRemappedRows",
]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """A look at the machine that is described."""
    monkeypatch.setattr(nvml, "pynvml", fake_pynvml())
    monkeypatch.setenv("FAKE_NVML", str(tmp_path / "machine.json"))

    def look(described: dict[str, Any]) -> Reading:
        (tmp_path / "machine.json").write_text(json.dumps(described))
        return nvml.read()

    return look


def test_two_gpus_are_read_with_all_that_the_driver_tells(read: Read) -> None:
    assert read(machine()) == recorded()


def test_a_driver_that_knows_few_questions_still_names_its_gpus(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    def running(handle: int, count: Any, infos: Any) -> int:
        count._obj.value = 0
        if handle == 0:
            count._obj.value = 1
            infos[0].pid, infos[0].used_bytes = 12786, 1249 << 20
        return pynvml.NVML_SUCCESS

    library = SimpleNamespace(
        nvmlDeviceGetComputeRunningProcesses=running,
        nvmlDeviceGetGraphicsRunningProcesses=lambda *_: pynvml.NVML_ERROR_NOT_SUPPORTED,
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)

    assert read(machine() | {"missing": OLD_DRIVER}) == recorded()


def test_without_any_way_to_ask_for_processes_there_are_none(read: Read) -> None:
    found = read(machine() | {"missing": OLD_DRIVER})

    assert [gpu.processes for gpu in found.gpus] == [(), ()]
    assert [gpu.uuid for gpu in found.gpus] == [FIRST, SECOND]


def test_a_process_that_computes_and_draws_is_one(read: Read) -> None:
    described = machine()
    described["gpus"][0]["nvmlDeviceGetGraphicsRunningProcesses_v3"] = [
        {"pid": 3198, "usedGpuMemory": None},
        {"pid": 12786, "usedGpuMemory": 1249 << 20},
    ]

    found = read(described).gpus[0].processes

    assert found == (GpuProcess(pid=3198, memory_mib=None), GpuProcess(pid=12786, memory_mib=1249))


@pytest.mark.parametrize(
    ("code", "failure", "words"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, Failure.MISMATCH, "version mismatch"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, Failure.UNLOADED, "Driver Not Loaded"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, Failure.MISSING, "Not Found"),
        (pynvml.NVML_ERROR_UNKNOWN, Failure.OTHER, "Unknown Error"),
    ],
)
def test_what_keeps_nvml_from_beginning_is_a_reading(read: Read, code: int, failure: Failure, words: str) -> None:
    found = read({"init": code, "gpus": []})

    assert (found.failure, found.gpus) == (failure, ())
    assert words in found.message


def test_a_gpu_that_gives_no_handle_is_there_without_a_name(read: Read) -> None:
    described = machine()
    described["gpus"][1]["nvmlDeviceGetHandleByIndex"] = {"error": pynvml.NVML_ERROR_GPU_IS_LOST}

    first, second = read(described).gpus

    assert (first.uuid, first.failure) == (FIRST, None)
    assert (second.uuid, second.index, second.failure, second.message) == ("", 1, Failure.LOST, "GPU is lost")


def test_a_gpu_that_is_lost_between_two_questions_keeps_its_name(read: Read) -> None:
    described = machine()
    described["gpus"][1]["nvmlDeviceGetTemperature"] = {"error": pynvml.NVML_ERROR_GPU_IS_LOST}

    second = read(described).gpus[1]

    assert (second.uuid, second.failure) == (SECOND, Failure.LOST)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"nvmlDeviceGetRetiredPagesPendingStatus": 1}, {"retirement_pending": True}),
        ({"nvmlDeviceGetRemappedRows": [0, 1, 1, 0]}, {"retirement_pending": True}),
        ({"nvmlDeviceGetRemappedRows": [0, 9, 0, 1]}, {"remap_failed": True}),
        ({"nvmlDeviceGetTotalEccErrors": 2}, {"uncorrected_errors": 2}),
        ({"nvmlDeviceGetMigMode": [1, 1]}, {"mig": True}),
        ({"nvmlDeviceGetMemoryInfo": None}, {"memory_mib": 0, "memory_used_mib": None, "failure": None}),
        ({"nvmlDeviceGetCudaComputeCapability": [8, 9]}, {"architecture": "Ada"}),
        ({"nvmlDeviceGetCudaComputeCapability": [9, 0]}, {"architecture": "Hopper"}),
    ],
)
def test_what_is_wrong_or_new_with_a_gpu_shows(read: Read, answers: dict[str, Any], expected: dict[str, Any]) -> None:
    described = machine()
    described["gpus"][0] |= answers

    found = read(described).gpus[0]

    assert {name: getattr(found, name) for name in expected} == expected


def nvlinked(**ends: str) -> dict[str, Any]:
    described = machine()
    for index, gpu in enumerate(described["gpus"]):
        gpu["nvmlDeviceGetP2PStatus"] = {str(1 - index): pynvml.NVML_P2P_STATUS_OK}
        gpu["nvmlDeviceGetNvLinkState"] = dict.fromkeys(ends, 1)
        gpu["nvmlDeviceGetNvLinkRemotePciInfo"] = ends
    return described


def test_gpus_that_are_linked_to_each_other_count_those_links(read: Read) -> None:
    first = read(nvlinked(**{"0": "00000000:41:00.0", "1": "00000000:41:00.0", "2": "00000000:99:00.0"})).gpus[0]

    assert first.links == {SECOND: "NV2"}


def test_gpus_behind_a_switch_count_all_their_links(read: Read) -> None:
    first = read(nvlinked(**{"0": "00000000:C1:00.0", "1": "00000000:C2:00.0", "2": "00000000:C3:00.0"})).gpus[0]

    assert first.links == {SECOND: "NV3"}
