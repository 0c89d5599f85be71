"""Visits of nodes: what was freed for somebody, then the reservation, then whoever comes first in the queues.

The order is YARN's (FairScheduler.attemptScheduling). How the one who comes first is found is in `hrm.core.visit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hrm.core.applications import Ask, Way
from hrm.core.books import Books
from hrm.core.candidates import Candidates
from hrm.core.commands import (
    Allocate,
    Command,
    ContainerResized,
    ExecutionTypeChanged,
    NodeReserved,
    NodeUnreserved,
    StrategyFailed,
)
from hrm.core.contest import Contests, contests_of
from hrm.core.events import NodeUpdate
from hrm.core.gangs import Gang
from hrm.core.gatherings import Gatherings
from hrm.core.guarded import Guarded
from hrm.core.nodes import Node
from hrm.core.options import Visit
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.core.visit import Assignment, find_ask, still_wants
from hrm.model.errors import InvalidInput
from hrm.model.requests import ANY, ExecutionType
from hrm.model.scheduling import SchedulerOptions

#: What a visit placed: a container, or more for one that runs, or room of its own for one.
_GRANTS = (Allocate, ContainerResized, ExecutionTypeChanged)


class Visits:
    """Makes them, by options that may change between two of them."""

    def __init__(self, books: Books, options: SchedulerOptions, strategies: Strategies) -> None:
        """``strategies`` are those that the options may name. Raises InvalidInput."""
        self._books = books
        self.gatherings = Gatherings(books)
        self._visit = Visit(options, books.nodes_of_rack, self.gatherings)
        self._contests = Contests()
        self._strategies = strategies
        #: None iff what fits on the node that is visited is placed there.
        self._candidates = self._choose_by(options.placement_strategy)
        #: True iff the last visit left nobody who could have got something there.
        self.exhausted = False

    @property
    def options(self) -> SchedulerOptions:
        return self._visit.options

    @property
    def one_fills_all(self) -> bool:
        """True iff the visit of one node places on all the others as well."""
        return self._candidates is not None and self._visit.assigns_all

    def go_by(self, options: SchedulerOptions) -> None:
        """From the next visit on. Raises InvalidInput, with nothing changed."""
        if options.placement_strategy != self._visit.options.placement_strategy:
            self._candidates = self._choose_by(options.placement_strategy)
        self._visit.go_by(options)

    def on_node_update(self, event: NodeUpdate, now: float) -> list[Command]:
        """One visit of one node, as the module says; nothing for a node that is not there or takes nothing new."""
        node = self._books.nodes.get(event.node_id)
        self.exhausted = False
        if node is None or not node.schedulable:
            return []
        self._books.openings.visited(node)
        if not node.holds and node.reservation is None:
            return self._assign(node, event.most, now, event.heartbeat)
        commands = self._serve_holds(node, now)
        goes_on = True
        if node.reservation is not None:
            served = self._serve_reservation(node.reservation, node, now)
            commands += served
            goes_on = node.reservation is None and not any(isinstance(one, _GRANTS) for one in served)
        if goes_on:
            commands += self._assign(node, event.most, now, event.heartbeat)
        elif not commands:
            # What it is reserved for does not fit yet.
            self.exhausted = True
        # What was let go here is no reason for another visit.
        self._books.openings.visited(node)
        return commands

    def _assign(self, node: Node, most: int | None, now: float, heartbeat: bool) -> list[Command]:
        """Place what can be placed, until the rules on assigning several, or a reservation, say stop."""
        if self._candidates is not None:
            placed = self._assign_anywhere(self._candidates, node, most, now, heartbeat)
            trouble = self._candidates.trouble
            return placed if trouble is None else [*placed, self._go_without_strategy(trouble)]
        books = self._books
        root = books.tree.root
        visit = self._visit
        if not root.shapes or not (visit.reserving or books.cluster.floor.fits_in(node.free)):
            self.exhausted = True
            return []
        visit.begin(len(books.nodes), now, heartbeat=heartbeat)
        commands: list[Command] = []
        assignment = None if visit.assigns_all else Assignment(visit.options, node)
        if node.label and node.shared and any(shape.label == node.label for shape in root.shapes):
            # Those with its label first, as YARN: then it ignores the label (SchedulingMode).
            node.withheld = True
            try:
                goes_on = self._fill(node, most, now, commands, assignment)
            finally:
                node.withheld = False
            self.exhausted = False
            visit.begin(len(books.nodes), now, heartbeat=False)
        else:
            goes_on = True
        if goes_on:
            self._fill(node, most, now, commands, assignment)
        if commands:
            books.index.update(node)
        return commands

    def _fill(
        self, node: Node, most: int | None, now: float, commands: list[Command], assignment: Assignment | None
    ) -> bool:
        """Place on the node; False iff the rules on assigning several, or a reservation, said stop."""
        books, visit = self._books, self._visit
        root = books.tree.root
        while most is None or len(commands) < most:
            ask = find_ask(root, node, visit)
            if ask is None:
                self.exhausted = True
                return True
            shape = ask.shape
            if ask.gang is not None:
                if not self._go_on_after_gang(ask.gang, commands, assignment, now):
                    return False
                continue
            if visit.reserving and not node.fits(shape):
                books.reserve(ask, node)
                commands.append(NodeReserved(node.node_id, ask.app.application_id, shape.resources))
                return False
            commands.append(self._grant(ask, node, now, Way.ORDER))
            if assignment is not None and not assignment.goes_on_after(shape):
                return False
        return True

    def _assign_anywhere(
        self, candidates: Candidates, node: Node, most: int | None, now: float, heartbeat: bool
    ) -> list[Command]:
        """The same where a strategy chooses the node: as much as one visit may place, on whichever nodes are best."""
        books, visit = self._books, self._visit
        root = books.tree.root
        if not root.shapes:
            self.exhausted = True
            return []
        visit.begin(len(books.nodes), now, heartbeat=heartbeat)
        candidates.visit(node)
        commands: list[Command] = []
        assignment = None if visit.assigns_all else Assignment(visit.options, node)
        goes_on = True
        if books.shared_labels and any(shape.label in books.shared_labels for shape in root.shapes):
            candidates.withholding = True
            try:
                goes_on = self._fill_any(candidates, node, most, now, commands, assignment)
            finally:
                candidates.withholding = False
            self.exhausted = False
            visit.begin(len(books.nodes), now, heartbeat=False)
            # What did not fit without the nodes that were withheld may fit with them.
            for gang in books.gangs:
                gang.tried_at = -1
        if goes_on:
            self._fill_any(candidates, node, most, now, commands, assignment)
        return commands

    def _fill_any(
        self,
        candidates: Candidates,
        node: Node,
        most: int | None,
        now: float,
        commands: list[Command],
        assignment: Assignment | None,
    ) -> bool:
        """As `_fill`, on all nodes."""
        books, visit = self._books, self._visit
        root = books.tree.root
        while most is None or len(commands) < most:
            ask = find_ask(root, candidates, visit)
            if ask is None:
                self.exhausted = True
                return True
            shape = ask.shape
            if ask.gang is not None:
                if not self._go_on_after_gang(ask.gang, commands, assignment, now):
                    return False
                continue
            if candidates.chosen is None:
                books.reserve(ask, node)
                commands.append(NodeReserved(node.node_id, ask.app.application_id, shape.resources))
                return False
            best, score = candidates.chosen
            positions = candidates.strategy.pick(best, shape, score)
            commands.append(self._grant(ask, best, now, Way.ORDER, positions))
            books.index.update(best)
            if assignment is not None and not assignment.goes_on_after(shape):
                return False
        return True

    def _grant(
        self, ask: Ask, node: Node, now: float, way: Way, positions: Sequence[int] | None = None
    ) -> Allocate | ContainerResized | ExecutionTypeChanged:
        if ask.grows is not None:
            promotes = ask.promotes
            grown = self._books.grant(ask, node)
            if promotes:
                return ExecutionTypeChanged(grown.container_id, node.node_id, ExecutionType.GUARANTEED)
            return ContainerResized(grown.container_id, node.node_id, grown.shape.frozen())
        # Afterwards the place may be answered for.
        level = None if ask.plain or ask.places.keys() == {ANY} else ask.level_at(node)
        contests = contests_of(ask) if way is Way.ORDER else None
        container = self._books.grant(ask, node, positions)
        container.way = way
        if contests:
            self._contests.note(container, contests)
        container.level = level
        container.started_at = container.unsaved_since = now
        return Allocate(
            container.container_id,
            node.node_id,
            ask.shape.resources,
            container.device_ids,
            ask.priority,
            ask.allocation_request_id,
            container.tags,
        )

    def _go_on_after_gang(self, gang: Gang, commands: list[Command], assignment: Assignment | None, now: float) -> bool:
        """Grant all of it, as it was laid out; True iff the visit may place more."""
        amounts = gang.amounts()
        commands += self._grant_gang(gang, now, Way.ORDER)
        return assignment is None or assignment.goes_on_after(amounts)

    def _grant_gang(self, gang: Gang, now: float, way: Way) -> list[Command]:
        """One decision: nodes that were kept for it are free again, and all its members are granted."""
        application_id, asks = gang.app.application_id, list(gang.asks)
        commands: list[Command] = [NodeUnreserved(node.node_id, application_id) for node in self._books.let_go(gang)]
        nodes: dict[Node, int] = {}
        for member in gang.layout:
            nodes.setdefault(member.node, len(nodes))
        # Neighbours have neighbouring numbers.
        members = sorted(gang.layout, key=lambda member: (member.wanted, nodes[member.node]))
        commands += [self._grant(asks[wanted], node, now, way, at) for wanted, _, node, at in members]
        for node in nodes:
            self._books.index.update(node)
        gang.layout = ()
        return commands

    def _serve_holds(self, node: Node, now: float) -> list[Command]:
        """Place what preemption has freed space for here."""
        commands: list[Command] = []
        for hold in list(node.holds):
            # One that goes may take others of the same ask with it.
            if hold in self._books.holds:
                if not still_wants(hold.ask, node):
                    self._books.drop_hold(hold)
                elif hold.complete:
                    self._books.fulfil(hold)
                    if node.fits(hold.ask.shape):
                        commands.append(self._grant(hold.ask, node, now, Way.PREEMPTION))
                    self._books.top_up(node)
        return commands

    def _serve_reservation(self, ask: Ask, node: Node, now: float) -> list[Command]:
        """Fulfil the node's reservation if there is room now, drop it if it is of no more use, else keep it."""
        books = self._books
        if ask.gang is not None:
            reason = self.gatherings.why_not(ask.gang, node)
            return [] if reason is not None else self._grant_gang(ask.gang, now, Way.RESERVATION)
        wanted = still_wants(ask, node)
        if wanted and not node.fits(ask.shape):
            return []
        books.unreserve(node)
        commands: list[Command] = [NodeUnreserved(node.node_id, ask.app.application_id)]
        if wanted:
            commands.append(self._grant(ask, node, now, Way.RESERVATION))
            books.index.update(node)
        return commands

    def _go_without_strategy(self, trouble: str) -> StrategyFailed:
        """Until options are told anew."""
        name = self.options.placement_strategy
        assert name is not None
        self.go_by(replace(self.options, placement_strategy=None))
        return StrategyFailed(name, trouble)

    def _choose_by(self, name: str | None) -> Candidates | None:
        """Have a strategy choose nodes from now on; None: nobody. Raises InvalidInput."""
        candidates = None
        if name is not None:
            make = self._strategies.get(name)
            if make is None:
                raise InvalidInput(
                    f"no such placement strategy: {name!r}",
                    field="placement_strategy",
                    next_step=f"one of {', '.join(self._strategies)}",
                )
            candidates = Candidates(self._books, make() if name in BUILT_IN else Guarded(make))
        self._books.index.watch = None if candidates is None else candidates.note
        self._books.watch_asks = None if candidates is None else candidates.asked
        self.gatherings.candidates = candidates
        return candidates
