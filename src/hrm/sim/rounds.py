"""What a ResourceManager does again and again: update shares, look who is starved, visit nodes on their heartbeats.

Here it is done only while it can change something, at the even moments at which it would be done anyway; what is left
out would have decided nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hrm.core.events import Event, Preempt, UpdateGangs, UpdateShares
from hrm.core.scheduler import Scheduler
from hrm.model.queues import Order
from hrm.rm.pacer import TICK_S, Pacer
from hrm.sim.clock import EventQueue
from hrm.sim.workload import Workload


class Rounds:
    """Puts itself into the queue of events; ``tell`` tells the scheduler, and obeys."""

    def __init__(
        self,
        workload: Workload,
        scheduler: Scheduler,
        pacer: Pacer,
        events: EventQueue,
        tell: Callable[[Event, float], None],
    ) -> None:
        self._workload = workload
        self._scheduler = scheduler
        self._pacer = pacer
        self._events = events
        self._tell = tell
        options, queues = workload.options, [spec for _, spec in workload.root.walk()]
        self._gangs = any(job.gang for job in workload.jobs)
        self._shares_matter = (
            self._gangs
            or workload.preempt_every_s is not None
            or options.reservable_nodes > 0
            or any(spec.order is Order.DEFICIT for spec in queues)
        )
        #: Only then something may happen at a heartbeat that did not at the visit before.
        self._beats_matter = options.delays or options.reservable_nodes > 0 or not options.assigns_all
        #: True iff an application came or went, or a node did.
        self.shares_stale = True
        self._tick_is_put = self._round_is_put = self._beat_is_put = self._gangs_are_put = False
        self._last_round = -math.inf
        #: Of these that wait in the queue of events: without anything else it is over after a time without change.
        self.waiting = 0
        #: After how many seconds without change nothing more can come of these alone.
        self.patience_s = self._longest_wait()

    def demand(self, now: float) -> None:
        """Before somebody asks for something."""
        self._pacer.demand()
        every_s = self._workload.preempt_every_s
        if every_s is not None and not self._round_is_put and not self._scheduler.has_demand():
            # Rounds without demand were left out. The last of them is made up for: from it on time limits count.
            last = math.floor(now / every_s) * every_s
            if last > self._last_round:
                self._last_round = last
                self._tell(Preempt(), last)

    def put(self, now: float, *, warned: int) -> None:
        """Have done at the next even moment what could change something then.

        ``warned``: so many containers are to end for others.
        """
        waits = self._scheduler.has_demand()
        if self.shares_stale and self._shares_matter and not self._tick_is_put:
            self._tick_is_put = True
            self._put_at_next(now, TICK_S, self._tick)
        every_s = self._workload.preempt_every_s
        if every_s is not None and not self._round_is_put and (waits or warned):
            self._round_is_put = True
            self._put_at_next(now, every_s, self._round)
        if self._gangs and not self._gangs_are_put and self._scheduler.has_gangs():
            self._gangs_are_put = True
            self._put_at_next(now, TICK_S, self._update_gangs)
        if waits and self._beats_matter and not self._beat_is_put:
            self._beat_is_put = True
            self._put_at_next(now, self._workload.heartbeat_s, self._beat)

    def _put_at_next(self, now: float, every_s: float, handler: Callable[[object, float], None]) -> None:
        self.waiting += 1
        self._events.put((math.floor(now / every_s) + 1) * every_s, handler)

    def update_shares(self, now: float) -> None:
        """Now: they are wanted."""
        self.shares_stale = False
        self._tell(UpdateShares(), now)

    def _tick(self, _: object, now: float) -> None:
        self.waiting -= 1
        self._tick_is_put = False
        if self.shares_stale:
            self.update_shares(now)

    def _round(self, _: object, now: float) -> None:
        self.waiting -= 1
        self._round_is_put = False
        self._last_round = now
        if self.shares_stale:
            self.update_shares(now)
        self._tell(Preempt(), now)

    def _update_gangs(self, _: object, now: float) -> None:
        self.waiting -= 1
        self._gangs_are_put = False
        if self.shares_stale:
            self.update_shares(now)
        self._tell(UpdateGangs(), now)

    def _beat(self, _: object, now: float) -> None:
        self.waiting -= 1
        self._beat_is_put = False
        # A full node may be reserved, but nothing can be placed there.
        node_ids = [node.node_id for node in self._workload.nodes]
        all_of_them = self._workload.options.reservable_nodes > 0
        with_room = set(node_ids) if all_of_them else set(self._scheduler.nodes_with_room())
        for node_id in node_ids:
            if node_id in with_room:
                self._pacer.heartbeat(node_id)

    def _longest_wait(self) -> float:
        options, workload = self._workload.options, self._workload
        timeouts = [
            wait_s
            for _, spec in workload.root.walk()
            for wait_s in (
                spec.fair_share_preemption_timeout_s,
                spec.min_share_preemption_timeout_s,
                spec.min_run_before_preemption_s,
            )
            if wait_s is not None and math.isfinite(wait_s)
        ]
        longest_s = 4 * workload.heartbeat_s if self._beats_matter else 0.0
        longest_s += max(timeouts, default=0.0) + options.wait_before_kill_s + 4 * (workload.preempt_every_s or 0.0)
        if self._gangs:
            # It gathers in vain, and rests: then the next may.
            longest_s += 2 * options.gang_gather_timeout_s
        if options.continuous_scheduling:
            longest_s += max(options.node_locality_delay_s, 0.0) + max(options.rack_locality_delay_s, 0.0)
        elif options.delays:
            longest_s += (2 * len(workload.nodes) + 4) * workload.heartbeat_s
        return longest_s + 2 * TICK_S
