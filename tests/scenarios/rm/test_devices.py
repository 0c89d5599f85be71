"""Devices under the ResourceManager: lost ones, sick ones, ones that come back, and too many asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.am.master import MAX_LOSSES
from hrm.model.containers import NodeUsage
from hrm.model.devices import DeviceProcess, DeviceState, DeviceUsage
from hrm.model.errors import InvalidInput
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState
from hrm.testing.lives import Life, Lives, tasks

CARDS = tuple(DeviceSpec(device_id=f"GPU-{name}", index=i, model="RTX 2080 Ti") for i, name in enumerate("ab"))
BOX = NodeSpec(node_id="box", total=Resources(8192, 4000)).with_devices(CARDS)
WITHOUT_A = BOX.with_devices(CARDS[1:])
LOST_A = {"GPU-a": "GPU 0 (GPU-a) was lost: GPU is lost"}


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    """A server over one machine of 4 vcores, 8 GiB and two GPUs."""
    async with Lives(tmp_path, [BOX]) as lives:
        yield await lives.begin()


def on_gpus(number: float, *, count: int = 1, **group: object):
    return tasks(count=count, resources=Resources.parse(cpus=0.5, memory="1G", gpus=number), **group)


async def devices_of(life: Life, app: str) -> list[list[str]]:
    return [report.device_ids for report in life.service.containers(app)]


async def test_two_halves_share_one_device_and_leave_the_other_whole(life: Life) -> None:
    halves = await life.submit(on_gpus(0.5, count=2))
    whole = await life.submit(on_gpus(1))
    await life.settle()

    assert await devices_of(life, halves) == [["GPU-a"], ["GPU-a"]]
    assert await devices_of(life, whole) == [["GPU-b"]]


async def test_half_free_here_and_half_there_is_not_a_gpu(life: Life) -> None:
    await life.submit(on_gpus(0.6, count=2))
    await life.settle()
    whole = await life.submit(on_gpus(0.8))
    await life.settle()

    assert await devices_of(life, whole) == []
    explanation = await life.service.explain(whole)
    assert explanation.reason == "gpu_fragmented"
    assert "box has 0.8 on 2 devices, at most 0.4 on one" in explanation.message


@pytest.mark.parametrize("group", [on_gpus(3), on_gpus(1, gpu_model="H100*")])
async def test_gpus_that_no_node_has_are_refused_at_once(life: Life, group: object) -> None:
    with pytest.raises(InvalidInput, match="fits on no node; the largest is box with 4 vcores, 8G, 2 GPUs"):
        await life.submit(group)  # type: ignore[arg-type]


async def test_work_on_a_lost_device_is_tried_again_on_another(life: Life) -> None:
    app = await life.submit(on_gpus(1))
    await life.settle()
    life.engine.change_node(WITHOUT_A, "GPU 0 (GPU-a): GPU is lost", LOST_A)
    await life.settle()

    first, second = await life.service.history(app)
    assert (first.device_ids, first.state, first.exit_code) == (["GPU-a"], "LOST", None)
    assert first.message == "GPU 0 (GPU-a) was lost: GPU is lost"
    assert (second.device_ids, second.state, second.attempt) == (["GPU-b"], "RUNNING", 2)
    await life.finish(life.containers(app)[0], 0)
    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_a_lost_device_counts_against_no_retries_but_not_for_ever(life: Life) -> None:
    app = await life.submit(on_gpus(1, retries=0))
    await life.settle()
    for _ in range(MAX_LOSSES + 1):
        assert await life.states(app) == ["RUNNING"]
        life.engine.change_node(BOX.with_devices(()), "gone", {one.device_id: "GPU was lost" for one in CARDS})
        await life.settle()
        life.engine.change_node(BOX)
        await life.settle()

    report = await life.ended(app)
    assert (report.state, report.message) == (ApplicationState.FAILED, "GPU was lost")


async def test_work_that_ends_well_in_spite_of_its_lost_device_has_succeeded(life: Life) -> None:
    app = await life.submit(on_gpus(1))
    await life.settle()
    container = life.containers(app)[0]
    life.engine.hold_reports()
    life.engine.finish(container, 0)
    life.engine.change_node(WITHOUT_A, "", LOST_A)
    life.engine.release_reports()

    assert (await life.ended(app)).state is ApplicationState.FINISHED


async def test_work_on_other_devices_or_none_is_left_alone(life: Life) -> None:
    app = await life.submit(on_gpus(1), tasks(name="plain"))
    await life.settle()
    before = life.containers(app)
    assert len(before) == 2

    life.engine.change_node(BOX.with_devices(CARDS[:1]), "", {"GPU-b": "GPU 1 (GPU-b) was lost"})
    await life.settle()

    assert life.containers(app) == before
    assert sorted(life.engine.running()) == sorted(before)


async def test_a_sick_device_takes_no_new_work_and_keeps_what_it_has(life: Life) -> None:
    running = await life.submit(on_gpus(1))
    await life.settle()
    life.engine.change_node(WITHOUT_A, "GPU 0 (GPU-a): broken memory")
    await life.settle()
    more = await life.submit(on_gpus(1, count=2))
    await life.settle()

    assert await devices_of(life, running) == [["GPU-a"]]
    assert await devices_of(life, more) == [["GPU-b"]]

    await life.finish(life.containers(running)[0])
    assert await devices_of(life, more) == [["GPU-b"]], "its place is not free: it is sick"
    life.engine.change_node(BOX)
    await life.settle()
    assert await devices_of(life, more) == [["GPU-b"], ["GPU-a"]]


async def test_a_node_shows_its_sick_devices_and_what_is_wrong(life: Life) -> None:
    life.engine.change_node(WITHOUT_A, "GPU 0 (GPU-a): broken memory")
    foreign = DeviceProcess(pid=12786, name="python", user="ada", memory_mib=1249, within="docker 534917b1443a")
    ours = DeviceProcess(pid=4321, name="python", user="ada", memory_mib=512, container_id="container_1")
    seen = (
        DeviceUsage(device=CARDS[0], state=DeviceState.SICK, message="broken memory"),
        DeviceUsage(device=CARDS[1], memory_used_mib=1800, temperature_c=54, processes=(foreign, ours)),
    )
    usage = NodeUsage(memory_used_mib=0, cpu_milli=0, disk_free_mib=1, devices=seen)
    life.listener.heartbeat("box", usage, ())
    await life.settle()

    (report,) = life.service.nodes()
    well, sick = report.devices
    assert report.message == "GPU 0 (GPU-a): broken memory"
    assert report.total["gpus_milli"] == 1000
    assert (sick.device_id, sick.state, sick.message, sick.free_milli) == ("GPU-a", "sick", "broken memory", 0)
    assert (well.device_id, well.state, well.free_milli, well.temperature_c) == ("GPU-b", "lent", 1000, 54)
    assert (well.memory_used_mib, well.foreign_memory_mib, well.processes) == (1800, 1249, [foreign, ours])


async def test_a_device_that_is_lost_while_its_launch_is_on_the_way_stops_it_too(life: Life) -> None:
    life.engine.hold_reports()
    app = await life.submit(on_gpus(1))
    await life.settle()
    life.engine.change_node(WITHOUT_A, "", LOST_A)
    life.engine.release_reports()
    await life.settle()

    assert [one.state for one in await life.service.history(app)] == ["LOST", "RUNNING"]


async def test_virtual_devices_are_called_so_when_a_job_is_too_large_for_them(tmp_path: Path) -> None:
    virtual = tuple(replace(card, device_id=f"VGPU-box-{card.index}", model="virtual", virtual=True) for card in CARDS)
    async with Lives(tmp_path, [BOX.with_devices(virtual)]) as lives:
        life = await lives.begin()
        with pytest.raises(InvalidInput, match="4 vcores, 8G, 2 virtual GPUs"):
            await life.submit(on_gpus(3))
        with pytest.raises(InvalidInput, match="2 virtual GPUs"):
            await life.submit(on_gpus(1, gpu_model="RTX*"))
