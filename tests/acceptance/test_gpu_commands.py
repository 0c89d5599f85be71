"""GPUs through the command line: virtual ones, those of an NVML that is played, and real ones where there are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest

from hrm.nm.gpus.probe import has_nvidia_hardware
from hrm.testing import eventually
from tests.acceptance.conftest import CONFIGURATION, Hrm, Result

FAKE_NVML = Path(__file__).parents[1] / "fake_nvml"
FIRST = "GPU-20fbec52-8c31-118f-52a7-8678af956128"
SECOND = "GPU-014deb77-a5fa-7ea2-eda6-a170cec4f64f"


def variables(result: Result) -> dict[str, str]:
    assert result.code == 0, result.err
    return dict(line.split("=", 1) for line in result.out.splitlines() if "=" in line)


class TestVirtualGpus:
    """Everything but the kernels, on any machine."""

    def test_run_starts_a_server_with_them_and_gives_each_job_what_it_asked_for(self, hrm: Hrm) -> None:
        one = variables(hrm("run", "--virtual-gpus", 2, "--gpus", 1, "--", "env"))
        assert one["HRM_GPUS"].startswith("VGPU-")
        assert one["HRM_GPUS"].endswith("-0:1")
        assert one["HRM_GPUS_ON_NODE"] == "1"
        if not has_nvidia_hardware():
            assert one["CUDA_VISIBLE_DEVICES"] == "0"

        none = variables(hrm("run", "--", "env"))
        assert (none["CUDA_VISIBLE_DEVICES"], none["HRM_GPUS"]) == ("", "")

        both = variables(hrm("run", "--virtual-gpus", 2, "--gpus", 2, "--", "env"))
        assert both["HRM_GPUS_ON_NODE"] == "2", "the server that is up has as many as this one wants"

        other = hrm("run", "--virtual-gpus", 3, "--", "true")
        assert other.code == 2
        assert "has 2 virtual GPUs, not 3" in other.err
        assert "hrm down" in other.err

    def test_they_are_called_virtual_wherever_they_are_shown(self, hrm: Hrm) -> None:
        assert hrm("up", "--detach", "--virtual-gpus", 2).code == 0
        assert hrm("run", "--gpus", 0.5, "--", "true").code == 0

        assert "0/2 virtual" in hrm("nodes").out
        lines = hrm("nodes", "gpus").out.splitlines()
        assert [line.split()[1:4] for line in lines[1:]] == [["0", "virtual", "lent"], ["1", "virtual", "lent"]]
        assert all(row["device"]["virtual"] for row in hrm("nodes", "gpus", "-o", "json").json)
        assert "0.5 virtual gpu" in hrm("history").out
        assert hrm("history", "-o", "json").json[0]["device_ids"][0].startswith("VGPU-")
        refused = hrm("run", "--gpus", 3, "--", "true")
        assert refused.code == 2
        assert "fits on no node" in refused.err
        assert "2 virtual GPUs" in refused.err
        model = hrm("run", "--gpus", 1, "--gpu-model", "RTX*", "--", "true")
        assert model.code == 2
        assert "of GPU model RTX* fits on no node" in model.err
        assert hrm("run", "--gpus", 1, "--gpu-model", "virt*", "--", "true").code == 0

    def test_two_halves_share_one_device_and_a_whole_one_waits_for_a_whole_one(self, hrm: Hrm) -> None:
        assert hrm("up", "--detach", "--virtual-gpus", 2).code == 0
        for gpus in ("0.5", "0.5", "0.6"):
            hrm("submit", "--cpus", 0.1, "--gpus", gpus, "--", "sleep", 1000)
        eventually(lambda: [app["tasks_running"] for app in hrm.apps()] == [1, 1, 1])

        waiting = hrm("submit", "--cpus", 0.1, "--gpus", 1, "--", "true").out.strip()
        eventually(lambda: hrm("explain", waiting, "-o", "json").json["reason"] == "insufficient_gpus")

        devices = [row["device_ids"] for row in hrm("history", "-o", "json").json]
        assert devices[0] == devices[1] != devices[2]
        free = {row["device"]["index"]: row["device"]["free_milli"] for row in hrm("nodes", "gpus", "-o", "json").json}
        assert free == {0: 0, 1: 400}

    def test_the_file_may_ask_for_them_and_the_option_wins(self, hrm: Hrm) -> None:
        hrm.configure(CONFIGURATION.replace("node: {", "node: {virtual_gpus: 1, "))
        assert hrm("up", "--detach").code == 0
        assert len(hrm("nodes", "gpus", "-o", "json").json) == 1
        assert hrm("down").code == 0
        assert hrm("up", "--detach", "--virtual-gpus", 4).code == 0
        assert len(hrm("nodes", "gpus", "-o", "json").json) == 4

    @pytest.mark.parametrize("count", ["-1", "257", "many"])
    def test_a_number_that_is_none_is_refused(self, hrm: Hrm, count: str) -> None:
        result = hrm("up", "--detach", "--virtual-gpus", count)

        assert result.code == 2
        assert "--virtual-gpus" in result.err


class Machine:
    """A machine whose NVML answers what the test says, to the server and the process that asks."""

    def __init__(self, hrm: Hrm, file: Path) -> None:
        self.hrm = hrm
        self._file = file
        self.gpus: list[dict[str, Any]] = []
        self.describe(**json.loads((FAKE_NVML / "two_rtx_2080_ti.json").read_text()))
        hrm.env |= {"PYTHONPATH": str(FAKE_NVML), "FAKE_NVML": str(file)}

    def describe(self, **machine: Any) -> None:
        self.gpus = machine.get("gpus", self.gpus)
        # Moved into place: somebody may be reading.
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps({"gpus": self.gpus, **machine}))
        beside.rename(self._file)

    def lend(self, devices: str) -> None:
        self.hrm.configure(CONFIGURATION.replace("node: {", f"node: {{gpu_devices: {devices}, "))

    def shown(self) -> dict[str, dict[str, Any]]:
        return {row["device"]["device_id"]: row["device"] for row in self.hrm("nodes", "gpus", "-o", "json").json}


@pytest.fixture
def machine(hrm: Hrm, tmp_path: Path) -> Machine:
    return Machine(hrm, tmp_path / "machine.json")


class TestGpusOfNvml:
    """A machine with two RTX 2080 Ti, as NVML would tell of it."""

    def test_lent_and_unlent_gpus_live_side_by_side(self, machine: Machine) -> None:
        machine.lend("[1]")
        hrm = machine.hrm
        assert hrm("up", "--detach").code == 0

        found = variables(hrm("run", "--gpus", "GeForce*:1", "--", "env"))
        assert (found["CUDA_VISIBLE_DEVICES"], found["HRM_GPUS"]) == (SECOND, f"{SECOND}:1")
        assert "0/1 GeForce RTX 2080 Ti" in hrm("nodes").out
        shown = machine.shown()
        assert [(shown[uuid]["state"], shown[uuid]["free_milli"]) for uuid in (FIRST, SECOND)] == [
            ("unlent", 0),
            ("lent", 1000),
        ]
        assert shown[FIRST]["foreign_memory_mib"] == 1249
        assert shown[FIRST]["processes"][0]["pid"] == 12786
        assert (shown[SECOND]["compute_capability"], shown[SECOND]["links"]) == ("7.5", {FIRST: "NODE"})
        assert hrm("run", "--gpus", 2, "--", "true").code == 2

    def test_no_virtual_gpus_leave_the_allow_list_as_it_is(self, machine: Machine) -> None:
        machine.lend("[1]")

        assert machine.hrm("up", "--detach", "--virtual-gpus", 0).code == 0

        assert {uuid: one["state"] for uuid, one in machine.shown().items()} == {FIRST: "unlent", SECOND: "lent"}

    def test_an_index_that_is_not_there_is_refused_at_its_line_with_what_is(self, machine: Machine) -> None:
        machine.lend("[0, 5]")

        result = machine.hrm("up", "--detach")

        assert result.code == 2
        assert "hrm.yaml:1: node.gpu_devices[1]: no GPU 5 here (there are: 0 (GeForce RTX 2080 Ti, " in result.err
        assert machine.hrm("status").code == 3

    def test_a_driver_of_another_version_leaves_a_node_without_gpus_that_says_so(self, machine: Machine) -> None:
        machine.lend("[0]")
        machine.describe(init=pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)
        assert machine.hrm("up", "--detach").code == 0

        assert machine.hrm("run", "--", "true").code == 0
        (node,) = machine.hrm("nodes", "-o", "json").json
        assert node["message"].startswith("Driver/library version mismatch")
        assert node["total"]["gpus_milli"] == 0
        assert "Driver/library version mismatch" in machine.hrm("nodes").out

    @pytest.mark.real
    def test_nvml_that_hangs_keeps_no_server_from_starting(self, machine: Machine) -> None:
        machine.lend("[0]")
        machine.describe(hang=True)

        assert machine.hrm("up", "--detach").code == 0

        (node,) = machine.hrm("nodes", "-o", "json").json
        assert "NVML did not answer within 10 s" in node["message"]
        assert machine.hrm("run", "--", "true").code == 0
        assert machine.hrm("down").code == 0

    @pytest.mark.real
    def test_a_gpu_lost_under_a_job_ends_it_as_lost_and_it_goes_on_elsewhere(self, machine: Machine) -> None:
        machine.lend("[0, 1]")
        hrm = machine.hrm
        assert hrm("up", "--detach").code == 0
        app = hrm("submit", "--gpus", 1, "--", "sleep", 1000).out.strip()
        eventually(lambda: hrm.state(app) == "RUNNING")

        machine.gpus[0]["nvmlDeviceGetTemperature"] = {"error": pynvml.NVML_ERROR_GPU_IS_LOST}
        machine.describe()

        # The next look comes within the quarter of a minute.
        attempts = eventually(lambda: (found := hrm("history", app, "-o", "json").json)[1:] and found)
        assert [(one["device_ids"], one["state"]) for one in attempts] == [([FIRST], "LOST"), ([SECOND], "RUNNING")]
        assert attempts[0]["message"] == f"GPU 0 ({FIRST}) was lost: GPU is lost; the machine has to be restarted"
        # What is shown of a GPU comes with the node's next heartbeat.
        eventually(lambda: machine.shown()[FIRST]["state"] == "lost")
        assert hrm("kill", app).code == 0


#: What CUDA itself finds: the driver's library, without any toolkit.
COUNT_DEVICES = """
import ctypes
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
status = cuda.cuInit(0)
if status == 0:
    cuda.cuDeviceGetCount(ctypes.byref(count))
print(status, count.value)
"""
CUDA_ERROR_NO_DEVICE = 100


@pytest.mark.gpu
@pytest.mark.skipif(not has_nvidia_hardware(), reason="there is no NVIDIA GPU here")
class TestRealGpus:
    """A machine with an NVIDIA GPU and its driver."""

    @pytest.fixture(autouse=True)
    def gpus(self, hrm: Hrm) -> list[dict[str, Any]]:
        assert hrm("up", "--detach").code == 0
        rows = [row["device"] for row in hrm("nodes", "gpus", "-o", "json").json]
        if not any(device["state"] == "lent" for device in rows):
            pytest.skip(f"NVML finds no GPU that is well: {hrm('nodes').out}")
        return rows

    def test_they_are_found_with_what_they_are(self, gpus: list[dict[str, Any]]) -> None:
        for device in gpus:
            assert device["device_id"].startswith("GPU-")
            assert device["model"] and device["architecture"] and device["pci_bus_id"]
            assert device["memory_mib"] > 0
            assert not device["virtual"]

    def test_cuda_finds_one_where_one_was_granted_and_none_where_none_was(self, hrm: Hrm) -> None:
        one = hrm("run", "--gpus", 1, "--", sys.executable, "-c", COUNT_DEVICES)
        assert one.out.split() == ["0", "1"], one.err
        none = hrm("run", "--", sys.executable, "-c", COUNT_DEVICES)
        assert none.out.split() == [str(CUDA_ERROR_NO_DEVICE), "0"], none.err

    def test_two_halves_see_the_same_one(self, hrm: Hrm) -> None:
        result = hrm("run", "--tasks", 2, "--cpus", 0.1, "--gpus", 0.5, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")

        assert len(set(result.out.split())) == 1
