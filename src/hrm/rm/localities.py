"""Which nodes have a job's inputs on disks of their own: there its tasks would like to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hrm.model.files import local_offer_of, within
from hrm.model.states import NodeState
from hrm.rm.nodes import LiveNode

#: Nodes that a request names at most; each is an entry of its own in the scheduler.
MAX_NODES = 64


def places_of(nodes: Iterable[LiveNode], local_paths: Sequence[str], inputs: Sequence[str]) -> tuple[str, ...]:
    """Nodes that hold most of ``inputs``, then their racks; nothing if none holds any, or all hold the same.

    ``local_paths`` are those that nodes look for.
    """
    offers = [[local_offer_of(path) for path in local_paths if within(one, path)] for one in inputs]
    up = [node for node in nodes if node.state is NodeState.RUNNING]
    held = [sum(any(offer in node.spec.offers for offer in some) for some in offers) for node in up]
    most = max(held, default=0)
    liked = [node.spec for node, count in zip(up, held, strict=True) if count == most]
    if not most or len(liked) == len(up):
        return ()
    named = [spec.node_id for spec in liked[:MAX_NODES]]
    return (*named, *sorted({spec.rack for spec in liked}))
