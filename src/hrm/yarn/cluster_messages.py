"""Nodes, queues and the cluster as a whole, as YARN's messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hrm.model.reports import NodeReport, QueueAccessReport, QueueReport
from hrm.model.resources import MEMORY
from hrm.model.states import NodeState
from hrm.yarn.amounts import resource_message, yarn_counts
from hrm.yarn.application_messages import millis
from hrm.yarn.applications import full_queue
from hrm.yarn.node_words import attributes
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records

NODE_STATES = {
    NodeState.RUNNING: "RUNNING",
    NodeState.UNHEALTHY: "UNHEALTHY",
    NodeState.DRAINING: "DECOMMISSIONING",
    NodeState.LOST: "LOST",
}


def node_report(report: NodeReport, nodes: NodeAddresses) -> records.NodeReportProto:
    place = nodes.of(report.node_id)
    message = records.NodeReportProto(
        nodeId=records.NodeIdProto(host=place.host, port=place.port),
        httpAddress=place.http_address,
        rackName=report.rack,
        used=resource_message(report.used, up=True),
        capability=resource_message(report.total),
        numContainers=report.containers,
        node_state=f"NS_{NODE_STATES[report.state]}",
        health_report=report.message or report.drain_reason,
        last_health_report_time=millis(report.last_heartbeat_at),
        node_labels=[report.label] if report.label else [],
        node_attributes=attributes(report),
    )
    if report.memory_used_mib is not None:
        message.node_utilization.pmem = report.memory_used_mib
        message.node_utilization.cpu = (report.cpu_used_milli or 0) / 1000
    return message


def cluster_metrics(reports: Iterable[NodeReport]) -> records.YarnClusterMetricsProto:
    states = [report.state for report in reports]
    return records.YarnClusterMetricsProto(
        num_node_managers=len(states),
        num_active_nms=states.count(NodeState.RUNNING),
        num_lost_nms=states.count(NodeState.LOST),
        num_unhealthy_nms=states.count(NodeState.UNHEALTHY),
        num_decommissioned_nms=0,
        num_rebooted_nms=0,
    )


def cluster_total(reports: Iterable[NodeReport]) -> dict[str, int]:
    """Of the nodes that are there."""
    total: dict[str, int] = defaultdict(int)
    for report in reports:
        if report.state is not NodeState.LOST:
            for name, amount in report.total.items():
                total[name] += amount
    return dict(total)


def queue_info(
    name: str,
    reports: Sequence[QueueReport],
    cluster: dict[str, int],
    *,
    children: bool,
    recursive: bool,
) -> records.QueueInfoProto | None:
    """``name`` with or without the root; None iff there is no such queue."""
    below: dict[str, list[QueueReport]] = defaultdict(list)
    found: QueueReport | None = None
    for report in reports:
        if report.parent is not None:
            below[report.parent].append(report)
        if name in (report.name, full_queue(report.name)):
            found = report
    return None if found is None else _queue(found, below, cluster, children, recursive)


def _queue(
    report: QueueReport,
    below: dict[str, list[QueueReport]],
    cluster: dict[str, int],
    children: bool,
    recursive: bool,
) -> records.QueueInfoProto:
    share, whole = report.fair_share.get(MEMORY, 0), cluster.get(MEMORY, 0)
    most = None if report.max_share is None else report.max_share.get(MEMORY)
    message = records.QueueInfoProto(
        queueName=full_queue(report.name),
        # Parts of the cluster and of its fair share, in memory (FSQueue.getQueueInfo).
        capacity=_part(share, whole),
        maximumCapacity=1.0 if most is None else min(1.0, _part(most, whole)),
        currentCapacity=_part(report.used.get(MEMORY, 0), share),
        state=records.Q_DRAINING if report.draining else records.Q_RUNNING,
        queueStatistics=_statistics(report, cluster),
        preemptionDisabled=not report.preemptable,
        accessibleNodeLabels=report.accessible_node_labels,
        defaultNodeLabelExpression=report.default_node_label,
    )
    if children:
        message.childQueues.extend(
            _queue(child, below, cluster, recursive, recursive) for child in below.get(report.name, ())
        )
    return message


def _statistics(report: QueueReport, cluster: dict[str, int]) -> records.QueueStatisticsProto:
    used, pending = yarn_counts(report.used, up=True), yarn_counts(report.pending, up=True)
    reserved = yarn_counts(report.reserved, up=True)
    most = yarn_counts({name: min(cluster.get(name, 0), (report.max_share or cluster)[name]) for name in cluster})
    memory, vcores = "memory-mb", "vcores"
    return records.QueueStatisticsProto(
        numAppsSubmitted=report.applications_running + report.applications_pending,
        numAppsRunning=report.applications_running,
        numAppsPending=report.applications_pending,
        availableMemoryMB=max(0, most[memory] - used[memory]),
        allocatedMemoryMB=used[memory],
        pendingMemoryMB=pending[memory],
        reservedMemoryMB=reserved[memory],
        availableVCores=max(0, most[vcores] - used[vcores]),
        allocatedVCores=used[vcores],
        pendingVCores=pending[vcores],
        reservedVCores=reserved[vcores],
        allocatedContainers=report.containers_running,
        pendingContainers=report.containers_pending,
        reservedContainers=report.containers_reserved,
    )


def queue_acls(reports: Iterable[QueueAccessReport]) -> list[records.QueueUserACLInfoProto]:
    return [
        records.QueueUserACLInfoProto(
            queueName=full_queue(report.name),
            userAcls=[
                *([records.QACL_SUBMIT_APPLICATIONS] if report.may_submit or report.administers else []),
                *([records.QACL_ADMINISTER_QUEUE] if report.administers else []),
            ],
        )
        for report in reports
    ]


def _part(amount: int, whole: int) -> float:
    return amount / whole if whole else 0.0
