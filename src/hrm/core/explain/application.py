"""The explanation of one application: of all that it waits for, the ask that is worst off decides."""

from __future__ import annotations

from dataclasses import replace

from hrm.core.applications import App, Ask, Shape
from hrm.core.explain.changes import changes_for, other_queues
from hrm.core.explain.constraints import kept_off
from hrm.core.explain.decisions import decisions_of
from hrm.core.explain.finding import SHORT_OF, Finding, Look, has_to
from hrm.core.explain.forecast import forecast_ask, forecast_run
from hrm.core.explain.funnel import Funnel
from hrm.core.explain.gangs import gang_waits
from hrm.core.explain.limits import at_am_share, at_max_share, not_runnable
from hrm.core.explain.places import (
    closed,
    kept_for_others,
    never,
    nothing_to_preempt,
    reserved,
    waits_for_locality,
    waits_for_preemption,
    warnings,
    with_missing,
)
from hrm.core.explain.room import gpu_use, no_room
from hrm.core.explain.standing import ahead_of, has_room, say_standing, standing
from hrm.core.reasons import Reason
from hrm.core.wording import say_shape
from hrm.model.evidence import ApplicationFact
from hrm.model.explanations import Change, Explanation, Forecast, RequestReason
from hrm.model.phrases import parts, phrase, say
from hrm.model.requests import ANY
from hrm.model.tag_placements import TagPlacement

#: Different asks of one application that are looked at, at least and at most; fewer where there are many nodes.
MIN_ASKS, MAX_ASKS = 8, 64
#: Verdicts on nodes in one explanation, beyond the first few asks.
MAX_VERDICTS = 20_000

#: Reasons for which it matters how the queue stands to its share.
_SHARES_MATTER = frozenset(
    {
        *SHORT_OF,
        Reason.INSUFFICIENT_OTHER,
        Reason.INSUFFICIENT_FOR_GANG,
        Reason.BEHIND_OTHERS,
        Reason.RESERVED_FOR_OTHERS,
        Reason.KEPT_FOR_OTHERS,
    }
)


def explain(look: Look, app: App, *, nodes: int = 0) -> Explanation:
    """Why it waits. ``nodes``: how many of them are told one by one."""
    if not app.runnable:
        return _explain_waiting_to_run(look, app)
    if not app.asks:
        held = len(app.containers)
        said = phrase("nothing.holds", count=held) if held else phrase("nothing.asks")
        return _explanation(look, app, Finding(Reason.NOTHING_PENDING, said), [], None)
    asks = _different(app)
    most = max(MIN_ASKS, min(MAX_ASKS, MAX_VERDICTS // max(len(look.books.nodes), 1)))
    found = [(ask, *_find(look, ask)) for ask in asks[:most]]
    # Equal ones in the order of the asks.
    worst = max(found, key=lambda one: one[1].reason)
    ask, finding, funnel = worst
    rest = [one for one in found if one is not worst]
    forecast = None
    if funnel is not None:
        forecast = forecast_ask(look, finding.reason, funnel)
        finding = replace(finding, changes=changes_for(look, funnel, finding, forecast))
    explanation = _explanation(look, app, finding, [(ask, finding), *((one, two) for one, two, _ in rest)], forecast)
    return replace(
        explanation,
        requests_left_out=len(asks) - len(found),
        conditions=[] if funnel is None else funnel.conditions(),
        nodes=[] if funnel is None else funnel.table(nodes),
        gpus=gpu_use(funnel.alike, app) if funnel is not None and ask.shape.gpus else [],
    )


def _explain_waiting_to_run(look: Look, app: App) -> Explanation:
    finding, forecast = not_runnable(app), forecast_run(look, app)
    if app.asks:
        finding = replace(finding, changes=[*other_queues(look, app.asks[0]), *finding.changes])
    asks = [(ask, finding) for ask in _different(app)[:MIN_ASKS]]
    return _explanation(look, app, finding, asks, forecast)


def _explanation(
    look: Look, app: App, finding: Finding, asks: list[tuple[Ask, Finding]], forecast: Forecast | None
) -> Explanation:
    used = ApplicationFact(
        containers=len(app.containers),
        pending=app.pending(),
        used=app.usage.frozen().as_dict(),
        queue=app.queue.path,
    )
    stands = standing(app)
    sentences = [finding.said]
    if app.borrows:
        sentences.append(phrase("opportunistic"))
    elif finding.reason in _SHARES_MATTER and (words := say_standing(stands)) is not None:
        sentences.append(words)
    if forecast is not None and forecast.at is not None and forecast.said is not None:
        sentences.append(forecast.said)
    now = next((change.said for change in finding.changes if change.starts_now), None)
    if now is not None:
        sentences.append(now)
    said = parts(sentences)
    waits = finding.reason is not Reason.NOTHING_PENDING
    return Explanation(
        application_id=str(app.application_id),
        reason=str(finding.reason),
        message=say(said),
        said=said,
        evidence=[fact.as_dict() for fact in (*finding.facts, used)],
        remedies=[change.text for change in finding.changes],
        changes=list(finding.changes),
        at=look.now,
        # What it borrows counts in no share.
        queue=None if app.borrows else stands,
        requests=[_request(ask, one) for ask, one in asks],
        ahead=ahead_of(look, app) if waits else [],
        forecast=forecast,
        running=decisions_of(look, app),
    )


def _request(ask: Ask, finding: Finding) -> RequestReason:
    return RequestReason(
        asked=ask.shape.resources.as_dict(),
        gpu_model=ask.shape.gpu_model,
        pending=ask.pending,
        priority=ask.priority,
        places=[name for name in ask.places if name != ANY],
        reason=str(finding.reason),
        message=finding.message,
        allocation_request_id=ask.allocation_request_id,
        said=finding.said,
    )


def _different(app: App) -> list[Ask]:
    """Its asks, of equal ones (shape and places) the first."""
    alike: dict[tuple[Shape, tuple[str, ...], bool, TagPlacement | None], Ask] = {}
    for ask in app.asks:
        alike.setdefault((ask.shape, tuple(ask.places), ask.for_master, ask.placement), ask)
    return list(alike.values())


def _find(look: Look, ask: Ask) -> tuple[Finding, Funnel | None]:
    """The dominant reason of one ask, and its funnel where there are nodes."""
    if not look.books.nodes:
        joins: list[Change] = [has_to("open_node", phrase("change.node_joins"))]
        return Finding(Reason.NO_NODES, phrase("nodes.none", asked=say_shape(ask.shape)), changes=joins), None
    funnel = Funnel(ask, list(look.books.nodes.values()), look.options)
    finding = never(funnel) or at_max_share(ask) or at_am_share(ask) or gang_waits(look, funnel) or _now(look, funnel)
    finding = with_missing(funnel, finding)
    return replace(finding, facts=[*finding.facts, *funnel.facts(), *warnings(look, ask)]), funnel


def _now(look: Look, funnel: Funnel) -> Finding:
    """What time may bring: nodes that are closed, promised or full, and others who come first."""
    ask = funnel.ask
    if not funnel.open_nodes:
        return closed(funnel)
    if holds := [hold for hold in ask.app.holds if hold.ask is ask]:
        return waits_for_preemption(ask, holds)
    if fitting := funnel.found(None):
        return has_room(ask, fitting)
    if waits := funnel.found(Reason.WAITS_FOR_LOCALITY):
        return waits_for_locality(look, ask, waits)
    if promised := funnel.found(Reason.RESERVED_FOR_OTHERS):
        return reserved(ask, promised)
    if kept := funnel.found(Reason.KEPT_FOR_OTHERS):
        return kept_for_others(ask, kept)
    if (constrained := funnel.found(Reason.PLACEMENT_CONSTRAINT)) and ask.constraint is not None:
        return kept_off(look, ask, ask.constraint, constrained)
    finding = no_room(funnel)
    return nothing_to_preempt(ask, finding) if ask.app.nothing_to_preempt else finding
