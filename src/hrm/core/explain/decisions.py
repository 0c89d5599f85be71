"""Decisions taken: why what runs was granted, why it is where it is, and for whom it is to end."""

from __future__ import annotations

from hrm.core.applications import App, Container, Way
from hrm.core.contest import say_contests
from hrm.core.explain.finding import Look
from hrm.core.locality import Level
from hrm.core.wording import say_app
from hrm.model.explanations import Decision

#: Containers of one application that are told: the newest.
MAX_DECISIONS = 5

_PLACES = {
    Level.NODE: "a node that it asked for",
    Level.RACK: "in a rack that it asked for",
    Level.ANYWHERE: "elsewhere than it asked for, after it had waited",
}


def decisions_of(look: Look, app: App) -> list[Decision]:
    """Of its newest containers, the newest first."""
    newest = list(app.containers.values())[-MAX_DECISIONS:]
    return [_decision(look, container) for container in reversed(newest)]


def _decision(look: Look, container: Container) -> Decision:
    hold = container.hold
    words = f"{_why_this(container)}; {_why_here(look, container)}"
    if hold is not None:
        words += f"; it is to end for {say_app(hold.ask.app)}, which is below its share"
    return Decision(
        container_id=str(container.container_id),
        node_id=container.node.node_id,
        device_ids=list(container.device_ids),
        granted_at=container.started_at,
        way=str(container.way),
        locality=None if container.level is None else container.level.name.lower(),
        text=words,
        ends_for=None if hold is None else str(hold.ask.app.application_id),
        kill_at=None if hold is None else container.kill_at,
    )


def _why_this(container: Container) -> str:
    if container.way is Way.RECOVERY:
        return "it ran already when this server began"
    if container.way is Way.PREEMPTION:
        return "it had been below its share for too long, and others ended for it"
    if container.way is Way.RESERVATION:
        if container.gang_id is not None:
            return "nodes were kept for its gang until all of it had room"
        return "the node was reserved for it until it had room"
    if container.contests is None:
        return "whom it came before is forgotten, as so much was granted since"
    if not container.contests:
        return "nobody else waited for the like"
    return ", and ".join(say_contests(container.contests))


def _why_here(look: Look, container: Container) -> str:
    node_id = container.node.node_id
    if container.level is not None:
        return f"{node_id} is {_PLACES[container.level]}"
    if container.way is not Way.ORDER:
        return f"that was on {node_id}"
    strategy = look.options.placement_strategy
    if strategy is None:
        return f"{node_id} had room when it was looked at"
    return f"{node_id} was the best of those with room by {strategy}"
