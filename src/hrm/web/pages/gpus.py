"""The map of GPUs: every node a row, every GPU a cell with its owner and how it does."""

from __future__ import annotations

from typing import Any

from hrm.web.desk import Desk
from hrm.web.owners import held_by_device, unused
from hrm.web.page import ROOT, Page, Visit

#: With more nodes a cell is but a coloured bar, whose title says the rest.
DENSE_FROM = 33


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    nodes = sorted((node for node in desk.nodes() if node.devices), key=lambda node: node.node_id)
    held = held_by_device(desk.containers(), await desk.users())
    return {
        "nodes": nodes,
        "held": held,
        "unused": unused((device for node in nodes for device in node.devices), held, desk.clock()),
        "dense": len(nodes) >= DENSE_FROM,
        "devices": sum(len(node.devices) for node in nodes),
        "taken": sum(bool(held.get(device.device_id)) for node in nodes for device in node.devices),
        "virtual": any(device.virtual for node in nodes for device in node.devices),
        "owners": sorted({(part.user, part.hue) for parts in held.values() for part in parts}),
    }


GPUS = Page(path=f"{ROOT}/gpus", template="gpus.html", gather=gather, section="gpus", period_s=3.0)
