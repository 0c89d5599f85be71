"""Which node labels requests of a queue may name, and the one of those that name none (YARN's SchedulerUtils)."""

from __future__ import annotations

from dataclasses import replace

from hrm.model.errors import InvalidNodeLabel
from hrm.model.jobs import JobSpec
from hrm.model.queues import may_use
from hrm.rm.nodes import Nodes
from hrm.rm.queues import Queues


def with_labels(job: JobSpec, queue: str, queues: Queues, nodes: Nodes) -> JobSpec:
    """The job with a label for each group and for what its master asks for: its own, else that of the queue.

    Raises InvalidNodeLabel. It is settled at the submission, like the queue.
    """
    default = queues.default_label(queue) or None
    master = job.master
    if master is not None:
        # What YARN's masters ask for has the application's label, their own container that or one of its own.
        own = None if job.yarn else job.groups[0].node_label
        label = _first(master.node_label, own, default)
        master = replace(master, node_label=label)
    groups = tuple(replace(group, node_label=_first(group.node_label, default)) for group in job.groups)
    job = replace(job, groups=groups, master=master)
    check_labels(job, queue, queues, nodes)
    return job


def check_labels(job: JobSpec, queue: str, queues: Queues, nodes: Nodes) -> None:
    """Raises InvalidNodeLabel for one that requests in the queue may not name."""
    for group in job.groups:
        check_label(group.node_label, queue, queues, nodes)
    if job.master is not None:
        check_label(job.master.node_label, queue, queues, nodes)


def check_label(label: str | None, queue: str, queues: Queues, nodes: Nodes) -> None:
    """Raises InvalidNodeLabel where there is none of that name, or the queue may not use it."""
    if not label:
        return
    if label not in nodes.labels:
        known = ", ".join(nodes.labels)
        raise InvalidNodeLabel(
            f"no node label {label!r:.80}",
            field="node_label",
            next_step=f"one of {known}" if known else "the cluster has none; leave it out",
        )
    if not may_use(allowed := queues.node_labels(queue), label):
        raise InvalidNodeLabel(
            f"queue {queue} may not use node label {label}",
            field="node_label",
            next_step=f"one of {', '.join(allowed)}" if allowed else "leave it out, or use another queue",
        )


def _first(*labels: str | None) -> str | None:
    return next((label for label in labels if label is not None), None)
