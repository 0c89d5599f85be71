"""What Prometheus collects, in its text format. docs/metrics.md names each.

Names are Prometheus': base units (bytes, seconds, ratios), ``_total`` for what only grows. Amounts of resources have
one name and a label ``resource``: ``cpus``, ``memory_bytes``, ``gpus``, and others as they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from hrm.model.devices import DeviceState
from hrm.model.findings import Severity
from hrm.model.reports import Amounts, MeasuresReport, NodeReport, QueueReport, ServerReport
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.states import NodeState

CONTENT_TYPE = CONTENT_TYPE_LATEST
_MIB = 1 << 20
#: Names here, and how much one of the model's integers is of theirs.
_RESOURCES: dict[str, tuple[str, float]] = {
    VCORES: ("cpus", 0.001),
    MEMORY: ("memory_bytes", _MIB),
    GPUS: ("gpus", 0.001),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the metrics are made of: reports of one moment."""

    server: ServerReport
    queues: list[QueueReport]
    nodes: list[NodeReport]
    measures: MeasuresReport


def exposition(seen: Seen) -> bytes:
    """All metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(seen))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        yield from _of_server(self._seen.server)
        yield from _of_queues(self._seen.queues)
        yield from _of_nodes(self._seen.nodes)
        yield from _of_devices(self._seen.nodes)
        yield from _of_measures(self._seen.measures)


def _of_server(server: ServerReport) -> Iterator[Metric]:
    info = GaugeMetricFamily("hrm_server_info", "1; which server it is.", labels=["version", "engine"])
    info.add_metric([server.version, server.engine], 1)
    yield info
    yield GaugeMetricFamily("hrm_server_start_time_seconds", "When it started (epoch).", value=server.started_at)
    trouble = GaugeMetricFamily("hrm_server_trouble", "1 while it is so: an alarm.", labels=["kind"])
    for kind, text in (("store", server.store_trouble), ("strategy", server.strategy_trouble)):
        trouble.add_metric([kind], float(bool(text)))
    trouble.add_metric(["drained"], float(bool(server.drained_by)))
    yield trouble
    applications = GaugeMetricFamily("hrm_applications", "Applications that are not over.", labels=["state"])
    applications.add_metric(["running"], server.applications_running)
    applications.add_metric(["pending"], server.applications_pending)
    yield applications
    yield GaugeMetricFamily("hrm_containers", "Containers that are not over.", value=server.containers)


def _of_queues(queues: list[QueueReport]) -> Iterator[Metric]:
    shares: dict[str, tuple[str, Callable[[QueueReport], Amounts]]] = {
        "hrm_queue_used": ("In use by the queue and those below it.", lambda queue: queue.used),
        "hrm_queue_demand": ("In use and asked for, within its limits.", lambda queue: queue.demand),
        "hrm_queue_fair_share": ("Its share among queues with demand.", lambda queue: queue.fair_share),
        "hrm_queue_min_share": ("Its minimum share.", lambda queue: queue.min_share),
        "hrm_queue_opportunistic_used": (
            "What its opportunistic containers hold, beyond that.",
            lambda queue: queue.opportunistic_used,
        ),
        "hrm_queue_max_share": ("Its maximum share; absent where unlimited.", lambda queue: queue.max_share or {}),
    }
    for name, (text, amounts_of) in shares.items():
        family = GaugeMetricFamily(name, text, labels=["queue", "resource"])
        for queue in queues:
            _add_amounts(family, [queue.name], amounts_of(queue))
        yield family
    for name, text, running, pending in (
        ("hrm_queue_applications", "Applications of the queue.", "applications_running", "applications_pending"),
        ("hrm_queue_containers", "Containers of the queue.", "containers_running", "containers_pending"),
    ):
        family = GaugeMetricFamily(name, text, labels=["queue", "state"])
        for queue in queues:
            family.add_metric([queue.name, "running"], getattr(queue, running))
            family.add_metric([queue.name, "pending"], getattr(queue, pending))
        yield family


def _of_nodes(nodes: list[NodeReport]) -> Iterator[Metric]:
    state = GaugeMetricFamily("hrm_node_state", "1 for the state that the node is in.", labels=["node", "state"])
    total = GaugeMetricFamily("hrm_node_capacity", "What the node lends.", labels=["node", "resource"])
    used = GaugeMetricFamily("hrm_node_used", "What containers hold there.", labels=["node", "resource"])
    lent = GaugeMetricFamily(
        "hrm_node_opportunistic_used", "Of that: opportunistic containers.", labels=["node", "resource"]
    )
    containers = GaugeMetricFamily("hrm_node_containers", "Containers on the node.", labels=["node"])
    heartbeat = GaugeMetricFamily("hrm_node_last_heartbeat_seconds", "When it was heard of (epoch).", labels=["node"])
    for node in nodes:
        for each in NodeState:
            state.add_metric([node.node_id, each.lower()], float(node.state is each))
        _add_amounts(total, [node.node_id], node.total)
        _add_amounts(used, [node.node_id], node.used)
        _add_amounts(lent, [node.node_id], node.opportunistic_used)
        containers.add_metric([node.node_id], node.containers)
        if node.last_heartbeat_at is not None:
            heartbeat.add_metric([node.node_id], node.last_heartbeat_at)
    yield from (state, total, used, lent, containers, heartbeat, _findings(nodes))


def _findings(nodes: list[NodeReport]) -> Metric:
    family = GaugeMetricFamily(
        "hrm_node_findings", "What the doctor's last round found on the node.", labels=["node", "severity"]
    )
    for node in nodes:
        if node.examined_at is not None:
            for severity in Severity:
                count = sum(finding.severity is severity for finding in node.findings)
                family.add_metric([node.node_id, severity], count)
    return family


def _of_devices(nodes: list[NodeReport]) -> Iterator[Metric]:
    labels = ["node", "device", "model"]
    free = GaugeMetricFamily("hrm_gpu_free", "Part of the GPU that is free, 0 to 1.", labels=labels)
    state = GaugeMetricFamily("hrm_gpu_healthy", "0 for one that is sick or lost.", labels=labels)
    use = GaugeMetricFamily("hrm_gpu_utilisation_ratio", "How busy it is, 0 to 1.", labels=labels)
    memory = GaugeMetricFamily("hrm_gpu_memory_used_bytes", "Its memory in use, by anybody.", labels=labels)
    foreign = GaugeMetricFamily(
        "hrm_gpu_memory_foreign_bytes", "Of that, by processes that are not HRM's.", labels=labels
    )
    heat = GaugeMetricFamily("hrm_gpu_temperature_celsius", "How warm it is.", labels=labels)
    for node in nodes:
        for device in node.devices:
            names = [node.node_id, device.device_id, device.model]
            free.add_metric(names, device.free_milli / 1000)
            state.add_metric(names, float(device.state not in (DeviceState.SICK, DeviceState.LOST)))
            _add_known(use, names, device.utilisation_percent, 0.01)
            _add_known(memory, names, device.memory_used_mib, _MIB)
            _add_known(foreign, names, device.foreign_memory_mib, _MIB)
            _add_known(heat, names, device.temperature_c, 1)
    yield from (free, state, use, memory, foreign, heat)


def _of_measures(measures: MeasuresReport) -> Iterator[Metric]:
    texts = {
        "scheduler_turn": "How long one step of the ResourceManager held its loop.",
        "store_commit": "From a decision to the disk.",
    }
    for took in measures.durations:
        family = HistogramMetricFamily(f"hrm_{took.name}_seconds", texts[took.name])
        bounds = [f"{bound:g}" for bound in took.bounds_s] + ["+Inf"]
        family.add_metric([], list(zip(bounds, accumulate(took.counts), strict=True)), took.sum_s)
        yield family
    events = CounterMetricFamily("hrm_events", "What the event log tells, by kind.", labels=["kind"])
    for kind, count in sorted(measures.events.items()):
        events.add_metric([kind], count)
    yield events


def _add_amounts(family: GaugeMetricFamily, labels: list[str], amounts: Amounts) -> None:
    for name, value in amounts.items():
        called, factor = _RESOURCES.get(name, (name, 1))
        family.add_metric([*labels, called], value * factor)


def _add_known(family: GaugeMetricFamily, labels: Iterable[str], value: int | None, factor: float) -> None:
    if value is not None:
        family.add_metric(list(labels), value * factor)
