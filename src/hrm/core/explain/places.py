"""Where an ask may lie: places and models that are not there, nodes that are closed to it, wished for or promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hrm.core.applications import Ask, Hold
from hrm.core.explain import missing
from hrm.core.explain.finding import Finding, Look, has_to
from hrm.core.explain.funnel import Funnel, allowed_level
from hrm.core.explain.room import too_large
from hrm.core.locality import Level
from hrm.core.nodes import Node
from hrm.core.reasons import Reason
from hrm.core.wording import MAX_NAMES, say_app, say_apps, say_asked, say_names, say_nodes_are, say_resources, say_shape
from hrm.model.evidence import (
    GpuModelsFact,
    KeptFact,
    LocalityFact,
    PlacesFact,
    PreemptionFact,
    ReservationFact,
    ShareFact,
    WarningFact,
)
from hrm.model.phrases import Item, Phrase, parts, phrase, say
from hrm.model.requests import ANY


def never(funnel: Funnel) -> Finding | None:
    """What no waiting would cure: too large, a model or a place that is not there."""
    ask, nodes = funnel.ask, funnel.nodes
    shape, strict = ask.shape, ask.strict_places()
    if shape.gpus and shape.gpu_model is not None and len(funnel.found(Reason.NO_SUCH_GPU_MODEL)) == len(nodes):
        models = Counter(device.model for node in nodes for device in node.devices)
        some: list[Item] = [phrase("model.count", count=count, model=model) for model, count in sorted(models.items())]
        there = phrase("model.list", models=some) if some else phrase("model.none")
        return Finding(
            Reason.NO_SUCH_GPU_MODEL,
            phrase("model.not_there", asked=say_shape(shape), there=there),
            [GpuModelsFact(asked=shape.gpu_model, models=dict(sorted(models.items())))],
            [has_to("any_model", phrase("change.other_model"), "hrm nodes gpus")],
        )
    if strict and not any(node.node_id in strict or node.rack in strict for node in nodes):
        return Finding(
            Reason.PLACE_NOT_FOUND,
            phrase("place.not_there", places=say_names(strict), count=len(strict)),
            [PlacesFact(asked=list(strict))],
            [has_to("other_place", phrase("change.place"), "hrm nodes")],
        )
    where = nodes if ask.plain else [node for node in nodes if ask.accepts(node)]
    if not where:
        return _closed_to_all(ask)
    offering = [node for node in where if node.admits(shape)]
    if not offering:
        return Finding(
            Reason.NOT_OFFERED,
            parts([phrase("waits_for", asked=say_shape(shape)), *_missing(funnel)]),
            missing.facts(shape.needs, funnel.found(Reason.NOT_OFFERED), nodes),
            [has_to("need", phrase("change.need"), "hrm nodes")],
        )
    if not any(node.could_hold(shape) for node in offering):
        return too_large(shape, offering)
    return None


def with_missing(funnel: Funnel, finding: Finding) -> Finding:
    """The finding, and on which other nodes something is missing that the ask needs."""
    if finding.reason in (Reason.NOT_OFFERED, Reason.NO_NODES) or not (said := _missing(funnel)):
        return finding
    facts = missing.facts(funnel.ask.shape.needs, funnel.found(Reason.NOT_OFFERED), funnel.nodes)
    return replace(finding, said=finding.going_on(*said), facts=[*finding.facts, *facts])


def _missing(funnel: Funnel) -> list[Phrase]:
    return missing.said(funnel.ask.shape.needs, funnel.found(Reason.NOT_OFFERED), funnel.nodes)


def _closed_to_all(ask: Ask) -> Finding:
    """Relaxation is off for racks, and no node is left: it names none of them that is there."""
    racks = ask.closed_racks()
    beyond = phrase("place.no_other_rack") if ask.goes_beyond else phrase("place.off_for_any")
    return Finding(
        Reason.WRONG_PLACE,
        phrase("place.nowhere", racks=say_names(racks), beyond=beyond),
        [PlacesFact(asked=[name for name in ask.places if name != ANY])],
        [has_to("other_place", phrase("change.relax_rack"), "hrm nodes")],
    )


def closed(funnel: Funnel) -> Finding:
    """Nodes could hold it, but none that could may be used."""
    words = say_shape(funnel.ask.shape)
    draining, refused = funnel.found(Reason.NODES_NOT_SCHEDULABLE), funnel.found(Reason.BLACKLISTED)
    if draining:
        one = len(draining) == 1
        back = phrase("change.node_back", node=draining[0].node_id) if one else phrase("change.a_node_back")
        return Finding(
            Reason.NODES_NOT_SCHEDULABLE,
            phrase("nodes.closed", asked=words, nodes_are=say_nodes_are(draining)),
            changes=[has_to("open_node", back, f"hrm nodes undrain {draining[0].node_id}")],
        )
    assert refused, "of the places where it may lie one would hold it: see `never`"
    return Finding(
        Reason.BLACKLISTED,
        phrase("nodes.blacklisted", asked=words, nodes=say_names(refused)),
        changes=[has_to("blacklist", phrase("change.blacklist"))],
    )


def waits_for_preemption(ask: Ask, holds: Sequence[Hold]) -> Finding:
    """Containers of others were told to end for it."""
    victims = [victim for hold in holds for victim in hold.victims]
    nodes = list(dict.fromkeys(hold.node for hold in holds))
    return Finding(
        Reason.WAITS_FOR_PREEMPTION,
        phrase("preemption.told", asked=say_shape(ask.shape), count=len(victims), nodes=say_names(nodes)),
        [
            PreemptionFact(
                node_id=hold.node.node_id,
                kept=hold.got.frozen().as_dict(),
                victims=[str(victim.container_id) for victim in hold.victims],
                kill_at=max((victim.kill_at for victim in hold.victims), default=None),
            )
            for hold in holds[:MAX_NAMES]
        ],
    )


def kept_for_others(ask: Ask, nodes: Sequence[Node]) -> Finding:
    """Enough would be free, but it is kept for whom it was freed for."""
    holds = [hold for node in nodes for hold in node.holds]
    whom = list(dict.fromkeys(hold.ask.app for hold in holds))
    return Finding(
        Reason.KEPT_FOR_OTHERS,
        phrase("preemption.kept", asked=say_shape(ask.shape), nodes=say_names(nodes), apps=say_apps(whom)),
        [
            KeptFact(
                node_id=hold.node.node_id,
                application=str(hold.ask.app.application_id),
                kept=hold.got.frozen().as_dict(),
            )
            for hold in holds[:MAX_NAMES]
        ],
    )


def nothing_to_preempt(ask: Ask, short: Finding) -> Finding:
    """Below its share for too long, and nobody's container may end for it."""
    used, share = ask.app.usage.frozen(), ask.app.fair_share
    return Finding(
        Reason.NOTHING_TO_PREEMPT,
        short.going_on(phrase("preemption.nobody", used=say_resources(used), share=say_resources(share))),
        [*short.facts, ShareFact(used=used.as_dict(), fair_share=share.as_dict())],
        short.changes,
    )


def waits_for_locality(look: Look, ask: Ask, nodes: Sequence[Node]) -> Finding:
    """There is room, but it waits for a place that it would like more."""
    liked = [name for name in ask.places if name != ANY]
    level = allowed_level(ask, look.options)
    missed = 0 if ask.delay is None else ask.delay.missed
    only = phrase("locality.nodes") if level is Level.NODE else phrase("locality.racks")
    options, first = look.options, level is Level.NODE
    if options.continuous_scheduling:
        limit_s = options.node_locality_delay_s if first else options.rack_locality_delay_s
        patience = phrase("locality.seconds", seconds=limit_s)
    else:
        threshold = options.node_locality_threshold if first else options.rack_locality_threshold
        most = len(look.books.nodes) * min(threshold, 1.0)
        patience = phrase("locality.opportunities", most=most, missed=missed)
    return Finding(
        Reason.WAITS_FOR_LOCALITY,
        phrase("locality", liked=say_names(liked), nodes=say_names(nodes), only=only, patience=patience),
        [LocalityFact(asked=liked, level=level.name.lower(), missed=missed)],
        [has_to("time", phrase("change.locality"))],
    )


def reserved(ask: Ask, nodes: Sequence[Node]) -> Finding:
    """There is room, but on nodes that are reserved for others."""
    held = [(node, node.reservation) for node in nodes if node.reservation is not None]
    node, first = held[0]
    return Finding(
        Reason.RESERVED_FOR_OTHERS,
        phrase(
            "reserved",
            asked=say_shape(ask.shape),
            nodes=say_names(nodes),
            node=node.node_id,
            app=say_app(first.app),
            for_what=say_asked(first),
        ),
        [
            ReservationFact(
                node_id=node.node_id,
                application=str(one.app.application_id),
                waits_for=one.shape.resources.as_dict(),
            )
            for node, one in held[:MAX_NAMES]
        ],
        [has_to("time", phrase("change.reservation"))],
    )


def warnings(look: Look, ask: Ask) -> list[WarningFact]:
    """What was asked for and does not count: YARN warns of it alike."""
    if ANY not in ask.places:
        return []
    strict = [name for name, place in ask.places.items() if name in look.books.nodes and not place.relax]
    return [WarningFact(message=say(phrase("warning.relax_locality")), places=strict)] if strict else []
