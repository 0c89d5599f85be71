"""Snapshots for people, made from what is live and from rows of the store. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hrm.am.group_order import never_began
from hrm.core.scheduler import Scheduler
from hrm.model.containers import ContainerUsage
from hrm.model.devices import DeviceState, DeviceUsage
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.jobs import TaskGroupSpec
from hrm.model.masters import FinalStatus
from hrm.model.nodes import DEFAULT_RACK
from hrm.model.phrases import Phrase, phrase, say
from hrm.model.queues import QueueSpec, default_label_of, labels_of
from hrm.model.reports import (
    ApplicationReport,
    AttemptReport,
    ContainerReport,
    DeviceReport,
    NodeReport,
    QueueReport,
    TaskAttemptReport,
    TaskReport,
)
from hrm.model.resources import ZERO, Resources
from hrm.model.states import ApplicationState, ContainerState, NodeState, TaskState
from hrm.model.units import LARGEST
from hrm.rm.applications import LiveApplication, LiveContainer
from hrm.rm.explaining import say_held_back, say_suspended
from hrm.rm.nodes import LiveNode
from hrm.rm.records import ApplicationRow, AttemptRow, ContainerRow, TaskRow


def live_application(app: LiveApplication, scheduler: Scheduler) -> ApplicationReport:
    """An application that is not over."""
    counts = app.master.counts
    view = scheduler.application_view(app.id)
    waiting = view is not None and (view.pending > 0 or view.opportunistic_pending > 0)
    reason = view.reason if view is not None and waiting else None
    if app.row.suspended_at is not None:
        reason = None
    said = reason.said if reason else say_suspended(app) or say_held_back(app)
    if said is None and not app.told.message:
        said = _to_end(app)
    lent = view.opportunistic_used if view is not None else ZERO
    report = _application(
        app.with_counts(),
        app.id,
        tasks_pending=counts.pending,
        tasks_running=counts.running,
        progress=app.master.progress,
        used=(view.used + lent if view is not None else ZERO).as_dict(),
        reason="suspended" if app.row.suspended_at is not None else str(reason) if reason else "",
        message=app.told.message if said is None else say(said),
        said=said,
        nodes=sorted({container.row.node_id for container in app.containers.values()}),
    )
    if view is None:
        return report
    return replace(
        report,
        opportunistic_used=lent.as_dict(),
        opportunistic_containers=view.opportunistic_containers,
        reserved=view.reserved.as_dict(),
        containers_reserved=view.containers_reserved,
    )


def _to_end(app: LiveApplication) -> Phrase | None:
    """``2 of its containers are to end: preempted for …``; None where none is."""
    warned = [one.row.preemption for one in app.containers.values() if one.row.preemption and one.row.preemption.stands]
    if not warned:
        return None
    return phrase("preempted.some", count=len(warned), why=warned[0].said or warned[0].reason)


def ended_application(row: ApplicationRow, application_id: ApplicationId) -> ApplicationReport:
    """One that is over, from its row."""
    return _application(
        row,
        application_id,
        tasks_pending=0,
        tasks_running=0,
        progress=1.0 if row.state is ApplicationState.FINISHED else _part_over(row),
        used=ZERO.as_dict(),
        reason=row.state.value.lower(),
        message=row.message,
        nodes=[],
    )


def _part_over(row: ApplicationRow) -> float:
    return (row.tasks_succeeded + row.tasks_failed) / max(1, row.tasks_total)


def _application(
    row: ApplicationRow,
    application_id: ApplicationId,
    *,
    tasks_pending: int,
    tasks_running: int,
    progress: float,
    used: dict[str, int],
    reason: str,
    message: str,
    nodes: list[str],
    said: Phrase | None = None,
) -> ApplicationReport:
    return ApplicationReport(
        application_id=str(application_id),
        name=row.name,
        user=row.user,
        queue=row.queue,
        state=row.state,
        priority=row.priority,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        tasks_total=row.tasks_total,
        tasks_pending=tasks_pending,
        tasks_running=tasks_running,
        tasks_succeeded=row.tasks_succeeded,
        tasks_failed=row.tasks_failed,
        tasks_killed=row.tasks_killed,
        progress=progress,
        used=used,
        reason=reason,
        message=message,
        said=said,
        exit_code=row.exit_code,
        nodes=nodes,
        suspended_at=None if row.state.final else row.suspended_at,
        deadline_at=row.deadline_at,
    )


def attempt(row: AttemptRow, application_id: ApplicationId, place: ContainerRow | None) -> AttemptReport:
    """``place`` is the container of a master of its own, once there is one."""
    return AttemptReport(
        attempt_id=str(AttemptId(application_id, row.number)),
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
        final_status=row.final_status or FinalStatus.UNDEFINED,
        message=row.diagnostics or (place.message if place is not None else ""),
        container_id=place.container_id if place is not None else None,
        node_id=place.node_id if place is not None else None,
        host=row.host,
        rpc_port=row.rpc_port,
        tracking_url=row.tracking_url,
    )


def live_task(app: LiveApplication, index: int) -> TaskReport:
    task = app.master.task(index)
    container = app.containers.get(task.container_id) if task.container_id else None
    preemption = container.row.preemption if container else None
    to_end = f"is to end: {preemption.reason}" if preemption and preemption.stands else ""
    return TaskReport(
        task_index=index,
        group=app.job.groups[task.group].name,
        state=task.state,
        attempt=task.attempt,
        container_id=task.container_id,
        node_id=container.row.node_id if container else None,
        progress=1.0 if task.state is TaskState.SUCCEEDED else task.progress,
        exit_code=task.exit_code,
        message=task.message or to_end,
    )


def ended_task(row: TaskRow | None, index: int, group: TaskGroupSpec) -> TaskReport:
    """Of an application that is over; a task without a row never began."""
    return TaskReport(
        task_index=index,
        group=group.name,
        state=row.state if row is not None and row.state.final else TaskState.KILLED,
        attempt=row.attempt if row is not None else 0,
        container_id=row.container_id if row is not None else None,
        node_id=None,
        progress=None,
        exit_code=row.exit_code if row is not None else None,
        message=row.message if row is not None else never_began(group),
    )


def task_attempt(
    row: ContainerRow,
    usage: ContainerUsage | None,
    *,
    suspended: bool,
    application_id: ApplicationId,
    name: str,
    user: str,
    queue: str,
) -> TaskAttemptReport:
    """``usage`` is what was seen last of one that runs."""
    return TaskAttemptReport(
        application_id=str(application_id),
        name=name,
        user=user,
        queue=queue,
        task_index=row.task_index if row.task_index is not None else -1,
        attempt=row.task_attempt or 0,
        container_id=row.container_id,
        node_id=row.node_id,
        resources=row.resources.as_dict(),
        device_ids=list(row.device_ids),
        allocated_at=row.allocated_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        state=row.task_state or (TaskState.LOST if row.state is ContainerState.LOST else TaskState.RUNNING),
        message=row.message,
        cpu_s=row.cpu_s,
        max_rss_mib=row.max_rss_mib,
        read_bytes=usage.read_bytes if usage else row.read_bytes,
        written_bytes=usage.written_bytes if usage else row.written_bytes,
        suspended=suspended,
        suspended_s=row.suspended_s,
        execution_type=row.execution_type,
    )


def container(live: LiveContainer) -> ContainerReport:
    row, usage = live.row, live.usage
    preemption = row.preemption if row.preemption and row.preemption.stands else None
    return ContainerReport(
        container_id=row.container_id,
        application_id=str(live.id.attempt.application),
        task_index=row.task_index,
        node_id=row.node_id,
        state=row.state,
        resources=row.resources.as_dict(),
        device_ids=list(row.device_ids),
        pid=row.pid,
        allocated_at=row.allocated_at,
        started_at=row.started_at,
        memory_used_mib=usage.memory_mib if usage else None,
        cpu_used_milli=usage.cpu_milli if usage else None,
        read_bytes=usage.read_bytes if usage else None,
        written_bytes=usage.written_bytes if usage else None,
        disk_mib=usage.disk_mib if usage else None,
        ends_for=preemption.beneficiary if preemption else None,
        kill_at=preemption.kill_at if preemption else None,
        launches=row.launches or 1,
        execution_type=row.execution_type,
    )


def queues(scheduler: Scheduler) -> list[QueueReport]:
    """Parents before children."""
    views = scheduler.queue_views()
    lineages: dict[str, list[QueueSpec]] = {}
    for view in views:
        above = lineages[view.parent] if view.parent is not None else []
        lineages[view.path] = [view.spec, *above]
    return [
        QueueReport(
            name=view.path,
            parent=view.parent,
            policy=view.spec.policy,
            weight=view.spec.weight,
            used=view.used.as_dict(),
            demand=view.demand.as_dict(),
            fair_share=view.fair_share.as_dict(),
            steady_fair_share=view.steady_fair_share.as_dict(),
            min_share=view.min_share.as_dict(),
            max_share=None if view.max_share is None else view.max_share.as_dict(),
            max_running_apps=view.spec.max_running_apps,
            applications_running=view.applications_running,
            applications_pending=view.applications_pending,
            containers_running=view.containers_running,
            containers_pending=view.containers_pending,
            pending=view.pending.as_dict(),
            reserved=view.reserved.as_dict(),
            containers_reserved=view.containers_reserved,
            opportunistic_used=view.opportunistic_used.as_dict(),
            opportunistic_running=view.opportunistic_running,
            opportunistic_pending=view.opportunistic_pending,
            type="parent" if view.spec.is_parent else "leaf",
            order=view.spec.order,
            draining=view.draining,
            undeclared=view.spec.undeclared,
            preemptable=view.spec.preemptable,
            max_running_apps_per_user=view.spec.max_running_apps_per_user,
            max_am_share=view.spec.max_am_share,
            max_container=None if view.spec.max_container is None else view.spec.max_container.as_dict(),
            accessible_node_labels=list(labels_of(lineages[view.path])),
            default_node_label=default_label_of(lineages[view.path]),
        )
        for view in views
    ]


def limit(most: Resources) -> str:
    """A maximum in words: ``4 vcores, 8G``; what is not limited is left out."""
    return str(Resources.of({name: amount for name, amount in most.items() if amount < LARGEST}))


def node(live: LiveNode, scheduler: Scheduler) -> NodeReport:
    view, usage = scheduler.node_view(live.spec.node_id), live.usage
    free = view.device_free_milli if view is not None else {}
    return NodeReport(
        node_id=live.spec.node_id,
        state=live.shown_state,
        rack=live.spec.rack,
        total=live.spec.total.as_dict(),
        used=(live.spec.total - view.free if view is not None else ZERO).as_dict(),
        devices=_devices(live, free),
        isolation=str(live.isolation),
        guards=list(live.isolation.guards),
        containers=view.containers if view is not None else 0,
        last_heartbeat_at=live.last_heartbeat_at,
        memory_used_mib=usage.memory_used_mib if usage else None,
        cpu_used_milli=usage.cpu_milli if usage else None,
        disk_free_mib=usage.disk_free_mib if usage else None,
        message=live.message,
        drained_at=live.drain.at if live.drain else None,
        drained_by=live.drain.by if live.drain else "",
        drain_reason=live.drain.reason if live.drain else "",
        offers=list(live.spec.offers),
        attributes=dict(live.spec.attributes),
        set_attributes=sorted(live.notes.attributes),
        label=live.spec.label,
        exclusive=live.spec.exclusive,
        opportunistic_containers=view.opportunistic_containers if view is not None else 0,
        opportunistic_used=(view.opportunistic_used if view is not None else ZERO).as_dict(),
        findings=list(live.findings),
        examined_at=live.examined_at,
    )


def refused_node(name: str, reason: str) -> NodeReport:
    """A machine that is there and cannot be a node: shown, so that nobody looks for it in vain."""
    return NodeReport(
        node_id=name,
        state=NodeState.UNHEALTHY,
        rack=DEFAULT_RACK,
        total=ZERO.as_dict(),
        used=ZERO.as_dict(),
        devices=[],
        isolation="",
        containers=0,
        last_heartbeat_at=None,
        memory_used_mib=None,
        cpu_used_milli=None,
        disk_free_mib=None,
        message=reason,
    )


def _devices(live: LiveNode, free_milli: Mapping[str, int]) -> list[DeviceReport]:
    """What it lends, or would if it were well, as it was last seen; then what it does not lend; each group by index."""
    seen = {usage.device.device_id: usage for usage in (live.usage.devices if live.usage else ())}
    usages = [seen.pop(device.device_id, DeviceUsage(device=device)) for device in live.whole.devices]
    usages += seen.values()
    usages = [_unless_out(usage, live.out) for usage in usages]
    return [_device(usage, free_milli.get(usage.device.device_id, 0)) for usage in usages]


def _unless_out(usage: DeviceUsage, out: Mapping[str, str]) -> DeviceUsage:
    """What the node lends and the doctor took out is sick."""
    why = out.get(usage.device.device_id)
    if why is None or usage.state is not DeviceState.LENT:
        return usage
    return replace(usage, state=DeviceState.SICK, message=why)


def _device(usage: DeviceUsage, free_milli: int) -> DeviceReport:
    device = usage.device
    foreign = [process.memory_mib for process in usage.processes if process.container_id is None]
    return DeviceReport(
        device_id=device.device_id,
        index=device.index,
        model=device.model,
        virtual=device.virtual,
        free_milli=free_milli,
        state=usage.state,
        message=usage.message,
        memory_mib=device.memory_mib,
        architecture=device.architecture,
        compute_capability=device.compute_capability,
        pci_bus_id=device.pci_bus_id,
        links=dict(device.links),
        utilisation_percent=usage.utilisation_percent,
        temperature_c=usage.temperature_c,
        memory_used_mib=usage.memory_used_mib,
        foreign_memory_mib=None if usage.memory_used_mib is None else sum(memory or 0 for memory in foreign),
        processes=list(usage.processes),
    )
