"""When containers end, as far as something says so: the scheduler's forecasts are made from it.

Progress that a task tells of itself counts most, then how long others of its group took, then its time limit. Who
has none of them may run for ever.
"""

from __future__ import annotations

from statistics import median

from hrm.core.explain.finding import ExpectedEnd
from hrm.model.explanations import EndBasis
from hrm.model.ids import ApplicationId, ContainerId
from hrm.rm.applications import LiveApplication
from hrm.rm.manager import ResourceManager
from hrm.rm.records import ContainerRow

#: Below this a task has done too little for its speed to tell when it is done.
LEAST_PROGRESS = 0.01


class Outlook:
    """As of one moment."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager
        self.now = manager.clock()
        #: How long tasks of a group usually take: asked for each of its containers.
        self._usual_s: dict[tuple[ApplicationId, int], float] = {}

    def expected_end(self, container_id: ContainerId) -> ExpectedEnd | None:
        """None iff nothing says."""
        live = self._manager.containers.get(str(container_id))
        app = self._manager.applications.get(container_id.attempt.application)
        if live is None or app is None or live.row.started_at is None:
            return None
        return self._of_task(app, live.row, live.row.started_at)

    def _of_task(self, app: LiveApplication, row: ContainerRow, started_at: float) -> ExpectedEnd | None:
        task = None if row.task_index is None else app.master.begun.get(row.task_index)
        if task is None:
            return None
        # What a master in a container of its own launches is in no group: it has no limit, and no like.
        own = app.job.master is not None
        timeout_s = None if own and task.index else app.job.groups[task.group].timeout_s
        limit = None if timeout_s is None else ExpectedEnd(started_at + timeout_s, EndBasis.TIME_LIMIT)
        likely = None
        if task.progress is not None and task.progress >= LEAST_PROGRESS:
            likely = ExpectedEnd(started_at + (self.now - started_at) / task.progress, EndBasis.PROGRESS)
        elif not own and (ran_s := app.run_times.get(task.group)):
            if (usual_s := self._usual_s.get((app.id, task.group))) is None:
                usual_s = self._usual_s[app.id, task.group] = median(ran_s)
            at = started_at + usual_s
            # One that has run for longer than is usual says nothing of when it will be done.
            likely = ExpectedEnd(at, EndBasis.EARLIER_TASKS) if at > self.now else None
        if likely is None or (limit is not None and limit.at < likely.at):
            return limit
        return likely
