"""When there is room: from what is known of the ends of containers, never from a guess.

Containers of which nothing is known count as running for ever. That others who come first may take the room is said,
not worked out: what they will do with it is not known either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask, Container
from hrm.core.constraints import Constraint
from hrm.core.explain.constraints import Opening, meets_without, next_opening, say_constraint
from hrm.core.explain.finding import ExpectedEnd, Look
from hrm.core.explain.funnel import Funnel
from hrm.core.explain.limits import running_beside, waiting_before
from hrm.core.explain.standing import MAX_CONTAINERS, end_of
from hrm.core.nodes import Node, pick_devices
from hrm.core.reasons import Reason
from hrm.core.wording import say_apps, say_in
from hrm.model.explanations import EndBasis, Forecast
from hrm.model.phrases import Item, Phrase, phrase, say

#: Containers that are looked at in search of room: enough for hundreds of nodes, and over in a few milliseconds.
MAX_LOOKED_AT = 2000

NOT_KNOWN = phrase("forecast.not_known")
#: What only somebody's action, not an end, would change; each has its sentence.
_NOT_BY_TIME = frozenset(
    {
        Reason.NO_NODES,
        Reason.NEVER_FITS,
        Reason.NO_SUCH_GPU_MODEL,
        Reason.NOT_OFFERED,
        Reason.PLACE_NOT_FOUND,
        Reason.WRONG_PLACE,
        Reason.NODES_NOT_SCHEDULABLE,
        Reason.BLACKLISTED,
        Reason.NOT_YET_SCHEDULED,
        Reason.BEHIND_OTHERS,
        Reason.WAITS_FOR_LOCALITY,
        Reason.INSUFFICIENT_FOR_GANG,
        Reason.RESERVED_FOR_OTHERS,
        Reason.KEPT_FOR_OTHERS,
    }
)


def forecast_ask(look: Look, reason: Reason, funnel: Funnel) -> Forecast:
    """When there is room for the ask, or its queue may use more."""
    if reason in _NOT_BY_TIME:
        return _said(phrase(f"forecast.{reason}"))
    ask = funnel.ask
    if look.now is None:
        return _said(NOT_KNOWN)
    if reason is Reason.PLACEMENT_CONSTRAINT and ask.constraint is not None:
        return _constraint_met(look, ask, ask.constraint, funnel.found(reason))
    if reason is Reason.QUEUE_MAX_SHARE:
        return _under_max_share(look, ask)
    if reason is Reason.QUEUE_AM_SHARE:
        masters = [app for app in ask.app.queue.apps if app.am_usage.frozen()]
        return _first_to_end(look, masters, 1)
    return _room(look, funnel)


def forecast_run(look: Look, app: App) -> Forecast:
    """When limits on running applications let it run."""
    if look.now is None:
        return _said(NOT_KNOWN)
    return _first_to_end(look, running_beside(app), len(waiting_before(app)) + 1)


def _said(said: Phrase) -> Forecast:
    return Forecast(at=None, in_s=None, node_id=None, waits_for=[], basis=[], text=say(said), said=said)


def _foretold(
    look: Look, at: float, apps: Iterable[App], basis: Iterable[EndBasis], *, node: Node | None, what: Phrase
) -> Forecast:
    assert look.now is not None
    waits_for = list(dict.fromkeys(apps))
    bases = sorted(set(basis))
    in_s = max(at - look.now, 0.0)
    how: list[Item] = [phrase(f"forecast.by_{one}") for one in bases]
    said = phrase(
        "forecast.when_all_ends" if node is None else "forecast.when_something_ends",
        what=what,
        when=say_in(in_s),
        apps=say_apps(waits_for),
        count=len(waits_for),
        how=how,
    )
    return Forecast(
        at=at,
        in_s=in_s,
        node_id=None if node is None else node.node_id,
        waits_for=[str(app.application_id) for app in waits_for],
        basis=bases,
        text=say(said),
        said=said,
    )


# ---- what runs there


def _constraint_met(look: Look, ask: Ask, constraint: Constraint, nodes: Sequence[Node]) -> Forecast:
    """When another alternative opens that one of these nodes meets, or something ends that counts."""
    assert look.now is not None
    opening = next_opening(look.now, constraint, nodes)
    ends = _first_end_that_counts(look, ask, constraint, nodes)
    if opening is not None and (ends is None or look.now + opening.seconds <= ends[1].at):
        return _opens(look.now, opening)
    if ends is None:
        return _said(phrase(f"forecast.{Reason.PLACEMENT_CONSTRAINT}"))
    container, end, node = ends
    what = phrase("forecast.allowed", node=node.node_id)
    return _foretold(look, end.at, [container.app], [end.basis], node=node, what=what)


def _opens(now: float, opening: Opening) -> Forecast:
    alternative, node = say_constraint(opening.alternative), opening.node.node_id
    if opening.heartbeats:
        return _said(phrase("forecast.opens_after", count=opening.heartbeats, next=alternative, node=node))
    said = phrase("forecast.opens", when=say_in(opening.seconds), next=alternative, node=node)
    return replace(_said(said), at=now + opening.seconds, in_s=opening.seconds, node_id=node)


def _first_end_that_counts(
    look: Look, ask: Ask, constraint: Constraint, nodes: Sequence[Node]
) -> tuple[Container, ExpectedEnd, Node] | None:
    """Of what is known to end, that after which one of the nodes first meets it."""
    first: tuple[Container, ExpectedEnd, Node] | None = None
    of_rack: dict[str, list[Node]] = {}
    for node in look.books.nodes.values() if constraint.counts_racks else ():
        of_rack.setdefault(node.rack, []).append(node)
    looked_at = 0
    for node in nodes:
        there = of_rack.get(node.rack, [node])
        tagged = [container for one in there for container in one.containers if container.tags]
        known = _known_ends(look, tagged, ask)
        for count, (container, end) in enumerate(known, 1):
            looked_at += count
            if first is not None and end.at >= first[1].at:
                break
            if meets_without(constraint, node, [one for one, _ in known[:count]]):
                first = container, end, node
                break
        looked_at += len(tagged)
        if looked_at > MAX_LOOKED_AT:
            break
    return first


# ---- room on a node


def _room(look: Look, funnel: Funnel) -> Forecast:
    best: tuple[float, Node, list[tuple[Container, ExpectedEnd]]] | None = None
    looked_at = 0
    for node in funnel.open_nodes:
        looked_at += len(node.containers)
        found = _node_ready(look, funnel.ask, node)
        if found is not None and (best is None or found[-1][1].at < best[0]):
            best = found[-1][1].at, node, found
        if looked_at > MAX_LOOKED_AT:
            break
    if best is None:
        return _said(NOT_KNOWN)
    at, node, ends = best
    apps = [container.app for container, _ in ends]
    return _foretold(
        look, at, apps, (end.basis for _, end in ends), node=node, what=phrase("forecast.room", node=node.node_id)
    )


def _known_ends(look: Look, containers: Iterable[Container], ask: Ask) -> list[tuple[Container, ExpectedEnd]]:
    """Those that end at a time that is known, the first first. What is freed for others is left out."""
    found = []
    for container in containers:
        hold = container.hold
        if hold is not None:
            if hold.ask is ask:
                found.append((container, ExpectedEnd(container.kill_at, EndBasis.KILL)))
        elif (end := look.expected_end(container.container_id)) is not None:
            found.append((container, end))
    return sorted(found, key=lambda one: one[1].at)


def _node_ready(look: Look, ask: Ask, node: Node) -> list[tuple[Container, ExpectedEnd]] | None:
    """Containers whose ends make room for the ask here, in their order; None iff known ends do not."""
    shape = ask.shape
    free, device_free = node.free.copy(), list(node.device_free)
    for hold in node.holds:
        if hold.ask is ask:
            free.add(hold.got)
            for position, milli in hold.device_milli.items():
                device_free[position] += milli
    ended: list[tuple[Container, ExpectedEnd]] = []
    for container, end in _known_ends(look, node.containers, ask):
        ended.append((container, end))
        free.add(container.shape)
        for device_id in container.device_ids:
            if (at := node.positions.get(device_id)) is not None:
                device_free[at] += container.milli_per_device
        if shape.fits_in(free) and (
            not shape.gpus or pick_devices(shape.gpus, device_free, node.allowed_positions(shape))
        ):
            return _needed(node, ask, ended)
    return None


def _needed(node: Node, ask: Ask, ended: list[tuple[Container, ExpectedEnd]]) -> list[tuple[Container, ExpectedEnd]]:
    """Only those that hold something of what is short."""
    shape = ask.shape
    allowed = {node.devices[i].device_id for i in node.allowed_positions(shape)} if shape.gpus else set()
    short = [name for name, amount in shape.items() if name != "gpus_milli" and amount > node.free.frozen().get(name)]
    helpful = [
        (container, end)
        for container, end in ended
        if allowed.intersection(container.device_ids) or any(container.shape.frozen().get(name) for name in short)
    ]
    # The last one is what made it enough, whatever it holds.
    return helpful if helpful and helpful[-1] is ended[-1] else [*helpful, ended[-1]]


# ---- limits


def _under_max_share(look: Look, ask: Ask) -> Forecast:
    queue = ask.app.queue.over_max_with(ask.shape)
    if queue is None or queue.max_share is None:
        return _said(NOT_KNOWN)
    if not ask.shape.resources.fits_in(queue.max_share.frozen()):
        return _said(phrase(f"forecast.{Reason.NEVER_FITS}"))
    usage = queue.usage.copy()
    limit = queue.max_share

    def enough(freed: Amounts) -> bool:
        usage.subtract(freed)
        return usage.stays_within(ask.shape, limit)

    containers = [one for leaf in queue.walk() for app in leaf.apps for one in app.containers.values()]
    ended = _until(_known_ends(look, containers[:MAX_LOOKED_AT], ask), enough)
    if not ended:
        return _said(NOT_KNOWN)
    return _foretold(
        look,
        ended[-1][1].at,
        (container.app for container, _ in ended),
        (end.basis for _, end in ended),
        node=None,
        what=phrase("forecast.below_max_share", queue=queue.path),
    )


def _until(
    ends: Sequence[tuple[Container, ExpectedEnd]], enough: Callable[[Amounts], bool]
) -> list[tuple[Container, ExpectedEnd]]:
    """The first of them that are enough; none iff all are not."""
    for count, (container, _) in enumerate(ends, 1):
        if enough(container.shape):
            return list(ends[:count])
    return []


def _first_to_end(look: Look, apps: Sequence[App], count: int) -> Forecast:
    """When so many of the applications have ended."""
    ends = sorted(
        ((at, app) for app in apps if (at := end_of(look, app)) is not None), key=lambda one: (one[0], one[1].age)
    )[:count]
    if len(ends) < count:
        return _said(NOT_KNOWN)
    basis = [
        end.basis
        for _, app in ends[:MAX_CONTAINERS]
        for one in app.containers.values()
        if (end := look.expected_end(one.container_id)) is not None
    ]
    return _foretold(look, ends[-1][0], (app for _, app in ends), basis, node=None, what=phrase("forecast.turn"))
