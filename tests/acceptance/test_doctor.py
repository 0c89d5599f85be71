"""`hrm doctor` as people type it."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import Hrm

#: A node whose driver's packages changed while the module of before stayed loaded, as it was recorded.
MISMATCH = Path(__file__).parents[1] / "doctor" / "machines" / "mismatch"
UNLOAD = ["rmmod nvidia_drm", "rmmod nvidia_modeset", "rmmod nvidia_uvm", "rmmod nvidia"]


def test_what_is_wrong_with_a_recorded_machine_is_told_with_its_cure(hrm: Hrm) -> None:
    result = hrm("doctor", "--root", MISMATCH, "--only", "gpu")

    assert result.code == 1
    assert "HRM-GPU-001 critical  The kernel has driver 418.39 loaded, but libnvidia-ml is 440.100" in result.out
    assert (
        "/var/log/apt/history.log: Start-Date: 2020-07-29  06:42:07, Commandline: /usr/bin/unattended-upgrade"
        in result.out
    )
    assert "/usr/bin/gnome-shell holds /dev/nvidia0 /dev/nvidia1 /dev/nvidiactl" in result.out
    assert "rmmod nvidia_drm [disruptive]" in result.out
    assert "checks on slave06: 1 critical, " in result.out


def test_the_cure_of_a_mismatch_is_exact_where_it_is_said_which_driver_is_wanted(hrm: Hrm) -> None:
    hrm.configure(
        """\
        doctor:
          gpu: {driver: "418.39", installer: /soft/cuda_10.1.105_418.39_linux.run}
        """
    )

    told = hrm("doctor", "--root", MISMATCH, "--only", "gpu.driver-version", "-o", "json").json

    containers = "libnvidia-container-tools libnvidia-container1 nvidia-container-runtime nvidia-container-toolkit"
    assert [step["command"] for step in told["findings"][0]["cure"]] == [
        f"apt-mark hold {containers}",
        "apt-get purge -y libnvidia-compute-440 nvidia-utils-440",
        f"apt-mark unhold {containers}",
        "systemctl stop gdm",
        *UNLOAD,
        "sh /soft/cuda_10.1.105_418.39_linux.run --silent --driver",
        "systemctl start gdm",
        "systemctl reboot",
        None,
    ]


def test_programs_get_it_as_json_and_readers_of_chinese_in_chinese(hrm: Hrm) -> None:
    told = hrm("doctor", "--root", MISMATCH, "--lang", "zh", "-o", "json").json

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
