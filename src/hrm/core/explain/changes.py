"""What would change it. Each is tried by a dry run before it is said that it would start now.

The dry run is careful: room that anybody else who waits could take counts as taken, whoever comes first. So what it
promises holds at the next visit of the node, and what it does not promise may still come true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hrm.core.applications import Ask, Shape
from hrm.core.explain.finding import SHORT_OF, Finding, Look, has_to
from hrm.core.explain.funnel import Funnel
from hrm.core.explain.room import most_at_once, only
from hrm.core.locality import Level
from hrm.core.nodes import WHOLE, Node
from hrm.core.queues import Queue
from hrm.core.reasons import Reason
from hrm.core.tree import check_move
from hrm.core.wording import say_amount, say_in
from hrm.model.errors import InvalidInput
from hrm.model.explanations import Change, Forecast
from hrm.model.phrases import Phrase, phrase, say
from hrm.model.requests import ANY
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import format_memory, format_milli

#: Nodes with room of which it is asked whether others would take it, and other queues that are named.
MAX_TRIED = 16
MAX_QUEUES = 3
#: Shapes times nodes that are compared to find out whether others would use up a limit first.
MAX_COMPARED = 20_000

#: Reasons that other queues do not share.
_OF_THE_QUEUE = frozenset(
    {
        Reason.QUEUE_MAX_SHARE,
        Reason.QUEUE_MAX_RUNNING_APPS,
        Reason.USER_MAX_RUNNING_APPS,
        Reason.QUEUE_AM_SHARE,
        Reason.BEHIND_OTHERS,
    }
)
_LESS = {
    GPUS: ("fewer_gpus", "--gpus"),
    MEMORY: ("less_memory", "--memory"),
    VCORES: ("fewer_vcores", "--cpus"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """An ask as it might have been made instead."""

    ask: Ask
    shape: Shape
    queue: Queue
    #: True iff it insists on no place.
    anywhere: bool = False


def changes_for(look: Look, funnel: Funnel, finding: Finding, forecast: Forecast) -> list[Change]:
    """What would start now first, then what somebody else or time has to bring."""
    now = [*_start_now(look, funnel, finding.reason)]
    later = list(finding.changes)
    if forecast.in_s is not None:
        later.append(has_to("time", phrase("change.wait", when=say_in(forecast.in_s))))
    return now + later


def other_queues(look: Look, ask: Ask) -> list[Change]:
    """Queues in which it would start now; also for an application that may not run where it is."""
    return list(_other_queues(look, ask))


def _start_now(look: Look, funnel: Funnel, reason: Reason) -> Iterator[Change]:
    ask = funnel.ask
    shape, queue = ask.shape, ask.app.queue
    resources, model = shape.resources, shape.gpu_model
    if reason is Reason.NOTHING_TO_PREEMPT or reason in SHORT_OF:
        for name in _LESS:
            yield from _less(look, ask, name, most_at_once(name, shape, funnel.open_kinds))
    insists = not ask.goes_beyond or ask.closed_racks()
    if insists and would_start(look, Variant(ask, shape, queue, anywhere=True)) is not None:
        yield _instead("other_place", phrase("now.elsewhere"))
    any_model = Variant(ask, Shape.make(resources, None, shape.needs), queue)
    if model is not None and would_start(look, any_model) is not None:
        yield _instead("any_model", phrase("now.any_model"), f"--gpus {_option(GPUS, shape.gpus)}")
    if reason is Reason.QUEUE_MAX_SHARE:
        yield from _below_max_share(look, ask)
    if reason in _OF_THE_QUEUE:
        yield from _other_queues(look, ask)


def _less(look: Look, ask: Ask, name: str, most: int) -> Iterator[Change]:
    """Less of one resource."""
    shape = ask.shape
    if not 0 < most < shape.resources.get(name):
        return
    smaller = shape.resources - only(name, shape.resources.get(name) - most)
    if would_start(look, Variant(ask, Shape.make(smaller, shape.gpu_model, shape.needs), ask.app.queue)) is not None:
        kind, option = _LESS[name]
        option = f"{option} {_option(name, most)}"
        yield replace(
            _instead(kind, phrase("now.less", amount=say_amount(name, most)), option), asked=smaller.as_dict()
        )


def _below_max_share(look: Look, ask: Ask) -> Iterator[Change]:
    """Less of the one resource that is over, as much as the queues' limits leave."""
    left = [one.max_share.frozen() - one.usage.frozen() for one in ask.app.queue.lineage if one.max_share is not None]
    over = {name for room in left for name in ask.shape.resources.exceeding(room)}
    if len(over) != 1:
        return
    name = over.pop()
    most = min(room.get(name) for room in left)
    if name == GPUS and most > WHOLE:
        most -= most % WHOLE
    if name in _LESS:
        yield from _less(look, ask, name, most)


def _other_queues(look: Look, ask: Ask) -> Iterator[Change]:
    app = ask.app
    found = 0
    for leaf in look.books.tree.open_leaves():
        if leaf is app.queue or found == MAX_QUEUES or not _would_take(leaf, ask):
            continue
        if would_start(look, Variant(ask, ask.shape, leaf)) is not None:
            found += 1
            move = f"hrm move {app.application_id.seq} --queue {leaf.path}"
            yield replace(_instead("other_queue", phrase("now.queue", queue=leaf.path), move), queue=leaf.path)


def _would_take(leaf: Queue, ask: Ask) -> bool:
    """True iff the application may be moved there, runs there, and its max shares leave room for the ask then."""
    app = ask.app
    # Who runs and leaves lets another one run, which nobody knows yet.
    lets_run = app.runnable and any(queue.waiting for queue in app.queue.lineage)
    if lets_run or not leaf.may_run(app.user):
        return False
    try:
        check_move(app, leaf)
    except InvalidInput:
        return False
    moved = app.usage.copy()
    moved.add(ask.shape)
    entered = [queue for queue in leaf.lineage if queue not in app.queue.lineage]
    return all(one.max_share is None or one.usage.stays_within(moved, one.max_share) for one in entered)


def _instead(kind: str, said: Phrase, option: str = "") -> Change:
    """``command`` is at first the option that makes the difference: whoever knows the job makes a line of it."""
    return Change(kind=kind, text=say(said), said=said, starts_now=True, command=option)


def _option(name: str, amount: int) -> str:
    return format_memory(amount) if name == MEMORY else format_milli(amount)


# ---- the dry run


def would_start(look: Look, variant: Variant) -> Node | None:
    """A node where the variant, asked for instead, is placed at the next visit; None iff that is not certain."""
    app, shape, queue = variant.ask.app, variant.shape, variant.queue
    if variant.ask.gang is not None or (queue is app.queue and not app.runnable):
        # One container of a gang starts nothing.
        return None
    if queue.over_max_with(shape) is not None or _over_am_share(variant):
        return None
    if _others_may_use_up(look, variant):
        return None
    tried = 0
    for node in look.books.nodes.values():
        if tried == MAX_TRIED:
            break
        if _takes(look, node, variant):
            tried += 1
            if not _others_may_take(look, node, variant):
                return node
    return None


def _takes(look: Look, node: Node, variant: Variant) -> bool:
    ask, shape = variant.ask, variant.shape
    if not (node.schedulable and node.fits(shape)) or node.reservation is not None or node.holds:
        return False
    if node.node_id in ask.app.blacklist:
        return False
    # Who asks anew begins to wait anew: for what it would rather have beside it, and for its places.
    if ask.constraint is not None and not ask.constraint.afresh().meets(node):
        return False
    if variant.anywhere:
        return True
    wishes = look.options.delays and not ask.plain and ask.places.keys() != {ANY}
    return ask.accepts(node) and (not wishes or ask.level_at(node) is Level.NODE)


def _over_am_share(variant: Variant) -> bool:
    queue = variant.queue
    limit = queue.max_am_usage()
    if not variant.ask.for_master or limit is None:
        return False
    used = queue.am_usage.frozen()
    if queue is not variant.ask.app.queue:
        used += variant.ask.app.am_usage.frozen()
    return not (used + variant.shape.resources).fits_in(limit)


def _waiting_shapes(look: Look, variant: Variant, within: Queue) -> Iterator[tuple[Queue, Shape]]:
    """What others wait for in the leaves below ``within``, and what the application waits for besides."""
    ask = variant.ask
    app = ask.app
    moves = variant.queue is not app.queue
    # Who takes what it holds along leaves room below the limits of where it was.
    limits_stand = not (moves and app.usage.frozen())
    for leaf in within.walk():
        if leaf.is_leaf:
            for shape, count in leaf.shapes.items():
                mine = leaf is app.queue and shape is ask.shape
                if count > mine and not (limits_stand and leaf.over_max_with(shape) is not None):
                    yield leaf, shape
    if moves:
        # All that it asks for moves with it.
        yield from ((variant.queue, one.shape) for one in app.asks if one is not ask)


def _others_may_take(look: Look, node: Node, variant: Variant) -> bool:
    reserving = look.options.reservable_nodes > 0
    return any(
        node.fits(shape) or (reserving and node.could_hold(shape))
        for _, shape in _waiting_shapes(look, variant, look.books.tree.root)
    )


def _others_may_use_up(look: Look, variant: Variant) -> bool:
    """True iff others that share a limit with it could be placed anywhere before."""
    limited = [one for one in variant.queue.lineage if one.max_share is not None]
    if variant.ask.for_master:
        limited.append(variant.queue)
    if not limited:
        return False
    nodes = look.books.nodes.values()
    compared = 0
    for _, shape in _waiting_shapes(look, variant, limited[-1]):
        compared += len(nodes)
        if compared > MAX_COMPARED or any(node.schedulable and node.fits(shape) for node in nodes):
            return True
    return False
