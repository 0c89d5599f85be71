"""Where an ask may lie: places and models that are not there, nodes that are closed to it, wished for or promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hrm.core.applications import Ask, Hold
from hrm.core.explain.finding import Finding, Look, has_to
from hrm.core.explain.funnel import Funnel, allowed_level
from hrm.core.explain.room import too_large
from hrm.core.locality import Level
from hrm.core.nodes import Node
from hrm.core.reasons import Reason
from hrm.core.wording import MAX_NAMES, say_app, say_apps, say_asked, say_count, say_names, say_nodes_are, say_shape
from hrm.model.evidence import (
    Fact,
    GpuModelsFact,
    KeptFact,
    LocalityFact,
    MissingFact,
    PlacesFact,
    PreemptionFact,
    ReservationFact,
    ShareFact,
    WarningFact,
)
from hrm.model.requests import ANY


def never(funnel: Funnel) -> Finding | None:
    """What no waiting would cure: too large, a model or a place that is not there."""
    ask, nodes = funnel.ask, funnel.nodes
    shape, strict = ask.shape, ask.strict_places()
    if shape.gpus and shape.gpu_model is not None and len(funnel.found(Reason.NO_SUCH_GPU_MODEL)) == len(nodes):
        models = Counter(device.model for node in nodes for device in node.devices)
        there = ", ".join(f"{count} {model}" for model, count in sorted(models.items())) or "no GPUs at all"
        return Finding(
            Reason.NO_SUCH_GPU_MODEL,
            f"waits for {say_shape(shape)}; the cluster has {there}",
            [GpuModelsFact(asked=shape.gpu_model, models=dict(sorted(models.items())))],
            [has_to("any_model", "ask for one of the models there are, or for any", "hrm nodes gpus")],
        )
    if strict and not any(node.node_id in strict or node.rack in strict for node in nodes):
        return Finding(
            Reason.PLACE_NOT_FOUND,
            f"must run on {say_names(strict)}, which {'is' if len(strict) == 1 else 'are'} not in the cluster",
            [PlacesFact(asked=list(strict))],
            [
                has_to(
                    "other_place",
                    "name a node or rack of the cluster, or let the place be only a wish (relax_locality)",
                    "hrm nodes",
                )
            ],
        )
    where = nodes if ask.plain else [node for node in nodes if ask.accepts(node)]
    if not where:
        return _closed_to_all(ask)
    offering = [node for node in where if shape.needs <= node.offers]
    if not offering:
        return Finding(
            Reason.NOT_OFFERED,
            f"waits for {say_shape(shape)}; {missing_on(funnel)}",
            _lacking(funnel),
            [has_to("need", "it has to be there on a node: `hrm nodes` says what is wrong", "hrm nodes")],
        )
    if not any(node.could_hold(shape) for node in offering):
        return too_large(shape, offering)
    return None


def missing_on(funnel: Funnel) -> str:
    """``shared path /data is missing on node3``; "" iff nothing that it needs is missing anywhere."""
    lacking = funnel.found(Reason.NOT_OFFERED)
    return "; ".join(
        f"{need} is missing on {say_names(nodes)}"
        for need in sorted(funnel.ask.shape.needs)
        if (nodes := [node for node in lacking if need not in node.offers])
    )


def _lacking(funnel: Funnel) -> list[Fact]:
    lacking = funnel.found(Reason.NOT_OFFERED)
    return [
        MissingFact(need=need, count=len(nodes), nodes=nodes[:MAX_NAMES])
        for need in sorted(funnel.ask.shape.needs)
        if (nodes := [node.node_id for node in lacking if need not in node.offers])
    ]


def with_missing(funnel: Funnel, finding: Finding) -> Finding:
    """The finding, and on which other nodes something is missing that the ask needs."""
    if finding.reason in (Reason.NOT_OFFERED, Reason.NO_NODES) or not (missing := missing_on(funnel)):
        return finding
    return replace(finding, message=f"{finding.message}; {missing}", facts=[*finding.facts, *_lacking(funnel)])


def _closed_to_all(ask: Ask) -> Finding:
    """Relaxation is off for racks, and no node is left: it names none of them that is there."""
    racks = ask.closed_racks()
    beyond = "no other rack is in the cluster" if ask.goes_beyond else "it is off for '*', too"
    return Finding(
        Reason.WRONG_PLACE,
        f"may run nowhere: relax_locality is off for {say_names(racks)}, of which it names no node that is in the"
        f" cluster, and {beyond}",
        [PlacesFact(asked=[name for name in ask.places if name != ANY])],
        [has_to("other_place", "switch relax_locality on for the rack, or name nodes of the cluster", "hrm nodes")],
    )


def closed(funnel: Funnel) -> Finding:
    """Nodes could hold it, but none that could may be used."""
    words = say_shape(funnel.ask.shape)
    draining, refused = funnel.found(Reason.NODES_NOT_SCHEDULABLE), funnel.found(Reason.BLACKLISTED)
    if draining:
        return Finding(
            Reason.NODES_NOT_SCHEDULABLE,
            f"waits for {words}; of the nodes that could hold it {say_nodes_are(draining)} unhealthy or draining",
            changes=[
                has_to(
                    "open_node",
                    "bring one of them back" if len(draining) > 1 else f"bring {draining[0].node_id} back",
                    f"hrm nodes undrain {draining[0].node_id}",
                )
            ],
        )
    assert refused, "of the places where it may lie one would hold it: see `never`"
    return Finding(
        Reason.BLACKLISTED,
        f"waits for {words}; the application has blacklisted every node that could hold it ({say_names(refused)})",
        changes=[has_to("blacklist", "take a node off the application's blacklist")],
    )


def waits_for_preemption(ask: Ask, holds: Sequence[Hold]) -> Finding:
    """Containers of others were told to end for it."""
    victims = [victim for hold in holds for victim in hold.victims]
    nodes = list(dict.fromkeys(hold.node for hold in holds))
    return Finding(
        Reason.WAITS_FOR_PREEMPTION,
        f"waits for {say_shape(ask.shape)}: {say_count(len(victims), 'container')} of others on {say_names(nodes)}"
        f" {'has' if len(victims) == 1 else 'have'} been told to end for it",
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
        f"enough for {say_shape(ask.shape)} would be free on {say_names(nodes)}, but it is kept for {say_apps(whom)},"
        " for whom it was freed",
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
        f"{short.message}; it has been below its share ({used} of {share}) for too long, but no container of others"
        " may end for it: all are in queues that are not preemptable, too young, or needed by who has no more than"
        " its own share",
        [*short.facts, ShareFact(used=used.as_dict(), fair_share=share.as_dict())],
        short.changes,
    )


def waits_for_locality(look: Look, ask: Ask, nodes: Sequence[Node]) -> Finding:
    """There is room, but it waits for a place that it would like more."""
    liked = [name for name in ask.places if name != ANY]
    level = allowed_level(ask, look.options)
    missed = 0 if ask.delay is None else ask.delay.missed
    only = "its nodes" if level is Level.NODE else "its nodes and racks"
    options, first = look.options, level is Level.NODE
    if options.continuous_scheduling:
        limit_s = options.node_locality_delay_s if first else options.rack_locality_delay_s
        patience = f"for up to {limit_s:g} s"
    else:
        threshold = options.node_locality_threshold if first else options.rack_locality_threshold
        most = len(look.books.nodes) * min(threshold, 1.0)
        patience = f"until it has let more than {most:g} opportunities pass (so far {missed})"
    return Finding(
        Reason.WAITS_FOR_LOCALITY,
        f"would like to run on {say_names(liked)}; there is room on {say_names(nodes)},"
        f" but for now it waits for {only}, {patience}",
        [LocalityFact(asked=liked, level=level.name.lower(), missed=missed)],
        [has_to("time", "it takes another place when it has waited long enough")],
    )


def reserved(ask: Ask, nodes: Sequence[Node]) -> Finding:
    """There is room, but on nodes that are reserved for others."""
    held = [(node, node.reservation) for node in nodes if node.reservation is not None]
    node, first = held[0]
    return Finding(
        Reason.RESERVED_FOR_OTHERS,
        f"there is room for {say_shape(ask.shape)} on {say_names(nodes)}, but {node.node_id} is reserved for"
        f" {say_app(first.app)}, which is below its share and waits for {say_asked(first)}",
        [
            ReservationFact(
                node_id=node.node_id,
                application=str(one.app.application_id),
                waits_for=one.shape.resources.as_dict(),
            )
            for node, one in held[:MAX_NAMES]
        ],
        [has_to("time", "the reservation has to be fulfilled or dropped")],
    )


def warnings(look: Look, ask: Ask) -> list[WarningFact]:
    """What was asked for and does not count: YARN warns of it alike."""
    if ANY not in ask.places:
        return []
    strict = [name for name, place in ask.places.items() if name in look.books.nodes and not place.relax]
    words = "relax locality off is not supported on a request for a node: switch it off for its rack and for '*'"
    return [WarningFact(message=words, places=strict)] if strict else []
