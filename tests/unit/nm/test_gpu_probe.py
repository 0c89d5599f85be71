"""The process that asks NVML: whatever becomes of it, there is a reading in time."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.nm.gpus.probe import NvmlProbe, has_nvidia_hardware, kernel_module_version
from hrm.nm.gpus.reading import Failure, GpuProcess, GpuReading, Reading
from hrm.testing import eventually_async
from tests.unit.nm.gpu_machines import FAKE_NVML, RECORDING, recorded


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", program)


async def test_a_recording_is_what_the_process_prints() -> None:
    probe = NvmlProbe(time_limit_s=60, command=("cat", str(RECORDING)))

    assert await probe.read() == recorded()


async def test_nvml_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKE_NVML))
    monkeypatch.setenv("FAKE_NVML", str(FAKE_NVML / "two_rtx_2080_ti.json"))

    assert await NvmlProbe(time_limit_s=60).read() == recorded()


async def test_one_that_hangs_is_given_up_in_time_and_killed() -> None:
    probe = NvmlProbe(time_limit_s=0.2, command=("sleep", "1000"))

    found = await probe.read()

    assert found.failure is Failure.TIMEOUT
    assert "within 0.2 s" in found.message
    hanging = probe._hanging
    assert hanging is not None
    await eventually_async(lambda: hanging.returncode == -signal.SIGKILL, describe="it is killed")


async def test_while_one_hangs_in_the_kernel_no_second_is_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    probe = NvmlProbe(time_limit_s=60, command=("sh", "-c", f"echo >> {started}; cat {RECORDING}"))
    # One that SIGKILL does not reach cannot be made at will.
    probe._hanging = SimpleNamespace(pid=4321, returncode=None)  # type: ignore[assignment]

    found = await probe.read()

    assert (found.failure, found.gpus) == (Failure.TIMEOUT, ())
    assert "process 4321" in found.message
    assert not started.exists()

    probe._hanging.returncode = -9  # type: ignore[union-attr, misc]
    assert await probe.read() == recorded()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (python("import sys; sys.exit('NVML crashed')"), "ended with 1: NVML crashed"),
        (python("import os; os.abort()"), f"ended with -{signal.SIGABRT.value}"),
        (("echo", "[]"), "not a reading"),
        (("echo", '{"gpus": [{"index": 0}]}'), "not a reading"),
        (("/no/such/program",), "No such file"),
    ],
)
async def test_one_that_answers_nonsense_is_a_reading_too(command: tuple[str, ...], words: str) -> None:
    found = await NvmlProbe(time_limit_s=60, command=command).read()

    assert (found.failure, found.gpus) == (Failure.OTHER, ())
    assert words in found.message


async def test_ctrl_c_for_the_server_is_none_for_the_process() -> None:
    program = f"import os; assert os.getpgrp() != {os.getpgrp()}; print('{{\"gpus\": []}}')"

    assert await NvmlProbe(time_limit_s=60, command=python(program)).read() == Reading()


@given(
    st.builds(
        Reading,
        driver_version=st.text(),
        failure=st.none() | st.sampled_from(Failure),
        gpus=st.lists(
            st.builds(
                GpuReading,
                index=st.integers(0, 15),
                uuid=st.text(),
                memory_used_mib=st.none() | st.integers(0),
                failure=st.none() | st.sampled_from(Failure),
                links=st.dictionaries(st.text(), st.text(), max_size=2),
                processes=st.lists(st.builds(GpuProcess, pid=st.integers(1)), max_size=2).map(tuple),
            ),
            max_size=3,
        ).map(tuple),
    )
)
def test_a_reading_reads_back_as_it_was_written(reading: Reading) -> None:
    assert Reading.from_json(reading.to_json()) == reading


# --- whether to ask at all


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, False),
        ({"dev/nvidiactl": ""}, True),
        ({"dev/dxg": ""}, True),
        ({"proc/driver/nvidia/version": ""}, True),
        ({"sys/bus/pci/devices/0/vendor": "0x10de\n", "sys/bus/pci/devices/0/class": "0x030000\n"}, True),
        # Its sound device, and another maker's GPU.
        ({"sys/bus/pci/devices/0/vendor": "0x10de\n", "sys/bus/pci/devices/0/class": "0x040300\n"}, False),
        ({"sys/bus/pci/devices/0/vendor": "0x1002\n", "sys/bus/pci/devices/0/class": "0x030000\n"}, False),
    ],
)
def test_only_a_machine_with_nvidias_hardware_pays_for_asking(
    tmp_path: Path, files: dict[str, str], expected: bool
) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)

    assert has_nvidia_hardware(tmp_path) is expected


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\nGCC version: 7",
            "418.39",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.54.03  Release Build", "535.54.03"),
        ("", ""),
    ],
)
def test_the_kernel_module_says_its_version(tmp_path: Path, text: str, version: str) -> None:
    write(tmp_path / "proc/driver/nvidia/version", text)

    assert kernel_module_version(tmp_path) == version
