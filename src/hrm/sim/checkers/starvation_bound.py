"""Nobody starves past its time limit by more than a round, unless it is known why nothing can end for it."""

from __future__ import annotations

from hrm.core.applications import Ask
from hrm.core.commands import Command
from hrm.core.events import Event, Preempt
from hrm.core.preemption import is_utilized
from hrm.core.starvation import times
from hrm.core.watch import Starving
from hrm.sim.checkers.base import Checker


class StarvationBound(Checker):
    """Looks right after each round at those whose time is over, and that lack enough for a request."""

    def told(self, event: Event, commands: list[Command], now: float) -> None:
        books, options = self.scheduler.books, self.workload.options
        if not isinstance(event, Preempt) or not is_utilized(books, options.preemption_utilization_threshold):
            return
        for leaf in books.tree.by_path.values():
            if leaf.is_leaf and leaf.watch is not None and leaf.watch.looked_at == now:
                for one in leaf.watch.starving:
                    self._check(one, now)

    def _check(self, one: Starving, now: float) -> None:
        app = one.app
        if app.holds or app.nothing_to_preempt:
            return
        wanted = [ask for ask in app.asks if not ask.gang and times(one.unmet, ask, app.queue.spec.policy) > 0]
        if all(app.queue.over_max_with(ask.shape) is not None or self._has_room(ask) for ask in wanted):
            return
        self.fail(
            f"{app.application_id} lacks {one.unmet.frozen()} of its {one.why} since {one.since:g} s, nothing is being "
            "freed for it, and it is not known that nothing can be",
            now,
        )

    def _has_room(self, ask: Ask) -> bool:
        nodes = self.scheduler.books.nodes.values()
        return any(node.schedulable and node.fits(ask.shape) and ask.accepts(node) for node in nodes)
