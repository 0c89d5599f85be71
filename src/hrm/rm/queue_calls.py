"""What the doors ask about queues, and about applications' places in them: look, reload, move, put before others."""

from __future__ import annotations

from dataclasses import replace

from hrm.core.events import AppMoved, OptionsChanged, PriorityChanged, QueuesChanged, UpdateShares
from hrm.model.errors import Conflict, InvalidInput
from hrm.model.ids import ApplicationId
from hrm.model.jobs import GangSpec, JobSpec
from hrm.model.node_needs import NodeNeeds
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import ROOT, QueueSpec
from hrm.model.reports import PlacementReport, QueueAccessReport, QueueReport, ReloadReport
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.rm import reporting
from hrm.rm.labels import check_labels
from hrm.rm.manager import ResourceManager
from hrm.rm.placement import Placed
from hrm.rm.turn import Turn

#: Either way; as far as Java's Integer, in which YARN's clients say it.
MAX_PRIORITY = (1 << 31) - 1


class QueueCalls:
    """Part of the facade's inside. One instance, on the manager's loop."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager
        self._queues = manager.queues

    # --- where jobs go

    async def check(self, job: JobSpec, *, user: str, admin: bool) -> Placed:
        """Where the job goes. Raises Forbidden, and InvalidInput for what could never run there."""
        placed = await self._queues.place(job.queue, user)
        if not admin:
            await self._queues.check_submit(placed.queue, user)
        self._check_size(job, placed.queue)
        return placed

    async def place(self, job: JobSpec, *, user: str, admin: bool) -> PlacementReport:
        placed = await self.check(job, user=user, admin=admin)
        return PlacementReport(queue=placed.queue, rule=placed.rule, makes=self._queues.missing(placed.queue))

    def _check_size(self, job: JobSpec, queue: str) -> None:
        """Raises InvalidInput for a request that is too large for the queue, or for any node."""
        scheduler, nodes = self._manager.scheduler, self._manager.nodes
        limit = self._queues.max_container(queue)
        for group in job.groups:
            request = ResourceRequest(resources=group.resources, count=1, gpu_model=group.gpu_model)
            if limit is not None and not group.resources.fits_in(limit):
                raise InvalidInput(
                    f"a task of {group.resources} is larger than any in {queue} may be ({reporting.limit(limit)})",
                    field="resources",
                    next_step="ask for less per task, or use another queue",
                )
            if not len(nodes) or scheduler.fits_some_node(request) or nodes.may_fit_when_back(group.resources):
                continue
            largest = max(
                (node.spec for node in nodes),
                key=lambda spec: (spec.total.memory_mib, spec.total.vcores_milli, spec.total.gpus_milli),
            )
            wanted = f"{group.resources}" + (f" of GPU model {group.gpu_model}" if group.gpu_model else "")
            raise InvalidInput(
                f"a task of {wanted} fits on no node; the largest is {largest.node_id} with {largest.size}",
                field="resources",
                next_step="ask for less per task (`hrm nodes` shows what there is)",
            )
        if job.gang is not None:
            self._check_gang(job, job.gang, queue)

    def _check_gang(self, job: JobSpec, gang: GangSpec, queue: str) -> None:
        """Raises InvalidInput where all of it at once is more than the queue or the nodes ever have."""
        manager = self._manager
        total = Resources()
        for group in job.groups:
            total += group.resources * group.tasks
        for view in manager.scheduler.queue_views():
            above = view.path == ROOT or f"{queue}.".startswith(f"{view.path}.")
            if above and view.max_share is not None and not total.fits_in(view.max_share):
                raise InvalidInput(
                    f"{job.task_count} tasks at once need {total}; queue {view.path} may have"
                    f" {reporting.limit(view.max_share)} at most",
                    field="gang",
                    next_step="ask for fewer tasks, or for less per task",
                )
        nodes = manager.nodes
        if not len(nodes) or any(nodes.may_fit_when_back(group.resources) for group in job.groups):
            return
        default = self._queues.default_label(queue)
        requests = [
            ResourceRequest(
                resources=group.resources,
                count=group.tasks,
                gpu_model=group.gpu_model,
                needs=NodeNeeds(label=(default if group.node_label is None else group.node_label) or None),
            )
            for group in job.groups
        ]
        most = manager.scheduler.most_at_once(requests, gang.tasks_per_node)
        if most < job.task_count:
            at_most = "" if gang.tasks_per_node is None else f" with at most {gang.tasks_per_node} on a node"
            raise InvalidInput(
                f"{job.task_count} tasks at once{at_most} do not fit: all nodes together ({len(nodes)}) hold {most} of"
                " them if nothing else runs there",
                field="gang",
                next_step="ask for fewer tasks, or for less per task (`hrm nodes` shows what there is)",
            )

    # --- moving

    async def move(self, application_id: ApplicationId, queue: str, *, by: str, admin: bool) -> None:
        """Raises Conflict (it is over), Forbidden, and InvalidInput where a limit of the target forbids it."""
        target = self._queues.target(queue)
        if not admin:
            await self._queues.check_submit(target, by)
        await self._manager.turns.ask(self._move, application_id, target, by)

    def _move(self, turn: Turn, application_id: ApplicationId, queue: str, by: str) -> None:
        manager = self._manager
        app = manager.applications.get(application_id)
        if app is None or app.row.state.final:
            raise _over(application_id)
        before = app.row.queue
        if queue == before:
            return
        self._check_size(app.job, queue)
        check_labels(app.job, queue, self._queues, manager.nodes)
        for event in self._queues.opened(queue):
            manager.tell(turn, event)
        manager.tell(turn, AppMoved(application_id, queue))
        app.change(queue=queue)
        app.master.moved(queue)
        turn.touch(app)
        manager.record(turn, "application_moved", application_seq=app.row.seq, queue=queue, from_queue=before, user=by)
        manager.pacer.demand()

    async def set_priority(self, application_id: ApplicationId, priority: int, *, by: str) -> None:
        """Raises Conflict (it is over) and InvalidInput (out of range)."""
        if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
            raise InvalidInput(f"out of range: {priority}", field="priority")
        await self._manager.turns.ask(self._set_priority, application_id, priority, by)

    def _set_priority(self, turn: Turn, application_id: ApplicationId, priority: int, by: str) -> None:
        app = self._manager.applications.get(application_id)
        if app is None or app.row.state.final:
            raise _over(application_id)
        before = app.row.priority
        if priority == before:
            return
        self._manager.tell(turn, PriorityChanged(application_id, priority))
        app.change(priority=priority)
        turn.touch(app)
        self._manager.record(
            turn, "application_priority_changed", application_seq=app.row.seq, priority=priority, before=before, user=by
        )
        self._manager.pacer.demand()

    # --- the tree

    def queues(self) -> list[QueueReport]:
        self._manager.scheduler.handle(UpdateShares(), self._manager.clock())
        return reporting.queues(self._manager.scheduler)

    async def access(self, *, user: str, admin: bool) -> list[QueueAccessReport]:
        reports = []
        for path in [view.path for view in self._manager.scheduler.queue_views()]:
            submitters, administrators = self._queues.access(path)
            reports.append(
                QueueAccessReport(
                    name=path,
                    may_submit=admin or await self._queues.may_submit(path, user),
                    administers=admin or await self._queues.administers(path, user),
                    submitters=str(submitters),
                    administrators=str(administrators),
                )
            )
        return reports

    async def reload(
        self, root: QueueSpec, *, options: SchedulerOptions | None, placement: PlacementPolicy | None
    ) -> ReloadReport:
        """Take a new tree, and what else is named, in one turn; raises InvalidInput, with nothing changed."""
        views = self._manager.scheduler.queue_views()
        before = {view.path: view.spec for view in views if not (view.draining or view.spec.undeclared)}
        after = dict(root.walk())
        await self._manager.turns.ask(self._reload, root, options, placement)
        return ReloadReport(
            added=sorted(after.keys() - before.keys()),
            removed=sorted(before.keys() - after.keys() - {ROOT}),
            changed=sorted(path for path in after.keys() & before.keys() if _own(after[path]) != _own(before[path])),
        )

    def _reload(
        self, turn: Turn, root: QueueSpec, options: SchedulerOptions | None, placement: PlacementPolicy | None
    ) -> None:
        manager = self._manager
        policy = placement or self._queues.policy
        manager.tell(turn, QueuesChanged(self._queues.with_undeclared(root, policy)))
        self._queues.policy = policy
        if options is not None:
            manager.strategy_trouble = ""
            manager.tell(turn, OptionsChanged(options))
        manager.record(turn, "queues_reloaded", queues=sum(1 for _ in root.walk()))
        manager.pacer.demand()


def _own(spec: QueueSpec) -> QueueSpec:
    """What is declared for the queue itself, its children left out."""
    return replace(spec, children=())


def _over(application_id: ApplicationId) -> Conflict:
    return Conflict(f"{application_id} is over", next_step="`hrm ps` lists those that are not")
