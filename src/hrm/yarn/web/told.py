"""Applications, runs, containers, nodes and sums as YARN's REST interface tells them, by its names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from hrm.model.ids import AttemptId
from hrm.model.reports import AttemptReport, ContainerReport, NodeReport, QueueReport, TaskAttemptReport
from hrm.model.requests import ExecutionType
from hrm.model.resources import MEMORY, VCORES
from hrm.model.states import ContainerState, NodeState
from hrm.yarn.amounts import yarn_counts
from hrm.yarn.application_messages import (
    Links,
    attempt_state,
    format_time,
    live_container_state,
    millis,
    resource_seconds,
    status_of,
)
from hrm.yarn.applications import STATES, UNAVAILABLE, Application
from hrm.yarn.cluster_messages import NODE_STATES, cluster_total
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records

_MEMORY, _VCORES = "memory-mb", "vcores"


def application(
    one: Application, *, links: Links, nodes: NodeAddresses, cluster: Mapping[str, int], now: float, may_look: bool
) -> dict[str, Any]:
    """AppInfo. To whoever may not look inside, what all see."""
    report, attempt = one.report, one.attempt
    began = millis(report.submitted_at)
    ended = millis(one.finished_at)
    used, reserved = yarn_counts(report.used, up=True), yarn_counts(report.reserved, up=True)
    told: dict[str, Any] = {
        "id": report.application_id,
        "user": report.user,
        "name": report.name,
        "queue": one.queue,
        "state": one.state,
        "finalStatus": str(one.final_status),
        "progress": round(100 * report.progress, 2),
        "trackingUI": "History" if one.is_over else "ApplicationMaster" if one.state == "RUNNING" else "UNASSIGNED",
        "diagnostics": one.diagnostics if may_look else "",
        "clusterId": int(report.application_id.split("_")[1]),
        "applicationType": one.yarn.application_type,
        "applicationTags": ",".join(one.yarn.tags),
        "priority": report.priority,
        "startedTime": began,
        "launchTime": millis(report.started_at),
        "finishedTime": ended,
        "elapsedTime": max(0, (ended or int(now * 1000)) - began),
    }
    if not may_look:
        return told
    told["trackingUrl"] = links.tracking(one)
    if attempt is not None and attempt.container_id is not None:
        told["amContainerLogs"] = nodes.log(attempt.node_id, attempt.container_id, report.user)
        told["amHostHttpAddress"] = nodes.http_address
        if attempt.node_id is not None:
            place = nodes.of(attempt.node_id)
            told["amHostHttpAddress"] = place.http_address
            told["masterNodeId"] = f"{place.host}:{place.port}"
        if attempt.host and attempt.rpc_port >= 0:
            told["amRPCAddress"] = f"{attempt.host}:{attempt.rpc_port}"
    whole = cluster.get(MEMORY, 0)
    # YARN says -1 of what is over.
    live, seconds = not one.is_over, resource_seconds(one)
    told |= {
        "allocatedMB": used[_MEMORY] if live else -1,
        "allocatedVCores": used[_VCORES] if live else -1,
        "reservedMB": reserved[_MEMORY] if live else -1,
        "reservedVCores": reserved[_VCORES] if live else -1,
        "runningContainers": report.tasks_running if live else -1,
        "clusterUsagePercentage": round(100 * report.used.get(MEMORY, 0) / whole, 2) if whole else 0.0,
        "memorySeconds": seconds["memory-mb"],
        "vcoreSeconds": seconds["vcores"],
        "resourceSecondsMap": {"entry": [{"key": name, "value": count} for name, count in seconds.items()]},
        "logAggregationStatus": "DISABLED",
        "unmanagedApplication": one.yarn.unmanaged,
        "appNodeLabelExpression": one.node_labels[0],
        "amNodeLabelExpression": one.node_labels[1],
        "timeouts": {"timeout": [timeout(report.deadline_at, now)]},
    }
    return told


def timeout(deadline_at: float | None, now: float) -> dict[str, Any]:
    """AppTimeoutInfo of its lifetime."""
    if deadline_at is None:
        return {"type": "LIFETIME", "expiryTime": "UNLIMITED", "remainingTimeInSeconds": -1}
    return {
        "type": "LIFETIME",
        "expiryTime": format_time(deadline_at),
        "remainingTimeInSeconds": max(0, int(deadline_at - now)),
    }


def attempt_line(attempt: AttemptReport, one: Application, *, nodes: NodeAddresses) -> dict[str, Any]:
    """AppAttemptInfo, as a list of them has it."""
    told: dict[str, Any] = {
        "id": AttemptId.parse(attempt.attempt_id).number,
        "startTime": millis(attempt.started_at),
        "finishedTime": millis(attempt.ended_at),
        "appAttemptId": attempt.attempt_id,
        "exportPorts": "",
    }
    if attempt.container_id is not None:
        told["containerId"] = attempt.container_id
        told["nodeHttpAddress"] = nodes.http_address
        told["logsLink"] = nodes.log(attempt.node_id, attempt.container_id, one.report.user)
        if attempt.node_id is not None:
            place = nodes.of(attempt.node_id)
            told["nodeHttpAddress"] = place.http_address
            told["nodeId"] = f"{place.host}:{place.port}"
    return told


def attempt(attempt: AttemptReport, one: Application, *, links: Links) -> dict[str, Any]:
    """AppAttemptInfo of one alone."""
    state = records.YarnApplicationAttemptStateProto.Name(attempt_state(attempt)).removeprefix("APP_ATTEMPT_")
    return {
        "appAttemptId": attempt.attempt_id,
        "host": attempt.host or UNAVAILABLE,
        "rpcPort": attempt.rpc_port,
        "trackingUrl": links.tracking(one),
        "originalTrackingUrl": attempt.tracking_url or UNAVAILABLE,
        "diagnosticsInfo": attempt.message,
        "appAttemptState": state,
        "amContainerId": attempt.container_id or "",
        "startedTime": millis(attempt.started_at),
        "finishedTime": millis(attempt.ended_at),
    }


def live_container(report: ContainerReport, user: str, *, nodes: NodeAddresses) -> dict[str, Any]:
    """ContainerInfo of one that is not over."""
    return {
        **_container(report.container_id, report.node_id, report.resources, user, nodes=nodes),
        "startedTime": millis(report.started_at or report.allocated_at),
        "finishedTime": 0,
        "containerState": live_container_state(report),
        "containerExitStatus": -1000,
        "diagnosticsInfo": "",
    }


def ended_container(report: TaskAttemptReport, *, nodes: NodeAddresses) -> dict[str, Any]:
    """ContainerInfo of one that is over."""
    return {
        **_container(report.container_id, report.node_id, report.resources, report.user, nodes=nodes),
        "startedTime": millis(report.started_at or report.allocated_at),
        "finishedTime": millis(report.ended_at),
        "containerState": "COMPLETE",
        "containerExitStatus": status_of(report),
        "diagnosticsInfo": report.message,
    }


def _container(
    container_id: str, node_id: str, resources: Mapping[str, int], user: str, *, nodes: NodeAddresses
) -> dict[str, Any]:
    place, counts = nodes.of(node_id), yarn_counts(resources, up=True)
    return {
        "containerId": container_id,
        "allocatedMB": counts[_MEMORY],
        "allocatedVCores": counts[_VCORES],
        "allocatedResources": {"entry": [{"key": name, "value": count} for name, count in counts.items()]},
        "assignedNodeId": f"{place.host}:{place.port}",
        "nodeHttpAddress": place.http_address,
        "nodeId": f"{place.host}:{place.port}",
        "priority": "0",
        "logUrl": nodes.log(node_id, container_id, user),
    }


def node_container(report: ContainerReport, user: str, *, nodes: NodeAddresses) -> dict[str, Any]:
    """ContainerInfo of a NodeManager, of one that is not over."""
    return {
        **_node_container(
            report.container_id, report.node_id, report.resources, user, report.execution_type, nodes=nodes
        ),
        "state": "SCHEDULED" if report.state == ContainerState.ALLOCATED else "RUNNING",
        "exitCode": -1000,
        "diagnostics": "",
    }


def ended_node_container(report: TaskAttemptReport, *, nodes: NodeAddresses) -> dict[str, Any]:
    """ContainerInfo of a NodeManager, of one that is over."""
    return {
        **_node_container(
            report.container_id, report.node_id, report.resources, report.user, report.execution_type, nodes=nodes
        ),
        "state": "DONE",
        "exitCode": status_of(report),
        "diagnostics": report.message,
    }


def _node_container(
    container_id: str,
    node_id: str,
    resources: Mapping[str, int],
    user: str,
    execution_type: ExecutionType,
    *,
    nodes: NodeAddresses,
) -> dict[str, Any]:
    place, asked = nodes.of(node_id), yarn_counts(resources, up=True)
    return {
        "id": container_id,
        "user": user,
        "totalMemoryNeededMB": asked[_MEMORY],
        "totalVCoresNeeded": asked[_VCORES],
        "executionType": execution_type.name,
        "containerLogsLink": nodes.log(node_id, container_id, user),
        "nodeId": f"{place.host}:{place.port}",
        "containerLogFiles": ["stdout", "stderr"],
    }


def node(report: NodeReport, nodes: NodeAddresses) -> dict[str, Any]:
    """NodeInfo."""
    place = nodes.of(report.node_id)
    total, used = yarn_counts(report.total), yarn_counts(report.used, up=True)
    lent = yarn_counts(report.opportunistic_used, up=True)
    free = {name: max(0, count - used.get(name, 0)) for name, count in total.items()}
    return {
        "rack": report.rack,
        "state": NODE_STATES[report.state],
        "id": f"{place.host}:{place.port}",
        "nodeHostName": place.host,
        "nodeHTTPAddress": place.http_address,
        "lastHealthUpdate": millis(report.last_heartbeat_at),
        "version": "HRM",
        "healthReport": report.message or report.drain_reason,
        "numContainers": report.containers,
        "numRunningOpportContainers": report.opportunistic_containers,
        "usedMemoryOpportGB": lent[_MEMORY] // 1024,
        "usedVirtualCoresOpport": lent[_VCORES],
        # They wait in the ResourceManager.
        "numQueuedContainers": 0,
        "usedMemoryMB": used[_MEMORY],
        "availMemoryMB": free[_MEMORY],
        "usedVirtualCores": used[_VCORES],
        "availableVirtualCores": free[_VCORES],
        "nodeLabels": [report.label] if report.label else [],
        "resourceUtilization": {
            "nodePhysicalMemoryMB": report.memory_used_mib or 0,
            "nodeCPUUsage": (report.cpu_used_milli or 0) / 1000,
        },
        "usedResource": resource(used),
        "availableResource": resource(free),
        "totalResource": resource(total),
    }


def resource(counts: Mapping[str, int]) -> dict[str, Any]:
    """ResourceInfo of amounts by YARN's names."""
    return {
        "memory": counts[_MEMORY],
        "vCores": counts[_VCORES],
        "resourceInformations": {
            "resourceInformation": [
                {
                    "name": name,
                    "resourceType": "COUNTABLE",
                    "units": "Mi" if name == _MEMORY else "",
                    "value": count,
                }
                for name, count in counts.items()
            ]
        },
    }


def metrics(nodes: Iterable[NodeReport], counts: Mapping[str, int], root: QueueReport) -> dict[str, Any]:
    """ClusterMetricsInfo; ``counts`` are applications by state of HRM's."""
    reports = list(nodes)
    states = Counter(report.state for report in reports)
    whole = yarn_counts(cluster_total(reports))
    used = yarn_counts(_sum(report.used for report in reports), up=True)
    waiting, reserved = yarn_counts(root.pending, up=True), yarn_counts(root.reserved, up=True)
    return {
        "appsSubmitted": sum(counts.values()),
        "appsCompleted": counts.get("FINISHED", 0),
        "appsPending": counts.get("SUBMITTED", 0) + counts.get("ACCEPTED", 0),
        "appsRunning": counts.get("RUNNING", 0),
        "appsFailed": counts.get("FAILED", 0),
        "appsKilled": counts.get("KILLED", 0),
        "reservedMB": reserved[_MEMORY],
        "availableMB": max(0, whole[_MEMORY] - used[_MEMORY]),
        "allocatedMB": used[_MEMORY],
        "pendingMB": waiting[_MEMORY],
        "reservedVirtualCores": reserved[_VCORES],
        "availableVirtualCores": max(0, whole[_VCORES] - used[_VCORES]),
        "allocatedVirtualCores": used[_VCORES],
        "pendingVirtualCores": waiting[_VCORES],
        "containersAllocated": root.containers_running,
        "containersReserved": root.containers_reserved,
        "containersPending": root.containers_pending,
        "totalMB": whole[_MEMORY],
        "totalVirtualCores": whole[_VCORES],
        "totalNodes": len(reports),
        "lostNodes": states[NodeState.LOST],
        "unhealthyNodes": states[NodeState.UNHEALTHY],
        "decommissioningNodes": states[NodeState.DRAINING],
        "decommissionedNodes": 0,
        "rebootedNodes": 0,
        "activeNodes": states[NodeState.RUNNING],
        "shutdownNodes": 0,
        "totalUsedResourcesAcrossPartition": resource(used),
        "totalClusterResourcesAcrossPartition": resource(whole),
        "totalAllocatedContainersAcrossPartition": root.containers_running,
        "crossPartitionMetricsAvailable": False,
    }


def statistics(
    applications: Iterable[Application], states: Iterable[str], types: Iterable[str]
) -> list[dict[str, Any]]:
    """How many there are by state and type; for any type where none is named."""
    wanted = [kind.lower() for kind in types] or ["*"]
    counts: Counter[tuple[str, str]] = Counter()
    for one in applications:
        kind = one.yarn.application_type.lower()
        if wanted == ["*"]:
            counts[one.state, "*"] += 1
        elif kind in wanted:
            counts[one.state, kind] += 1
    return [
        {"state": state, "type": kind, "count": counts[state, kind]}
        for state in (list(states) or STATES)
        for kind in wanted
    ]


def _sum(amounts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter({MEMORY: 0, VCORES: 0})
    for one in amounts:
        total.update(one)
    return dict(total)
