"""Why an application waits: one dominant reason, its numbers, the evidence, and what would change it.

A dry run over the nodes that changes nothing. Each ask goes through the conditions in the order in which they could
be lifted: what never fits, where it insists to be, limits of queues, room now, and at last who comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any

from hrm.core.applications import App, Ask, Hold, Shape
from hrm.core.books import Books
from hrm.core.locality import Level
from hrm.core.nodes import WHOLE, Node, pick_devices, size
from hrm.core.queues import Queue
from hrm.core.reasons import Reason
from hrm.core.visit import is_over_am_share
from hrm.core.wording import LABELS, MAX_NAMES, say_amount, say_count, say_have, say_names, say_nodes_are, say_shape
from hrm.model.errors import InvariantBroken
from hrm.model.reports import Explanation
from hrm.model.requests import ANY
from hrm.model.resources import GPUS, MEMORY, VCORES, Resources
from hrm.model.units import format_milli

#: Different asks of one application that are looked at; the rest is like them or comes later anyway.
MAX_ASKS = 8
Evidence = dict[str, Any]

#: What each reason for want of room is about.
_SHORT_OF = {
    Reason.INSUFFICIENT_MEMORY: MEMORY,
    Reason.INSUFFICIENT_VCORES: VCORES,
    Reason.INSUFFICIENT_GPUS: GPUS,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Why one ask waits."""

    reason: Reason
    message: str
    evidence: list[Evidence] = field(default_factory=list)
    remedies: list[str] = field(default_factory=list)


def kept_reason(books: Books, app: App) -> Reason:
    """The worst of the codes that the last visits left at the application's asks. Looks at no node but one."""
    if not app.runnable:
        return Reason.USER_MAX_RUNNING_APPS if app.queue.full_of_apps() is None else Reason.QUEUE_MAX_RUNNING_APPS
    if not app.asks:
        return Reason.NOTHING_PENDING
    if not books.nodes:
        return Reason.NO_NODES
    return max(_kept(books, ask) for ask in app.asks[:MAX_ASKS])


def _kept(books: Books, ask: Ask) -> Reason:
    if ask.app.queue.over_max_with(ask.shape) is not None:
        return Reason.QUEUE_MAX_SHARE
    kept = ask.reason
    if kept is Reason.NOT_YET_SCHEDULED:
        # A full node is passed over before any ask is looked at.
        node = next(iter(books.nodes.values()))
        if not node.fits(ask.shape):
            return node.why_not(ask.shape)
    return kept


def explain(books: Books, app: App) -> Explanation:
    """The explanation of the ask that is worst off; equal ones in the order of the asks."""
    if not app.runnable:
        finding = _not_runnable(app)
    elif not app.asks:
        held = len(app.containers)
        words = f"nothing waits: it holds {say_count(held, 'container')}" if held else "it asks for no container now"
        finding = Finding(Reason.NOTHING_PENDING, words)
    else:
        alike: dict[tuple[Shape, tuple[str, ...]], Ask] = {}
        for ask in app.asks:
            alike.setdefault((ask.shape, ask.strict_places()), ask)
        finding = max((_find(books, ask) for ask in islice(alike.values(), MAX_ASKS)), key=lambda one: one.reason)
    used = {"kind": "application", "containers": len(app.containers), "pending": app.pending()}
    return Explanation(
        application_id=str(app.application_id),
        reason=str(finding.reason),
        message=finding.message,
        evidence=[*finding.evidence, {**used, "used": app.usage.frozen().as_dict(), "queue": app.queue.path}],
        remedies=finding.remedies,
    )


# ---- the funnel, for one ask


def _find(books: Books, ask: Ask) -> Finding:
    shape = ask.shape
    if not books.nodes:
        return Finding(
            Reason.NO_NODES, f"waits for {say_shape(shape)}; there are no nodes", remedies=["a node has to join"]
        )
    verdicts = {node: _verdict(node, ask) for node in books.nodes.values()}
    evidence = _count_nodes(verdicts)
    by_reason: dict[Reason | None, list[Node]] = {}
    for node, reason in verdicts.items():
        by_reason.setdefault(reason, []).append(node)
    open_nodes = [node for reason, nodes in by_reason.items() if reason in _ROOM for node in nodes]
    finding = _never(books, ask, by_reason) or _at_max_share(ask) or _at_am_share(ask)
    if finding is None and not open_nodes:
        finding = _closed(ask, by_reason)
    if finding is None:
        fitting = by_reason.get(None, [])
        if ask_holds := [hold for hold in ask.app.holds if hold.ask is ask]:
            finding = _waits_for_preemption(ask, ask_holds)
        elif fitting:
            finding = _has_room(ask, fitting)
        elif waits := by_reason.get(Reason.WAITS_FOR_LOCALITY):
            finding = _waits_for_locality(ask, waits)
        elif reserved := by_reason.get(Reason.RESERVED_FOR_OTHERS):
            finding = _reserved(ask, reserved)
        elif kept := by_reason.get(Reason.KEPT_FOR_OTHERS):
            finding = _kept_for_others(ask, kept)
        else:
            finding = _no_room(ask, by_reason)
            if ask.app.nothing_to_preempt:
                finding = _nothing_to_preempt(ask, finding)
    warnings = _warnings(books, ask)
    return Finding(finding.reason, finding.message, [*finding.evidence, *evidence, *warnings], finding.remedies)


def _warnings(books: Books, ask: Ask) -> list[Evidence]:
    """What was asked for and does not count: YARN warns of it alike."""
    if ANY not in ask.places:
        return []
    strict = [name for name, place in ask.places.items() if name in books.nodes and not place.relax]
    words = "relax locality off is not supported on a request for a node: switch it off for its rack and for '*'"
    return [{"kind": "warning", "message": words, "places": strict}] if strict else []


#: Verdicts of nodes that could take the ask if there were room.
_ROOM = (
    None,
    Reason.WAITS_FOR_LOCALITY,
    Reason.RESERVED_FOR_OTHERS,
    Reason.INSUFFICIENT_MEMORY,
    Reason.INSUFFICIENT_VCORES,
    Reason.INSUFFICIENT_GPUS,
    Reason.INSUFFICIENT_OTHER,
    Reason.GPU_FRAGMENTED,
    Reason.KEPT_FOR_OTHERS,
)


def _verdict(node: Node, ask: Ask) -> Reason | None:
    """Why the node does not take the ask now; None iff it would."""
    shape = ask.shape
    if not node.could_hold(shape):
        lacks_model = shape.gpus and shape.gpu_model is not None and not node.positions_of_model(shape.gpu_model)
        return Reason.NO_SUCH_GPU_MODEL if lacks_model else Reason.NEVER_FITS
    if not ask.accepts(node):
        return Reason.WRONG_PLACE
    if node.node_id in ask.app.blacklist:
        return Reason.BLACKLISTED
    if not node.schedulable:
        return Reason.NODES_NOT_SCHEDULABLE
    if not node.fits(shape):
        return Reason.KEPT_FOR_OTHERS if _is_kept(node, ask) else node.why_not(shape)
    if ask.delay is not None and ask.level_at(node) > ask.delay.level:
        return Reason.WAITS_FOR_LOCALITY
    if node.reservation is not None and node.reservation.app is not ask.app:
        return Reason.RESERVED_FOR_OTHERS
    return None


def _count_nodes(verdicts: dict[Node, Reason | None]) -> list[Evidence]:
    counts = Counter(verdicts.values())
    found: list[Evidence] = []
    for reason in sorted(counts, key=lambda one: -1 if one is None else int(one), reverse=True):
        nodes = [node.node_id for node, verdict in verdicts.items() if verdict is reason]
        code = "fits" if reason is None else str(reason)
        found.append({"kind": "nodes", "reason": code, "count": len(nodes), "nodes": nodes[:MAX_NAMES]})
    return found


def _never(books: Books, ask: Ask, by_reason: dict[Reason | None, list[Node]]) -> Finding | None:
    """What no waiting would cure: too large, a model or a place that is not there."""
    shape, strict = ask.shape, ask.strict_places()
    nodes = list(books.nodes.values())
    if shape.gpus and shape.gpu_model is not None and len(by_reason.get(Reason.NO_SUCH_GPU_MODEL, ())) == len(nodes):
        models = Counter(device.model for node in nodes for device in node.devices)
        there = ", ".join(f"{count} {model}" for model, count in sorted(models.items())) or "no GPUs at all"
        return Finding(
            Reason.NO_SUCH_GPU_MODEL,
            f"waits for {say_shape(shape)}; the cluster has {there}",
            [{"kind": "gpu_models", "asked": shape.gpu_model, "models": dict(sorted(models.items()))}],
            ["ask for one of the models there are, or for any"],
        )
    if strict and not any(node.node_id in strict or node.rack in strict for node in nodes):
        return Finding(
            Reason.PLACE_NOT_FOUND,
            f"must run on {say_names(strict)}, which {'is' if len(strict) == 1 else 'are'} not in the cluster",
            [{"kind": "places", "asked": list(strict)}],
            ["name a node or rack of the cluster, or let the place be only a wish (relax_locality)"],
        )
    where = [node for node in nodes if not strict or node.node_id in strict or node.rack in strict]
    if not any(node.could_hold(shape) for node in where):
        return _too_large(shape, where)
    return None


def _too_large(shape: Shape, nodes: Sequence[Node]) -> Finding:
    """No node would hold it empty: names the one that comes nearest."""
    nearest = max(nodes, key=lambda node: (_part_there(node, shape), size(node.spec.total)))
    there = _size_for(nearest, shape)
    model = f" of model {shape.gpu_model}" if shape.gpu_model and shape.gpus else ""
    has = f"{there}{model}" if model else nearest.spec.size
    return Finding(
        Reason.NEVER_FITS,
        f"asks for {say_shape(shape)}; the largest node, {nearest.node_id}, has {has}",
        [
            {
                "kind": "largest_node",
                "node_id": nearest.node_id,
                "total": nearest.spec.total.as_dict(),
                "asked": shape.resources.as_dict(),
                "too_much": list(shape.resources.exceeding(there)),
            }
        ],
        [f"ask for at most {shape.resources.smallest(there)}{model}"],
    )


def _size_for(node: Node, shape: Shape) -> Resources:
    """Its size, with only those GPUs that may serve the shape."""
    return replace(node.spec.total, gpus_milli=len(node.pieces(shape)) * WHOLE)


def _part_there(node: Node, shape: Shape) -> float:
    """How much of the ask it has of what it has least of: 1 would be enough."""
    there = _size_for(node, shape)
    return min(there.get(name) / amount for name, amount in shape.resources.items() if amount)


def _closed(ask: Ask, by_reason: dict[Reason | None, list[Node]]) -> Finding:
    """Nodes could hold it, but none that could may be used."""
    words = say_shape(ask.shape)
    draining, refused = by_reason.get(Reason.NODES_NOT_SCHEDULABLE, []), by_reason.get(Reason.BLACKLISTED, [])
    elsewhere = by_reason.get(Reason.WRONG_PLACE, [])
    if draining:
        return Finding(
            Reason.NODES_NOT_SCHEDULABLE,
            f"waits for {words}; of the nodes that could hold it {say_nodes_are(draining)} unhealthy or draining",
            remedies=["bring one of them back"],
        )
    if refused:
        return Finding(
            Reason.BLACKLISTED,
            f"waits for {words}; the application has blacklisted every node that could hold it ({say_names(refused)})",
            remedies=["take a node off the application's blacklist"],
        )
    return Finding(
        Reason.WRONG_PLACE,
        f"must run on {say_names(ask.strict_places())}; {say_nodes_are(elsewhere)} large enough, but elsewhere",
        remedies=["let the place be only a wish (relax_locality)"],
    )


def _at_max_share(ask: Ask) -> Finding | None:
    shape = ask.shape
    queue = ask.app.queue.over_max_with(shape)
    if queue is None or queue.max_share is None:
        return None
    used, limit = queue.usage.frozen(), queue.max_share.frozen()
    alone = shape.resources.exceeding(limit)
    over = alone or (used + shape.resources).exceeding(limit)
    name = over[0]
    message = (
        f"asks for {say_amount(name, shape.resources.get(name))}, more than the max share of queue {queue.path}"
        f" ({say_amount(name, limit.get(name))})"
        if alone
        else f"queue {queue.path} uses {say_amount(name, used.get(name))} of its max share of"
        f" {say_amount(name, limit.get(name))}; {say_amount(name, shape.resources.get(name))} more would pass it"
    )
    ends = [] if alone else [f"something in queue {queue.path} has to end"]
    return Finding(
        Reason.QUEUE_MAX_SHARE,
        message,
        [
            {
                "kind": "queue_max_share",
                "queue": queue.path,
                "used": used.as_dict(),
                "max_share": limit.as_dict(),
                "asked": shape.resources.as_dict(),
                "over": list(over),
            }
        ],
        [*ends, f"raise max_share of {queue.path} to at least {(used + shape.resources).largest(limit)}"],
    )


def _at_am_share(ask: Ask) -> Finding | None:
    queue = ask.app.queue
    limit = queue.max_am_usage()
    if not ask.for_master or limit is None or not is_over_am_share(ask):
        return None
    used, asked = queue.am_usage.frozen(), ask.shape.resources
    name = (used + asked).exceeding(limit)[0]
    return Finding(
        Reason.QUEUE_AM_SHARE,
        f"masters in queue {queue.path} use {say_amount(name, used.get(name))} and may use"
        f" {say_amount(name, limit.get(name))}; this one asks for {say_amount(name, asked.get(name))}",
        [
            {
                "kind": "queue_am_share",
                "queue": queue.path,
                "used": used.as_dict(),
                "limit": limit.as_dict(),
                "asked": asked.as_dict(),
            }
        ],
        [f"an application in queue {queue.path} has to end", f"raise max_am_share of {queue.path}"],
    )


def _no_room(ask: Ask, by_reason: dict[Reason | None, list[Node]]) -> Finding:
    """Nodes could take it, all are too full: the reason that most of them have, and how near the best is."""
    shape = ask.shape
    short = {reason: nodes for reason, nodes in by_reason.items() if reason is not None and reason in _ROOM}
    reason = max(short, key=lambda one: (len(short[one]), one))
    nodes = short[reason]
    count = sum(len(some) for some in short.values())
    of = (
        f"{len(nodes)} of {count} nodes that could hold it"
        if count > 1
        else f"the only node that could, {nodes[0].node_id},"
    )
    evidence: list[Evidence] = []
    remedies = ["a container on one of these nodes has to end"]
    if reason is Reason.GPU_FRAGMENTED:
        best = max(nodes, key=lambda node: _gpus_at_once(node.pieces(shape)))
        pieces = best.pieces(shape)
        message = (
            f"waits for {say_shape(shape)}: {of} {say_have(count)} enough GPU free, but in pieces:"
            f" {best.node_id} has {format_milli(sum(pieces))} free on {sum(free > 0 for free in pieces)} devices,"
            f" at most {format_milli(max(pieces))} on one"
        )
        evidence.append({"kind": "best_node", "node_id": best.node_id, "device_free_milli": list(pieces)})
        remedies.append(f"would start now with {say_amount(GPUS, _gpus_at_once(pieces))}")
    else:
        name = _SHORT_OF.get(reason) or _short_other(shape, nodes)
        best = max(nodes, key=lambda node: _free_of(node, name, shape))
        free = max(_free_of(best, name, shape), 0)
        message = (
            f"waits for {say_shape(shape)}: {of} {say_have(count)} too little {LABELS.get(name, name)} free now,"
            f" at most {say_amount(name, free)}"
        )
        evidence.append(
            {"kind": "best_node", "node_id": best.node_id, "free": best.free.frozen().as_dict(), "short_of": name}
        )
        smaller = shape.resources - _only(name, shape.resources.get(name) - free)
        if free > 0 and best.fits(Shape.make(smaller, shape.gpu_model)):
            remedies.append(f"would start now with {say_amount(name, free)}")
    return Finding(reason, message, evidence, remedies)


def _has_room(ask: Ask, fitting: Sequence[Node]) -> Finding:
    """There is room: either others come first there, or nobody has looked yet."""
    ahead = _ahead_of(ask, fitting[:MAX_NAMES])
    where = say_names(fitting)
    if not ahead:
        return Finding(
            Reason.NOT_YET_SCHEDULED,
            f"there is room for {say_shape(ask.shape)} on {where}; the next visit of one of them places it",
        )
    first = ahead[0]
    level = "queue" if first["kind"] == "queue_ahead" else "application"
    return Finding(
        Reason.BEHIND_OTHERS,
        f"there is room for {say_shape(ask.shape)} on {where}, but {say_count(len(ahead), level)} of {first['within']}"
        f" {'comes' if len(ahead) == 1 else 'come'} first, {first['name']} at the head",
        [*ahead[:MAX_NAMES]],
        [f"those ahead have to get their share ({first['policy']} order of {first['within']})"],
    )


def _is_kept(node: Node, ask: Ask) -> bool:
    """True iff the ask would fit if the node kept nothing for others."""
    free, device_free = node.free.copy(), list(node.device_free)
    for hold in node.holds:
        free.add(hold.got)
        for position, milli in hold.device_milli.items():
            device_free[position] += milli
    shape = ask.shape
    if not node.holds or not shape.fits_in(free):
        return False
    return not shape.gpus or bool(pick_devices(shape.gpus, device_free, node.allowed_positions(shape)))


def _waits_for_preemption(ask: Ask, holds: Sequence[Hold]) -> Finding:
    victims = [victim for hold in holds for victim in hold.victims]
    nodes = list(dict.fromkeys(hold.node for hold in holds))
    return Finding(
        Reason.WAITS_FOR_PREEMPTION,
        f"waits for {say_shape(ask.shape)}: {say_count(len(victims), 'container')} of others on {say_names(nodes)}"
        f" {'has' if len(victims) == 1 else 'have'} been told to end for it",
        [
            {
                "kind": "preemption",
                "node_id": hold.node.node_id,
                "kept": hold.got.frozen().as_dict(),
                "victims": [str(victim.container_id) for victim in hold.victims],
                "kill_at": max((victim.kill_at for victim in hold.victims), default=None),
            }
            for hold in holds[:MAX_NAMES]
        ],
    )


def _kept_for_others(ask: Ask, nodes: Sequence[Node]) -> Finding:
    holds = [hold for node in nodes for hold in node.holds]
    return Finding(
        Reason.KEPT_FOR_OTHERS,
        f"enough for {say_shape(ask.shape)} would be free on {say_names(nodes)}, but it is kept for"
        f" {say_names(dict.fromkeys(str(hold.ask.app.application_id) for hold in holds))}, for whom it was freed",
        [
            {
                "kind": "kept",
                "node_id": hold.node.node_id,
                "application": str(hold.ask.app.application_id),
                "kept": hold.got.frozen().as_dict(),
            }
            for hold in holds[:MAX_NAMES]
        ],
    )


def _nothing_to_preempt(ask: Ask, short: Finding) -> Finding:
    app = ask.app
    used, share = app.usage.frozen(), app.fair_share
    return Finding(
        Reason.NOTHING_TO_PREEMPT,
        f"{short.message}; it has been below its share ({used} of {share}) for too long, but no container of others"
        " may end for it: all are in queues that are not preemptable, too young, or needed by who has no more than"
        " its own share",
        [*short.evidence, {"kind": "share", "used": used.as_dict(), "fair_share": share.as_dict()}],
        short.remedies,
    )


def _waits_for_locality(ask: Ask, nodes: Sequence[Node]) -> Finding:
    delay = ask.delay
    if delay is None:
        raise InvariantBroken(f"{ask.app.application_id} waits for a place and was never looked at")
    liked = [name for name in ask.places if name != ANY]
    only = "its nodes" if delay.level is Level.NODE else "its nodes and racks"
    return Finding(
        Reason.WAITS_FOR_LOCALITY,
        f"would like to run on {say_names(liked)}; there is room on {say_names(nodes)}, but for now it waits for {only}"
        f" (opportunities let pass: {delay.missed})",
        [{"kind": "locality", "asked": liked, "level": delay.level.name.lower(), "missed": delay.missed}],
        ["it takes another place when it has let enough opportunities pass"],
    )


def _reserved(ask: Ask, nodes: Sequence[Node]) -> Finding:
    held = [(node, node.reservation) for node in nodes if node.reservation is not None]
    node, first = held[0]
    return Finding(
        Reason.RESERVED_FOR_OTHERS,
        f"there is room for {say_shape(ask.shape)} on {say_names(nodes)}, but {node.node_id} is reserved for"
        f" {first.app.application_id}, which is below its share and waits for {say_shape(first.shape)}",
        [
            {
                "kind": "reservation",
                "node_id": node.node_id,
                "application": str(one.app.application_id),
                "waits_for": one.shape.resources.as_dict(),
            }
            for node, one in held[:MAX_NAMES]
        ],
        ["the reservation has to be fulfilled or dropped"],
    )


def _ahead_of(ask: Ask, nodes: Sequence[Node]) -> list[Evidence]:
    """Those who come before it, and could use the room, at the highest level where there are any."""
    app = ask.app
    for parent, child in _steps(app):
        ahead: list[Evidence] = []
        parent.bring_up_to_date()
        for other in parent.waiting_members():
            if other is child:
                break
            if _could_use(other, nodes):
                kind = "application_ahead" if isinstance(other, App) else "queue_ahead"
                ahead.append(
                    {
                        "kind": kind,
                        "name": str(other.application_id) if isinstance(other, App) else other.path,
                        "within": parent.path,
                        "policy": str(parent.spec.policy),
                        "weight": other.weight,
                        "used": other.usage.frozen().as_dict(),
                    }
                )
        if ahead:
            return ahead
    return []


def _steps(app: App) -> Iterable[tuple[Queue, Queue | App]]:
    """From the root down: each parent with the child that the application is in."""
    path: list[Queue | App] = [*reversed(app.queue.lineage), app]
    for parent, child in pairwise(path):
        assert isinstance(parent, Queue)
        yield parent, child


def _could_use(other: Queue | App, nodes: Sequence[Node]) -> bool:
    queue = other.queue if isinstance(other, App) else other
    return any(queue.over_max_with(shape) is None and any(node.fits(shape) for node in nodes) for shape in other.shapes)


def _not_runnable(app: App) -> Finding:
    queue = app.queue.full_of_apps()
    if queue is None:
        return _user_not_runnable(app)
    older = [other for leaf in queue.walk() for other in leaf.waiting_apps if other.age < app.age]
    running = [other for leaf in queue.walk() for other in leaf.apps if other.runnable]
    limit = queue.spec.max_running_apps
    return Finding(
        Reason.QUEUE_MAX_RUNNING_APPS,
        f"queue {queue.path} runs {say_count(len(running), 'application')} and may run {limit};"
        f" {len(older)} {'waits' if len(older) == 1 else 'wait'} before this one",
        [
            {
                "kind": "queue_max_running_apps",
                "queue": queue.path,
                "running": len(running),
                "limit": limit,
                "ahead": len(older),
                "running_applications": [str(other.application_id) for other in running[:MAX_NAMES]],
            }
        ],
        [f"{len(older) + 1} of them have to end", f"raise max_running_apps of {queue.path}"],
    )


def _user_not_runnable(app: App) -> Finding:
    queue = app.queue.full_of_apps_of(app.user)
    if queue is None:
        raise InvariantBroken(f"{app.application_id} waits to run, and no limit of a queue says why")
    limit = queue.max_running_apps_of(app.user)
    running = [one for leaf in queue.walk() for one in leaf.apps if one.runnable and one.user == app.user]
    older = [one for leaf in queue.walk() for one in leaf.waiting_apps if one.user == app.user and one.age < app.age]
    return Finding(
        Reason.USER_MAX_RUNNING_APPS,
        f"{app.user} runs {say_count(len(running), 'application')} in queue {queue.path} and may run {limit};"
        f" {len(older)} {'waits' if len(older) == 1 else 'wait'} before this one",
        [
            {
                "kind": "user_max_running_apps",
                "user": app.user,
                "queue": queue.path,
                "running": len(running),
                "limit": limit,
                "ahead": len(older),
                "running_applications": [str(one.application_id) for one in running[:MAX_NAMES]],
            }
        ],
        [f"{len(older) + 1} of them have to end", f"raise max_running_apps_per_user of {queue.path}"],
    )


def _only(name: str, amount: int) -> Resources:
    return Resources.of({name: amount})


def _short_other(shape: Shape, nodes: Sequence[Node]) -> str:
    return shape.resources.exceeding(nodes[0].free.frozen())[0]


def _free_of(node: Node, name: str, shape: Shape) -> int:
    """Free of the resource; of GPUs what counts for the model asked for."""
    if name == GPUS:
        return sum(node.pieces(shape))
    return node.free.frozen().get(name)


def _gpus_at_once(pieces: Sequence[int]) -> int:
    """The most GPU milli that one container can get of these devices: all whole ones, else the largest piece."""
    return pieces.count(WHOLE) * WHOLE or max(pieces)
