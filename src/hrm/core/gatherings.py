"""Where gangs go: whether a whole one fits now, and which one may gather nodes until it does.

Theory of operation. A gang that does not fit holds nothing, so small requests could keep it waiting for ever. One that
is below its share may therefore gather: nodes that would hold all of it are kept from others, and fill no further,
until it fits (the gang's form of YARN's reservation; what Slurm's backfill plans for its first job). One gang at a time
gathers in the whole cluster, the oldest that is below its share: with two, each could keep what the other lacks. One
that has gathered for too long lets go of all nodes, stands behind the other gangs, and gathers none for as long again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hrm.core.amounts import NOTHING
from hrm.core.applications import Container, Shape
from hrm.core.books import Books
from hrm.core.candidates import Candidates
from hrm.core.commands import NodeReserved, NodeUnreserved
from hrm.core.gangs import Gang, Layout, fill, fill_emptied, largest_first
from hrm.core.nodes import Node
from hrm.core.options import Visit
from hrm.core.reasons import Reason
from hrm.core.visit import is_starved
from hrm.model.ids import ContainerId
from hrm.model.scheduling import SchedulerOptions


class Gatherings:
    """One for each scheduler."""

    def __init__(self, books: Books) -> None:
        self._books = books
        #: Set where a placement strategy chooses nodes.
        self.candidates: Candidates | None = None

    # ---- whether it fits

    def turned_down(self, gang: Gang, node: Node, visit: Visit) -> Reason | None:
        """Why this visit does not grant the gang; None iff it may, as the gang's ``layout`` then says."""
        if gang.missed_visit != visit.number:
            reason = self.why_not(gang, node)
            if reason is None:
                return None
            gang.missed_visit, gang.reason = visit.number, reason
        return gang.reason

    def why_not(self, gang: Gang, node: Node) -> Reason | None:
        """Why the gang cannot be granted now; None iff it can, as its ``layout`` then says, on ``node`` first."""
        if (full := gang.app.queue.over_max_with(gang.amounts())) is not None:
            full.held[gang.asks[0].shape] = None
            return Reason.QUEUE_MAX_SHARE
        return None if self.fits(gang, node) else Reason.INSUFFICIENT_FOR_GANG

    def fits(self, gang: Gang, first: Node | None = None) -> bool:
        """Try all of it on what is free now, on node ``first`` before others; sets its ``layout`` if that is so."""
        if gang.tried_at == self._books.room_grew:
            return False
        if self._is_too_full(gang):
            gang.tried_at = self._books.room_grew
            return False
        layout = Layout(gang.tasks_per_node)
        # Where shapes differ the order of nodes may decide: an explanation must find what a visit finds.
        one_shape = len(gang.asks) == 1
        if self.candidates is not None and gang.gathers_since is None:
            self._fill_by_strategy(layout, gang, self.candidates)
        if len(layout.members) < gang.size and (self.candidates is None or gang.gathers_since or not one_shape):
            layout = Layout(gang.tasks_per_node)
            first = first if one_shape else None
            claimed = self._claimed()
            fill(layout, gang.wanted, lambda shape: self._nodes_with_room(gang, shape, first, claimed))
            layout.undo()
        if len(layout.members) == gang.size:
            gang.layout = layout.members
            return True
        gang.tried_at = self._books.room_grew
        return False

    def _claimed(self) -> set[str]:
        """Labels of nodes that others may use, and for which requests with them wait."""
        shared = self._books.shared_labels
        return {shape.label for shape in self._books.tree.root.shapes if shape.label in shared} if shared else set()

    def _nodes_with_room(self, gang: Gang, shape: Shape, first: Node | None, claimed: set[str]) -> Iterator[Node]:
        for node in gang.nodes_with_room(self._books.index, shape, first):
            if not (node.label in claimed and node.lends_to(shape)):
                yield node

    def _is_too_full(self, gang: Gang) -> bool:
        """True if less is free of something in the whole cluster than it needs: then no layout need be tried."""
        books = self._books
        # There it is not so that what is free is what is not used.
        books.odd_nodes = {node for node in books.odd_nodes if node.is_odd and books.nodes.get(node.node_id) is node}
        return not books.odd_nodes and not gang.amounts().fits_in(books.cluster.total.less(books.tree.root.usage))

    def _fill_by_strategy(self, layout: Layout, gang: Gang, candidates: Candidates) -> None:
        index, without = self._books.index, set(gang.app.blacklist)
        wanted = gang.wanted
        for position in largest_first(wanted):
            shape, left = wanted[position]
            while left and (found := candidates.best(shape, without)) is not None:
                node, devices = found
                layout.take(position, shape, node, devices)
                layout.show(self._tried(gang, node, shape, devices))
                index.update(node)
                left -= 1
                if not layout.has_place_on(node):
                    without.add(node.node_id)
        layout.undo()
        for node in layout.nodes:
            index.update(node)

    def _tried(self, gang: Gang, node: Node, shape: Shape, devices: Sequence[int]) -> Container:
        """A member as its node would hold it."""
        app = gang.app
        assert app.attempt is not None, "who asks has an attempt"
        container_id = ContainerId(app.attempt, self._books.epoch, 0)
        device_ids = tuple([node.devices[at].device_id for at in devices])
        return Container(container_id, app, node, shape, device_ids, gang.asks[0].priority)

    # ---- gathering

    def update(self, options: SchedulerOptions, now: float) -> list[NodeReserved | NodeUnreserved]:
        """One look, now and then: who gathers goes on, lets go, or the next begins."""
        commands: list[NodeReserved | NodeUnreserved] = []
        gang = self._books.gathering
        if gang is not None and gang.gathers_since is not None:
            if now - gang.gathers_since >= options.gang_gather_timeout_s:
                # It goes behind the others.
                del self._books.gangs[gang]
                self._books.gangs[gang] = None
                gang.rests_until = now + options.gang_gather_timeout_s
                commands += self._let_go(gang)
            elif not self._may_gather(gang, now) or not self._reserve(gang, commands):
                commands += self._let_go(gang)
        if self._books.gathering is None and options.gang_gather_timeout_s > 0:
            for gang in self._books.gangs:
                if self._may_gather(gang, now) and not self.fits(gang) and self._reserve(gang, commands):
                    gang.gathers_since = now
                    self._books.gathering = gang
                    break
        return commands

    def _may_gather(self, gang: Gang, now: float) -> bool:
        app = gang.app
        return (
            app.runnable
            and now >= gang.rests_until
            and is_starved(app)
            and app.queue.over_max_with(gang.amounts()) is None
        )

    def _reserve(self, gang: Gang, commands: list[NodeReserved | NodeUnreserved]) -> bool:
        """Keep nodes that would hold all of it were they empty; False iff there are too few that may be kept."""
        layout = Layout(gang.tasks_per_node)
        kept = gang.gathered
        nodes = fill_emptied(layout, gang.wanted, lambda: self._to_keep(gang, kept))
        if len(layout.members) < gang.size:
            return False
        application_id, ask = gang.app.application_id, gang.asks[0]
        for node in kept:
            if node not in nodes:
                self._books.unreserve(node)
                commands.append(NodeUnreserved(node.node_id, application_id))
        for node in nodes:
            if node not in kept:
                self._books.reserve(ask, node)
                commands.append(NodeReserved(node.node_id, application_id, ask.shape.resources))
        return True

    def _to_keep(self, gang: Gang, kept: list[Node]) -> Iterator[Node]:
        """Nodes that may be kept, those that are first, then the emptiest; none on which others wait for room."""
        yield from (node for node in kept if gang.may_use(node))
        for node in self._books.index.with_room_for(NOTHING):
            lent = node.shared and any(node.lends_to(ask.shape) for ask in gang.asks)
            if node.reservation is None and not node.holds and gang.may_use(node) and not lent:
                yield node

    def _let_go(self, gang: Gang) -> list[NodeUnreserved]:
        kept = self._books.let_go(gang)
        return [NodeUnreserved(node.node_id, gang.app.application_id) for node in kept]
