"""Decisions taken: why what runs was granted, why it is where it is, and for whom it is to end."""

from __future__ import annotations

from hrm.core.applications import App, Container, Way
from hrm.core.contest import say_contests
from hrm.core.explain.finding import Look
from hrm.core.wording import say_app
from hrm.model.explanations import Decision
from hrm.model.phrases import Item, Phrase, parts, phrase, say

#: Containers of one application that are told: the newest.
MAX_DECISIONS = 5


def decisions_of(look: Look, app: App) -> list[Decision]:
    """Of its newest containers, the newest first."""
    newest = list(app.containers.values())[-MAX_DECISIONS:]
    return [_decision(look, container) for container in reversed(newest)]


def _decision(look: Look, container: Container) -> Decision:
    hold = container.hold
    reasons = [_why_this(container), _why_here(look, container)]
    if hold is not None:
        reasons.append(phrase("decision.ends_for", app=say_app(hold.ask.app)))
    said = parts(reasons)
    return Decision(
        container_id=str(container.container_id),
        node_id=container.node.node_id,
        device_ids=list(container.device_ids),
        granted_at=container.started_at,
        way=str(container.way),
        locality=None if container.level is None else container.level.name.lower(),
        text=say(said),
        said=said,
        ends_for=None if hold is None else str(hold.ask.app.application_id),
        kill_at=None if hold is None else container.kill_at,
    )


def _why_this(container: Container) -> Phrase:
    if container.way is Way.RECOVERY:
        return phrase("decision.recovered")
    if container.way is Way.PREEMPTION:
        return phrase("decision.preemption")
    if container.way is Way.RESERVATION:
        if container.gang_id is not None:
            return phrase("decision.gang")
        return phrase("decision.reservation")
    if container.contests is None:
        return phrase("decision.forgotten")
    if not container.contests:
        return phrase("decision.alone")
    contests: list[Item] = [*say_contests(container.contests)]
    return phrase("decision.contests", contests=contests)


def _why_here(look: Look, container: Container) -> Phrase:
    node_id = container.node.node_id
    if container.level is not None:
        return phrase(f"decision.on_{container.level.name.lower()}", node=node_id)
    if container.way is not Way.ORDER:
        return phrase("decision.there", node=node_id)
    strategy = look.options.placement_strategy
    if strategy is None:
        return phrase("decision.had_room", node=node_id)
    return phrase("decision.best", node=node_id, strategy=str(strategy))
