"""A new life from the store: every application that was not over goes on where it was.

Containers that were not over are expected, not believed: their nodes will say what became of them (see
`hrm.rm.listener`). Nothing is placed on a node before it has spoken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import structlog

from hrm.am.task_set import Task
from hrm.model.ids import ContainerId
from hrm.model.job_codec import job_from_dict
from hrm.model.queues import DEFAULT_QUEUE
from hrm.rm.applications import LiveContainer
from hrm.rm.listener import Listener
from hrm.rm.manager import ResourceManager
from hrm.rm.records import ContainerRow, TaskRow
from hrm.rm.store import Loaded

log = structlog.get_logger(__name__)


def restore(manager: ResourceManager, listener: Listener, loaded: Loaded) -> None:
    """Make what ``loaded`` holds live again. Called once, before the manager opens and the engine starts."""
    for saved in loaded.applications:
        row = saved.row
        if not manager.scheduler.accepts(row.queue):
            log.warning("queue is gone, application moves", application=row.seq, queue=row.queue, to=DEFAULT_QUEUE)
            row = replace(row, queue=DEFAULT_QUEUE)
        app = manager.admit(
            row,
            job_from_dict(saved.job.spec),
            tasks=[_task(task) for task in saved.tasks],
            attempt=saved.attempts[-1] if saved.attempts else None,
        )
        for container in _expect(manager, listener, saved.containers):
            app.containers[container.id] = container
        manager.post(manager.accept, app)
    # Those without an owner are on nobody's books, but their end must still be heard.
    for _ in _expect(manager, listener, loaded.orphans):
        pass


def _expect(manager: ResourceManager, listener: Listener, rows: Iterable[ContainerRow]) -> Iterator[LiveContainer]:
    for row in rows:
        container = LiveContainer(ContainerId.parse(row.container_id), row)
        manager.containers[container.id] = container
        listener.recovering[container.id] = container
        yield container


def _task(row: TaskRow) -> Task:
    return Task(
        index=row.task_index,
        state=row.state,
        attempt=row.attempt,
        failures=row.failures,
        losses=row.losses,
        container_id=ContainerId.parse(row.container_id) if row.container_id else None,
        exit_code=row.exit_code,
        message=row.message,
    )
