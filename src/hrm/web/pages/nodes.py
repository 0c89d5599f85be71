"""All nodes: how they do, what is taken, who drained them."""

from __future__ import annotations

from typing import Any

from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    nodes = sorted(desk.nodes(), key=lambda node: node.node_id)
    return {"nodes": nodes, "now": desk.clock()}


NODES = Page(path=f"{ROOT}/nodes", template="nodes.html", gather=gather, section="nodes")
