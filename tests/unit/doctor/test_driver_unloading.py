"""`module nvidia is in use`: who holds the GPUs, and how the modules are unloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.gpu import driver, unloading
from hrm.model.findings import Risk
from hrm.testing.machines import Machine

#: As lsmod showed it on the node that the driver of was changed.
MODULES = """\
nvidia_uvm 798720 0 - Live 0xffffffffc1a00000 (OE)
nvidia_drm 45056 0 - Live 0xffffffffc19f0000 (POE)
nvidia_modeset 1085440 1 nvidia_drm, Live 0xffffffffc18e0000 (POE)
nvidia 17592320 16 nvidia_uvm,nvidia_modeset, Live 0xffffffffc0800000 (POE)
ipmi_msghandler 53248 4 ipmi_devintf,ipmi_si,nvidia,ipmi_ssif, Live 0xffffffffc0700000
drm_kms_helper 172032 2 ast,nvidia_drm, Live 0xffffffffc0600000
drm 401408 6 drm_kms_helper,ast,nvidia_drm,ttm, Live 0xffffffffc0500000
"""
GPUS = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia0", "/dev/nvidia1"]
UNLOAD = ["rmmod nvidia_drm", "rmmod nvidia_modeset", "rmmod nvidia_uvm", "rmmod nvidia"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path).file("/proc/modules", MODULES)
    return machine.file("/usr/sbin/rmmod", mode=0o755).file("/usr/sbin/modprobe", mode=0o755)


def commands(machine: Machine) -> list[str]:
    return [step.command or step.about.en for step in unloading.unloading(machine.system()).reload]


def test_modules_let_go_of_each_other_in_their_order_and_what_they_use_stays(machine: Machine) -> None:
    assert commands(machine) == [*UNLOAD, "modprobe nvidia"]


def test_modules_of_others_that_use_the_drivers_go_first(machine: Machine) -> None:
    machine.file("/proc/modules", MODULES.replace("nvidia_uvm,nvidia_modeset,", "nvidia_uvm,nvidia_modeset,gdrdrv,"))
    machine.file(
        "/proc/modules", MODULES.replace(" 16 nvidia_uvm", " 17 gdrdrv,nvidia_uvm") + "gdrdrv 24576 0 - Live 0\n"
    )

    assert commands(machine)[:-1] == [*UNLOAD[:3], "rmmod gdrdrv", UNLOAD[3]]


def test_only_what_is_loaded_is_unloaded(machine: Machine) -> None:
    machine.file("/proc/modules", "nvidia 17592320 0 - Live 0\next4 1 1 - Live 0\n")

    assert commands(machine) == ["rmmod nvidia", "modprobe nvidia"]


def test_a_module_that_is_gone_already_counts_as_unloaded(machine: Machine) -> None:
    step = unloading.unloading(machine.system()).steps[-1]

    assert step.done_if == ("not currently loaded",)
    assert step.risk is Risk.DISRUPTIVE


def test_a_program_of_a_user_is_ended_by_its_pid_while_it_is_still_that_one(machine: Machine) -> None:
    machine.process(4242, "python train.py --epochs 90", holds=GPUS)

    way = unloading.unloading(machine.system())

    assert way.steps[0].ends is not None
    assert (way.steps[0].ends.pid, way.steps[0].ends.command_line) == (4242, "python train.py --epochs 90")
    assert way.evidence[0].text == "python train.py --epochs 90 holds /dev/nvidia0 /dev/nvidia1 /dev/nvidiactl"
    assert way.afterwards == ()


@pytest.mark.parametrize("manager", ["gdm3", "lightdm", "sddm"])
def test_a_display_manager_is_stopped_since_it_starts_its_shell_again(machine: Machine, manager: str) -> None:
    machine.process(2900, f"/usr/sbin/{manager}").process(3100, "gdm-session-worker", parent=2900)
    machine.process(3198, "/usr/bin/gnome-shell", holds=GPUS, parent=3100)
    machine.link(unloading.DISPLAY_MANAGER, f"/lib/systemd/system/{manager}.service")

    assert commands(machine) == [f"systemctl stop {manager}", *UNLOAD, "modprobe nvidia", f"systemctl start {manager}"]


def test_a_display_manager_is_known_by_its_process_where_systemd_has_no_name_for_it(machine: Machine) -> None:
    machine.process(2900, "/usr/sbin/gdm3").process(3198, "firefox", holds=["/dev/nvidia0"], parent=2900)

    assert commands(machine)[0] == "systemctl stop gdm3"


def test_an_x_server_that_somebody_started_by_hand_is_ended(machine: Machine) -> None:
    machine.process(900, "xinit").process(901, "/usr/lib/xorg/Xorg :0", holds=["/dev/nvidia0"], parent=900)

    assert commands(machine)[0] == "kill 901"


def test_the_service_of_a_holder_is_stopped_once_and_started_again(machine: Machine) -> None:
    machine.process(700, "/usr/bin/nvidia-persistenced --user nvidia-persistenced", holds=GPUS)
    machine.process(800, "/usr/bin/ollama serve", holds=GPUS).process(801, "/usr/bin/ollama runner", holds=GPUS)
    for pid in (800, 801):
        machine.file(f"/proc/{pid}/cgroup", "0::/system.slice/ollama.service\n")

    assert commands(machine) == [
        "systemctl stop nvidia-persistenced",
        "systemctl stop ollama",
        *UNLOAD,
        "modprobe nvidia",
        "systemctl start nvidia-persistenced",
        "systemctl start ollama",
    ]


def test_services_are_stopped_before_anything_is_ended_that_they_would_start_again(machine: Machine) -> None:
    machine.process(600, "python train.py", holds=GPUS)
    machine.process(700, "/usr/bin/nvidia-persistenced --user nvidia-persistenced", holds=GPUS)

    assert commands(machine)[:2] == ["systemctl stop nvidia-persistenced", "kill 600"]


def test_a_container_that_holds_a_gpu_is_stopped_by_docker(machine: Machine) -> None:
    container = "0123456789ab" + "c" * 52
    machine.process(600, "python serve.py", holds=["/dev/nvidia0"])
    machine.file("/proc/600/cgroup", f"12:devices:/docker/{container}\n0::/system.slice/docker-{container}.scope\n")

    assert commands(machine)[0] == "docker stop 0123456789ab"


@pytest.mark.parametrize("unit", ["ssh.service", "docker.service", "hrm.service", "mesos-slave.service"])
def test_a_service_of_many_is_never_stopped_for_one_program(machine: Machine, unit: str) -> None:
    machine.process(600, "python serve.py", holds=["/dev/nvidia0"])
    machine.file("/proc/600/cgroup", f"0::/system.slice/{unit}\n")

    assert commands(machine)[0] == "kill 600"


def test_a_display_of_the_gpus_holds_the_module_too_and_one_of_another_card_does_not(machine: Machine) -> None:
    machine.link("/sys/class/drm/card0/device/driver", "../../../bus/pci/drivers/ast")
    machine.link("/sys/class/drm/card1/device/driver", "../../../bus/pci/drivers/nvidia")
    machine.process(50, "weston", holds=["/dev/dri/card1"]).process(51, "plymouthd", holds=["/dev/dri/card0"])

    assert commands(machine)[0] == "kill 50"
    assert "kill 51" not in commands(machine)


def test_a_holder_that_waits_in_the_kernel_leaves_only_a_restart(machine: Machine) -> None:
    machine.process(55, "nvidia-smi", holds=["/dev/nvidiactl"], state="D").file(
        driver.VERSION, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\n"
    )
    machine.file("/usr/lib64/libnvidia-ml.so.440.100").link("/usr/lib64/libnvidia-ml.so.1", "libnvidia-ml.so.440.100")

    (found,) = machine.findings(driver.driver_and_library_agree)

    assert "nvidia-smi holds /dev/nvidiactl, state D" in found.evidence[-1].text
    assert found.cure[0].by_hand
    assert found.cure[-1].command == "systemctl reboot"
    assert not any("rmmod" in step.command for step in found.cure)


def test_missing_tools_are_installed_first(tmp_path: Path) -> None:
    assert commands(Machine(tmp_path).file("/proc/modules", MODULES))[0] == "apt-get install -y kmod"


def test_holders_that_only_root_may_see_are_said_to_be_unseen(machine: Machine) -> None:
    machine.process(55, "python", holds=["/dev/nvidia0"]).denied("/proc/55/fd").seen_by(1000)

    assert unloading.unloading(machine.system()).unseen == "open files of 1 processes (needs root)"
