"""All nodes as candidates for each request, for schedulers with a placement strategy (YARN's CandidateNodeSet with a
MultiNodeLookupPolicy).

A visit then walks the queues as ever, but asks of each request whether any node has room, and gives it the node with
the least score. For each shape the nodes with room stand in a heap; after a change only the nodes that changed are
scored again, and only when the shape is next asked for. So a decision costs as much with ten thousand nodes as with
ten, apart from the first of a shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from heapq import heapify, heappop, heappush

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask, Shape, ShapeKey
from hrm.core.books import Books
from hrm.core.guarded import Guarded
from hrm.core.locality import Delay, Level
from hrm.core.nodes import Node
from hrm.core.options import Visit
from hrm.core.reasons import Reason
from hrm.core.strategies import PlacementStrategy, Score
from hrm.core.visit import is_over_am_share, may_reserve, turned_down
from hrm.model.requests import ANY

#: Shapes whose rankings are kept, those used last.
MAX_RANKINGS = 256

#: Score, when the node joined, when it changed last, the node.
_Entry = tuple[Score, int, int, Node]


class _Ranking:
    """The nodes with room for one shape, by score. Entries of nodes that changed since are passed over."""

    __slots__ = ("epoch", "heap", "read")

    def __init__(self) -> None:
        self.heap: list[_Entry] = []
        #: Changes of nodes up to here are in it; -1 before the first look.
        self.read = -1
        self.epoch = 0


class Candidates:
    """Stands where a visit has a node: room anywhere is room. `choose` then says where."""

    def __init__(self, books: Books, strategy: PlacementStrategy) -> None:
        self.strategy = strategy
        self._books = books
        self._rankings: dict[tuple[ShapeKey, bool], _Ranking] = {}
        #: True iff nodes are kept from requests without a label until those with the nodes' own were looked at.
        self.withholding = False
        #: By node: when it joined and when it changed last, both counted in changes.
        self._joined: dict[Node, int] = {}
        self._changed: dict[Node, int] = {}
        self._changes = 0
        #: The nodes that changed, in order; the first is number ``_log_from``.
        self._log: list[Node] = []
        self._log_from = 0
        self._racks: dict[str, dict[Node, None]] = {}
        self._rack_of: dict[Node, str] = {}
        self._sizes_of = -1
        #: The node whose visit this is: what fits nowhere may reserve it.
        self._visited: Node | None = None
        #: Where the ask that was found last is to be placed; None iff it is to reserve the node that is visited.
        self.chosen: tuple[Node, Score] | None = None
        for node in books.nodes.values():
            self.note(node)
        for app in books.apps.values():
            for container in app.containers.values():
                self.asked(container.shape, None, 1)
            for ask in app.asks:
                self.asked(ask.shape, ask.shape.gpu_model, ask.pending)

    @property
    def trouble(self) -> str | None:
        """What is wrong with the strategy, so that it is to be given up; None iff nothing."""
        return self.strategy.trouble if isinstance(self.strategy, Guarded) else None

    # ---- told by the books

    def note(self, node: Node) -> None:
        """What is free on the node changed, or it joined, or left."""
        self.strategy.changed(node)
        if self._books.nodes.get(node.node_id) is not node:
            if self._joined.pop(node, None) is not None:
                del self._changed[node], self._racks[self._rack_of.pop(node)][node]
            return
        self._changes += 1
        if node not in self._joined:
            self._joined[node] = self._changes
        if (before := self._rack_of.get(node)) != node.rack:
            if before is not None:
                del self._racks[before][node]
            self._rack_of[node] = node.rack
            self._racks.setdefault(node.rack, {})[node] = None
        self._changed[node] = self._changes
        self._log.append(node)
        if len(self._log) > 4 * len(self._joined) + 1024:
            # Who has not read so far counts all nodes anew, which is no more work.
            cut = len(self._log) // 2
            del self._log[:cut]
            self._log_from += cut

    def asked(self, shape: Amounts, gpu_model: str | None, count: int) -> None:
        """So many more containers are asked for, or were found running."""
        self.strategy.asked(shape, gpu_model, count)

    # ---- asked by a visit, as of a node

    def visit(self, node: Node) -> None:
        """A visit of this node begins."""
        self._visited = node
        cluster = self._books.cluster
        if self._sizes_of != cluster.epoch:
            self._sizes_of = cluster.epoch
            self.strategy.resized(_largest(self._books.nodes.values()))

    def fits(self, shape: Shape) -> bool:
        """True iff some node has room now."""
        return self._first(shape) is not None

    def could_hold(self, shape: Shape) -> bool:
        """True iff the node that is visited would have room if nothing ran there: for reservations."""
        return self._visited is not None and self._visited.could_hold(shape)

    def why_not(self, shape: Shape) -> Reason:
        """What is short on the node that is visited. Only for a shape that fits nowhere."""
        assert self._visited is not None
        return self._visited.why_not(shape)

    def find_in_app(self, app: App, visit: Visit) -> Ask | None:
        """The first ask of the application that some node has room for and may take; sets ``chosen``."""
        node = self._visited
        assert node is not None
        for ask in app.asks:
            shape = ask.shape
            if shape.missed_visit == visit.number:
                continue
            if not self.fits(shape):
                if not visit.reserving or not node.could_hold(shape):
                    shape.missed_visit = visit.number
                    shape.reason = node.why_not(shape)
                elif (
                    node.node_id not in app.blacklist
                    and turned_down(ask, node, visit) is None
                    and may_reserve(ask, node, visit)
                ):
                    self.chosen = None
                    return ask
                else:
                    ask.turn_down(node.why_not(shape), visit.number)
            elif app.queue.limited and (full := app.queue.over_max_with(shape)) is not None:
                full.held[shape] = None
                ask.turn_down(Reason.QUEUE_MAX_SHARE, visit.number)
            elif ask.for_master and is_over_am_share(ask):
                app.queue.held[shape] = None
                ask.turn_down(Reason.QUEUE_AM_SHARE, visit.number)
            elif ask.gang is not None:
                if (reason := visit.gangs.turned_down(ask.gang, node, visit)) is None:
                    return ask
                ask.turn_down(reason, visit.number)
            elif isinstance(found := self._place(ask, visit), Reason):
                ask.turn_down(found, visit.number)
            else:
                self.chosen = found
                return ask
        return None

    def _place(self, ask: Ask, visit: Visit) -> tuple[Node, Score] | Reason:
        """The best of the nearest nodes that it may go to now."""
        places, blacklist = ask.places, ask.app.blacklist
        if ask.constraint is not None:
            ask.constraint.look(visit)
        if places.keys() != {ANY}:
            near = self._best(ask, (self._books.nodes[name] for name in places if name in self._books.nodes))
            if near is not None:
                return near
            allowed = Level.ANYWHERE
            if visit.delays:
                if ask.delay is None:
                    ask.delay = Delay(visit.now)
                allowed = ask.delay.look(visit)
            if allowed is Level.NODE:
                return Reason.WAITS_FOR_LOCALITY
            near = self._best(ask, (node for name in places for node in self._racks.get(name, ())))
            if near is not None:
                return near
            if not ask.goes_beyond:
                return Reason.WRONG_PLACE
            if allowed is Level.RACK:
                return Reason.WAITS_FOR_LOCALITY
            if ask.closed_racks():
                # Rankings know nothing of places.
                return self._best(ask, self._joined) or Reason.WRONG_PLACE
        if ask.constraint is not None:
            # Nor of what runs there.
            return self._best(ask, self._joined) or Reason.PLACEMENT_CONSTRAINT
        return self._first(ask.shape, blacklist) or Reason.BLACKLISTED

    def best(self, shape: Shape, without: Set[str]) -> tuple[Node, Sequence[int]] | None:
        """The best node for the shape that is none of those ids, and devices there; None iff none has room."""
        found = self._first(shape, without)
        if found is None:
            return None
        node, score = found
        return node, self.strategy.pick(node, shape, score)

    def _best(self, ask: Ask, nodes: Iterable[Node]) -> tuple[Node, Score] | None:
        """Of a few nodes."""
        shape, blacklist = ask.shape, ask.app.blacklist
        entries = [
            (self.strategy.score(node, shape), self._joined[node], node)
            for node in nodes
            if self._has_room(node, shape)
            and node.node_id not in blacklist
            and ask.accepts(node)
            and not ask.is_kept_off(node)
        ]
        if not entries:
            return None
        score, _, node = min(entries, key=lambda entry: entry[:2])
        return node, score

    # ---- rankings

    def _first(self, shape: Shape, blacklist: Set[str] = frozenset()) -> tuple[Node, Score] | None:
        """The node with the least score that is not blacklisted; None iff none has room."""
        heap, changed = self._up_to_date(shape).heap, self._changed
        passed: list[_Entry] = []
        found = None
        while heap:
            score, _, stamp, node = entry = heap[0]
            if changed.get(node) != stamp:
                heappop(heap)
            elif node.node_id in blacklist:
                passed.append(entry)
                heappop(heap)
            else:
                found = node, score
                break
        for entry in passed:
            heappush(heap, entry)
        return found

    def _up_to_date(self, shape: Shape) -> _Ranking:
        # What is withheld of some shapes is another ranking.
        key = shape.key, self.withholding and not shape.label
        ranking = self._rankings.get(key)
        log_from, now = self._log_from, self._log_from + len(self._log)
        if ranking is None:
            ranking = self._rankings[key] = _Ranking()
            if len(self._rankings) > MAX_RANKINGS:
                del self._rankings[next(iter(self._rankings))]
        elif ranking.read == now and ranking.epoch == self.strategy.epoch:
            return ranking
        else:
            # Those that were used last stay.
            self._rankings[key] = self._rankings.pop(key)
        heap = ranking.heap
        if ranking.read < log_from or ranking.epoch != self.strategy.epoch:
            ranking.epoch = self.strategy.epoch
            heap[:] = [entry for node in self._joined if (entry := self._entry(node, shape))]
            heapify(heap)
        else:
            for node in dict.fromkeys(self._log[ranking.read - log_from :]):
                if node in self._joined and (entry := self._entry(node, shape)):
                    heappush(heap, entry)
            if len(heap) > 2 * len(self._joined) + 64:
                heap[:] = [entry for entry in heap if self._changed.get(entry[3]) == entry[2]]
                heapify(heap)
        ranking.read = now
        return ranking

    def _entry(self, node: Node, shape: Shape) -> _Entry | None:
        if not self._has_room(node, shape):
            return None
        return self.strategy.score(node, shape), self._joined[node], self._changed[node], node

    def _has_room(self, node: Node, shape: Shape) -> bool:
        if not (node.schedulable and node.reservation is None and node.fits(shape)):
            return False
        return not (self.withholding and node.lends_to(shape))


def _largest(nodes: Iterable[Node]) -> Amounts:
    """The most that any node has, of each resource."""
    largest = Amounts()
    for node in nodes:
        total = node.total
        largest.memory = max(largest.memory, total.memory)
        largest.vcores = max(largest.vcores, total.vcores)
        largest.gpus = max(largest.gpus, total.gpus)
    return largest
