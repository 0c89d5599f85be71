"""One visit of a node: what can be placed there now is placed there.

In YARN's order (FairScheduler.attemptScheduling): containers that preemption freed room for on this node, then the
node's reservation, then assignment: from the root, the child that comes first in its queue's order, down to a leaf, to
the application, to its asks by priority; over and over while the rules on assigning several allow.

Within one visit room only shrinks and usage only grows, so what did not fit once is not looked at again: shapes,
applications and queues remember the number of the visit that passed them over.
"""

from __future__ import annotations

import math
from typing import Protocol

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask, Shape
from hrm.core.locality import Delay, Level
from hrm.core.nodes import Node
from hrm.core.options import Visit
from hrm.core.ordering import Key, is_below
from hrm.core.queues import Queue
from hrm.core.reasons import Reason
from hrm.model.requests import ANY
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions


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


class Everywhere(Protocol):
    """What stands in the place of a node where a visit may place on any (`hrm.core.candidates`)."""

    def fits(self, shape: Shape) -> bool: ...

    def could_hold(self, shape: Shape) -> bool: ...

    def why_not(self, shape: Shape) -> Reason: ...

    def find_in_app(self, app: App, visit: Visit) -> Ask | None: ...


def find_ask(queue: Queue, node: Node | Everywhere, visit: Visit) -> Ask | None:
    """The ask that comes first by policy among those in ``queue`` that can be placed on ``node``; None iff none.

    Where visits reserve, it may be one that does not fit: then the node is to be reserved for it.
    """
    if not queue.children:
        return _find_in_leaf(queue, node, visit)
    if queue.order_epoch != queue.cluster.epoch:
        queue.bring_up_to_date()
    number = visit.number
    for entry in queue.order:
        child = entry[-1]
        if child.missed_visit != number:
            ask = find_ask(child, node, visit)
            if ask is not None:
                return ask
            child.missed_visit = number
            # Mostly the first child takes something. Only where it does not is it worth asking who could.
            if not _may_place(queue, node, visit):
                return None
    return None


def _find_in_leaf(queue: Queue, node: Node | Everywhere, visit: Visit) -> Ask | None:
    """The same in a leaf: its application that comes first stands at the head of one of its lines."""
    if queue.order_epoch != queue.cluster.epoch:
        queue.bring_up_to_date()
    number = visit.number
    while True:
        first: Key | None = None
        for shape, line in queue.lines.items():
            if shape.missed_visit != number:
                for entry in line:
                    if entry[-1].missed_visit != number:
                        if first is None or entry < first:
                            first = entry
                        break
        if first is None:
            return None
        app = first[-1]
        ask = _find_in_app(app, node, visit)
        if ask is not None:
            return ask
        app.missed_visit = number
        if not _may_place(queue, node, visit):
            return None


def _may_place(queue: Queue, node: Node | Everywhere, visit: Visit) -> bool:
    """True iff a shape that waits in the queue fits on the node and under the queue's own max share."""
    limit = queue.max_share
    for shape in queue.shapes:
        if shape.missed_visit != visit.number:
            if limit is not None and not queue.usage.stays_within(shape, limit):
                queue.held[shape] = None
                continue
            if node.fits(shape) or (visit.reserving and node.could_hold(shape)):
                return True
            shape.missed_visit = visit.number
            shape.reason = node.why_not(shape)
    return False


def _find_in_app(app: App, node: Node | Everywhere, visit: Visit) -> Ask | None:
    if not isinstance(node, Node):
        return node.find_in_app(app, visit)
    blacklisted = bool(app.blacklist) and node.node_id in app.blacklist
    limited = bool(app.queue.limited)
    number = visit.number
    for ask in app.asks:
        shape = ask.shape
        if shape.missed_visit == number:
            continue
        if not node.fits(shape):
            if not visit.reserving or not node.could_hold(shape):
                shape.missed_visit = number
                shape.reason = node.why_not(shape)
            elif not blacklisted and not turned_down(ask, node, visit) and may_reserve(ask, node, visit):
                return ask
            else:
                ask.turn_down(node.why_not(shape), number)
        elif blacklisted:
            ask.turn_down(Reason.BLACKLISTED, number)
        elif not ask.plain and (reason := turned_down(ask, node, visit)) is not None:
            ask.turn_down(reason, number)
        elif limited and (full := app.queue.over_max_with(shape)) is not None:
            full.held[shape] = None
            ask.turn_down(Reason.QUEUE_MAX_SHARE, number)
        else:
            return ask
    return None


def turned_down(ask: Ask, node: Node, visit: Visit) -> Reason | None:
    """Why an ask that names places, is for a master or of a gang must not be placed here now."""
    if ask.plain:
        return None
    if ask.gang is not None:
        return visit.gangs.turned_down(ask.gang, node, visit)
    if not ask.accepts(node):
        return Reason.WRONG_PLACE
    if ask.constraint is not None:
        ask.constraint.look(visit)
        if not ask.constraint.meets(node):
            return Reason.PLACEMENT_CONSTRAINT
    if ask.for_master and is_over_am_share(ask):
        ask.app.queue.held[ask.shape] = None
        return Reason.QUEUE_AM_SHARE
    if visit.delays and ask.places.keys() != {ANY}:
        if ask.delay is None:
            ask.delay = Delay(visit.now)
        if ask.level_at(node) > ask.delay.look(visit):
            return Reason.WAITS_FOR_LOCALITY
    return None


def is_over_am_share(ask: Ask) -> bool:
    """True iff the queue's masters in containers would use more than they may (YARN's canRunAppAM)."""
    queue = ask.app.queue
    limit = queue.max_am_usage()
    return limit is not None and not (queue.am_usage.frozen() + ask.shape.resources).fits_in(limit)


def is_starved(app: App) -> bool:
    """True iff it has less than its fair share, or its queue less than its minimum (as far as there is demand)."""
    queue = app.queue
    total = queue.cluster.total
    minimum = queue.min_share.smallest(queue.demand)
    return is_below(queue.spec.policy, app.usage, app.fair_share, total) or not minimum.fits_in(queue.usage)


def may_reserve(ask: Ask, node: Node, visit: Visit) -> bool:
    """True iff the node is to be reserved for an ask that it has no room for now (YARN's isReservable and reserve)."""
    app, options = ask.app, visit.options
    if ask.gang is not None:
        # It gathers nodes, or none.
        return False
    if app.queue.over_max_with(ask.shape) is not None or any(hold.ask.app is app for hold in node.holds):
        return False
    if node.lends_to(ask.shape):
        # Who has its label may come any time.
        return False
    if not is_starved(app) or not _reaches(ask.shape, options.reservation_threshold, app.queue):
        return False
    level = Level.ANYWHERE if ask.places.keys() == {ANY} else ask.level_at(node)
    if level is Level.NODE:
        return True
    # A request for racks is held to its part of the rack.
    in_rack = level is Level.RACK
    reserved = sum(one.rack == node.rack for one in app.reserved) if in_rack else len(app.reserved)
    nodes = visit.nodes_of_rack[node.rack] if in_rack else visit.nodes
    return reserved < math.ceil(nodes * options.reservable_nodes)


def _reaches(shape: Shape, threshold: Resources, queue: Queue) -> bool:
    return not is_below(queue.spec.policy, shape, threshold, queue.cluster.total)


def still_wants(ask: Ask, node: Node) -> bool:
    """True iff a node that is reserved or kept for an ask is still of use to it, room or not (isValidReservation)."""
    return (
        ask.pending > 0
        and node.could_hold(ask.shape)
        and ask.accepts(node)
        and not ask.is_kept_off(node)
        and node.node_id not in ask.app.blacklist
        and ask.app.queue.over_max_with(ask.shape) is None
        and not (ask.for_master and is_over_am_share(ask))
    )
