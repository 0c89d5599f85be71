"""Every property of YARN's Fair Scheduler, with the key of ``hrm.yaml`` that it becomes, or why it becomes none.

`docs/yarn-import.md` shows this table, and a test compares the two. Sources: AllocationFileParser,
AllocationFileQueueParser, QueuePlacementPolicy, FairSchedulerConfiguration, YarnConfiguration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where a property stands."""

    ALLOCATIONS = "allocations"  #: directly in ``<allocations>``
    QUEUE = "queue"  #: in a ``<queue>`` or ``<pool>``
    SITE = "yarn-site.xml"


@dataclass(frozen=True, slots=True)
class Property:
    """One property of YARN's."""

    place: Place
    name: str
    #: Key of ``hrm.yaml``, ``*`` for the queue; "" iff it is not applicable.
    key: str
    #: What is different, or why it is not applicable.
    note: str = ""
    #: YARN's default as the key's value, where a file without the property still gets the key.
    default: str = ""

    @property
    def last_key(self) -> str:
        """``weight`` of ``queues.*.weight``."""
        return self.key.rpartition(".")[2]


_RESERVATION_SYSTEM = "HRM has no reservation system (time slots booked ahead)"
_ROUNDING = "requests are granted as they are asked for, not rounded up"
_PACER = "HRM visits a node on its heartbeat and at once when something changed; there is no interval to set"

PROPERTIES = (
    Property(Place.ALLOCATIONS, "queue", "queues", "nested alike; the one called root becomes scheduler.root"),
    Property(Place.ALLOCATIONS, "pool", "queues", "old name of queue"),
    Property(Place.ALLOCATIONS, "user", "scheduler.root.max_running_apps_of_users", "its maxRunningApps"),
    Property(Place.ALLOCATIONS, "userMaxAppsDefault", "scheduler.root.max_running_apps_per_user"),
    Property(
        Place.ALLOCATIONS,
        "queueMaxAppsDefault",
        "scheduler.queue_defaults.max_running_apps",
        "YARN lets it limit the root too, so it is written for both",
    ),
    Property(
        Place.ALLOCATIONS,
        "queueMaxResourcesDefault",
        "scheduler.queue_defaults.max_share",
        "YARN lets it limit the root too, so it is written for both",
    ),
    Property(
        Place.ALLOCATIONS,
        "queueMaxAMShareDefault",
        "scheduler.queue_defaults.max_am_share",
        "-1 becomes none; above 1 counts as 1",
        default="0.5",
    ),
    Property(
        Place.ALLOCATIONS,
        "defaultQueueSchedulingPolicy",
        "scheduler.queue_defaults.policy",
        "of the root too (scheduler.policy); cannot be fifo",
        default="fair",
    ),
    Property(
        Place.ALLOCATIONS,
        "defaultQueueSchedulingMode",
        "scheduler.queue_defaults.policy",
        "old name of defaultQueueSchedulingPolicy",
    ),
    Property(
        Place.ALLOCATIONS,
        "defaultFairSharePreemptionTimeout",
        "scheduler.root.fair_share_preemption_timeout",
        "in seconds; the root's own value wins",
    ),
    Property(
        Place.ALLOCATIONS,
        "fairSharePreemptionTimeout",
        "scheduler.root.fair_share_preemption_timeout",
        "old name of defaultFairSharePreemptionTimeout",
    ),
    Property(
        Place.ALLOCATIONS,
        "defaultMinSharePreemptionTimeout",
        "scheduler.root.min_share_preemption_timeout",
        "in seconds; the root's own value wins",
    ),
    Property(
        Place.ALLOCATIONS,
        "defaultFairSharePreemptionThreshold",
        "scheduler.root.fair_share_preemption_threshold",
        "held between 0 and 1; the root's own value wins",
    ),
    Property(
        Place.ALLOCATIONS,
        "queuePlacementPolicy",
        "scheduler.placement",
        "its rules in order",
    ),
    Property(Place.ALLOCATIONS, "reservation-agent", "", _RESERVATION_SYSTEM),
    Property(Place.ALLOCATIONS, "reservation-planner", "", _RESERVATION_SYSTEM),
    Property(Place.ALLOCATIONS, "reservation-policy", "", _RESERVATION_SYSTEM),
    Property(Place.QUEUE, "type", "queues.*.type", "the attribute: parent"),
    Property(Place.QUEUE, "weight", "queues.*.weight", "the root has none"),
    Property(
        Place.QUEUE,
        "minResources",
        "queues.*.min_share",
        "YARN reads no percentage here: with one the minimum is nothing",
    ),
    Property(
        Place.QUEUE,
        "maxResources",
        "queues.*.max_share",
        "percentages follow the size of the cluster; of vcores YARN gives whole ones, HRM thousandths",
    ),
    Property(Place.QUEUE, "maxChildResources", "queues.*.max_child_share", "of queues below that are not declared"),
    Property(
        Place.QUEUE,
        "maxContainerAllocation",
        "queues.*.max_container",
        "YARN reads no percentage here: with one there is no limit",
    ),
    Property(Place.QUEUE, "maxRunningApps", "queues.*.max_running_apps"),
    Property(
        Place.QUEUE, "maxAMShare", "queues.*.max_am_share", "of leaves only; -1 becomes none; above 1 counts as 1"
    ),
    Property(Place.QUEUE, "schedulingPolicy", "queues.*.policy", "by name or class; of the root: scheduler.policy"),
    Property(Place.QUEUE, "schedulingMode", "queues.*.policy", "old name of schedulingPolicy"),
    Property(Place.QUEUE, "fairSharePreemptionTimeout", "queues.*.fair_share_preemption_timeout", "in seconds"),
    Property(
        Place.QUEUE,
        "fairSharePreemptionThreshold",
        "queues.*.fair_share_preemption_threshold",
        "held between 0 and 1",
    ),
    Property(Place.QUEUE, "minSharePreemptionTimeout", "queues.*.min_share_preemption_timeout", "in seconds"),
    Property(Place.QUEUE, "allowPreemptionFrom", "queues.*.preemptable"),
    Property(
        Place.QUEUE,
        "aclSubmitApps",
        "queues.*.submit_acl",
        "users, a space, groups; a comment where yarn-site.xml does not switch ACLs on",
    ),
    Property(Place.QUEUE, "aclAdministerApps", "queues.*.admin_acl", "as aclSubmitApps"),
    Property(Place.QUEUE, "reservation", "", _RESERVATION_SYSTEM),
    Property(Place.QUEUE, "aclAdministerReservations", "", _RESERVATION_SYSTEM),
    Property(Place.QUEUE, "aclListReservations", "", _RESERVATION_SYSTEM),
    Property(Place.QUEUE, "aclSubmitReservations", "", _RESERVATION_SYSTEM),
    Property(Place.SITE, "yarn.scheduler.fair.preemption", "scheduler.preemption", default="false"),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.preemption.cluster-utilization-threshold",
        "scheduler.preemption_utilization_threshold",
        default="0.8",
    ),
    Property(Place.SITE, "yarn.scheduler.fair.waitTimeBeforeKill", "scheduler.wait_before_kill", "in ms", "15s"),
    Property(Place.SITE, "yarn.scheduler.fair.assignmultiple", "scheduler.assign_multiple", default="false"),
    Property(Place.SITE, "yarn.scheduler.fair.dynamic.max.assign", "scheduler.dynamic_max_assign", default="true"),
    Property(Place.SITE, "yarn.scheduler.fair.max.assign", "scheduler.max_assign", "below 1: no limit, no key"),
    Property(
        Place.SITE, "yarn.scheduler.fair.locality.threshold.node", "scheduler.node_locality_threshold", default="-1"
    ),
    Property(
        Place.SITE, "yarn.scheduler.fair.locality.threshold.rack", "scheduler.rack_locality_threshold", default="-1"
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.continuous-scheduling-enabled",
        "scheduler.continuous_scheduling",
        "time counts instead of opportunities; nodes are visited as ever",
        default="false",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.locality-delay-node-ms",
        "scheduler.node_locality_delay",
        "negative: no key",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.locality-delay-rack-ms",
        "scheduler.rack_locality_delay",
        "negative: no key",
    ),
    Property(Place.SITE, "yarn.scheduler.fair.reservable-nodes", "scheduler.reservable_nodes", default="0.05"),
    Property(
        Place.SITE,
        "yarn.scheduler.reservation-threshold.increment-multiple",
        "scheduler.reservation_threshold",
        "times the increments",
        default="{cpus: 2, memory: 2G}",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.increment-allocation-mb",
        "scheduler.reservation_threshold",
        f"as a factor of it only; {_ROUNDING}",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.increment-allocation-vcores",
        "scheduler.reservation_threshold",
        f"as a factor of it only; {_ROUNDING}",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.user-as-default-queue",
        "scheduler.placement",
        "where there is no queuePlacementPolicy; YARN ignores it otherwise",
        default="true",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.allow-undeclared-pools",
        "scheduler.undeclared_queues",
        "and as create of the rules where there is no queuePlacementPolicy; YARN ignores it otherwise",
        default="true",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.maximum-allocation-mb",
        "scheduler.root.max_container",
        "YARN's own default of 8192 is shown as a comment: nobody chose it",
    ),
    Property(
        Place.SITE,
        "yarn.scheduler.maximum-allocation-vcores",
        "scheduler.root.max_container",
        "YARN's own default of 4 is shown as a comment: nobody chose it",
    ),
    Property(
        Place.SITE,
        "yarn.resource-types.yarn.io/gpu.maximum-allocation",
        "scheduler.root.max_container",
    ),
    Property(
        Place.SITE,
        "yarn.am.liveness-monitor.expiry-interval-ms",
        "scheduler.master_timeout",
        "only if it is set",
    ),
    Property(Place.SITE, "yarn.acl.enable", "queues.*.submit_acl", "false, the default: ACLs become comments"),
    Property(Place.SITE, "yarn.resourcemanager.scheduler.class", "", "only the Fair Scheduler is imported"),
    Property(Place.SITE, "yarn.scheduler.minimum-allocation-mb", "", _ROUNDING),
    Property(Place.SITE, "yarn.scheduler.minimum-allocation-vcores", "", _ROUNDING),
    Property(Place.SITE, "yarn.scheduler.fair.allocation.file", "", "the file that was given counts"),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.sizebasedweight",
        "",
        "HRM does not weigh applications by their size: all of a queue have equal shares",
    ),
    Property(Place.SITE, "yarn.scheduler.fair.update-interval-ms", "", _PACER),
    Property(Place.SITE, "yarn.scheduler.fair.continuous-scheduling-sleep-ms", "", _PACER),
    Property(Place.SITE, "yarn.scheduler.fair.preemptionInterval", "", _PACER),
    Property(
        Place.SITE,
        "yarn.scheduler.fair.waitTimeBeforeNextStarvationCheck",
        "",
        "what is being freed for an application counts as its own, so it is not found starved twice",
    ),
    Property(Place.SITE, "yarn.scheduler.fair.eventlog.dir", "", "HRM's event log is in its database (`hrm events`)"),
    Property(Place.SITE, "yarn.scheduler.include-port-in-node-name", "", "nodes of HRM have names of their own"),
    Property(Place.SITE, "yarn.admin.acl", "", "who may do all is whoever holds the operator's token"),
    Property(Place.SITE, "yarn.resource-types", "", "HRM shares out memory, vcores and GPUs; GPUs are found by NVML"),
)

#: Of all other properties in yarn-site.xml, by how they begin.
ELSEWHERE = (
    ("yarn.scheduler.capacity.", "the Capacity Scheduler's"),
    ("yarn.resource-types.", "HRM shares out memory, vcores and GPUs; requests are not rounded"),
    ("yarn.nodemanager.resource.", "a node of HRM says itself what it lends (section `node`)"),
    ("yarn.nodemanager.health-checker.", "the script's place is `doctor.health_script`"),
    ("yarn.nodemanager.aux-services", "`yarn.auxiliary_services` has programs; classes in Java do not run here"),
    ("yarn.nodemanager.", "YARN's NodeManagers'"),
    ("yarn.resourcemanager.am.max-attempts", "each job has its own `max_attempts`"),
    ("yarn.resourcemanager.", "YARN's ResourceManager's; HRM's server is set up in section `server`"),
    ("yarn.log-aggregation", "HRM keeps output on its nodes (section `retention`)"),
    ("yarn.timeline-service.", "HRM's history is in its database (`hrm history`)"),
    ("", "says nothing about queues or scheduling"),
)


def properties_of(place: Place) -> dict[str, Property]:
    """By name."""
    return {found.name: found for found in PROPERTIES if found.place is place}
