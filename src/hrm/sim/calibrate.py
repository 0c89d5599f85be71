"""What Python on this machine can do at best: a bare loop over heaps, for a ratio that machines change little.

The loop does what any such scheduler must, for the same jobs in the same tree of queues, with plain numbers: from the
root down it pops the queue, and there the job, with the smallest dominant share by weight; it pops the node with most
memory free, checks and takes the three resources of a container, notes it with its job and with its node, so that it
could be given back, and pushes all that back with new keys. It knows no limits, minimum shares, places, devices,
reasons and events, and is told nothing while it runs.
"""

from __future__ import annotations

import time
from heapq import heapify, heappop, heappush
from typing import Any

from hrm.model.queues import ROOT, QueueSpec, canonical_path
from hrm.model.resources import Resources
from hrm.sim.workload import Workload

#: (dominant share by weight, order, memory, vcores, gpus, weight, what is below): of a queue or of a job.
_Entry = tuple[Any, ...]


class Grant:
    """A container of the loop."""

    __slots__ = ("ask", "job", "node", "number")

    def __init__(self, number: int, job: list[Any], node: int, ask: tuple[int, int, int]) -> None:
        self.number = number
        self.job = job
        self.node = node
        self.ask = ask


def bare_heap_rate(workload: Workload) -> float:
    """Grants of the loop in a second of CPU time: machines are shared, and the ratio is to bear it."""
    root, nodes, total = _heap_of(workload), _nodes_of(workload), workload.total
    of_node: list[dict[int, Grant]] = [{} for _ in workload.nodes]
    whole = _at_least_one(total)
    granted = 0
    began = time.process_time()
    while root:
        path = []
        heap: list[_Entry] = root
        job = None
        while job is None:
            entry = heappop(heap)
            path.append((heap, entry))
            heap, job = entry[6], entry[7]
        ask = job[0]
        free = heappop(nodes)
        if -free[0] < ask[0] or free[2] < ask[1] or free[3] < ask[2]:
            # Not even on the emptiest: as good as done.
            job[1] = 1
        else:
            granted += 1
            grant = Grant(granted, job, free[1], ask)
            job[2][granted] = of_node[free[1]][granted] = grant
            free = (free[0] + ask[0], free[1], free[2] - ask[1], free[3] - ask[2])
        heappush(nodes, free)
        job[1] -= 1
        over = not job[1]
        for heap, (_, order, memory, vcores, gpus, weight, below, what) in reversed(path):
            if not over:
                used = (memory + ask[0], vcores + ask[1], gpus + ask[2])
                share = max(used[0] / whole[0], used[1] / whole[1], used[2] / whole[2]) / weight
                heappush(heap, (share, order, *used, weight, below, what))
            over = not heap
    return granted / (time.process_time() - began)


def _heap_of(workload: Workload) -> list[_Entry]:
    """One heap for each queue, each with those of its children."""
    of_queue: dict[str, list[_Entry]] = {path: [] for path, _ in workload.root.walk()}
    for order, job in enumerate(workload.jobs):
        group = job.groups[0]
        asked = group.resources
        # What each container needs, how many are still wanted, and those that were granted.
        wanted = [(asked.memory_mib, asked.vcores_milli, asked.gpus_milli), job.tasks, {}]
        of_queue[canonical_path(job.queue)].append((0.0, order, 0, 0, 0, 1.0, None, wanted))
    _link(workload.root, ROOT, of_queue)
    return of_queue[ROOT]


def _link(spec: QueueSpec, path: str, of_queue: dict[str, list[_Entry]]) -> None:
    for order, child in enumerate(spec.children):
        below = child.name if path == ROOT else f"{path}.{child.name}"
        _link(child, below, of_queue)
        if of_queue[below]:
            of_queue[path].append((0.0, order, 0, 0, 0, child.weight or 1e-9, of_queue[below], None))
    heapify(of_queue[path])


def _nodes_of(workload: Workload) -> list[tuple[int, int, int, int]]:
    nodes = [
        (-node.total.memory_mib, number, node.total.vcores_milli, node.total.gpus_milli)
        for number, node in enumerate(workload.nodes)
    ]
    heapify(nodes)
    return nodes


def _at_least_one(total: Resources) -> tuple[int, int, int]:
    return max(total.memory_mib, 1), max(total.vcores_milli, 1), max(total.gpus_milli, 1)
