"""Amounts by names of their own, told to clients and to masters, where hrm.yaml names some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hrm.config.yarn_values import YarnConfig
from hrm.model.resources import Resources
from hrm.testing.lives import Lives
from hrm.yarn.errors import FeatureNotEnabled, YarnError
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.wire_masters import opened

PROFILES = {"small": Resources(2048, 1000), "trainer": Resources(4096, 2000, 1000)}


@pytest.fixture
async def named(lives: Lives) -> Door:
    return Door(await lives.begin(), YarnConfig(resource_profiles=PROFILES))


def amounts(message: Any) -> tuple[int, ...]:
    """Memory, CPUs and GPUs."""
    others = {entry.key: entry.value for entry in message.resource_value_map}
    return message.memory, message.virtual_cores, others["yarn.io/gpu"]


async def test_all_are_told_with_the_least_and_the_most_and_what_counts_without_a_name(named: Door) -> None:
    answer = await named.call("getResourceProfiles", service.GetAllResourceProfilesRequestProto())
    told = {one.name: amounts(one.resources) for one in answer.resource_profiles.resource_profiles_map}
    assert told == {
        "default": (128, 1, 0),
        "minimum": (128, 1, 0),
        "small": (2048, 1, 0),
        "trainer": (4096, 2, 1),
        "maximum": (8192, 4, 0),
    }


async def test_one_is_told_by_its_name_and_an_unknown_one_is_refused(named: Door) -> None:
    answer = await named.call("getResourceProfile", service.GetResourceProfileRequestProto(profile="small"))
    assert amounts(answer.resources) == (2048, 1, 0)
    with pytest.raises(YarnError, match="'huge' not found"):
        await named.call("getResourceProfile", service.GetResourceProfileRequestProto(profile="huge"))


async def test_without_any_they_are_switched_off(door: Door) -> None:
    with pytest.raises(FeatureNotEnabled):
        await door.call("getResourceProfile", service.GetResourceProfileRequestProto(profile="small"))


async def test_a_master_is_told_them_when_it_registers(lives: Lives, tmp_path: Path) -> None:
    life = await lives.begin()
    config = YarnConfig(
        enabled=True, client_port=0, master_port=0, web_port=0, node_port=0, node_web_port=0, resource_profiles=PROFILES
    )
    async with opened(life, tmp_path, config) as yarn:
        answer = await yarn.master(await yarn.submit()).register()
    assert "trainer" in [one.name for one in answer.resource_profiles.resource_profiles_map]
