"""Why the driver's module is not loaded, and whether the next kernel will have one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.gpu import GpuExpected
from hrm.doctor.gpu import driver, module
from hrm.model.findings import Finding
from hrm.testing.machines import Machine

KERNEL = "4.15.0-122-generic"
BEFORE = "4.15.0-118-generic"
NVML = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so"
BUILT = f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
LOADED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 19:19:37 CST 2019\n"
WANTED = Expected(gpu=GpuExpected(driver="418.39"))
GPU = "/sys/bus/pci/devices/0000:3d:00.0"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Has a GPU, and its driver's libraries and source; the module is not loaded."""
    machine = Machine(tmp_path).file("/proc/sys/kernel/osrelease", f"{KERNEL}\n")
    machine.file(f"{GPU}/vendor", "0x10de\n").file(f"{GPU}/class", "0x030000\n")
    machine.file(f"{NVML}.418.39").link(f"{NVML}.1", "libnvidia-ml.so.418.39")
    machine.file("/usr/src/nvidia-418.39/dkms.conf").file("/usr/sbin/dkms", mode=0o755)
    return machine.directory(f"/lib/modules/{KERNEL}/build").kernel_log("[    0.000000] Linux version 4.15.0")


def secure_boot(machine: Machine) -> Machine:
    return machine.file(module.SECURE_BOOT, "\x06\0\0\0\x01")


def signed_by(machine: Machine, signer: str) -> Machine:
    return machine.file(BUILT).command("modinfo", "-F", "signer", BUILT, stdout=f"{signer}\n")


def commands(finding: Finding) -> list[str]:
    return [step.command or step.about.en for step in finding.cure]


def test_after_an_update_of_the_kernel_the_module_is_built_from_its_source(machine: Machine) -> None:
    (found,) = machine.findings(module.module_is_loaded)

    assert (found.code, found.severity) == ("HRM-DRIVER-004", "critical")
    assert "couldn't communicate with the NVIDIA driver" in found.why.en
    assert [evidence.source for evidence in found.evidence] == [GPU, f"/lib/modules/{KERNEL}", "/usr/src/nvidia-418.39"]
    assert commands(found) == [f"dkms install -m nvidia -v 418.39 -k {KERNEL}", "modprobe nvidia"]


def test_what_building_needs_is_installed_first(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file("/proc/sys/kernel/osrelease", f"{KERNEL}\n").directory("/usr/src/nvidia-418.39")
    machine.file(f"{GPU}/vendor", "0x10de\n").file(f"{GPU}/class", "0x030200\n")

    (found,) = machine.findings(module.module_is_loaded)

    assert commands(found)[:3] == [
        "apt-get install -y dkms",
        f"apt-get install -y linux-headers-{KERNEL}",
        f"dkms install -m nvidia -v 418.39 -k {KERNEL}",
    ]


@pytest.mark.parametrize(
    ("directory", "command"),
    [
        ("nvidia-440.100", "dkms install -m nvidia -v 440.100"),
        ("nvidia-384-384.130", "dkms install -m nvidia-384 -v 384.130"),
        ("nvidia-current-525.147.05", "dkms install -m nvidia-current -v 525.147.05"),
        ("nvidia-srv-535.183.01", "dkms install -m nvidia-srv -v 535.183.01"),
    ],
)
def test_the_newest_source_is_built_by_the_name_that_its_distribution_gave_it(
    machine: Machine, directory: str, command: str
) -> None:
    # Of these only the first is of the driver's module, and it is older than the wanted one or newer.
    machine.directory(f"/usr/src/{directory}").directory("/usr/src/nvidia-fs-2.15.1").directory("/usr/src/linux-5.4")
    version = command.rpartition(" ")[2]

    (found,) = machine.findings(module.module_is_loaded, Expected(gpu=GpuExpected(driver=version)))

    assert commands(found)[0] == f"{command} -k {KERNEL}"


def test_a_module_that_dkms_could_not_build_is_not_tried_again(machine: Machine) -> None:
    machine.file(
        "/var/lib/dkms/nvidia/418.39/build/make.log",
        f"DKMS make.log for nvidia-418.39 for kernel {KERNEL} (x86_64)\n"
        "Thu Nov  5 01:44:44 CST 2020\n"
        "/var/lib/dkms/nvidia/418.39/build/nvidia/nv.c:12: error: implicit declaration of function 'ioremap_nocache'\n"
        "make[1]: *** [Makefile:1732: _module_/var/lib/dkms/nvidia/418.39/build] Error 2\n",
    )
    machine.file(f"/lib/modules/{BEFORE}/updates/dkms/nvidia.ko").file(f"/boot/vmlinuz-{BEFORE}")

    (found,) = machine.findings(module.module_is_loaded)

    assert found.code == "HRM-DRIVER-005"
    assert "ioremap_nocache" in found.evidence[1].text
    assert found.evidence[1].line == 3
    assert commands(found) == [
        f"Start kernel {BEFORE}, which has a module, or install a driver that knows kernel {KERNEL}."
    ]


def test_a_log_of_another_kernels_build_says_nothing_of_this_one(machine: Machine) -> None:
    machine.file(
        "/var/lib/dkms/nvidia/418.39/build/make.log",
        "DKMS make.log for nvidia-418.39 for kernel 5.9.0 (x86_64)\nx.c: error: no\n",
    )

    (found,) = machine.findings(module.module_is_loaded)

    assert found.code == "HRM-DRIVER-004"


@pytest.mark.parametrize("tool", ["update-initramfs -u", "dracut --force"])
def test_nouveau_is_forbidden_and_the_node_restarts(machine: Machine, tool: str) -> None:
    machine.link(f"{GPU}/driver", "../../../bus/pci/drivers/nouveau").file(BUILT)
    machine.file(f"/usr/sbin/{tool.split()[0]}", mode=0o755)

    (found,) = machine.findings(module.module_is_loaded)

    assert found.code == "HRM-DRIVER-006"
    assert found.cure[0].writes is not None
    assert found.cure[0].writes.content == "blacklist nouveau\noptions nouveau modeset=0\n"
    assert commands(found)[1:] == [tool, "systemctl reboot"]


def test_nouveau_is_well_where_nobody_installed_nvidias_driver(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file("/proc/sys/kernel/osrelease", f"{KERNEL}\n")
    machine.file(f"{GPU}/vendor", "0x10de\n").file(f"{GPU}/class", "0x030000\n")
    machine.link(f"{GPU}/driver", "../../../bus/pci/drivers/nouveau")

    assert machine.findings(module.module_is_loaded) == []
    assert [found.code for found in machine.findings(module.module_is_loaded, WANTED)] == ["HRM-DRIVER-009"]


def test_secure_boot_keeps_a_module_out_that_nobody_signed(machine: Machine) -> None:
    signed_by(secure_boot(machine), "").file("/var/lib/dkms/mok.pub")

    (found,) = machine.findings(module.module_is_loaded)

    assert (found.code, found.title.en) == (
        "HRM-DRIVER-007",
        "Secure Boot keeps the nvidia module out (signed by: -)",
    )
    assert commands(found)[0].startswith("Run mokutil --import /var/lib/dkms/mok.pub")


@pytest.mark.parametrize(
    "line",
    [
        "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7",
        "Loading of module with unavailable key is rejected",
        "Loading of unsigned module is rejected",
    ],
)
def test_secure_boot_keeps_a_module_out_whose_key_it_does_not_know(tmp_path: Path, line: str) -> None:
    machine = Machine(tmp_path).file("/proc/sys/kernel/osrelease", f"{KERNEL}\n")
    machine.file(f"{GPU}/vendor", "0x10de\n").file(f"{GPU}/class", "0x030000\n").kernel_log(f"[   12.3] {line}")
    signed_by(secure_boot(machine), "slave06 Secure Boot Module Signature key")

    (found,) = machine.findings(module.module_is_loaded)

    assert found.code == "HRM-DRIVER-007"
    assert line in found.evidence[-1].text


def test_a_module_that_is_only_not_loaded_is_loaded(machine: Machine) -> None:
    signed_by(machine, "")

    (found,) = machine.findings(module.module_is_loaded)

    assert (found.code, found.severity) == ("HRM-DRIVER-008", "critical")
    assert commands(found) == ["modprobe nvidia", "nvidia-smi -L"]


@pytest.mark.parametrize("line", ["blacklist nvidia", "alias nvidia off", "install nvidia /bin/false"])
def test_a_module_that_somebody_forbade_is_a_warning_with_the_line(machine: Machine, line: str) -> None:
    signed_by(machine, "").file("/etc/modprobe.d/site.conf", f"# ours\n{line}\nblacklist nvidiafb\n")

    (found,) = machine.findings(module.module_is_loaded)

    assert (found.severity, found.evidence[2].text, found.evidence[2].line) == ("warning", line, 2)


def test_what_the_module_said_itself_is_shown(tmp_path: Path) -> None:
    said = "NVRM: The NVIDIA GPU 0000:3d:00.0 (PCI ID: 10de:0ffa) NVRM: NVIDIA 470.xx Legacy drivers"
    machine = Machine(tmp_path).file("/proc/sys/kernel/osrelease", f"{KERNEL}\n").kernel_log(f"[   12.3] {said}")
    machine.file(f"{GPU}/vendor", "0x10de\n").file(f"{GPU}/class", "0x030000\n")
    signed_by(machine, "")

    (found,) = machine.findings(module.module_is_loaded)

    assert said in found.evidence[-1].text


@pytest.mark.parametrize("passed_on", ["vfio-pci", "pci-stub"])
def test_a_gpu_that_is_kept_for_a_virtual_machine_needs_no_module(machine: Machine, passed_on: str) -> None:
    machine.link(f"{GPU}/driver", f"../../../bus/pci/drivers/{passed_on}")

    assert machine.findings(module.module_is_loaded) == []


def test_a_sound_card_of_nvidias_and_a_machine_without_gpus_need_no_module(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file(f"{GPU}/vendor", "0x10de\n").file(f"{GPU}/class", "0x040300\n")
    machine.directory("/usr/src/nvidia-418.39")

    assert machine.findings(module.module_is_loaded, WANTED) == []


def test_a_module_that_is_loaded_is_well(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED)

    assert machine.findings(module.module_is_loaded, WANTED) == []


def test_the_kernel_that_starts_next_is_found_to_have_no_module_before_it_starts(machine: Machine) -> None:
    newest = "4.15.0-200-generic"
    machine.file(driver.VERSION, LOADED).file(BUILT).file(f"/boot/vmlinuz-{KERNEL}")
    machine.file(f"/lib/modules/{newest}/modules.dep").file(f"/boot/vmlinuz-{newest}")

    (found,) = machine.findings(module.next_kernel_has_a_module)

    assert (found.code, found.severity) == ("HRM-DRIVER-010", "warning")
    assert commands(found) == [
        f"apt-get install -y linux-headers-{newest}",
        f"dkms install -m nvidia -v 418.39 -k {newest}",
    ]


@pytest.mark.parametrize(
    "place",
    [
        "updates/dkms/nvidia.ko.zst",
        "updates/dkms/nvidia-current.ko",
        "kernel/drivers/video/nvidia.ko",
        "kernel/nvidia-535/nvidia.ko",
        "extra/nvidia/nvidia.ko.xz",
    ],
)
def test_a_next_kernel_with_a_module_is_well_wherever_its_distribution_puts_it(machine: Machine, place: str) -> None:
    newest = "4.15.0-200-generic"
    machine.file(driver.VERSION, LOADED).file(BUILT).file(f"/boot/vmlinuz-{KERNEL}")
    machine.file(f"/lib/modules/{newest}/{place}").file(f"/boot/vmlinuz-{newest}")

    assert machine.findings(module.next_kernel_has_a_module) == []


def test_an_older_kernel_and_one_that_was_removed_need_no_module(machine: Machine) -> None:
    machine.file(driver.VERSION, LOADED).file(BUILT).file(f"/boot/vmlinuz-{KERNEL}").file(f"/boot/vmlinuz-{BEFORE}")
    machine.directory(f"/lib/modules/{BEFORE}").directory("/lib/modules/4.15.0-200-generic")

    assert machine.findings(module.next_kernel_has_a_module) == []
