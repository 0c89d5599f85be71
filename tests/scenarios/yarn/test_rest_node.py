"""``/ws/v1/node``: what NodeManagers of YARN's tell, of nodes, applications and containers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.config.yarn_values import YarnConfig
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.resources import Resources
from hrm.testing.builders import node
from hrm.testing.lives import Lives, tasks
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


async def test_the_node_is_told(rest: Rest) -> None:
    node = (await rest.told("/ws/v1/node/info"))["nodeInfo"]
    assert (node["id"], node["nodeHealthy"], node["totalPmemAllocatedContainersMB"]) == ("127.0.0.1:8041", True, 8192)
    assert (await rest.told("/ws/v1/node/info?node=n1"))["nodeInfo"] == node
    assert (await rest("/ws/v1/node/info?node=n2")).status_code == 404


async def test_applications_are_told_with_their_containers_here(rest: Rest) -> None:
    app = await rest.door.submit()
    (container,) = rest.door.life.service.containers(app)
    (told,) = (await rest.told("/ws/v1/node/apps"))["apps"]["app"]
    assert told == {"id": app, "state": "RUNNING", "user": "ada", "containerids": [container.container_id]}
    assert (await rest.told(f"/ws/v1/node/apps/{app}"))["app"] == told


async def test_one_that_is_over_is_told_while_a_container_of_it_still_ends(rest: Rest) -> None:
    app = await rest.door.submit()
    master = rest.door.master(app)
    await master.register()
    await master.finish()
    (told,) = (await rest.told("/ws/v1/node/apps"))["apps"]["app"]
    assert told["state"] == "FINISHING_CONTAINERS_WAIT"
    await master.exit()
    assert (await rest.told("/ws/v1/node/apps"))["apps"] is None
    assert (await rest(f"/ws/v1/node/apps/{app}")).status_code == 404


@pytest.mark.parametrize(
    ("query", "count"), [("state=RUNNING", 1), ("state=finished", 0), ("user=ada", 1), ("user=bob", 0), ("node=n1", 1)]
)
async def test_applications_are_narrowed_down(rest: Rest, query: str, count: int) -> None:
    await rest.door.submit()
    apps = (await rest.told(f"/ws/v1/node/apps?{query}"))["apps"]
    assert len((apps or {"app": []})["app"]) == count


async def test_a_state_that_no_application_has_is_refused(rest: Rest) -> None:
    response = await rest("/ws/v1/node/apps?state=SLEEPING")
    assert response.status_code == 400
    assert "RUNNING" in response.json()["RemoteException"]["message"]


async def test_containers_are_told_all_and_one(rest: Rest) -> None:
    app = await rest.door.submit()
    (live,) = rest.door.life.service.containers(app)
    (told,) = (await rest.told("/ws/v1/node/containers"))["containers"]["container"]
    assert (told["id"], told["state"], told["user"], told["totalMemoryNeededMB"], told["nodeId"]) == (
        live.container_id, "RUNNING", "ada", 1024, "127.0.0.1:8041",
    )  # fmt: skip
    assert (await rest.told(f"/ws/v1/node/containers/{live.container_id}"))["container"] == told


async def test_one_that_is_over_is_told_with_how_it_ended(rest: Rest) -> None:
    app = await rest.door.submit()
    (live,) = rest.door.life.service.containers(app)
    await rest.door.life.finish(live.container_id, 7)
    told = (await rest.told(f"/ws/v1/node/containers/{live.container_id}"))["container"]
    assert (told["state"], told["exitCode"]) == ("DONE", 7)


async def test_others_see_neither_applications_nor_containers(rest: Rest) -> None:
    app = await rest.door.submit()
    assert (await rest.told("/ws/v1/node/apps", user="bob"))["apps"] is None
    assert (await rest.told("/ws/v1/node/containers", user="bob"))["containers"] is None
    assert (await rest(f"/ws/v1/node/apps/{app}", user="bob")).status_code == 403


async def test_all_of_it_is_told_in_xml(rest: Rest) -> None:
    app = await rest.door.submit()
    (live,) = rest.door.life.service.containers(app)
    response = await rest("/ws/v1/node/apps", headers={"Accept": "application/xml"})
    assert ElementTree.fromstring(response.text).findtext("app/containerids") == live.container_id


async def test_auxiliary_services_are_told_with_whether_they_run_on_each_node(tmp_path: Path) -> None:
    services = tuple(AuxiliaryService(name=name, command=("serve",)) for name in ("spark_shuffle", "other"))
    offered = replace(node("n1", cpus=4, memory="8G"), offers=(services[0].offer, "of another kind"))
    async with Lives(tmp_path, [offered]) as lives:
        rest = Rest(Door(await lives.begin(), config=YarnConfig(enabled=True, auxiliary_services=services)))
        told = (await rest.told("/ws/v1/node/auxiliaryservices"))["services"]["service"]
        assert [(one["name"], one["node"], one["state"]) for one in told] == [
            ("spark_shuffle", "n1", "STARTED"),
            ("other", "n1", "STOPPED"),
        ]
        await rest.close()


async def test_where_none_is_configured_there_are_no_auxiliary_services_and_none_can_be_sent(rest: Rest) -> None:
    assert (await rest.told("/ws/v1/node/auxiliaryservices"))["services"] == {"service": []}
    response = await rest("/ws/v1/node/auxiliaryservices", method="PUT", json={"services": []})
    assert response.status_code == 405


async def test_gpus_are_told_with_the_containers_that_have_them(tmp_path: Path) -> None:
    async with Lives(tmp_path, [node("n1", cpus=4, memory="8G", gpus=2)]) as lives:
        rest = Rest(Door(await lives.begin()))
        app = await rest.door.life.submit(tasks(resources=Resources(1024, 1000, 1000)))
        await rest.door.life.settle()
        (live,) = rest.door.life.service.containers(app)
        told = (await rest.told("/ws/v1/node/resources/yarn.io%2Fgpu"))["nmGpuResourceInfo"]
        assert [one["index"] for one in told["totalGpuDevices"]] == [0, 1]
        assert told["assignedGpuDevices"] == [{"index": 0, "minorNumber": 0, "containerId": live.container_id}]
        others = (await rest.told("/ws/v1/node/resources/yarn.io%2Fgpu", user="bob"))["nmGpuResourceInfo"]
        assert others["assignedGpuDevices"] == []
        assert (await rest.told("/ws/v1/node/resources/memory-mb"))["nmResourceInfo"] is None
        await rest.close()
