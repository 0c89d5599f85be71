"""One visit of a node: what can be placed there now is placed there.

In YARN's order (FairScheduler.attemptScheduling): containers that preemption freed room for on this node, then the
node's reservation, then assignment: from the root, the child that comes first in its queue's order, down to a leaf, to
the application, to its asks by priority; over and over while the rules on assigning several allow.

Within one visit room only shrinks and usage only grows, so what did not fit once is not looked at again: shapes,
applications and queues remember the number of the visit that passed them over.
"""

from __future__ import annotations

from dataclasses import dataclass

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask
from hrm.core.nodes import Node
from hrm.core.ordering import Key
from hrm.core.queues import Queue
from hrm.core.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions:
    """How visits are made."""

    #: More than one container may be placed in one visit.
    assign_multiple: bool = True
    #: Stop once more than half is assigned of what was free at the start of the visit: spreads work over nodes.
    dynamic_max_assign: bool = False
    #: Most containers placed in one visit; None iff unlimited. Only without ``dynamic_max_assign``.
    max_assign: int | None = None


class Assignment:
    """Counts what one visit assigned against the rules on assigning several."""

    __slots__ = ("_assigned", "_containers", "_free_at_start", "_options")

    def __init__(self, options: SchedulerOptions, node: Node) -> None:
        self._options = options
        self._containers = 0
        self._assigned = Amounts()
        self._free_at_start = node.free.copy()

    def goes_on_after(self, amounts: Amounts) -> bool:
        """True iff another container may be placed after this one."""
        options = self._options
        if not options.assign_multiple:
            return False
        if options.dynamic_max_assign:
            # Checked after assigning: 8 free and asks of 1 make 5, not 4.
            self._assigned.add(amounts)
            return all(
                2 * assigned <= self._free_at_start.frozen().get(name) for name, assigned in self._assigned.items()
            )
        self._containers += 1
        return options.max_assign is None or self._containers < options.max_assign


def find_ask(queue: Queue, node: Node, visit: int) -> Ask | None:
    """The ask that comes first by policy among those in ``queue`` that can be placed on ``node``; None iff none."""
    if not queue.children:
        return _find_in_leaf(queue, node, visit)
    queue.bring_up_to_date()
    for entry in queue.order:
        child = entry[-1]
        if child.missed_visit != visit:
            ask = find_ask(child, node, visit)
            if ask is not None:
                return ask
            child.missed_visit = visit
            # Mostly the first child takes something. Only where it does not is it worth asking who could.
            if not _may_place(queue, node, visit):
                return None
    return None


def _find_in_leaf(queue: Queue, node: Node, visit: int) -> Ask | None:
    """The same in a leaf: its application that comes first stands at the head of one of its lines."""
    queue.bring_up_to_date()
    while True:
        first: Key | None = None
        for shape, line in queue.lines.items():
            if shape.missed_visit != visit:
                for entry in line:
                    if entry[-1].missed_visit != visit:
                        if first is None or entry < first:
                            first = entry
                        break
        if first is None:
            return None
        app = first[-1]
        ask = _find_in_app(app, node, visit)
        if ask is not None:
            return ask
        app.missed_visit = visit
        if not _may_place(queue, node, visit):
            return None


def _may_place(queue: Queue, node: Node, visit: int) -> bool:
    """True iff a shape that waits in the queue fits on the node and under the queue's own max share."""
    limit = queue.max_share
    for shape in queue.shapes:
        if shape.missed_visit != visit and (limit is None or queue.usage.stays_within(shape, limit)):
            if node.fits(shape):
                return True
            shape.missed_visit = visit
            shape.reason = node.why_not(shape)
    return False


def _find_in_app(app: App, node: Node, visit: int) -> Ask | None:
    blacklisted = bool(app.blacklist) and node.node_id in app.blacklist
    limited = bool(app.queue.limited)
    for ask in app.asks:
        shape = ask.shape
        if shape.missed_visit == visit:
            continue
        if not node.fits(shape):
            shape.missed_visit = visit
            shape.reason = node.why_not(shape)
        elif blacklisted:
            ask.turn_down(Reason.BLACKLISTED, visit)
        elif not ask.plain and (reason := _turned_down(ask, node)) is not None:
            ask.turn_down(reason, visit)
        elif limited and app.queue.over_max_with(shape) is not None:
            ask.turn_down(Reason.QUEUE_MAX_SHARE, visit)
        else:
            return ask
    return None


def _turned_down(ask: Ask, node: Node) -> Reason | None:
    """Why an ask that names places, or is for a master, must not be placed here now."""
    if not ask.accepts(node):
        return Reason.WRONG_PLACE
    if ask.for_master and is_over_am_share(ask):
        return Reason.QUEUE_AM_SHARE
    return None


def is_over_am_share(ask: Ask) -> bool:
    """True iff the queue's masters in containers would use more than they may (YARN's canRunAppAM)."""
    queue = ask.app.queue
    limit = queue.max_am_usage()
    return limit is not None and not (queue.am_usage.frozen() + ask.shape.resources).fits_in(limit)
