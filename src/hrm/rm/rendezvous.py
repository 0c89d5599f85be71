"""Where the members of gangs meet: a port that is free on the node of rank 0, asked of that node.

Between a gang's grant and its launch lies this question, so the two are two transactions. Who dies between them has
launched nothing: the containers are given up, and asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from hrm.am.gang import GangMaster
from hrm.am.master import Actions, Rendezvous
from hrm.engines.base import Engine
from hrm.model.errors import HrmError
from hrm.rm.applications import LiveApplication
from hrm.rm.nodes import Nodes
from hrm.rm.turn import Turn

log = structlog.get_logger(__name__)

#: How long a node may take to answer.
PATIENCE_S = 30.0
#: Before a gang whose node did not answer gives its containers back, and asks anew.
PAUSE_S = 1.0


class Meetings:
    """Asks nodes, and tells the masters in a turn.

    ``post`` has something done in a turn, ``called`` has what a master wants done.
    """

    def __init__(
        self,
        engine: Engine,
        nodes: Nodes,
        post: Callable[..., None],
        called: Callable[[Turn, LiveApplication, Actions], None],
    ) -> None:
        self._engine = engine
        self._nodes = nodes
        self._post = post
        self._called = called
        self._tasks: set[asyncio.Task[None]] = set()

    def arrange(self, app: LiveApplication, rendezvous: Rendezvous) -> None:
        """Find a port, and have the gang begin. After the grant is on disk, on the loop."""
        task = asyncio.get_running_loop().create_task(self._arrange(app, rendezvous))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Nobody begins any more."""
        for task in self._tasks:
            task.cancel()

    async def _arrange(self, app: LiveApplication, rendezvous: Rendezvous) -> None:
        port = None
        try:
            port = await asyncio.wait_for(self._engine.free_port(rendezvous.node_id), PATIENCE_S)
        except (HrmError, TimeoutError) as error:
            log.warning("no port for a gang", application=str(app.id), node=rendezvous.node_id, error=str(error))
            await asyncio.sleep(PAUSE_S)
        self._post(self._meet, app, rendezvous.number, port)

    def _meet(self, turn: Turn, app: LiveApplication, number: int, port: int | None) -> None:
        master = app.master
        if app.attempt.row.state.final or not isinstance(master, GangMaster):
            return
        hosts = {node.spec.node_id: node.spec.host or node.spec.node_id for node in self._nodes}
        self._called(turn, app, master.meet(number, hosts, port, turn.now))
