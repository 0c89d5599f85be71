"""Which GPUs are there, and which are to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.gpu import GpuExpected
from hrm.doctor.gpu import devices
from hrm.testing.machines import Machine

UUIDS = ("GPU-20fbec52-8c31-118f-52a7-8678af956128", "GPU-014deb77-a5fa-7ea2-eda6-a170cec4f64f")
BUSES = ("3d", "41")
LISTED = [
    f"GPU {index}: GeForce RTX 2080 Ti (UUID: {uuid})\n" for index, uuid in enumerate(UUIDS)
]  # as in the operator's notes


def on_bus(machine: Machine, bus: str, *, kind: str = "0x030000", vendor: str = "0x10de", driver: str = "") -> None:
    place = f"/sys/bus/pci/devices/0000:{bus}:00.0"
    machine.file(f"{place}/vendor", f"{vendor}\n").file(f"{place}/class", f"{kind}\n")
    machine.file(f"{place}/config", "\x5e\x10\x04\x1e\x07\x04\x10\x00")
    if driver:
        machine.link(f"{place}/driver", f"../../../../bus/pci/drivers/{driver}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two GPUs that are well."""
    machine = Machine(tmp_path).file("/proc/sys/kernel/hostname", "slave06\n")
    for minor, (bus, uuid) in enumerate(zip(BUSES, UUIDS, strict=True)):
        on_bus(machine, bus, driver="nvidia")
        machine.file(
            f"/proc/driver/nvidia/gpus/0000:{bus}:00.0/information",
            f"Model: \t\t GeForce RTX 2080 Ti\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n",
        )
    return machine


def expecting(**said: object) -> Expected:
    return Expected(gpu=GpuExpected(**said))  # type: ignore[arg-type]


def test_a_gpu_of_which_the_bus_reads_nothing_but_ones_has_fallen_off(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "sys/bus/pci/devices/0000:41:00.0/config").write_bytes(b"\xff" * 64)

    (found,) = machine.findings(devices.on_bus)

    assert (found.code, found.gpu) == ("HRM-GPU-101", UUIDS[1])
    assert found.title.en == "GPU 1 (0000:41:00.0) has fallen off the bus"
    assert [step.command for step in found.cure] == ["systemctl reboot"]


@pytest.mark.parametrize("name", ["VGA compatible controller", "3D controller"])
def test_lspci_s_revision_ff_says_the_same(machine: Machine, name: str) -> None:
    machine.command(*devices.LIST, stdout=LISTED[0], status=0)
    machine.command(
        *devices.LSPCI,
        stdout=f"0000:3d:00.0 {name}: NVIDIA Corporation TU102 [GeForce RTX 2080 Ti] (rev a1)\n"
        f"0000:41:00.0 {name}: NVIDIA Corporation TU102 [GeForce RTX 2080 Ti] (rev ff) (prog-if ff)\n",
    )

    (found,) = machine.findings(devices.listed)

    assert (found.code, found.gpu) == ("HRM-GPU-101", UUIDS[1])
    assert "(rev ff)" in found.evidence[0].text


@pytest.mark.parametrize(
    ("line", "code", "gpu"),
    [
        ("Unable to determine the device handle for GPU 0000:41:00.0: Unknown Error", "HRM-GPU-103", UUIDS[1]),
        (
            "Unable to determine the device handle for GPU 0000:41:00.0: GPU is lost.  Reboot the system to recover "
            "this GPU",
            "HRM-GPU-103",
            UUIDS[1],
        ),
        ("Unable to determine the device handle for GPU0000:41:00.0: Unknown Error", "HRM-GPU-103", UUIDS[1]),
        ("Unable to determine the device handle for GPU1: 0000:41:00.0: Unknown Error", "HRM-GPU-103", UUIDS[1]),
        ("Unable to determine the device handle for gpu 0000:41:00.0: Not Found", "HRM-GPU-103", UUIDS[1]),
        ("Unable to determine the device handle for GPU1: Unknown Error", "HRM-GPU-103", UUIDS[1]),
    ],
)
def test_a_gpu_that_nvidia_smi_cannot_reach_is_found(machine: Machine, line: str, code: str, gpu: str) -> None:
    machine.command(*devices.LIST, stdout=LISTED[0], stderr=f"{line}\n", status=255)

    (found,) = machine.findings(devices.listed)

    assert (found.code, found.gpu) == (code, gpu)
    assert found.evidence[0].text == line


def test_a_gpu_that_is_left_out_of_the_list_is_found(machine: Machine) -> None:
    machine.command(*devices.LIST, stdout=LISTED[0])

    (found,) = machine.findings(devices.listed)

    assert (found.code, found.gpu) == ("HRM-GPU-103", UUIDS[1])


def test_a_gpu_that_a_container_was_not_given_is_not_missed_in_it(machine: Machine) -> None:
    machine.command(*devices.LIST, stdout=LISTED[0]).device("/dev/nvidia0", 195, 0)
    assert machine.findings(devices.listed) == []

    machine.device("/dev/nvidia1", 195, 1)

    assert [found.gpu for found in machine.findings(devices.listed)] == [UUIDS[1]]


@pytest.mark.parametrize(
    ("stdout", "status"), [("No devices were found\n", 6), ("Failed to initialize NVML: Driver/library mismatch\n", 18)]
)
def test_where_nvidia_smi_lists_nothing_the_driver_s_checks_say_why(machine: Machine, stdout: str, status: int) -> None:
    assert machine.command(*devices.LIST, stdout=stdout, status=status).findings(devices.listed) == []


def test_an_nvidia_smi_that_hangs_is_unseen(machine: Machine) -> None:
    (run,) = machine.command(*devices.LIST, hangs=True).report([devices.listed]).checks_run

    assert run.unseen == ("nvidia-smi -L did not answer in time",)


def test_no_further_nvidia_smi_is_started_while_one_hangs_in_the_kernel(machine: Machine) -> None:
    machine.process(77, "nvidia-smi", state="D").command(*devices.LIST, stdout=LISTED[0])

    (run,) = machine.report([devices.listed]).checks_run

    assert run.unseen == ("nvidia-smi -L: not run, since another nvidia-smi hangs in the kernel",)


def test_a_gpu_that_the_driver_did_not_take_is_found(machine: Machine) -> None:
    on_bus(machine, "5e", kind="0x030200")

    (found,) = machine.findings(devices.on_bus)

    assert (found.code, found.gpu) == ("HRM-GPU-102", None)
    assert found.cure[0].about.en.endswith("dmesg | grep -i 0000:5e:00")


def test_a_gpu_that_is_lent_to_a_virtual_machine_is_well(machine: Machine) -> None:
    on_bus(machine, "5e", driver="vfio-pci")

    assert machine.findings(devices.on_bus) == []


def test_gpus_that_all_are_there_are_well(machine: Machine) -> None:
    on_bus(machine, "3e", kind="0x040300")
    on_bus(machine, "02", vendor="0x1a03")
    machine.command(*devices.LIST, stdout="".join(LISTED))
    expected = expecting(count=2, uuids={"slave06": UUIDS})

    found = [machine.findings(check, expected) for check in (devices.on_bus, devices.listed, devices.counted)]

    assert found == [[], [], []]


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        ({"count": 4}, ["HRM-GPU-104"]),
        ({"count": 1}, ["HRM-GPU-105"]),
        ({"count": 2, "counts": {"slave06": 3}}, ["HRM-GPU-104"]),
        ({"count": 4, "counts": {"slave06": 2}}, []),
        ({"count": 2, "counts": {"slave07": 4}}, []),
        ({"uuids": {"slave06": (UUIDS[0], "GPU-00000000-0000-0000-0000-000000000000")}}, ["HRM-GPU-106"]),
        ({"uuids": {"slave07": ("GPU-00000000-0000-0000-0000-000000000000",)}}, []),
    ],
)
def test_gpus_are_compared_with_what_is_expected_of_this_node(
    machine: Machine, said: dict[str, object], codes: list[str]
) -> None:
    assert [found.code for found in machine.findings(devices.counted, expecting(**said))] == codes


def test_a_node_without_gpus_need_not_have_those_that_all_others_have(tmp_path: Path) -> None:
    machine = Machine(tmp_path).file("/proc/sys/kernel/hostname", "master00\n")

    assert machine.findings(devices.counted, expecting(count=2)) == []
    assert [one.code for one in machine.findings(devices.counted, expecting(counts={"master00": 1}))] == ["HRM-GPU-104"]


def test_nodes_are_compared_by_their_models(machine: Machine) -> None:
    assert devices.devices.tell(machine.system()) == "2 x GeForce RTX 2080 Ti"
