"""Why a gang waits: how many of it fit now, how many ever would, and what is kept for it."""

from __future__ import annotations

from dataclasses import replace

from hrm.core.explain.finding import Finding, Look, has_to
from hrm.core.explain.funnel import Funnel
from hrm.core.explain.places import closed
from hrm.core.explain.room import is_short, no_room
from hrm.core.gangs import Gang, Layout, fill, fill_emptied
from hrm.core.reasons import Reason
from hrm.core.wording import say_app, say_gang, say_names
from hrm.model.evidence import Fact, GangFact
from hrm.model.phrases import Phrase, phrase


def gang_waits(look: Look, funnel: Funnel) -> Finding | None:
    """Fewer of it fit than it needs at once; None iff that is not why, or it is no gang's."""
    gang = funnel.ask.gang
    if gang is None:
        return None
    fact = _fact(look, gang)
    if fact.fitting == fact.size:
        return None
    if fact.fitting_when_empty < fact.size:
        return _too_large(gang, fact)
    if not funnel.open_nodes:
        found = closed(funnel)
        return replace(found, facts=[fact, *found.facts])
    return Finding(
        Reason.INSUFFICIENT_FOR_GANG,
        phrase(
            "gang.waits",
            gang=say_gang(gang),
            fits=phrase("gang.fits", count=fact.fitting) if fact.fitting else phrase("gang.none_fits"),
            gathering=_say_gathering(look, gang),
        ),
        [fact, *_held_by(funnel)],
        [has_to("end_something", phrase("change.room_for_gang", count=fact.size - fact.fitting))],
    )


def _held_by(funnel: Funnel) -> list[Fact]:
    """What is in use, by whom, where some nodes are too full for one more."""
    return list(no_room(funnel).facts) if is_short(funnel) else []


def _fact(look: Look, gang: Gang) -> GangFact:
    books = look.books
    now, empty = Layout(gang.tasks_per_node), Layout(gang.tasks_per_node)
    fill(now, gang.wanted, lambda shape: gang.nodes_with_room(books.index, shape))
    now.undo()
    fill_emptied(empty, gang.wanted, books.nodes.values)
    other = books.gathering
    return GangFact(
        size=gang.size,
        fitting=len(now.members),
        fitting_when_empty=len(empty.members),
        tasks_per_node=gang.tasks_per_node,
        gathered=[node.node_id for node in gang.gathered],
        gathers_since=gang.gathers_since,
        gathers_before=None if other is None or other is gang else str(other.app.application_id),
    )


def _too_large(gang: Gang, fact: GangFact) -> Finding:
    return Finding(
        Reason.NEVER_FITS,
        phrase("gang.too_large", gang=say_gang(gang), count=fact.fitting_when_empty),
        [fact],
        [has_to("less", phrase("change.smaller_gang"))],
    )


def _say_gathering(look: Look, gang: Gang) -> Phrase | str:
    """What follows "so many fit now"."""
    if gang.gathers_since is not None:
        nodes = say_names(gang.gathered)
        if look.now is None:
            return phrase("gang.gathers", nodes=nodes)
        return phrase("gang.gathers_for", seconds=max(look.now - gang.gathers_since, 0.0), nodes=nodes)
    other = look.books.gathering
    if other is not None:
        return phrase("gang.other_gathers", app=say_app(other.app))
    if look.now is not None and look.now < gang.rests_until:
        return phrase("gang.rests", seconds=gang.rests_until - look.now)
    return ""
