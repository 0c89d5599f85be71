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
from hrm.model.units import format_duration


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
        f"waits for {say_gang(gang)}: {fact.fitting or 'none'} {'fits' if fact.fitting == 1 else 'fit'} now"
        f"{_say_gathering(look, gang)}",
        [fact, *_held_by(funnel)],
        [has_to("end_something", f"room for {fact.size - fact.fitting} more of its containers has to get free")],
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
        f"asks for {say_gang(gang)}; all nodes together would hold {fact.fitting_when_empty} if nothing else ran there",
        [fact],
        [has_to("less", "ask for fewer containers at once, or for less for each")],
    )


def _say_gathering(look: Look, gang: Gang) -> str:
    if gang.gathers_since is not None:
        since = "" if look.now is None else f" for {format_duration(max(look.now - gang.gathers_since, 0.0))}"
        return f"; it has been gathering nodes{since}: {say_names(gang.gathered)}"
    other = look.books.gathering
    if other is not None:
        return f"; {say_app(other.app)} gathers nodes before it"
    if look.now is not None and look.now < gang.rests_until:
        rest = format_duration(gang.rests_until - look.now)
        return f"; it has gathered nodes for too long, let them go, and may do so again after {rest}"
    return ""
