"""Where a request fits, it does not wait: no room is left idle that somebody may use."""

from __future__ import annotations

from hrm.core.gangs import Gang, Layout, fill
from hrm.sim.checkers.base import Checker


class NoIdleRoom(Checker):
    """Looks at every request and node when all visits are made.

    Only where nothing but room and shares decides: without reservations, delays, limits on visits and kept space.
    """

    def look(self, now: float) -> None:
        options, books = self.workload.options, self.scheduler.books
        if options.delays or options.reservable_nodes or not options.assigns_all or books.holds:
            return
        free = [node for node in books.nodes.values() if node.schedulable and node.reservation is None]
        for app in books.apps.values():
            if not app.runnable:
                continue
            for ask in app.asks:
                if ask.gang is not None:
                    self._look_at_gang(ask.gang, now)
                    continue
                if app.queue.over_max_with(ask.shape) is not None:
                    continue
                for node in free:
                    if node.fits(ask.shape) and ask.accepts(node) and node.node_id not in app.blacklist:
                        self.fail(
                            f"{app.application_id} waits for {ask.shape.resources}, and {node.node_id} has room", now
                        )

    def _look_at_gang(self, gang: Gang, now: float) -> None:
        if gang.app.queue.over_max_with(gang.amounts()) is not None:
            return
        layout = Layout(gang.tasks_per_node)
        fill(layout, gang.wanted, lambda shape: gang.nodes_with_room(self.scheduler.books.index, shape))
        layout.undo()
        if len(layout.members) == gang.size:
            self.fail(f"a gang of {gang.app.application_id} waits for {gang.size} containers, and all of it fits", now)
