"""Rules of ``hrm.yaml`` that concern more than one key: one small function each.

They say what `QueueSpec` and friends would refuse, but for the whole file at once and with the line of the key.
"""

from __future__ import annotations

import re

from hrm.config.addresses import is_loopback
from hrm.config.doctor_keys import check_doctor
from hrm.config.documents import Document
from hrm.config.extensions import placement_strategies
from hrm.config.file_keys import check_files
from hrm.config.inventory_keys import check_inventory
from hrm.config.keys import nearest
from hrm.config.placement_rules import check_placement
from hrm.config.queue_rules import check_queues
from hrm.config.schema import ConfigShape, NodeShape
from hrm.config.yarn_door import check_yarn
from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.isolation import IsolationMode

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
#: Below, a machine that swaps would be lost; above, a server that restarts would not wait for what it launched.
MIN_NODE_TIMEOUT_S, MAX_NODE_TIMEOUT_S = 4.0, 50.0


def check_rules(document: Document, shape: ConfigShape) -> None:
    """Add a finding for each rule that ``shape`` breaks."""
    check_queues(document, shape)
    check_placement(document, shape)
    check_placement_strategy(document, shape)
    check_node(document, shape)
    check_inventory(document, shape.nodes, shape.node_labels)
    check_engine(document, shape)
    check_bind(document, shape)
    check_yarn(document, shape.yarn)
    check_files(document, shape.files)
    check_doctor(document, shape.doctor)


def check_placement_strategy(document: Document, shape: ConfigShape) -> None:
    wanted = shape.scheduler.placement_strategy if shape.scheduler else None
    if wanted is not None and wanted not in (known := placement_strategies()):
        near = nearest(wanted, known)
        document.add(
            ("scheduler", "placement_strategy"),
            f"no such placement strategy: {wanted!r}",
            next_step=f"did you mean {near!r}?" if near else f"one of {', '.join(known)}",
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
    if node.pin_cpus and node.isolation is IsolationMode.NONE:
        document.add(
            ("node", "pin_cpus"),
            "isolation is none: containers run where they like",
            next_step="keep one of the two keys",
        )
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


def check_engine(document: Document, shape: ConfigShape) -> None:
    engine = shape.engine
    if engine is None:
        return
    if engine.address is not None:
        host, _, port = engine.address.rpartition(":")
        if not host or not port.isdigit():
            document.add(("engine", "address"), f"not HOST:PORT: {engine.address!r:.100}", next_step="as 10.0.0.1:6379")
        if engine.port is not None:
            document.add(
                ("engine", "port"),
                "is for a head that the server starts, and engine.address names one that is there",
                next_step="keep one of the two keys",
            )
    if engine.namespace is not None and not _NAMESPACE.fullmatch(engine.namespace):
        document.add(("engine", "namespace"), "must be letters, digits, - and _", next_step="for example hrm-two")
    if engine.node_timeout is not None and not MIN_NODE_TIMEOUT_S <= engine.node_timeout <= MAX_NODE_TIMEOUT_S:
        document.add(
            ("engine", "node_timeout"),
            f"must be from {MIN_NODE_TIMEOUT_S:g}s to {MAX_NODE_TIMEOUT_S:g}s",
            next_step="8s is usual; a restarted server waits for its nodes no longer than a minute",
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
