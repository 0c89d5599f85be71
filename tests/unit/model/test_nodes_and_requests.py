"""What a node is made of, and what may be asked of it."""

from __future__ import annotations

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.requests import ResourceRequest
from hrm.model.resources import ZERO, Resources

GPUS = tuple(DeviceSpec(device_id=f"GPU-{index}", index=index, model="RTX 2080 Ti") for index in range(2))
TOTAL = Resources(memory_mib=65_536, vcores_milli=16_000, gpus_milli=2000)


def test_a_node_has_a_thousand_gpu_milli_for_each_device() -> None:
    assert NodeSpec(node_id="slave01", total=TOTAL, devices=GPUS).devices == GPUS
    with pytest.raises(InvalidInput, match=r"^total: slave01: 2000 GPU milli for 1 devices"):
        NodeSpec(node_id="slave01", total=TOTAL, devices=GPUS[:1])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"node_id": "slave/01"}, "node_id"),
        ({"rack": "row1"}, "rack"),
        ({"total": Resources(memory_mib=-1, gpus_milli=2000)}, "total"),
        ({"devices": (GPUS[0], GPUS[0])}, "devices"),
    ],
)
def test_a_node_that_cannot_be_is_refused_with_its_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        NodeSpec(**{"node_id": "slave01", "total": TOTAL, "devices": GPUS} | change)  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_a_request_may_be_withdrawn_by_a_count_of_zero() -> None:
    assert ResourceRequest(resources=Resources(memory_mib=1024), count=0).count == 0


@pytest.mark.parametrize(
    ("resources", "count", "field"),
    [
        (Resources(memory_mib=1024), -1, "count"),
        (ZERO, 1, "resources"),
        (Resources(memory_mib=1024, vcores_milli=-1), 1, "resources"),
        (Resources(memory_mib=1024, gpus_milli=1500), 1, "gpus_milli"),
    ],
)
def test_a_request_for_nothing_or_less_is_refused_with_its_field(resources: Resources, count: int, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        ResourceRequest(resources=resources, count=count)
    assert refusal.value.field == field
