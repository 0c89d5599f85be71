"""Rules of ``hrm.yaml`` about the tree of queues: one small function each."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.config.documents import Document
from hrm.config.keys import KeyPath, nearest
from hrm.config.schema import ConfigShape, DefaultsShape, QueueShape
from hrm.model.errors import InvalidInput
from hrm.model.queues import DEFAULT_QUEUE, MAX_DEPTH, Order, Policy, QueueSpec, QueueType, above, canonical_path


def check_queues(document: Document, shape: ConfigShape) -> None:
    """Add a finding for each rule that the tree breaks."""
    for path, queue in walk_queues(shape):
        check_name(document, path)
        check_depth(document, path)
        check_min_below_max(document, path, queue)
        check_type(document, path, queue)
        check_fifo_has_no_queues(document, path, queue)
        check_fifo_has_one_order(document, path, queue)
    defaults = (shape.scheduler.queue_defaults if shape.scheduler else None) or DefaultsShape()
    check_default_policy(document, defaults)
    check_drf_not_below_fair(document, shape, defaults.policy or Policy.FAIR)
    check_root_policy(document, shape)
    check_default_queue(document, shape)


def walk_queues(shape: ConfigShape) -> Iterator[tuple[KeyPath, QueueShape]]:
    """Every declared queue with the path of its key, parents first."""
    pending: list[tuple[KeyPath, dict[str, QueueShape | None]]] = [(("queues",), shape.queues or {})]
    while pending:
        path, queues = pending.pop(0)
        for name, queue in queues.items():
            declared = queue or QueueShape()
            yield (*path, name), declared
            pending.append(((*path, name, "queues"), declared.queues or {}))


def queue_path(path: KeyPath) -> str:
    """``research.vision`` from the path of its key."""
    return ".".join(str(part) for part in path[1::2])


def key_of(path: str) -> KeyPath:
    """The path of the key of the queue ``research.vision``."""
    names = path.split(".")
    return tuple(part for name in names for part in ("queues", name))


def check_name(document: Document, path: KeyPath) -> None:
    name = str(path[-1])
    if "." in name:
        document.add(
            path, f"a queue's own name has no dot: {name!r}", next_step="nest it under `queues:` of its parent"
        )
        return
    if name == "root":
        document.add(path, "the root is always there and is not declared", next_step="set `scheduler.policy` for it")
        return
    try:
        QueueSpec(name=name)
    except InvalidInput as error:
        document.add(path, error.problem, next_step=error.next_step)


def check_depth(document: Document, path: KeyPath) -> None:
    if len(path) // 2 == MAX_DEPTH + 1:
        document.add(path, f"nested deeper than {MAX_DEPTH} queues", next_step="flatten the tree")


def check_min_below_max(document: Document, path: KeyPath, queue: QueueShape) -> None:
    if queue.min_share is None or queue.max_share is None:
        return
    if over := above(queue.min_share.least(), queue.max_share.most()):
        document.add((*path, "min_share"), f"above max_share in {', '.join(over)}", next_step="lower it")


def check_fifo_has_one_order(document: Document, path: KeyPath, queue: QueueShape) -> None:
    if queue.policy is Policy.FIFO and queue.order is Order.DEFICIT:
        document.add((*path, "order"), "fifo has an order of its own", next_step="leave `order` out")


def check_type(document: Document, path: KeyPath, queue: QueueShape) -> None:
    if queue.type is QueueType.LEAF and queue.queues:
        document.add((*path, "type"), "a leaf has no queues below it", next_step="leave `type` out, or make it parent")


def check_fifo_has_no_queues(document: Document, path: KeyPath, queue: QueueShape) -> None:
    if queue.policy is Policy.FIFO and is_parent(queue):
        document.add((*path, "policy"), "fifo orders applications; a queue with queues below is fair or drf")


def check_default_policy(document: Document, defaults: DefaultsShape) -> None:
    if defaults.policy is Policy.FIFO:
        document.add(
            ("scheduler", "queue_defaults", "policy"),
            "fifo orders applications; queues with queues below would have it too",
            next_step="set `policy: fifo` at each queue that is to have it",
        )


def check_drf_not_below_fair(document: Document, shape: ConfigShape, default: Policy) -> None:
    root = (shape.scheduler.policy if shape.scheduler else None) or Policy.DRF
    above: dict[KeyPath, Policy] = {("queues",): root}
    for path, queue in walk_queues(shape):
        policy = queue.policy or default
        above[(*path, "queues")] = policy
        if policy is not Policy.DRF or above[path[:-1]] is not Policy.FAIR:
            continue
        parent, step = queue_path(path[:-2]), "make that drf"
        if not parent:
            parent, step = "the root", "set scheduler.policy: drf"
        here = (*path, "policy") if queue.policy else ("scheduler", "queue_defaults", "policy")
        whose = "" if queue.policy else f"{queue_path(path)} gets it: "
        document.add(here, f"{whose}drf is not allowed below {parent}, which is fair", next_step=step)


def check_root_policy(document: Document, shape: ConfigShape) -> None:
    if shape.scheduler and shape.scheduler.policy is Policy.FIFO:
        document.add(("scheduler", "policy"), "fifo orders applications; the root is fair or drf")


def declared_leaves(shape: ConfigShape) -> dict[str, bool]:
    """Paths of all declared queues, each with whether it is a leaf."""
    leaves = {queue_path(path): not is_parent(queue) for path, queue in walk_queues(shape)}
    leaves.setdefault(DEFAULT_QUEUE, True)
    return leaves


def is_parent(queue: QueueShape) -> bool:
    return bool(queue.queues) or queue.type is QueueType.PARENT


def check_default_queue(document: Document, shape: ConfigShape) -> None:
    named = shape.scheduler.default_queue if shape.scheduler else None
    wanted = canonical_path(named) if named is not None else DEFAULT_QUEUE
    leaves = declared_leaves(shape)
    where: KeyPath = ("scheduler", "default_queue") if named is not None else ("queues", DEFAULT_QUEUE)
    if wanted not in leaves:
        near = nearest(wanted, leaves)
        document.add(where, f"no such queue: {wanted!r}", next_step=f"did you mean {near!r}?" if near else "declare it")
    elif not leaves[wanted]:
        document.add(
            where, f"{wanted} is for queues below it; jobs go into leaves", next_step="name a leaf as default_queue"
        )
