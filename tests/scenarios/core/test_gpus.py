"""Devices: fractions, whole ones, models."""

from __future__ import annotations

import pytest

from hrm.core.events import NodeAdded, NodeResourceUpdate
from hrm.model.errors import InvalidInput
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.testing.builders import Scenario, amounts, node, queue, queues, request


def one_queue() -> Scenario:
    return Scenario(queues(queue("all", policy="drf"), policy="drf"))


def test_half_a_gpu_goes_to_the_fullest_device_that_still_fits() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2)
    app = s.submit("all")
    s.ask(app, 3, gpus=0.5)

    granted = s.settle()

    assert [one.device_ids for one in granted] == [("n1/0",), ("n1/0",), ("n1/1",)]


def test_best_fit_prefers_the_tighter_gap_and_keeps_whole_devices_for_last() -> None:
    s = one_queue()
    s.add_node("n1", gpus=3)
    app = s.submit("all")
    s.ask(app, 1, gpus=0.3, request_id=1)
    s.ask(app, 1, gpus=0.8, request_id=2)
    s.settle()

    s.ask(app, 1, gpus=0.2, request_id=3)
    s.ask(app, 1, gpus=0.7, request_id=4)
    granted = s.settle()

    # 0.2 fills the device with 0.8 in use, 0.7 the one with 0.3; the third stays whole.
    assert [one.device_ids for one in granted] == [("n1/1",), ("n1/0",)]
    assert s.scheduler.node_view("n1").device_free_milli == {"n1/0": 0, "n1/1": 0, "n1/2": 1000}  # type: ignore[union-attr]


def test_two_halves_on_two_devices_are_not_a_whole_gpu() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2)
    app = s.submit("all")
    s.ask(app, 1, gpus=0.6, request_id=1)
    s.ask(app, 1, gpus=0.5, request_id=2)
    s.settle()

    s.ask(app, 1, gpus=0.9, request_id=3)

    assert s.settle() == []
    assert s.reason(app) == "gpu_fragmented"


def test_several_gpus_are_wholly_free_ones_of_one_node() -> None:
    s = one_queue()
    s.add_node("n1", gpus=4)
    s.add_node("n2", gpus=4)
    app = s.submit("all")
    s.ask(app, 2, gpus=0.5, request_id=1, cpus=3)
    s.settle()

    s.ask(app, 3, gpus=3, request_id=2)
    granted = s.settle()

    assert [one.device_ids for one in granted] == [("n1/1", "n1/2", "n1/3"), ("n2/0", "n2/1", "n2/2")]


@pytest.mark.parametrize("glob", ["RTX*", "rtx 2080 ti", "*2080*"])
def test_a_model_is_a_glob_without_regard_to_case(glob: str) -> None:
    s = one_queue()
    s.add_node("old", gpus=1, model="GTX 1080")
    s.add_node("new", gpus=1, model="RTX 2080 Ti")
    app = s.submit("all")
    s.ask(app, 2, gpus=1, model=glob)

    granted = s.settle()

    assert [one.device_ids for one in granted] == [("new/0",)]


def test_a_model_that_nobody_has_is_said_so() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2, model="RTX 2080 Ti")
    app = s.submit("all")
    s.ask(app, 1, gpus=1, model="H100*")

    s.settle()

    explanation = s.explain(app)
    assert explanation.reason == "no_such_gpu_model"
    assert "2 RTX 2080 Ti" in explanation.message


def test_a_fraction_waits_for_a_device_of_its_model_though_another_model_is_free() -> None:
    s = one_queue()
    mixed = NodeSpec(
        node_id="mixed",
        total=amounts(8, "16G", gpus=2),
        devices=(DeviceSpec(device_id="v", index=0, model="V100"), DeviceSpec(device_id="h", index=1, model="H100")),
    )
    s.handle(NodeAdded(mixed))
    app = s.submit("all")
    s.ask(app, 2, gpus=0.7, model="V*")

    assert [one.device_ids for one in s.settle()] == [("v",)]
    assert s.reason(app) == "insufficient_gpus"


def test_a_freed_device_is_whole_again() -> None:
    s = one_queue()
    s.add_node("n1", gpus=1)
    app = s.submit("all")
    s.ask(app, 2, gpus=0.5)
    first, second = s.settle()
    s.ask(app, 1, gpus=1, request_id=1)

    s.finish(first)
    assert s.settle() == []
    s.finish(second)

    assert [one.device_ids for one in s.settle()] == [("n1/0",)]


def test_work_without_gpus_gets_no_device() -> None:
    s = one_queue()
    s.add_node("n1", gpus=1)
    app = s.submit("all")
    s.ask(app)

    assert [one.device_ids for one in s.settle()] == [()]


def test_one_and_a_half_gpus_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidInput, match="one device"):
        request(1, gpus=1.5)


def test_a_node_that_lost_a_gpu_still_takes_work_without_any() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2)
    app = s.submit("all")
    s.ask(app, 2, gpus=1)
    s.settle()

    s.handle(NodeResourceUpdate(node("n1", gpus=1)))
    s.ask(app, 1, request_id=5)

    assert len(s.settle()) == 1


def test_a_busy_gpu_that_leaves_takes_nothing_from_the_others() -> None:
    s = one_queue()
    both = node("n1", gpus=2)
    s.handle(NodeAdded(both))
    app = s.submit("all")
    s.ask(app, 1, gpus=1)
    (busy,) = s.settle()
    rest = both.with_devices(tuple(device for device in both.devices if device.device_id not in busy.device_ids))

    s.handle(NodeResourceUpdate(rest))
    s.ask(app, 1, gpus=1, request_id=5)

    assert [one.device_ids for one in s.settle()] == [("n1/1",)]
    s.finish(busy)
    assert s.scheduler.node_view("n1").free.gpus_milli == 0  # type: ignore[union-attr]


def test_a_gpu_that_comes_back_is_as_full_as_what_still_runs_on_it() -> None:
    s = one_queue()
    both = node("n1", gpus=2)
    s.handle(NodeAdded(both))
    app = s.submit("all")
    s.ask(app, 1, gpus=0.4)
    s.settle()

    s.handle(NodeResourceUpdate(both.with_devices(both.devices[1:])))
    s.handle(NodeResourceUpdate(both))

    assert s.scheduler.node_view("n1").device_free_milli == {"n1/0": 600, "n1/1": 1000}  # type: ignore[union-attr]
