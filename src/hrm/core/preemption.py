"""Preemption: who is starved, and which containers end for it (YARN's FSAppAttempt and FSPreemptionThread).

Starvation is looked at application by application. One that has had less than min(threshold × fair share, demand) for
its timeout may have containers of others ended, as many as bring it there; so may applications of a queue that has had
less than its minimum share for that timeout. All victims for one request run on one node, but for the rest of gangs,
which end as a whole. No victim's application falls below its fair share, counting what of it is marked already: so what
was taken is never taken back. Gangs have nobody's containers ended: they gather (`hrm.core.gatherings`).

Where this is more careful than YARN: a container that holds nothing of what is lacking is no victim, and one that
turns out not to be needed is spared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask, Container, Hold, Shape
from hrm.core.books import Books
from hrm.core.commands import KillContainer, PreemptContainer, Starvation
from hrm.core.nodes import Node, pick_devices
from hrm.core.starvation import keeps_share, starving_in, surplus_in, times
from hrm.core.visit import is_starved, still_wants
from hrm.core.watch import Starving
from hrm.model.scheduling import SchedulerOptions, Victims

#: Nodes by what it would cost at least to make room there: masters that end, seconds of work, place in the order.
Line = list[tuple[int, float, int, Node]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make room for one container on one node."""

    node: Node
    #: There, and elsewhere where gangs end with a member that runs there.
    victims: list[Container]
    #: Devices that will be free for it.
    positions: tuple[int, ...]

    @property
    def masters(self) -> int:
        return sum(victim.is_master for victim in self.victims)


def preempt(
    books: Books, options: SchedulerOptions, now: float, most: int | None = None
) -> list[PreemptContainer | KillContainer]:
    """One round: drop what is of no more use, mark victims for the starved, kill those whose time is over.

    Of victims no more are marked than make room for ``most`` containers; the next round goes on.
    """
    if not options.preemption:
        return []
    _drop_useless(books)
    commands: list[PreemptContainer | KillContainer] = []
    # Below the threshold starvation is measured all the same: it counts from when it began.
    may_warn = is_utilized(books, options.preemption_utilization_threshold)
    search = Search(books, options, now, most)
    for leaf in books.tree.by_path.values():
        if leaf.is_leaf:
            for starving in starving_in(leaf, now):
                if may_warn:
                    commands += _serve(search, starving)
    for hold in books.holds:
        for victim in hold.victims:
            if not victim.killed and victim.kill_at <= now:
                victim.killed = True
                commands.append(KillContainer(victim.container_id, victim.node.node_id, hold.ask.app.application_id))
    return commands


def is_utilized(books: Books, threshold: float) -> bool:
    """True iff of some resource more than this part of the cluster is used (FairScheduler.shouldAttemptPreemption)."""
    used, total = books.tree.root.usage, books.cluster.total.frozen()
    return any(amount > threshold * total.get(name) for name, amount in used.items() if total.get(name))


def _drop_useless(books: Books) -> None:
    for hold in list(books.holds):
        waits_in_vain = not hold.victims and not hold.complete
        if waits_in_vain or not still_wants(hold.ask, hold.node) or not is_starved(hold.ask.app):
            books.drop_hold(hold)


# ---- what ends for it


class Search:
    """What one round knows of where something may end."""

    def __init__(self, books: Books, options: SchedulerOptions, now: float, most: int | None) -> None:
        self.books = books
        #: For how many containers room may still be made; None iff for any number.
        self.left = most
        self.options = options
        self.now = now
        #: Shapes for which nothing was found in this round, wherever they may lie: nobody who may lose something is
        #: below its fair share, so that for another application nothing would be found either.
        self.hopeless: set[Shape] = set()
        self._nodes: list[Node] | None = None
        self._lines: dict[Shape, Line] = {}

    def nodes(self) -> list[Node]:
        """Those where somebody has more than its share, in the order they joined."""
        if self._nodes is None:
            leaves = [queue for queue in self.books.tree.by_path.values() if queue.is_leaf]
            rich = [app for leaf in leaves for app in surplus_in(leaf, self.now)]
            theirs = {container.node for app in rich for container in app.containers.values()}
            self._nodes = [node for node in self.books.nodes.values() if node in theirs] if theirs else []
        return self._nodes

    def line(self, shape: Shape, *, shared: bool) -> Line:
        """Where to look for room; if ``shared``, what the round found out for another such ask is known already.

        Until room is found, what a node would cost is only known to be no less than nothing. Within a round it does not
        become less: whoever is to end is no victim again, and nobody ends meanwhile.
        """
        if shared and (known := self._lines.get(shape)):
            return known
        line = [(0, 0.0, at, node) for at, node in enumerate(self.nodes())]
        if shared:
            self._lines[shape] = line
        return line


def _serve(search: Search, starving: Starving) -> list[PreemptContainer]:
    """Mark victims for as many of its requests as what it lacks is enough for."""
    app, unmet, why, books = starving.app, starving.unmet, starving.why, search.books
    commands: list[PreemptContainer] = []
    for ask in list(app.asks):
        if ask.gang is not None:
            # Room for one of its containers would be of no use: it gathers.
            continue
        kept = sum(hold.ask is ask for hold in app.holds)
        count = min(times(unmet, ask, app.queue.spec.policy), ask.pending - kept)
        for _ in range(count):
            if app.queue.over_max_with(ask.shape) is not None:
                break
            if ask.plain and ask.shape in search.hopeless:
                app.nothing_to_preempt = True
                break
            if _has_room(books, ask):
                break
            if search.left == 0:
                return commands
            # What this application may not take, or has more of than its share, says nothing about another.
            shared = ask.plain and not app.blacklist and why is Starvation.FAIR_SHARE
            plan = _best_plan(search, ask, shared=shared)
            if plan is None:
                app.nothing_to_preempt = True
                if shared:
                    search.hopeless.add(ask.shape)
                break
            if search.left is not None:
                search.left -= 1
            app.nothing_to_preempt = False
            kill_at = search.now + search.options.wait_before_kill_s
            books.hold(Hold(ask, plan.node, plan.positions, plan.victims), kill_at)
            unmet = unmet.less(ask.shape)
            starved_s = search.now - starving.since
            commands += [_warn(victim, ask.app, why, starved_s, kill_at) for victim in plan.victims]
    return commands


def _warn(victim: Container, beneficiary: App, why: Starvation, starved_s: float, kill_at: float) -> PreemptContainer:
    app = victim.app
    return PreemptContainer(
        container_id=victim.container_id,
        node_id=victim.node.node_id,
        kill_at=kill_at,
        beneficiary=beneficiary.application_id,
        starvation=why,
        starved_s=starved_s,
        beneficiary_used=beneficiary.usage.frozen(),
        beneficiary_fair_share=beneficiary.fair_share,
        left_to_victim=app.usage.less(app.marked).frozen(),
        victim_fair_share=app.fair_share,
    )


def _open_to(ask: Ask, node: Node) -> bool:
    mine = node.reservation is None or node.reservation.app is ask.app
    return node.schedulable and mine and node.admits(ask.shape) and still_wants(ask, node)


def _has_room(books: Books, ask: Ask) -> bool:
    """True iff a visit can place it without anybody's end."""
    return any(node.fits(ask.shape) and _open_to(ask, node) for node in books.index.with_room_for(ask.shape))


def _best_plan(search: Search, ask: Ask, *, shared: bool) -> Plan | None:
    """The node where fewest masters end (the first such), or, if work counts, also least work is lost."""
    by_work = search.options.victims is Victims.LEAST_WORK_LOST
    line = search.line(ask.shape, shared=shared)
    while line:
        *_, at, node = heappop(line)
        # Nobody ends on what is only lent.
        plan = _plan(node, ask, search.now) if _open_to(ask, node) and not node.lends_to(ask.shape) else None
        if plan is None:
            continue
        lost = sum(search.now - victim.unsaved_since for victim in plan.victims) if by_work else 0.0
        entry = (plan.masters, lost, at, node)
        heappush(line, entry)
        if line[0] is entry:
            return plan
    return None


def _plan(node: Node, ask: Ask, now: float) -> Plan | None:
    """The containers of the node that could end so that the ask fits; None iff they are too few."""
    #: Each with all that end with it.
    chosen: list[list[Container]] = []
    considered: dict[App, Amounts] = {}
    for container in _candidates(node, ask, now):
        if _room_after(node, ask, _flat(chosen)) is not None:
            break
        together = container.with_its_gang()
        new = container.gang_id is None or all(container not in some for some in chosen)
        if new and _helps(node, ask, _flat(chosen), container) and _may_lose(together, considered):
            considered.setdefault(container.app, Amounts()).add(_sum(together))
            chosen.append(together)
    if not chosen or _room_after(node, ask, _flat(chosen)) is None:
        return None
    # Most valuable last: spare those first that came last into it.
    for together in list(reversed(chosen)):
        others = [some for some in chosen if some is not together]
        if _room_after(node, ask, _flat(others)) is not None:
            chosen = others
    positions = _room_after(node, ask, _flat(chosen))
    return None if positions is None else Plan(node, _flat(chosen), positions)


def _flat(chosen: list[list[Container]]) -> list[Container]:
    return [container for together in chosen for container in together]


def _sum(containers: list[Container]) -> Amounts:
    total = Amounts()
    for container in containers:
        total.add(container.shape)
    return total


def _candidates(node: Node, ask: Ask, now: float) -> Iterator[Container]:
    """Running containers that may be asked to end: masters last, before them gangs, then who loses least work first."""
    may_lose: dict[App, bool] = {}
    for app in {container.app: None for container in node.containers}:
        may_lose[app] = app is not ask.app and keeps_share(app, app.usage.less(app.marked))
    newest_first = [container for container in reversed(node.containers) if may_lose[container.app]]
    for container in sorted(newest_first, key=lambda one: (one.is_master, one.gang_id is not None, -one.unsaved_since)):
        queue = container.app.queue
        marked = any(one.hold is not None or one.killed or not one.announced for one in container.with_its_gang())
        young = now - container.started_at < queue.inherited("min_run_before_preemption_s", 0.0)
        if not (marked or young) and all(one.spec.preemptable for one in queue.lineage):
            yield container


def _may_lose(together: list[Container], considered: dict[App, Amounts]) -> bool:
    """True iff their application has its fair share without them, and without all that is marked."""
    app = together[0].app
    left = app.usage.copy()
    left.subtract(app.marked)
    left.subtract(considered.get(app, Amounts()))
    left.subtract(_sum(together))
    return keeps_share(app, left)


def _room_after(node: Node, ask: Ask, victims: list[Container]) -> tuple[int, ...] | None:
    """Positions of the devices it would get on the node without these containers; None iff it would not fit."""
    shape = ask.shape
    free, device_free = _free_after(node, victims)
    if not shape.fits_in(free):
        return None
    if not shape.gpus:
        return ()
    return pick_devices(shape.gpus, device_free, node.allowed_positions(shape)) or None


def _free_after(node: Node, victims: list[Container]) -> tuple[Amounts, list[int]]:
    free, device_free = node.free.copy(), list(node.device_free)
    for victim in victims:
        if victim.node is not node:
            continue
        free.add(victim.shape)
        for device_id in victim.device_ids:
            position = node.positions.get(device_id)
            if position is not None:
                device_free[position] += victim.milli_per_device
    return free, device_free


def _helps(node: Node, ask: Ask, victims: list[Container], container: Container) -> bool:
    """True iff it holds something that would still be lacking."""
    shape, allowed = ask.shape, node.allowed_positions(ask.shape)
    free, device_free = _free_after(node, victims)
    lacking = shape.less(free).frozen()
    if any(amount and container.shape.frozen().get(name) for name, amount in lacking.items() if name != "gpus_milli"):
        return True
    if not shape.gpus or pick_devices(shape.gpus, device_free, allowed):
        return False
    return any(node.positions.get(device_id, -1) in allowed for device_id in container.device_ids)
