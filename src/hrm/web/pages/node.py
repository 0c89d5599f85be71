"""One node: how it does, what is enforced there, its GPUs, and every container on it."""

from __future__ import annotations

from typing import Any

from hrm.model.errors import NotFound
from hrm.web.desk import Desk
from hrm.web.owners import held_by_device, unused
from hrm.web.page import ROOT, Page, Visit


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    name = visit.params["node_id"]
    node = next((node for node in desk.nodes() if node.node_id == name), None)
    if node is None:
        raise NotFound(f"no node {name!r}", next_step=f"{ROOT}/nodes lists them")
    users = await desk.users()
    now = desk.clock()
    containers = [one for one in desk.containers() if one.node_id == name]
    held = held_by_device(containers, users)
    return {
        "node": node,
        "containers": sorted(containers, key=lambda one: one.container_id),
        "users": users,
        "held": held,
        "unused": unused(node.devices, held, now),
        "now": now,
    }


NODE = Page(path=f"{ROOT}/nodes/{{node_id}}", template="node.html", gather=gather, section="nodes")
