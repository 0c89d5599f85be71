"""Lists of applications, nodes and queues, and single runs and containers, as YARN's clients ask for them."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.model.ids import AttemptId, ContainerId
from hrm.testing.builders import queue, queues
from hrm.testing.lives import Lives, tasks
from hrm.yarn.errors import (
    AccessDenied,
    ApplicationAttemptNotFound,
    ContainerNotFound,
    FeatureNotEnabled,
    IllegalArgument,
)
from hrm.yarn.ids import attempt_message, container_message
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.client_door import WEB, Door, id_message

# --- lists


async def three(door: Door) -> list[str]:
    """One that runs and one that was killed, ada's; one of bob's that waits."""
    runs = await door.submit(application_name="runs", queue="research", applicationTags=["nightly"])
    await door.master(runs).register()
    killed = await door.submit(application_name="killed", applicationType="FLINK")
    await door.life.service.kill(killed, by="ada")
    await door.life.ended(killed)
    waits = await door.submit(application_name="waits", user="bob")
    return [runs, killed, waits]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["waits", "killed", "runs"]),
        ({"limit": 2}, ["waits", "killed"]),
        ({"limit": 0}, []),
        ({"application_states": [records.RUNNING]}, ["runs"]),
        ({"application_states": [records.ACCEPTED, records.KILLED]}, ["waits", "killed"]),
        ({"application_states": [records.NEW_SAVING]}, []),
        ({"application_types": ["spark"]}, ["waits", "runs"]),
        ({"users": ["bob"]}, ["waits"]),
        ({"users": ["bob", "ada"]}, ["waits", "killed", "runs"]),
        ({"queues": ["research"]}, ["runs"]),
        ({"queues": ["root.default"]}, ["waits", "killed"]),
        ({"applicationTags": ["NIGHTLY", "other"]}, ["runs"]),
        ({"name": "killed"}, ["killed"]),
        ({"scope": service.OWN}, ["killed", "runs"]),
        ({"scope": service.VIEWABLE}, ["killed", "runs"]),
        ({"scope": service.OWN, "users": ["bob"]}, []),
        ({"finish_begin": 1}, ["killed"]),
        ({"start_end": 1}, []),
    ],
)
async def test_a_list_is_narrowed_down(door: Door, filters: dict[str, Any], names: list[str]) -> None:
    await three(door)
    assert await door.listed(**filters) == names


async def test_a_list_goes_by_when_applications_were_submitted(lives: Lives) -> None:
    door = Door(await lives.begin())
    await door.submit(application_name="first")
    await door.life.pass_time(10)
    second = await door.report(await door.submit(application_name="second"))
    assert await door.listed(start_begin=second.startTime) == ["second"]
    assert await door.listed(start_end=second.startTime - 1) == ["first"]


async def test_a_span_of_time_that_ends_before_it_begins_is_refused(door: Door) -> None:
    with pytest.raises(IllegalArgument):
        await door.listed(start_begin=2, start_end=1)


# --- nodes and queues


async def test_nodes_are_told_with_what_is_used_of_them(lives: Lives) -> None:
    door = Door(await lives.begin())
    await door.submit()
    response = await door.call("getClusterNodes", service.GetClusterNodesRequestProto())
    (node,) = response.nodeReports
    assert (node.nodeId.host, node.nodeId.port, node.httpAddress) == ("127.0.0.1", 8041, "rm:8088")
    assert (node.used.memory, node.capability.memory, node.numContainers) == (1024, 8192, 1)
    assert node.node_state == records.NS_RUNNING


async def test_a_node_that_is_drained_is_decommissioning(door: Door) -> None:
    await door.life.service.drain_node("n1", by="ada", reason="new disk")
    running = service.GetClusterNodesRequestProto(nodeStates=[records.NS_RUNNING])
    leaving = service.GetClusterNodesRequestProto(nodeStates=[records.NS_DECOMMISSIONING, records.NS_LOST])
    assert not (await door.call("getClusterNodes", running)).nodeReports
    (node,) = (await door.call("getClusterNodes", leaving)).nodeReports
    assert node.health_report == "new disk"


async def test_the_cluster_counts_its_nodes(door: Door) -> None:
    metrics = (await door.call("getClusterMetrics", service.GetClusterMetricsRequestProto())).cluster_metrics
    assert (metrics.num_node_managers, metrics.num_active_nms, metrics.num_lost_nms) == (1, 1, 0)


async def test_a_queue_is_told_with_those_below_it_as_far_as_was_asked(lives: Lives) -> None:
    root = queues(queue("default"), queue("research", queue("vision"), queue("speech")))
    door = Door(await lives.begin(root=root))

    async def below(**asked: Any) -> list[tuple[str, list[str]]]:
        request = service.GetQueueInfoRequestProto(queueName="root", **asked)
        info = (await door.call("getQueueInfo", request)).queueInfo
        return [(child.queueName, [one.queueName for one in child.childQueues]) for child in info.childQueues]

    vision = ["root.research.vision", "root.research.speech"]
    assert await below() == []
    assert await below(includeChildQueues=True) == [("root.default", []), ("root.research", [])]
    assert await below(includeChildQueues=True, recursive=True) == [("root.default", []), ("root.research", vision)]


@pytest.mark.parametrize("name", ["default", "root.default"])
async def test_a_queue_says_what_is_used_of_it_and_what_runs_there(door: Door, name: str) -> None:
    app = await door.submit()
    request = service.GetQueueInfoRequestProto(queueName=name, includeApplications=True)
    info = (await door.call("getQueueInfo", request)).queueInfo
    assert (info.queueName, info.state, info.capacity) == ("root.default", records.Q_RUNNING, 1.0)
    assert info.currentCapacity == pytest.approx(1024 / 8192)
    assert [report.applicationId for report in info.applications] == [id_message(app)]
    statistics = info.queueStatistics
    assert (statistics.numAppsRunning, statistics.allocatedMemoryMB, statistics.availableMemoryMB) == (1, 1024, 7168)


async def test_of_a_queue_that_is_not_there_nothing_is_told(door: Door) -> None:
    response = await door.call("getQueueInfo", service.GetQueueInfoRequestProto(queueName="nowhere"))
    assert not response.HasField("queueInfo")


async def test_a_user_is_told_what_they_may_do_in_each_queue(door: Door) -> None:
    request = service.GetQueueUserAclsInfoRequestProto()
    for admin, rights in ((False, [records.QACL_SUBMIT_APPLICATIONS]), (True, [1, 2])):
        response = await door.call("getQueueUserAcls", request, admin=admin)
        told = {info.queueName: list(info.userAcls) for info in response.queueUserAcls}
        assert told == {"root": rights, "root.default": rights, "root.research": rights}


async def test_resource_types_name_the_gpu(door: Door) -> None:
    response = await door.call("getResourceTypeInfo", service.GetAllResourceTypeInfoRequestProto())
    assert [(one.name, one.units) for one in response.resource_type_info] == [
        ("memory-mb", "Mi"), ("vcores", ""), ("yarn.io/gpu", ""),
    ]  # fmt: skip


async def test_profiles_are_off(door: Door) -> None:
    with pytest.raises(FeatureNotEnabled):
        await door.call("getResourceProfiles", service.GetAllResourceProfilesRequestProto())


# --- runs and containers


async def test_each_run_of_a_master_is_told_with_its_container(door: Door) -> None:
    app = await door.submit()
    await door.master(app).exit(7)
    await door.master(app, 2).register()
    response = await door.call(
        "getApplicationAttempts", service.GetApplicationAttemptsRequestProto(application_id=id_message(app))
    )
    first, second = response.application_attempts
    assert (first.yarn_application_attempt_state, second.yarn_application_attempt_state) == (
        records.APP_ATTEMPT_FAILED, records.APP_ATTEMPT_RUNNING,
    )  # fmt: skip
    (running,) = door.life.containers(app)
    assert second.am_container_id == container_message(ContainerId.parse(running))
    one = service.GetApplicationAttemptReportRequestProto(application_attempt_id=first.application_attempt_id)
    assert (await door.call("getApplicationAttemptReport", one)).application_attempt_report == first


async def test_a_run_that_never_was_is_not_found(door: Door) -> None:
    app = await door.submit()
    missing = attempt_message(AttemptId.parse(door.master(app, 3).attempt_id))
    request = service.GetApplicationAttemptReportRequestProto(application_attempt_id=missing)
    with pytest.raises(ApplicationAttemptNotFound):
        await door.call("getApplicationAttemptReport", request)


async def test_containers_of_a_run_are_told_while_they_run_and_each_also_later(door: Door) -> None:
    app = await door.submit()
    master = door.master(app)
    await master.register()
    (granted,) = await master.get(1)
    await master.launch(granted)
    attempt = attempt_message(AttemptId.parse(master.attempt_id))
    listing = service.GetContainersRequestProto(application_attempt_id=attempt)
    reports = (await door.call("getContainers", listing)).containers
    assert [report.container_state for report in reports] == [records.C_RUNNING] * 2
    assert reports[1].log_url == f"{WEB}/node/containerlogs/{granted.container_id}/ada"
    assert (reports[1].node_id.host, reports[1].resource.memory) == ("127.0.0.1", 512)

    await door.life.finish(granted.container_id, 3)
    assert len((await door.call("getContainers", listing)).containers) == 1
    one = service.GetContainerReportRequestProto(container_id=reports[1].container_id)
    ended = (await door.call("getContainerReport", one)).container_report
    assert (ended.container_state, ended.container_exit_status) == (records.C_COMPLETE, 3)


async def test_a_container_that_never_was_is_not_found(door: Door) -> None:
    app = await door.submit()
    missing = ContainerId(AttemptId.parse(door.master(app).attempt_id), 1, 77)
    with pytest.raises(ContainerNotFound):
        await door.call(
            "getContainerReport", service.GetContainerReportRequestProto(container_id=container_message(missing))
        )


async def test_a_run_that_a_client_fails_is_followed_by_the_next(door: Door) -> None:
    app = await door.submit()
    await door.master(app).register()
    attempt = attempt_message(AttemptId.parse(door.master(app).attempt_id))
    await door.call(
        "failApplicationAttempt", service.FailApplicationAttemptRequestProto(application_attempt_id=attempt)
    )
    await door.life.settle()
    first, second = await door.life.service.attempts(app)
    assert (first.state, second.state) == ("FAILED", "LAUNCHED")


async def test_a_run_that_is_over_is_left_as_it_is(door: Door) -> None:
    app = await door.submit()
    await door.master(app).exit(7)
    await door.life.settle()
    attempt = attempt_message(AttemptId.parse(door.master(app).attempt_id))
    request = service.FailApplicationAttemptRequestProto(application_attempt_id=attempt)
    await door.call("failApplicationAttempt", request)
    with pytest.raises(AccessDenied):
        await door.call("failApplicationAttempt", request, user="bob")
    await door.life.settle()
    first, second = await door.life.service.attempts(app)
    assert (first.state, second.state) == ("FAILED", "LAUNCHED")


async def test_a_signal_reaches_one_container(door: Door) -> None:
    app = await door.submit()
    master = door.master(app)
    await master.register()
    (granted,) = await master.get(1)
    await master.launch(granted)
    request = service.SignalContainerRequestProto(
        container_id=container_message(ContainerId.parse(granted.container_id)), command=service.FORCEFUL_SHUTDOWN
    )
    await door.call("signalToContainer", request)
    await door.life.settle()
    assert granted.container_id not in door.life.containers(app)
    assert len(door.life.containers(app)) == 1


async def test_a_native_job_has_no_run_that_could_fail(door: Door) -> None:
    app = await door.life.submit(tasks())
    await door.life.settle()
    attempt = attempt_message(AttemptId.parse(door.master(app).attempt_id))
    with pytest.raises(Exception, match="no master of its own"):
        await door.call(
            "failApplicationAttempt", service.FailApplicationAttemptRequestProto(application_attempt_id=attempt)
        )
