"""What containers find of GPUs, and how a node tells that they change: a real node, GPUs from a recording."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.devices import DeviceState
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.gpus.discovery import discover
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.gpus.probe import GpuProbe, NvmlProbe
from hrm.nm.gpus.reading import Failure, GpuProcess
from hrm.testing import EngineHarness, RecordingListener, eventually_async, kill_shepherd, started
from hrm.testing.gpus import RecordedProbe, with_gpu

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
RECORDING = Path(__file__).parents[2] / "recordings" / "two_rtx_2080_ti.json"
FIRST = "GPU-20fbec52-8c31-118f-52a7-8678af956128"
SECOND = "GPU-014deb77-a5fa-7ea2-eda6-a170cec4f64f"
WANTED = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HRM_GPUS", "HRM_GPUS_ON_NODE")


@pytest.fixture
def probe() -> RecordedProbe:
    return RecordedProbe.play(RECORDING)


@pytest.fixture
async def run(state_dir: Path, probe: RecordedProbe) -> AsyncIterator[EngineHarness]:
    """A node with two recorded GPUs."""
    async with started(engine_of(state_dir, await discover("node1", probe), probe)) as harness:
        yield harness


@pytest.fixture(params=["recorded", pytest.param("real", marks=pytest.mark.gpu)])
async def any_run(
    request: pytest.FixtureRequest, state_dir: Path, probe: RecordedProbe
) -> AsyncIterator[EngineHarness]:
    """The same, and once more with the GPUs of this machine, where it has any."""
    gpu_probe = probe if request.param == "recorded" else NvmlProbe()
    gpus = await discover("node1", gpu_probe)
    if not gpus.devices:
        pytest.skip(f"NVML finds no GPU here: {gpus.message}")
    async with started(engine_of(state_dir, gpus, gpu_probe)) as harness:
        yield harness


def engine_of(state_dir: Path, gpus: NodeGpus, probe: GpuProbe | None = None) -> EmbeddedEngine:
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, gpus=gpus, probe=probe, gpu_interval_s=0.05)


async def environment(run: EngineHarness, *device_ids: str, gpus: float = 0, **fields: object) -> dict[str, str]:
    resources = Resources.parse(cpus=1, memory="1G", gpus=gpus)
    container_id = run.launch("env", device_ids=device_ids, resources=resources, **fields)
    await run.ended(container_id)
    found = dict(line.split("=", 1) for line in (await run.log(container_id)).splitlines())
    return {name: found[name] for name in WANTED}


def ids(run: EngineHarness) -> list[str]:
    return [device.device_id for device in run.heard.nodes["node1"].devices]


async def test_a_container_without_gpus_sees_none(any_run: EngineHarness) -> None:
    assert await environment(any_run, env={"CUDA_VISIBLE_DEVICES": "0,1", "HRM_GPUS": "all"}) == {
        "CUDA_VISIBLE_DEVICES": "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "HRM_GPUS": "",
        "HRM_GPUS_ON_NODE": "0",
    }


async def test_a_container_sees_its_gpus_by_uuid(any_run: EngineHarness) -> None:
    granted = ids(any_run)

    assert await environment(any_run, *granted, gpus=len(granted)) == {
        "CUDA_VISIBLE_DEVICES": ",".join(granted),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "HRM_GPUS": ",".join(f"{uuid}:1" for uuid in granted),
        "HRM_GPUS_ON_NODE": str(len(granted)),
    }


async def test_a_part_of_a_gpu_is_one_device_and_told_as_a_part(any_run: EngineHarness) -> None:
    last = ids(any_run)[-1]

    found = await environment(any_run, last, gpus=0.25, env={"CUDA_DEVICE_ORDER": "FASTEST_FIRST"})

    assert found["CUDA_VISIBLE_DEVICES"] == last
    assert (found["HRM_GPUS"], found["HRM_GPUS_ON_NODE"]) == (f"{last}:0.25", "1")
    assert found["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST", "the order is the user's to choose"


async def test_a_node_registers_with_its_gpus_and_tells_of_them_with_each_heartbeat(any_run: EngineHarness) -> None:
    spec = any_run.heard.nodes["node1"]
    assert spec.total == Resources(4096, 4000, 1000 * len(spec.devices))
    assert any_run.heard.changes == []

    usage, _ = (await eventually_async(lambda: any_run.heard.heartbeats))[-1]

    assert [one.device for one in usage.devices if one.state is DeviceState.LENT] == list(spec.devices)
    for one in usage.devices:
        assert one.device.device_id.startswith("GPU-")
        assert one.device.model and one.device.pci_bus_id
        assert one.memory_used_mib is not None and 0 <= one.memory_used_mib <= one.device.memory_mib


async def test_a_gpu_that_is_lost_leaves_the_node_and_comes_back(run: EngineHarness, probe: RecordedProbe) -> None:
    well = probe.reading
    probe.reading = with_gpu(well, 1, failure=Failure.LOST, message="GPU is lost")
    await eventually_async(lambda: run.heard.changes, describe="the node tells")
    node, message, lost = run.heard.changes[0]
    assert [device.device_id for device in node.devices] == [FIRST]
    assert node.total == Resources(4096, 4000, 1000)
    assert f"GPU 1 ({SECOND}): GPU is lost" in message
    assert list(lost) == [SECOND]

    probe.reading = well
    await eventually_async(lambda: len(run.heard.changes) == 2, describe="the node tells again")
    node, message, lost = run.heard.changes[1]
    assert [device.device_id for device in node.devices] == [FIRST, SECOND]
    assert (message, lost) == ("", {})


async def test_a_node_that_registers_again_is_as_large_as_it_is_now(
    run: EngineHarness, probe: RecordedProbe, state_dir: Path
) -> None:
    probe.reading = with_gpu(probe.reading, 1, retirement_pending=True)
    await eventually_async(lambda: run.heard.changes, describe="the node tells")
    heard: RecordingListener = run.heard
    heard.nodes.clear()

    kill_shepherd(state_dir)

    await eventually_async(lambda: "node1" in heard.nodes, describe="the node registers again")
    assert [device.device_id for device in heard.nodes["node1"].devices] == [FIRST]
    assert len(heard.changes) == 2, "what is wrong with it is told again"


async def test_a_containers_own_process_on_a_gpu_is_told_from_a_foreign_one(
    run: EngineHarness, probe: RecordedProbe
) -> None:
    container_id = run.launch("sleep", "1000", device_ids=(SECOND,))
    await eventually_async(lambda: run.heard.starts, describe="it runs")
    pid = run.heard.starts[0].pid
    probe.reading = with_gpu(probe.reading, 1, processes=(GpuProcess(pid=pid, memory_mib=700), GpuProcess(pid=1)))

    def told() -> bool:
        second = run.heard.heartbeats[-1][0].devices[1]
        return [(one.pid, one.container_id, one.memory_mib) for one in second.processes] == [
            (pid, container_id, 700),
            (1, None, None),
        ]

    await eventually_async(told, describe="both are shown")
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)


async def test_virtual_gpus_are_seen_by_their_indexes(state_dir: Path, tmp_path: Path) -> None:
    async with started(engine_of(state_dir, NodeGpus.virtual("node1", 3, dev=tmp_path))) as run:
        found = await environment(run, "VGPU-node1-1", "VGPU-node1-2", gpus=2)

        assert found["CUDA_VISIBLE_DEVICES"] == "1,2"
        assert found["HRM_GPUS"] == "VGPU-node1-1:1,VGPU-node1-2:1"
        assert all(device.virtual for device in run.heard.nodes["node1"].devices)
