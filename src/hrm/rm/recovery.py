"""A new life from the store: every application that was not over goes on where it was.

Containers that were not over are expected, not believed: their nodes will say what became of them (see
`hrm.rm.listener`). Nothing is placed on a node before it has spoken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import structlog
from msgspec.structs import replace

from hrm.am.master import Task
from hrm.model.ids import ContainerId
from hrm.model.job_codec import job_from_dict
from hrm.model.states import ContainerState
from hrm.rm.applications import LiveApplication, LiveContainer
from hrm.rm.listener import Listener
from hrm.rm.manager import ResourceManager
from hrm.rm.records import ContainerRow, TaskRow
from hrm.rm.store import Loaded
from hrm.rm.turn import Turn

log = structlog.get_logger(__name__)


def restore(manager: ResourceManager, listener: Listener, loaded: Loaded) -> None:
    """Make what ``loaded`` holds live again. Called once, before the manager opens and the engine starts.

    Applications whose queue is gone from the configuration go on in it, while it drains; where the new tree has no
    place for it, in the queue that stands there.
    """
    manager.nodes.restore(loaded.nodes, loaded.node_labels)
    for saved in loaded.applications:
        row = saved.row
        if moved := (home := manager.queues.home_after_restart(row.queue)) != row.queue:
            log.warning("queue has no place, application moves", application=row.seq, queue=row.queue, to=home)
            row = replace(row, queue=home)
        app = manager.admit(
            row,
            job_from_dict(saved.job.spec),
            tasks=[_task(task) for task in saved.tasks],
            attempt=saved.attempts[-1] if saved.attempts else None,
        )
        for container in _expect(manager, listener, saved.containers):
            known = container.row
            app.containers[known.container_id] = container
            if app.job.yarn is not None:
                app.shares_on.add(known.node_id)
            killed_for_others = known.preemption is not None and known.preemption.killed
            stopping = known.message if known.state is ContainerState.STOPPING and not killed_for_others else None
            # What it was suspended counts for no time limit.
            counts_from = None if known.started_at is None else known.started_at + (known.suspended_s or 0.0)
            app.master.recovered(
                known.container_id, started_at=counts_from, stopping=stopping, preemption=known.preemption
            )
        if moved:
            manager.post(_moved, manager, app, saved.row.queue)
        manager.post(manager.accept, app, True)
    # Those without an owner are on nobody's books, but their end must still be heard.
    for _ in _expect(manager, listener, loaded.orphans):
        pass


def _moved(turn: Turn, manager: ResourceManager, app: LiveApplication, queue: str) -> None:
    turn.touch(app)
    manager.record(turn, "application_moved", application_seq=app.row.seq, queue=app.row.queue, from_queue=queue)


def _expect(manager: ResourceManager, listener: Listener, rows: Iterable[ContainerRow]) -> Iterator[LiveContainer]:
    for row in rows:
        container = LiveContainer(ContainerId.parse(row.container_id), row)
        manager.containers.expect(container)
        listener.recovering[row.container_id] = container
        yield container


def _task(row: TaskRow) -> Task:
    return Task(
        index=row.task_index,
        state=row.state,
        attempt=row.attempt,
        failures=row.failures,
        losses=row.losses,
        container_id=row.container_id,
        exit_code=row.exit_code,
        message=row.message,
    )
