"""`hrm doctor` as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.testing.machines import Machine
from tests.acceptance.conftest import Hrm


@pytest.fixture
def mismatch(tmp_path: Path) -> Path:
    """A machine whose driver packages changed while the module of before stayed loaded."""
    root = tmp_path / "mismatch"
    machine = Machine(root).file(
        "/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 2019\n"
    )
    machine.link("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "libnvidia-ml.so.440.100").system()
    return root


def test_what_is_wrong_with_a_recorded_machine_is_told_with_its_cure(hrm: Hrm, mismatch: Path) -> None:
    result = hrm("doctor", "--root", str(mismatch), "--only", "gpu")

    assert result.code == 1
    assert "HRM-GPU-001 critical  The kernel has driver 418.39 loaded, but libnvidia-ml is 440.100" in result.out
    assert "rmmod nvidia_drm [disruptive]" in result.out


def test_programs_get_it_as_json_and_readers_of_chinese_in_chinese(hrm: Hrm, mismatch: Path) -> None:
    told = hrm("doctor", "--root", str(mismatch), "--lang", "zh", "-o", "json").json

    assert (told["healthy"], told["findings"][0]["code"]) == (False, "HRM-GPU-001")
    assert told["findings"][0]["title"] == "内核加载的驱动是 418.39,而 libnvidia-ml 是 440.100"
    assert {"name", "time_s", "unseen"} == set(told["checks_run"][0])


def test_an_area_that_there_is_not_is_refused_with_those_that_there_are(hrm: Hrm) -> None:
    result = hrm("doctor", "--only", "gpus")

    assert result.code == 2
    assert "no checks are called 'gpus'" in result.err
    assert "gpu" in result.err


def test_a_code_is_explained_without_looking_at_anything(hrm: Hrm) -> None:
    result = hrm("doctor", "--explain", "hrm-gpu-001")

    assert result.code == 0
    assert result.out.startswith("HRM-GPU-001 (critical, found by gpu.driver-version)\n")


def test_all_nodes_of_a_server_are_looked_at_and_compared(hrm: Hrm) -> None:
    hrm("up", "--detach")

    told = hrm("doctor", "--all", "--only", "gpu", "-o", "json").json

    (node,) = hrm("nodes", "-o", "json").json
    assert [report["node"] for report in told["nodes"]] == [node["node_id"]]
    assert (told["healthy"], told["compared"]) == (True, [])
    assert {run["name"].partition(".")[0] for run in told["nodes"][0]["checks_run"]} == {"gpu"}


def test_a_node_that_there_is_not_is_named(hrm: Hrm) -> None:
    hrm("up", "--detach")

    result = hrm("doctor", "--node", "elsewhere")

    assert result.code != 0
    assert "elsewhere" in result.err
