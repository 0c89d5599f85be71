"""All that is told over REST goes by YARN's names, and is told in XML as it is in JSON."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import queue, queues
from hrm.testing.lives import tasks
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest

#: By path: where the value lies in the answer, and the names that it must have (those of Hadoop's ``webapp.dao``).
TOLD = {
    "info": (
        "clusterInfo",
        "id startedOn state haState rmStateStoreName resourceManagerVersion resourceManagerBuildVersion hadoopVersion "
        "hadoopBuildVersion haZooKeeperConnectionState",
    ),
    "userinfo": ("clusterUserInfo", "rmLoginUser requestedUser"),
    "metrics": (
        "clusterMetrics",
        "appsSubmitted appsCompleted appsPending appsRunning appsFailed appsKilled reservedMB availableMB allocatedMB "
        "pendingMB reservedVirtualCores availableVirtualCores allocatedVirtualCores pendingVirtualCores "
        "containersAllocated containersReserved containersPending totalMB totalVirtualCores totalNodes lostNodes "
        "unhealthyNodes decommissioningNodes decommissionedNodes rebootedNodes activeNodes shutdownNodes "
        "totalUsedResourcesAcrossPartition totalClusterResourcesAcrossPartition",
    ),
    "scheduler": ("scheduler.schedulerInfo", "type rootQueue"),
    "scheduler#root": (
        "scheduler.schedulerInfo.rootQueue",
        "maxApps minResources maxResources usedResources demandResources steadyFairResources fairResources "
        "clusterResources reservedResources pendingContainers allocatedContainers reservedContainers queueName "
        "schedulingPolicy preemptable childQueues",
    ),
    "scheduler#leaf": (
        "scheduler.schedulerInfo.rootQueue.childQueues.queue.0",
        "type maxApps minResources maxResources usedResources fairResources queueName numPendingApps numActiveApps",
    ),
    "apps": (
        "apps.app.0",
        "id user name queue state finalStatus progress trackingUI trackingUrl diagnostics clusterId applicationType "
        "applicationTags priority startedTime launchTime finishedTime elapsedTime amContainerLogs amHostHttpAddress "
        "masterNodeId amRPCAddress allocatedMB allocatedVCores reservedMB reservedVCores runningContainers "
        "memorySeconds vcoreSeconds clusterUsagePercentage resourceSecondsMap logAggregationStatus "
        "unmanagedApplication amNodeLabelExpression timeouts",
    ),
    "apps/{app}": ("app", "id user name queue state finalStatus progress trackingUrl diagnostics allocatedMB"),
    "appstatistics": ("appStatInfo.statItem.0", "state type count"),
    "apps/{app}/state": ("", "state"),
    "apps/{app}/queue": ("", "queue"),
    "apps/{app}/priority": ("", "priority"),
    "apps/{app}/timeouts": ("timeouts.timeout.0", "type expiryTime remainingTimeInSeconds"),
    "apps/{app}/timeouts/LIFETIME": ("timeout", "type expiryTime remainingTimeInSeconds"),
    "apps/{app}/appattempts": (
        "appAttempts.appAttempt.0",
        "id startTime finishedTime containerId nodeHttpAddress nodeId logsLink appAttemptId",
    ),
    "apps/{app}/appattempts/1": (
        "appAttempt",
        "appAttemptId host rpcPort trackingUrl originalTrackingUrl diagnosticsInfo appAttemptState amContainerId "
        "startedTime finishedTime",
    ),
    "apps/{app}/appattempts/1/containers": (
        "containers.container.0",
        "containerId allocatedMB allocatedVCores assignedNodeId priority startedTime finishedTime logUrl "
        "containerExitStatus containerState nodeHttpAddress nodeId",
    ),
    "nodes": (
        "nodes.node.0",
        "rack state id nodeHostName nodeHTTPAddress lastHealthUpdate version healthReport numContainers usedMemoryMB "
        "availMemoryMB usedVirtualCores availableVirtualCores nodeLabels resourceUtilization usedResource "
        "availableResource totalResource numRunningOpportContainers usedMemoryOpportGB usedVirtualCoresOpport "
        "numQueuedContainers",
    ),
    "nodes/127.0.0.1:8041": ("node", "rack state id usedMemoryMB"),
    "scheduler/activities": ("activities", "dateTime timestamp diagnostic"),
    "scheduler/app-activities/{app}": ("appActivities", "applicationId"),
    "queues/root.research/access?queue-acl-type=SUBMIT_APPLICATIONS": ("queueAccess", "allowed user diagnostics"),
    "/ws/v1/node/info": (
        "nodeInfo",
        "healthReport totalVmemAllocatedContainersMB totalPmemAllocatedContainersMB totalVCoresAllocatedContainers "
        "lastNodeUpdateTime nodeHealthy nodeManagerVersion nodeManagerBuildVersion hadoopVersion hadoopBuildVersion id "
        "nodeHostName nmStartupTime pmemCheckEnabled vmemCheckEnabled",
    ),
    "/ws/v1/node/apps": ("apps.app.0", "id state user containerids"),
    "/ws/v1/node/apps/{app}": ("app", "id state user containerids"),
    "/ws/v1/node/containers": (
        "containers.container.0",
        "id state exitCode diagnostics user totalMemoryNeededMB totalVCoresNeeded executionType containerLogsLink "
        "nodeId containerLogFiles",
    ),
    "/ws/v1/node/auxiliaryservices": ("services", "service"),
}


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


async def running(rest: Rest) -> str:
    app = await rest.door.submit(queue="research")
    master = rest.door.master(app)
    await master.calls.register(master.attempt_id, host="n1", rpc_port=4711, tracking_url="http://n1:4040")
    return app


@pytest.mark.parametrize("path", TOLD)
async def test_names_are_yarns_and_xml_says_what_json_says(rest: Rest, path: str) -> None:
    app = await running(rest)
    place, names = TOLD[path]
    asked = path.partition("#")[0].format(app=app)
    told = await rest.told(asked)
    value = told
    for step in filter(None, place.split(".")):
        value = value[int(step)] if step.isdigit() else value[step]
    assert [name for name in names.split() if name not in value] == []

    response = await rest(asked, headers={"Accept": "application/xml"})
    assert response.headers["content-type"] == "application/xml"
    root = ElementTree.fromstring(response.content)
    assert_same(root, told.get(root.tag, told))


def assert_same(element: ElementTree.Element, value: Any) -> None:
    """An element holds what the value does: each name, and each of several, in an element of that name."""
    if not isinstance(value, dict):
        assert (element.text or "") == _text(value)
        return
    flat = [(name, one) for name, many in value.items() for one in (many if isinstance(many, list) else [many])]
    assert [child.tag for child in element] == [name for name, one in flat if one is not None]
    for child, (_, one) in zip(element, [pair for pair in flat if pair[1] is not None], strict=True):
        assert_same(child, one)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def test_what_is_asked_for_and_not_there_is_told_as_pending(rest: Rest) -> None:
    await rest.door.life.submit(tasks(count=6, cpus=1, memory="1G"))
    metrics = (await rest.told("metrics"))["clusterMetrics"]
    assert (metrics["allocatedVirtualCores"], metrics["pendingVirtualCores"], metrics["containersPending"]) == (4, 2, 2)
    assert (metrics["allocatedMB"], metrics["pendingMB"]) == (4096, 2048)
    root = (await rest.told("/jmx", params={"qry": "Hadoop:service=ResourceManager,name=QueueMetrics,q0=root"}))[
        "beans"
    ]
    assert [(bean["PendingMB"], bean["PendingVCores"], bean["PendingContainers"]) for bean in root] == [(2048, 2, 2)]


async def test_what_a_node_is_reserved_for_is_told_of_the_application_its_queue_and_the_cluster(rest: Rest) -> None:
    life = rest.door.life
    declared = queues(queue("default"), queue("research"))
    await life.service.reload_queues(declared, options=SchedulerOptions(reservable_nodes=1.0))
    await life.submit(tasks(count=4, cpus=1, memory="1G"), queue="default")
    large = await life.submit(tasks(cpus=3, memory="3G"), queue="research")
    # Shares are worked out by then.
    await life.pass_time(1.0)
    await life.heartbeat()
    report = await rest.door.report(large)
    app = (await rest.told(f"apps/{large}"))["app"]
    metrics = (await rest.told("metrics"))["clusterMetrics"]
    assert report.app_resource_Usage.num_reserved_containers == 1
    assert report.app_resource_Usage.reserved_resources.memory == 3072
    assert (app["reservedMB"], app["reservedVCores"]) == (3072, 3)
    assert (metrics["reservedMB"], metrics["reservedVirtualCores"], metrics["containersReserved"]) == (3072, 3, 1)
