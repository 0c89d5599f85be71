"""YARN's activities over REST: who waits for what, and what each node says to it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hrm.model.requests import ResourceRequest
from hrm.testing.lives import tasks
from hrm.testing.played_masters import ask
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


async def waiting(rest: Rest, **submission: Any) -> str:
    """An application whose master waits: somebody else has all CPUs of the node."""
    await rest.door.life.submit(tasks(cpus=4))
    return await rest.door.submit(**submission)


async def test_an_application_that_waits_is_told_with_what_each_node_says(rest: Rest) -> None:
    app = await waiting(rest, queue="research")
    told = (await rest.told(f"scheduler/app-activities/{app}"))["appActivities"]
    assert told["applicationId"] == app
    assert told["diagnostic"] == (await rest.door.life.service.explain(app)).message != ""
    (allocation,) = told["allocations"]
    assert (allocation["queueName"], allocation["allocationState"]) == ("root.research", "SKIPPED")
    (request,) = allocation["requestAllocation"]
    (node,) = request["children"]
    assert (node["nodeId"], node["allocationState"]) == ("127.0.0.1:8041", "REJECTED")
    assert node["diagnostic"] == "insufficient vcores; free: 7168 memory-mb of 8192 memory-mb, 4 vcores"


async def test_nodes_that_say_the_same_are_told_together_where_that_is_asked_for(rest: Rest) -> None:
    app = await waiting(rest)
    told = (await rest.told(f"scheduler/app-activities/{app}?groupBy=diagnostic"))["appActivities"]
    (group,) = told["allocations"][0]["requestAllocation"][0]["children"]
    assert group == {
        "allocationState": "REJECTED", "diagnostic": "insufficient vcores", "count": 1, "nodeIds": ["127.0.0.1:8041"],
    }  # fmt: skip


async def master_that_asks(rest: Rest) -> str:
    """For two kinds of containers that do not fit now, numbered 7 and 8."""
    app = await rest.door.submit()
    master = rest.door.master(app)
    await master.register()
    await rest.door.life.submit(tasks(cpus=3))
    await rest.door.life.settle()
    wanted = ask(1).resources
    await master.beat(
        ResourceRequest(resources=wanted, count=1, priority=1, allocation_request_id=8),
        ResourceRequest(resources=wanted + wanted, count=2, priority=2, allocation_request_id=9),
    )
    return app


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", {7, 8}),
        ("requestPriorities=2", {8}),
        ("allocationRequestIds=7,99", {7}),
        ("requestPriorities=1&allocationRequestIds=8", set()),
    ],
)
async def test_requests_are_told_by_priority_and_by_the_masters_own_number(
    rest: Rest, query: str, ids: set[int]
) -> None:
    app = await master_that_asks(rest)
    told = (await rest.told(f"scheduler/app-activities/{app}?{query}"))["appActivities"]
    requests = [one for each in told.get("allocations", []) for one in each["requestAllocation"]]
    assert {one["allocationRequestId"] for one in requests} == ids
    assert all(one["diagnostic"] for one in requests)


async def test_a_limit_leaves_the_rest_out(rest: Rest) -> None:
    app = await master_that_asks(rest)
    told = (await rest.told(f"scheduler/app-activities/{app}?limit=1"))["appActivities"]
    assert len(told["allocations"][0]["requestAllocation"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "groupBy=node",
        "limit=0",
        "limit=x",
        "requestPriorities=high",
        "allocationRequestIds=-",
        "actions=stop",
        "maxTime=soon",
        "maxTime=nan",
    ],
)
async def test_what_cannot_be_meant_is_refused(rest: Rest, query: str) -> None:
    app = await rest.door.submit()
    assert (await rest(f"scheduler/app-activities/{app}?{query}")).status_code == 400


async def test_nothing_is_waited_for_however_long_it_might_be(rest: Rest) -> None:
    app = await waiting(rest)
    assert "allocations" in (await rest.told(f"scheduler/app-activities/{app}?maxTime=2.5"))["appActivities"]


async def test_asking_for_a_refresh_alone_is_answered_without_a_tree(rest: Rest) -> None:
    app = await waiting(rest)
    told = (await rest.told(f"scheduler/app-activities/{app}?actions=refresh"))["appActivities"]
    assert "allocations" not in told
    assert "refresh" in told["diagnostic"]


async def test_others_are_not_told_what_an_application_waits_for(rest: Rest) -> None:
    app = await waiting(rest)
    assert (await rest(f"scheduler/app-activities/{app}", user="bob")).status_code == 403
    tree = (await rest.told("scheduler/activities", user="bob"))["activities"]["allocations"][0]["root"]
    (one,) = tree["children"][0]["children"]
    assert one == {"name": app, "appPriority": 0, "allocationState": "SKIPPED"}


async def test_the_tree_of_queues_tells_who_waits_below_each(rest: Rest) -> None:
    first = await waiting(rest, queue="research")
    second = await rest.door.submit()
    told = (await rest.told("scheduler/activities"))["activities"]
    root = told["allocations"][0]["root"]
    assert root["name"] == "root"
    below = {queue["name"]: [app["name"] for app in queue["children"]] for queue in root["children"]}
    assert below == {"root.research": [first], "root.default": [second]}
    (request,) = root["children"][0]["children"][0]["children"]
    assert request["children"][0]["nodeId"] == "127.0.0.1:8041"


async def test_the_tree_of_one_node_is_asked_for_by_its_name_or_its_address(rest: Rest) -> None:
    await waiting(rest)
    for name in ("n1", "127.0.0.1:8041", "127.0.0.1"):
        assert (await rest.told(f"scheduler/activities?nodeId={name}"))["activities"]["nodeId"] == "127.0.0.1:8041"
    assert (await rest("scheduler/activities?nodeId=elsewhere")).status_code == 404


async def test_where_nothing_waits_that_is_said(rest: Rest) -> None:
    await rest.door.submit()
    told = (await rest.told("scheduler/activities"))["activities"]
    assert told["diagnostic"] == "nothing waits"
    assert "allocations" not in told


async def test_activities_are_told_in_xml(rest: Rest) -> None:
    app = await waiting(rest)
    response = await rest("scheduler/activities", headers={"Accept": "application/xml"})
    tree = ElementTree.fromstring(response.text)
    assert (tree.tag, [one.text for one in tree.iterfind("allocations/root/children/children/name")]) == (
        "activities", [app],
    )  # fmt: skip
