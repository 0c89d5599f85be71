"""The tree of queues as YARN's FairScheduler tells it over REST (FairSchedulerInfo).

Clients that know the CapacityScheduler alone look for its tree of ``queues`` with their capacities. It stands beside:
percents, by memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from hrm.model.queues import ROOT
from hrm.model.reports import QueueReport
from hrm.model.resources import MEMORY
from hrm.yarn.amounts import yarn_counts
from hrm.yarn.applications import full_queue
from hrm.yarn.web.told import resource

_UNLIMITED = (1 << 31) - 1


def scheduler(reports: Sequence[QueueReport], cluster: Mapping[str, int]) -> dict[str, Any]:
    below: dict[str, list[QueueReport]] = defaultdict(list)
    for report in reports:
        if report.parent is not None:
            below[report.parent].append(report)
    root = next(report for report in reports if report.name == ROOT)
    return {
        "schedulerInfo": {
            "type": "fairScheduler",
            "rootQueue": _queue(root, below, cluster),
            **_capacities(root, root, below, cluster),
        }
    }


def _capacities(
    report: QueueReport, parent: QueueReport, below: Mapping[str, list[QueueReport]], cluster: Mapping[str, int]
) -> dict[str, Any]:
    """Its names are those of a path's last part (CapacitySchedulerQueueInfo)."""
    whole = cluster.get(MEMORY, 0)
    share, used = report.steady_fair_share.get(MEMORY, 0), report.used.get(MEMORY, 0)
    most = min(whole, (report.max_share or cluster).get(MEMORY, whole))
    figures = {
        "capacity": _percent(share, parent.steady_fair_share.get(MEMORY, 0)),
        "usedCapacity": _percent(used, share),
        "maxCapacity": _percent(most, whole),
        "absoluteCapacity": _percent(share, whole),
        "absoluteUsedCapacity": _percent(used, whole),
        "absoluteMaxCapacity": _percent(most, whole),
    }
    path = full_queue(report.name)
    told: dict[str, Any] = {
        **figures,
        "queueName": path.rpartition(".")[2],
        "queuePath": path,
        "capacities": {"queueCapacitiesByPartition": [{"partitionName": "", **figures}]},
    }
    if children := below.get(report.name, []):
        told["queues"] = {"queue": [_capacities(child, report, below, cluster) for child in children]}
    return told


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


def _queue(report: QueueReport, below: Mapping[str, list[QueueReport]], cluster: Mapping[str, int]) -> dict[str, Any]:
    most = report.max_share or cluster
    children = below.get(report.name, [])
    told: dict[str, Any] = {
        "maxApps": _UNLIMITED if report.max_running_apps is None else report.max_running_apps,
        "minResources": resource(yarn_counts(report.min_share)),
        "maxResources": resource(
            yarn_counts({name: min(amount, most.get(name, amount)) for name, amount in cluster.items()})
        ),
        "usedResources": resource(yarn_counts(report.used, up=True)),
        "demandResources": resource(yarn_counts(report.demand, up=True)),
        "steadyFairResources": resource(yarn_counts(report.steady_fair_share)),
        "fairResources": resource(yarn_counts(report.fair_share)),
        "clusterResources": resource(yarn_counts(cluster)),
        "reservedResources": resource(yarn_counts(report.reserved, up=True)),
        "pendingContainers": report.containers_pending,
        "allocatedContainers": report.containers_running,
        "reservedContainers": report.containers_reserved,
        "queueName": full_queue(report.name),
        "schedulingPolicy": report.policy,
        "preemptable": report.preemptable,
        "weight": report.weight,
    }
    if report.max_container is not None:
        told["maxContainerAllocation"] = resource(
            yarn_counts({name: min(amount, cluster.get(name, amount)) for name, amount in report.max_container.items()})
        )
    if children or report.type == "parent":
        told["childQueues"] = {"queue": [_queue(child, below, cluster) for child in children]}
        return told
    return {
        "type": "fairSchedulerLeafQueueInfo",
        **told,
        "numPendingApps": report.applications_pending,
        "numActiveApps": report.applications_running,
    }
