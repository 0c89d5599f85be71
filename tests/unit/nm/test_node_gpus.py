"""Which GPUs a node lends as readings follow each other: allow-lists, sickness, loss, and what containers are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hrm.model.devices import DeviceProcess, DeviceState
from hrm.nm.gpus.allow_list import Entry, NoSuchGpu, check
from hrm.nm.gpus.discovery import choose_probe, discover
from hrm.nm.gpus.node_gpus import PATIENCE, NodeGpus
from hrm.nm.gpus.reading import Failure, GpuReading, Reading
from hrm.testing.gpus import RecordedProbe, with_gpu, without_gpu
from tests.unit.nm.gpu_machines import FIRST, SECOND, recorded

MISMATCH = Reading(failure=Failure.MISMATCH, message="RM has detected an NVML/RM version mismatch.")
LATE = Reading(failure=Failure.TIMEOUT, message="NVML did not answer within 10 s")


def node_gpus(*readings: Reading, allow: tuple[Entry, ...] | None = None, dev: Path = Path("/none")) -> NodeGpus:
    gpus = NodeGpus(allow, dev=dev, module_version=lambda: "418.39")
    for reading in readings or (recorded(),):
        gpus.take(reading)
    return gpus


def lent(gpus: NodeGpus) -> list[str]:
    return [device.device_id for device in gpus.devices]


def states(gpus: NodeGpus) -> dict[str, DeviceState]:
    return {usage.device.device_id: usage.state for usage in gpus.usage}


# --- what is lent


def test_without_a_list_every_gpu_is_lent_with_what_it_is() -> None:
    first, second = node_gpus().devices

    assert (first.device_id, first.index, first.model, first.memory_mib) == (FIRST, 0, "GeForce RTX 2080 Ti", 10989)
    assert (first.architecture, first.compute_capability) == ("Turing", "7.5")
    assert (first.pci_bus_id, first.links, first.virtual) == ("00000000:3D:00.0", ((SECOND, "NODE"),), False)
    assert second.device_id == SECOND


@pytest.mark.parametrize("allow", [(1,), (SECOND,), ("gpu-014deb77",), (1, SECOND)])
def test_a_list_lends_what_it_names_and_shows_the_others_as_unlent(allow: tuple[Entry, ...]) -> None:
    gpus = node_gpus(allow=allow)

    assert lent(gpus) == [SECOND]
    assert states(gpus) == {FIRST: DeviceState.UNLENT, SECOND: DeviceState.LENT}
    assert gpus.message == ""


def test_an_empty_list_lends_none() -> None:
    assert lent(node_gpus(allow=())) == []
    assert choose_probe(()) is None


async def test_an_index_that_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(NoSuchGpu) as caught:
        await discover("box", RecordedProbe(recorded()), allow=(0, 5))

    assert caught.value.position == 1
    assert caught.value.field == "node.gpu_devices[1]"
    assert caught.value.problem == "no GPU 5 here"
    assert f"0 (GeForce RTX 2080 Ti, {FIRST})" in caught.value.next_step
    assert f"1 (GeForce RTX 2080 Ti, {SECOND})" in caught.value.next_step


@pytest.mark.parametrize(
    ("entry", "problem"),
    [("GPU-77777777", "no GPU GPU-77777777 here"), ("GPU-", "2 GPUs begin with GPU-")],
)
def test_a_uuid_must_name_exactly_one_gpu(entry: str, problem: str) -> None:
    with pytest.raises(NoSuchGpu, match=problem):
        check((entry,), recorded().gpus)


def test_a_uuid_may_be_that_of_a_gpu_that_does_not_answer() -> None:
    check((SECOND,), with_gpu(recorded(), 1, uuid="", failure=Failure.LOST).gpus)


async def test_a_list_without_nvml_keeps_nobody_from_starting() -> None:
    probe = RecordedProbe(Reading(failure=Failure.MISSING, message="NVML Shared Library Not Found"))

    gpus = await discover("box", probe, allow=(0,))

    assert lent(gpus) == []
    assert gpus.message == "no NVML on this machine (NVML Shared Library Not Found)"


def test_a_gpu_that_is_divided_is_not_lent() -> None:
    gpus = node_gpus(with_gpu(recorded(), 0, mig=True))

    assert lent(gpus) == [SECOND]
    assert f"GPU 0 ({FIRST}): is divided into MIG instances" in gpus.message


# --- health


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"failure": Failure.LOST, "message": "GPU is lost"}, DeviceState.LOST, "GPU is lost"),
        ({"failure": Failure.RESET, "message": "GPU requires restart"}, DeviceState.LOST, "nvidia-smi --gpu-reset"),
        ({"failure": Failure.OTHER, "message": "Unknown Error"}, DeviceState.SICK, "Unknown Error"),
        ({"uncorrected_errors": 2}, DeviceState.SICK, "2 memory errors could not be corrected"),
        ({"retirement_pending": True}, DeviceState.SICK, "waits to be taken out of use"),
        ({"remap_failed": True}, DeviceState.SICK, "could not be replaced"),
    ],
)
def test_a_sick_gpu_leaves_alone_and_comes_back_when_it_is_well(
    changes: dict[str, object], state: DeviceState, words: str
) -> None:
    gpus = node_gpus()

    assert gpus.take(with_gpu(recorded(), 1, **changes)) is True
    assert lent(gpus) == [FIRST]
    assert states(gpus)[SECOND] is state
    assert gpus.message.startswith(f"GPU 1 ({SECOND}): ")
    assert words in gpus.message
    assert list(gpus.lost) == ([SECOND] if state is DeviceState.LOST else [])

    assert gpus.take(recorded()) is True
    assert lent(gpus) == [FIRST, SECOND]
    assert (gpus.message, gpus.lost) == ("", {})


def test_figures_that_change_are_no_change_of_what_is_lent() -> None:
    gpus = node_gpus()

    assert gpus.take(with_gpu(recorded(), 1, temperature_c=88, memory_used_mib=10_000)) is False
    assert [usage.temperature_c for usage in gpus.usage] == [54, 88]


def test_a_gpu_that_left_the_bus_is_lost_and_those_behind_it_stay_who_they_are() -> None:
    gpus = node_gpus(allow=(1,))

    gpus.take(without_gpu(recorded(), 0))
    assert lent(gpus) == [SECOND], "the list meant this one, whatever its index is now"
    assert (gpus.message, gpus.lost) == ("", {}), "the other one was never ours"

    gpus.take(without_gpu(without_gpu(recorded(), 0), 0))
    assert lent(gpus) == []
    assert gpus.lost == {SECOND: f"GPU 0 ({SECOND}) was lost: it has left the bus; the machine has to be restarted"}


def test_a_gpu_that_was_lost_before_the_start_is_told_of() -> None:
    gpus = node_gpus(with_gpu(recorded(), 1, uuid="", failure=Failure.LOST, message="GPU is lost"))

    assert lent(gpus) == [FIRST]
    assert gpus.message == "GPU 1 cannot be named: GPU is lost"


def test_a_gpu_that_loses_its_name_is_told_in_nvmls_words() -> None:
    gpus = node_gpus()

    gpus.take(with_gpu(recorded(), 1, uuid="", failure=Failure.LOST, message="GPU is lost"))

    assert gpus.lost == {SECOND: f"GPU 1 ({SECOND}) was lost: GPU is lost; the machine has to be restarted"}


def test_a_driver_of_another_version_takes_all_gpus_at_once_and_names_the_cure() -> None:
    gpus = node_gpus()

    assert gpus.take(MISMATCH) is True

    assert lent(gpus) == []
    assert gpus.lost == {}, "what runs on them goes on"
    assert gpus.message.startswith("Driver/library version mismatch: the kernel module 418.39 that is loaded")
    assert "restart the machine" in gpus.message


def test_nvml_may_be_late_a_few_times_in_a_row() -> None:
    gpus = node_gpus()

    for _ in range(PATIENCE - 1):
        gpus.take(LATE)
        assert lent(gpus) == [FIRST, SECOND]
        assert gpus.message == "NVML did not answer within 10 s"
    gpus.take(LATE)

    assert lent(gpus) == []
    gpus.take(recorded())
    assert lent(gpus) == [FIRST, SECOND]


def test_late_answers_with_good_ones_between_are_not_in_a_row() -> None:
    gpus = node_gpus()

    for _ in range(2 * PATIENCE):
        gpus.take(LATE)
        gpus.take(recorded())

    assert lent(gpus) == [FIRST, SECOND]


def test_gpus_that_answer_only_later_are_lent_then() -> None:
    gpus = node_gpus(LATE, allow=(1,))
    assert lent(gpus) == []

    assert gpus.take(recorded()) is True

    assert lent(gpus) == [SECOND]


def test_an_entry_that_turns_out_to_be_nobody_is_told_of() -> None:
    assert node_gpus(LATE, recorded(), allow=(0, 5)).message == "gpu_devices: no GPU 5 here"


# --- who is on them


def test_processes_are_shown_with_whose_they_are_and_what_they_hold() -> None:
    gpus = node_gpus()
    gpus.take(recorded(), {12786: DeviceProcess(pid=12786, name="python", user="ada", within="docker 534917b1443a")})

    first, second = gpus.usage

    assert first.processes == (
        DeviceProcess(pid=12786, name="python", user="ada", within="docker 534917b1443a", memory_mib=1249),
    )
    assert (first.memory_used_mib, second.processes) == (1259, ())


# --- what containers are told


def test_real_gpus_are_visible_by_their_uuids_in_the_order_granted() -> None:
    gpus = node_gpus()

    assert gpus.visible([SECOND, FIRST]) == f"{SECOND},{FIRST}"
    assert gpus.visible([]) == ""


def test_virtual_gpus_are_marked_by_their_ids_and_visible_by_their_indexes(tmp_path: Path) -> None:
    gpus = NodeGpus.virtual("box", 3, dev=tmp_path)

    assert [(device.device_id, device.model, device.virtual) for device in gpus.devices] == [
        ("VGPU-box-0", "virtual", True),
        ("VGPU-box-1", "virtual", True),
        ("VGPU-box-2", "virtual", True),
    ]
    assert gpus.visible(["VGPU-box-1", "VGPU-box-2"]) == "1,2"
    assert gpus.device_nodes("VGPU-box-1") == ()


def test_a_virtual_gpu_never_gives_access_to_a_real_one(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    gpus = NodeGpus.virtual("box", 2, dev=tmp_path)

    assert gpus.visible(["VGPU-box-0", "VGPU-box-1"]) == "VGPU-box-0,VGPU-box-1", "index 0 would be a real GPU"


async def test_virtual_gpus_are_instead_of_real_ones_and_nobody_asks_for_those() -> None:
    probe = RecordedProbe(recorded())

    gpus = await discover("box", probe, virtual=1)

    assert lent(gpus) == ["VGPU-box-0"]
    assert probe.looks == 0
    assert choose_probe(None, virtual=1) is None


def test_the_nodes_of_a_device_go_by_its_minor_number_not_by_its_index(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia7", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    gpus = node_gpus(with_gpu(recorded(), 1, minor=7), dev=tmp_path)

    assert gpus.device_nodes(SECOND) == (tmp_path / "nvidia7", tmp_path / "nvidiactl", tmp_path / "nvidia-uvm")
    assert gpus.device_nodes("GPU-unknown") == ()


def test_a_reading_without_processes_or_minors_is_enough() -> None:
    bare = Reading(gpus=(GpuReading(index=0, uuid=FIRST),))

    gpus = node_gpus(bare, replace(bare, driver_version="418.39"))

    assert lent(gpus) == [FIRST]
