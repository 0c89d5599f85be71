"""Rules of ``hrm.yaml`` that concern more than one key: one small function each.

They say what `QueueSpec` and friends would refuse, but for the whole file at once and with the line of the key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from hrm.config.documents import Document
from hrm.config.keys import KeyPath, nearest
from hrm.config.schema import ConfigShape, NodeShape, QueueShape
from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.queues import DEFAULT_QUEUE, MAX_DEPTH, Order, Policy, QueueSpec, above, canonical_path


def check_rules(document: Document, shape: ConfigShape) -> None:
    """Add a finding for each rule that ``shape`` breaks."""
    for path, queue in walk_queues(shape):
        check_name(document, path)
        check_depth(document, path)
        check_min_below_max(document, path, queue)
        check_fifo_has_no_queues(document, path, queue)
        check_fifo_has_one_order(document, path, queue)
        check_drf_not_below_fair(document, path, queue)
    check_root_policy(document, shape)
    check_default_queue(document, shape)
    check_node(document, shape)
    check_bind(document, shape)


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


def check_fifo_has_no_queues(document: Document, path: KeyPath, queue: QueueShape) -> None:
    if queue.policy is Policy.FIFO and queue.queues:
        document.add((*path, "policy"), "fifo orders applications; a queue with queues below is fair or drf")


def check_drf_not_below_fair(document: Document, path: KeyPath, queue: QueueShape) -> None:
    if (queue.policy or Policy.FAIR) is not Policy.FAIR:
        return
    for name, child in (queue.queues or {}).items():
        if child is not None and child.policy is Policy.DRF:
            here = (*path, "queues", name, "policy")
            document.add(here, f"drf is not allowed below {queue_path(path)}, which is fair", next_step="make that drf")


def check_root_policy(document: Document, shape: ConfigShape) -> None:
    policy = shape.scheduler.policy if shape.scheduler else None
    if policy is Policy.FIFO:
        document.add(("scheduler", "policy"), "fifo orders applications; the root is fair or drf")
    if policy is Policy.FAIR:
        for name, queue in (shape.queues or {}).items():
            if queue is not None and queue.policy is Policy.DRF:
                document.add(
                    ("queues", name, "policy"), "drf is not allowed below the root, which is fair",
                    next_step="set scheduler.policy: drf",
                )  # fmt: skip


def check_default_queue(document: Document, shape: ConfigShape) -> None:
    named = shape.scheduler.default_queue if shape.scheduler else None
    wanted = canonical_path(named) if named is not None else DEFAULT_QUEUE
    leaves = {queue_path(path): not queue.queues for path, queue in walk_queues(shape)}
    leaves.setdefault(DEFAULT_QUEUE, True)
    where: KeyPath = ("scheduler", "default_queue") if named is not None else ("queues", DEFAULT_QUEUE)
    if wanted not in leaves:
        near = nearest(wanted, leaves)
        document.add(where, f"no such queue: {wanted!r}", next_step=f"did you mean {near!r}?" if near else "declare it")
    elif not leaves[wanted]:
        document.add(
            where, f"{wanted} has queues below it; jobs go into leaves", next_step="name a leaf as default_queue"
        )


def check_node(document: Document, shape: ConfigShape) -> None:
    node = shape.node
    if node is None:
        return
    if node.node_id is not None:
        try:
            parse_node_id(node.node_id)
        except InvalidInput as error:
            document.add(("node", "node_id"), error.problem, next_step=error.next_step)
    for key in ("vcores", "memory", "log_limit", "disk_quota"):
        if getattr(node, key) == 0:
            document.add(("node", key), "must be above zero")
    check_gpus(document, node)


def check_gpus(document: Document, node: NodeShape) -> None:
    devices = node.gpu_devices or []
    for number, device in enumerate(devices):
        if device in devices[:number]:
            document.add(("node", "gpu_devices", number), f"{device} is given twice", next_step="keep one")
    if devices and node.virtual_gpus:
        document.add(
            ("node", "virtual_gpus"),
            "virtual GPUs stand in for the machine's own, of which gpu_devices lends some",
            next_step="keep one of the two keys",
        )


def check_bind(document: Document, shape: ConfigShape) -> None:
    """Clients reach another address than the loopback under some name: with none listed, all would be refused."""
    server = shape.server
    if server is None:
        return
    if server.host is not None and not server.allowed_hosts and not is_loopback(server.host):
        document.add(
            ("server", "host"),
            f"{server.host!r} is not a loopback address, and no host name is allowed",
            next_step="keep 127.0.0.1, or list this machine's names under server.allowed_hosts",
        )
    if server.max_body == 0:
        document.add(("server", "max_body"), "must be above zero")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
