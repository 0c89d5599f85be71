"""How a queue stands to its shares, where an application stands in it, and who comes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask
from hrm.core.explain.finding import Finding, Look, has_to
from hrm.core.explain.limits import waiting_before
from hrm.core.nodes import Node
from hrm.core.queues import Queue
from hrm.core.reasons import Reason
from hrm.core.wording import MAX_NAMES, say_app, say_asked, say_names, say_of
from hrm.model.evidence import ApplicationAheadFact, QueueAheadFact
from hrm.model.explanations import Ahead, QueueStanding
from hrm.model.phrases import Phrase, phrase
from hrm.model.resources import ZERO, Resources

#: Containers of one application that are asked for their ends.
MAX_CONTAINERS = 100


def dominant(amounts: Resources, total: Resources) -> str:
    """The resource of which it is the largest part of the cluster; of equal ones the first."""
    return max(
        amounts.names(),
        key=lambda name: amounts.get(name) / total.get(name) if total.get(name) else float(amounts.get(name) > 0),
    )


def standing(app: App) -> QueueStanding:
    """Its queue, in the resource of which it uses most; of one that uses nothing, in what the application asks for."""
    queue = app.queue
    total, used = queue.cluster.total.frozen(), queue.usage.frozen()
    name = dominant(used or queue.demand.frozen(), total)
    limits = [one.max_share.frozen().get(name) for one in queue.lineage if one.max_share is not None]
    position, waiting = _position(app)
    return QueueStanding(
        queue=queue.path,
        policy=str(queue.spec.policy),
        resource=name,
        used=used.get(name),
        fair_share=queue.fair_share.get(name),
        max_share=min(limits, default=None),
        position=position,
        waiting=waiting,
    )


def _position(app: App) -> tuple[int, int]:
    queue = app.queue
    if not app.runnable:
        return len(waiting_before(app)) + 1, len(queue.waiting_apps)
    queue.bring_up_to_date()
    members = queue.waiting_members()
    return (members.index(app) + 1 if app in members else 0), len(members)


def say_standing(stands: QueueStanding) -> Phrase | None:
    """``queue research has its fair share (6 of 6 GPUs)``; None while no shares were worked out."""
    if not stands.fair_share:
        return None
    than = "equal" if stands.used == stands.fair_share else "less" if stands.used < stands.fair_share else "more"
    of = say_of(stands.resource, stands.used, stands.fair_share)
    return phrase(f"standing.{than}", queue=stands.queue, used=of)


# ---- who comes first


def steps(app: App) -> Iterator[tuple[Queue, Queue | App]]:
    """From the root down: each parent with the child that the application is in."""
    path: list[Queue | App] = [*reversed(app.queue.lineage), app]
    for parent, child in pairwise(path):
        assert isinstance(parent, Queue)
        yield parent, child


def before(app: App) -> Iterator[tuple[Queue, Queue | App]]:
    """Those who come first: at each level from the root, each with the queue within which it does."""
    if not app.runnable:
        for other in waiting_before(app):
            yield other.queue, other
        return
    for parent, child in steps(app):
        parent.bring_up_to_date()
        for one in parent.waiting_members():
            if one is child:
                break
            yield parent, one


def ahead_of(look: Look, app: App) -> list[Ahead]:
    """The first of them, with what they hold and ask for."""
    return [_ahead(look, parent, other) for parent, other in islice(before(app), MAX_NAMES)]


def _ahead(look: Look, parent: Queue, other: Queue | App) -> Ahead:
    lacking = other.demand.frozen() - other.usage.frozen()
    is_app = isinstance(other, App)
    return Ahead(
        kind="application" if is_app else "queue",
        name=name_of(other),
        user=other.user if isinstance(other, App) else "",
        within=parent.path,
        policy=str(parent.spec.policy),
        weight=other.weight,
        used=other.usage.frozen().as_dict(),
        asks=lacking.largest(ZERO).as_dict(),
        containers=len(other.containers) if isinstance(other, App) else sum(len(one.containers) for one in _in(other)),
        pending=other.pending() if isinstance(other, App) else sum(one.pending() for one in _in(other)),
        ends_at=end_of(look, other) if isinstance(other, App) else None,
    )


def _in(queue: Queue) -> Iterator[App]:
    return (app for leaf in queue.walk() for app in leaf.apps)


def name_of(other: Queue | App) -> str:
    """Path or application id."""
    return str(other.application_id) if isinstance(other, App) else other.path


def end_of(look: Look, app: App) -> float | None:
    """When its last container is expected to end; None iff not known, more is to come, or nothing runs."""
    if app.asks or not app.containers or len(app.containers) > MAX_CONTAINERS:
        return None
    last = 0.0
    for container in app.containers.values():
        end = look.expected_end(container.container_id)
        if end is None:
            return None
        last = max(last, end.at)
    return last


# ---- room that is others' first


def has_room(ask: Ask, fitting: Sequence[Node]) -> Finding:
    """There is room: either others come first there, or nobody has looked yet."""
    ahead = _could_use_first(ask.app, fitting[:MAX_NAMES])
    where, asked = say_names(fitting), say_asked(ask)
    if not ahead:
        return Finding(
            Reason.NOT_YET_SCHEDULED,
            phrase("has_room.next_visit", asked=asked, nodes=where),
        )
    parent, first = ahead[0]
    if isinstance(first, Queue):
        level, head = "queues", phrase("queue", queue=first.path)
    else:
        level, head = "applications", phrase("application_of", app=say_app(first), user=first.user)
    return Finding(
        Reason.BEHIND_OTHERS,
        phrase(f"has_room.{level}_first", asked=asked, nodes=where, count=len(ahead), parent=parent.path, first=head),
        [_fact(parent, other) for parent, other in ahead[:MAX_NAMES]],
        [has_to("time", phrase("change.ahead", policy=str(parent.spec.policy), parent=parent.path))],
    )


def _could_use_first(app: App, nodes: Sequence[Node]) -> list[tuple[Queue, Queue | App]]:
    """Those who come before it, and could use the room, at the highest level where there are any."""
    level: list[tuple[Queue, Queue | App]] = []
    for parent, other in before(app):
        if level and level[0][0] is not parent:
            break
        if could_use(other, nodes):
            level.append((parent, other))
    return level


def could_use(other: Queue | App, nodes: Sequence[Node]) -> bool:
    """True iff something that waits there fits on one of the nodes, and under max shares."""
    queue = other.queue if isinstance(other, App) else other
    return any(queue.over_max_with(shape) is None and any(node.fits(shape) for node in nodes) for shape in other.shapes)


def _fact(parent: Queue, other: Queue | App) -> ApplicationAheadFact | QueueAheadFact:
    make = ApplicationAheadFact if isinstance(other, App) else QueueAheadFact
    used: Amounts = other.usage
    return make(
        name=name_of(other),
        within=parent.path,
        policy=str(parent.spec.policy),
        weight=other.weight,
        used=used.frozen().as_dict(),
    )
