"""`hrm doctor` as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.testing.conditions import eventually
from tests.acceptance.conftest import Hrm
from tests.acceptance.terminals import exit_code, in_terminal

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
        "test -r /soft/cuda_10.1.105_418.39_linux.run",
        "systemctl stop gdm",
        *UNLOAD,
        f"apt-mark hold {containers}",
        "apt-get purge -y libnvidia-compute-440 nvidia-utils-440",
        f"apt-mark unhold {containers}",
        "sh /soft/cuda_10.1.105_418.39_linux.run --silent --driver",
        "systemctl start gdm",
        "systemctl reboot",
        None,
    ]


def test_programs_get_it_as_json_and_readers_of_chinese_in_chinese(hrm: Hrm) -> None:
    told = hrm("doctor", "--root", MISMATCH, "--lang", "zh", "-o", "json").json

    assert (told["healthy"], told["findings"][0]["code"]) == (False, "HRM-GPU-001")
    assert told["findings"][0]["title"] == "内核加载的驱动是 418.39，而 libnvidia-ml 是 440.100"
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


SITE = '''\
"""Checks of a site's own: a file is to be there."""
import os
from hrm.doctor.checks import check
from hrm.doctor.faults import Fault
from hrm.doctor.steps import run
from hrm.model.findings import Severity, Text

TEXT = Text("The file is missing", "缺少文件")
MISSING = Fault(code="HRM-SITE-001", severity=Severity.ERROR, title=TEXT, why=TEXT, cure=TEXT)
PATH = os.environ["SITE_FILE"]

@check("site.file", MISSING)
def look(system, expected):
    """It is there."""
    if system.stat(PATH) is None:
        yield MISSING.found(cure=(run("touch", PATH),))

CHECKS = [look]
'''


@pytest.fixture
def site(hrm: Hrm, tmp_path: Path) -> Path:
    """A package with a check is installed; the file that it looks for."""
    packages = tmp_path / "packages"
    about = packages / "site_checks-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / "site_checks.py").write_text(SITE, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: site-checks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[hrm.doctor]\nsite = site_checks:CHECKS\n")
    hrm.env.update(PYTHONPATH=str(packages), SITE_FILE=str(tmp_path / "wanted"))
    return tmp_path / "wanted"


def test_a_check_that_a_package_brings_is_run_and_its_fault_is_cured_after_a_yes(hrm: Hrm, site: Path) -> None:
    with in_terminal(hrm, "doctor", "--only", "site", "--fix", columns=200) as (pid, terminal):
        terminal.expect("The file is missing")
        terminal.expect(f"1. touch {site}")
        terminal.expect("Do these steps? [y/N]")
        assert not site.exists()
        terminal.type("y\r")
        terminal.expect("HRM-SITE-001 is cured.")
        terminal.expect("Nothing is left to cure.")
        assert exit_code(pid) == 0

    assert site.exists()
    begun, done = (hrm.home / "doctor.log").read_text().splitlines()
    assert begun.endswith(f"HRM-SITE-001 begins touch {site}")
    assert done.endswith(f"HRM-SITE-001 done touch {site}")


def test_nothing_is_done_without_a_terminal_and_without_a_yes_beforehand(hrm: Hrm, site: Path) -> None:
    refused = hrm("doctor", "--only", "site", "--fix", stdin="y\n")

    assert (refused.code, site.exists()) == (2, False)
    assert "add --yes" in refused.err
    assert hrm("doctor", "--only", "site", "--fix", "--yes").code == 0
    assert site.exists()


def test_a_sick_gpu_is_taken_out_its_job_moves_and_it_comes_back(hrm: Hrm, tmp_path: Path) -> None:
    fan = tmp_path / "fan-0-turns"
    fan.touch()
    hrm.configure(
        f"""\
        node: {{node_id: box, vcores: 2, memory: 2G, virtual_gpus: 2}}
        server: {{port: 0}}
        doctor:
          rounds: {{every: 1s}}
          checks: ["gpu 0: file {fan}"]
        """
    )
    hrm("up", "--detach")
    job = hrm("submit", "--gpus", "1", "-o", "json", "--", "sleep", "600").json["application_id"]
    eventually(lambda: devices_of(hrm, job) == ["VGPU-box-0"])

    fan.unlink()
    eventually(lambda: devices_of(hrm, job) == ["VGPU-box-1"])

    first, second = hrm("history", job, "-o", "json").json
    assert (first["state"], second["attempt"]) == ("LOST", 2)
    (node,) = hrm("nodes", "-o", "json").json
    assert [device["state"] for device in node["devices"]] == ["sick", "lent"]
    assert "HRM-OWN-001" in node["devices"][0]["message"]
    assert "HRM-OWN-001 critical" in hrm("nodes").out
    waiting = hrm("submit", "--gpus", "1", "-o", "json", "--", "true").json["application_id"]
    assert "GPU VGPU-box-0 of box is out: HRM-OWN-001" in " ".join(hrm("explain", waiting).out.split())

    fan.touch()
    eventually(lambda: hrm.state(waiting) == "FINISHED")
    assert devices_of(hrm, job) == ["VGPU-box-1"]


def devices_of(hrm: Hrm, job: str) -> list[str]:
    """Of what runs of it."""
    attempts = hrm("history", job, "-o", "json").json
    return [device for attempt in attempts if attempt["state"] == "RUNNING" for device in attempt["device_ids"]]
