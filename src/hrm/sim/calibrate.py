"""What Python on this machine can do at best: a bare loop over heaps, for a ratio that machines change little.

The loop makes the same kind of decision for the same jobs in the same tree of queues, with plain numbers: from the root
down to the job with the smallest dominant share by weight, one heap on each level; the node with most memory free, by
another; the container is checked against the node's three resources and taken off, the sums are kept up the path, and
the grant is written down. It knows no limits, minimum shares, places, devices, reasons, events, and no way back.
"""

from __future__ import annotations

import time
from heapq import heapify, heappop, heapreplace
from typing import Any

from hrm.model.queues import ROOT, QueueSpec, canonical_path
from hrm.model.resources import Resources
from hrm.sim.workload import Workload

#: (dominant share by weight, order, memory, vcores, gpus, weight, what is below): of a queue or of a job.
_Entry = tuple[Any, ...]


def bare_heap_rate(workload: Workload) -> float:
    """Grants a second of the loop."""
    grants: list[tuple[int, int]] = []
    root, nodes, total = _heap_of(workload), _nodes_of(workload), workload.total
    all_memory, all_vcores, all_gpus = _at_least_one(total)
    began = time.perf_counter()
    while root:
        path = []
        heap = root
        while True:
            entry = heap[0]
            path.append((heap, entry))
            if entry[7] is not None:
                break
            heap = entry[6]
        job = entry[7]
        memory, vcores, gpus = job[0], job[1], job[2]
        minus_free, node, free_vcores, free_gpus = nodes[0]
        if minus_free + memory > 0 or free_vcores < vcores or free_gpus < gpus:
            # Not even on the emptiest: as good as done.
            job[3] = 1
        else:
            heapreplace(nodes, (minus_free + memory, node, free_vcores - vcores, free_gpus - gpus))
            grants.append((entry[1], node))
        job[3] -= 1
        gone = not job[3]
        for heap, (_, order, used_memory, used_vcores, used_gpus, weight, below, what) in reversed(path):
            if gone:
                heappop(heap)
                gone = not heap
                continue
            used_memory += memory
            used_vcores += vcores
            used_gpus += gpus
            share = max(used_memory / all_memory, used_vcores / all_vcores, used_gpus / all_gpus) / weight
            heapreplace(heap, (share, order, used_memory, used_vcores, used_gpus, weight, below, what))
    return len(grants) / (time.perf_counter() - began)


def _heap_of(workload: Workload) -> list[_Entry]:
    """One heap for each queue, each with those of its children."""
    of_queue: dict[str, list[_Entry]] = {path: [] for path, _ in workload.root.walk()}
    for order, job in enumerate(workload.jobs):
        group = job.groups[0]
        asked = group.resources
        wanted = [asked.memory_mib, asked.vcores_milli, asked.gpus_milli, job.tasks]
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
