"""Room that guaranteed containers leave over, lent to opportunistic ones until somebody guaranteed needs it.

Guaranteed containers are decided on as if there were no others: what is lent is on none of their books. The borrowers
have books of their own (`Leftovers`): the same queues without their limits, with usage that counts among borrowers
alone, and for each node what the other books leave free there. So order, gangs, devices, places and constraints are the
code that serves guaranteed requests, run a second time on the rest.

A guaranteed container may thus be granted room that is lent. Then as few borrowers as make it free are ended
(`ReclaimContainer`), and the grant is announced when they have: until then nobody else can have that room. YARN ends
opportunistic containers at their node alike (ContainerScheduler), but without holding to any order between queues.

None of this exists as long as nobody asks for opportunistic containers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from hrm.core.applications import App, Ask, Container
from hrm.core.books import Books
from hrm.core.commands import (
    Allocate,
    Command,
    ContainerEnded,
    ContainerResized,
    ExecutionTypeChanged,
    ReclaimContainer,
)
from hrm.core.events import Event, NodeUpdate
from hrm.core.leftovers import Borrower, Leftovers, Remainder, as_borrowers_see
from hrm.core.reclaims import Delayed, Shortage, choose_victims
from hrm.core.strategies import Strategies
from hrm.core.visits import Visits
from hrm.model.ids import ApplicationId, ContainerId
from hrm.model.requests import ANY, ExecutionType, ResourceRequest
from hrm.model.scheduling import SchedulerOptions


class Lending:
    """What is lent, to whom, and what waits for its return. ``host``: the books of guaranteed containers."""

    def __init__(self, host: Books, options: SchedulerOptions, strategies: Strategies) -> None:
        self._host = host
        self.books = Leftovers(as_borrowers_see(host.tree.root), host.epoch)
        self._visits = Visits(self.books, _of_borrowers(options), strategies)
        self._changed: dict[Remainder, None] = {}
        host.index.changed = {}
        host.give_up = self._give_up
        #: Borrowers that are to become guaranteed, each with what waits for it on the other books.
        self._promotions: dict[Container, Ask] = {}
        #: Those that were told to end.
        self._ending: dict[Container, None] = {}
        #: Guaranteed containers that were granted and not announced.
        self._delayed: dict[ContainerId, Delayed] = {}
        #: What waits for no end any more.
        self._released: list[Command] = []
        #: Containers that are over before anybody was told of them.
        self._unheard: set[ContainerId] = set()
        for node in host.nodes.values():
            self._add(node.node_id)

    # ---- what applications want

    def request(self, app: App, requests: Iterable[ResourceRequest]) -> None:
        """Take absolute counts of opportunistic containers."""
        self.books.request(self._borrower(app), requests)

    def less_delayed(self, app: App, requests: tuple[ResourceRequest, ...]) -> tuple[ResourceRequest, ...]:
        """Guaranteed requests of a master that knows nothing yet of grants that wait to be announced.

        What it asks for includes those, so they are off its counts; and where it asks for fewer, they go.
        """
        return tuple(self._less_delayed(app, one) for one in requests) if self._delayed else requests

    def _less_delayed(self, app: App, request: ResourceRequest) -> ResourceRequest:
        if request.gang is not None:
            return request
        alike = [
            one
            for delayed in self.delayed
            for one in delayed.grants
            if one.container_id.attempt == app.attempt
            and one.priority == request.priority
            and one.allocation_request_id == request.allocation_request_id
            and one.resources == request.resources
            and request.resource_name in (ANY, one.node_id, self._host.nodes[one.node_id].rack)
        ]
        if request.resource_name == ANY:
            for one in alike[request.count :]:
                if (container := self._host.container(one.container_id)) is not None:
                    self.never_announced(container, told=False)
                    self._host.forget(container)
        return replace(request, count=max(request.count - len(alike), 0))

    def wants_promotion(self, container: Container) -> None:
        """It is to be guaranteed, when its turn comes."""
        if container not in self._promotions and container not in self._ending:
            self.books.withdraw_growth(container)
            self._promotions[container] = self._host.ask_to_promote(container.app.owner, container)

    def keep_as_it_is(self, container: Container) -> None:
        """It is not to be guaranteed after all, as far as that waits."""
        if (ask := self._promotions.pop(container, None)) is not None:
            self._host.withdraw(ask)

    def demote(self, container: Container) -> Command:
        """A guaranteed container borrows from now on what it held."""
        app, node = container.app, container.node
        self._host.forget(container)
        self._follow()
        container.app, container.node = self._borrower(app), self.books.remainders[node.node_id]
        self.books.take_in(container)
        return ExecutionTypeChanged(container.container_id, node.node_id, ExecutionType.OPPORTUNISTIC)

    # ---- borrowers

    def borrower(self, application_id: ApplicationId) -> App | None:
        """What stands for the application here; None iff it never borrowed."""
        return self.books.apps.get(application_id)

    def _borrower(self, app: App) -> App:
        borrower = self.books.apps.get(app.application_id)
        if borrower is None:
            borrower = Borrower(app)
            self.books.apps[app.application_id] = borrower
            self._admit(borrower, app.queue.path)
            self.follow_app(app)
            if app.attempt is not None:
                self.books.begin_attempt(borrower, app.attempt)
        return borrower

    def _admit(self, borrower: App, path: str) -> None:
        if path not in self.books.tree.by_path:
            self.reload()
        self.books.tree.by_path[path].admit(borrower)

    def follow_app(self, app: App) -> None:
        """Its priority, its blacklist, or whether it may run changed."""
        if (borrower := self.borrower(app.application_id)) is not None:
            borrower.blacklist = app.blacklist
            borrower.priority = app.priority
            borrower.queue.set_running(borrower, app.runnable)
            borrower.queue.rekey_path(borrower)
            self.books.room_grew += 1

    def begin_attempt(self, app: App) -> None:
        """A master of the application starts."""
        if (borrower := self.borrower(app.application_id)) is not None and app.attempt is not None:
            self.books.begin_attempt(borrower, app.attempt)

    def end_attempt(self, app: App) -> list[Container]:
        """What it borrows, which is still to be forgotten. What it asks for goes."""
        borrower = self.borrower(app.application_id)
        if borrower is None:
            return []
        mine = list(borrower.containers.values())
        for container in mine:
            self.keep_as_it_is(container)
        self.books.end_attempt(borrower)
        return mine

    def dismiss(self, app: App) -> None:
        """It is over, and borrows nothing."""
        if (borrower := self.books.apps.pop(app.application_id, None)) is not None:
            borrower.queue.dismiss(borrower)

    def move(self, app: App) -> None:
        """It is in another queue now."""
        if (borrower := self.borrower(app.application_id)) is not None:
            running = borrower.runnable
            borrower.queue.dismiss(borrower)
            self._admit(borrower, app.queue.path)
            borrower.queue.set_running(borrower, running)

    def reload(self) -> None:
        """The queues are others now."""
        self.books.tree.reload(as_borrowers_see(self._host.tree.root))
        self.books.tree.update_shares()

    def go_by(self, options: SchedulerOptions) -> None:
        """From the next visit on."""
        self._visits.go_by(_of_borrowers(options))

    # ---- containers that run

    def take_in(self, app: App, container: Container) -> None:
        """One that runs already."""
        self._follow()
        container.app = self._borrower(app)
        container.node = node = self.books.remainders[container.node.node_id]
        self.books.take_in(container)
        self._changed[node] = None
        self._count_as_host(container)

    def forget(self, container: Container) -> None:
        """It has ended. What waited only for that is granted now: see `after`."""
        self.keep_as_it_is(container)
        self._follow()
        self.books.forget(container)
        if container in self._ending:
            del self._ending[container]
            for delayed in self.delayed:
                delayed.waits_for.pop(container, None)
                if not delayed.waits_for:
                    self._release(delayed)

    def _give_up(self, container: Container) -> None:
        """It becomes guaranteed: the other books take it as it is."""
        del self._promotions[container]
        self._follow()
        self.books.forget(container)

    def _count_as_host(self, container: Container) -> None:
        """Ids are given by both books: neither may give one twice."""
        host, borrower = container.app.owner, container.app
        host.next_container = borrower.next_container = max(host.next_container, borrower.next_container)

    # ---- after an event

    def after(self, event: Event, commands: list[Command], now: float, *, exhausted: bool) -> list[Command]:
        """Whom the event has end, what of the decisions waits for that, and what can be lent besides.

        ``exhausted``: a visit left no guaranteed request that could be placed on the node.
        """
        self._follow()
        reclaims = self._settle(commands if isinstance(event, NodeUpdate) else [])
        released, self._released = self._released, []
        if self._unheard:
            commands = [one for one in commands if not self._is_unheard(one)]
            self._unheard.clear()
        commands = [one for one in commands if not self._is_delayed(one)]
        # Who borrows since now, on a node that is too full as it is, hears of that before it is to end.
        retyped = [one for one in commands if isinstance(one, ExecutionTypeChanged)]
        others = [one for one in commands if not isinstance(one, ExecutionTypeChanged)]
        commands = [*released, *retyped, *reclaims, *others]
        if isinstance(event, NodeUpdate) and exhausted and self.books.tree.root.shapes:
            most = None if event.most is None else max(event.most - len(commands), 1)
            placed = self._visits.on_node_update(NodeUpdate(event.node_id, event.heartbeat, most), now)
            commands += [_as_opportunistic(one) for one in placed]
        return commands

    def _follow(self) -> None:
        """Work out anew what is left of nodes that changed on the other books."""
        changed = self._host.index.changed
        if not changed:
            return
        for node in changed:
            known = self.books.remainders.get(node.node_id)
            if self._host.nodes.get(node.node_id) is not node:
                if known is not None and known.host is node:
                    self.books.remove_node(known)
                    del self.books.remainders[node.node_id]
                    self._changed.pop(known, None)
            elif known is None:
                self._add(node.node_id)
            else:
                self.books.follow(known)
                self._changed[known] = None
        changed.clear()

    def containers_on(self, node_id: str) -> list[Container]:
        """Who borrows there."""
        remainder = self.books.remainders.get(node_id)
        return [] if remainder is None else list(remainder.containers)

    def _add(self, node_id: str) -> None:
        self._changed[self.books.add_remainder(self._host.nodes[node_id])] = None

    def _settle(self, commands: Sequence[Command]) -> list[Command]:
        """Have borrowers end where more is lent than is left, and delay what was granted there."""
        reclaims: list[Command] = []
        changed, self._changed = self._changed, {}
        for node in changed:
            if not node.containers:
                continue
            shortage = Shortage(node)
            if not shortage:
                continue
            granted = [
                one for one in commands if isinstance(one, Allocate | ContainerResized) and one.node_id == node.node_id
            ]
            beneficiary = granted[-1].container_id.attempt.application if granted else _holder(node)
            for victim in choose_victims(node, self._ending):
                if victim not in self._ending:
                    self._ending[victim] = None
                    self.keep_as_it_is(victim)
                    reclaims.append(ReclaimContainer(victim.container_id, victim.node.node_id, beneficiary))
            waits_for = {one: None for one in node.containers if one in self._ending}
            # Those that were granted last wait, as many as take what is lent.
            for grant in reversed(granted):
                if not shortage:
                    break
                shortage.give_back(grant)
                self._delay(grant, commands, waits_for)
            self._hold_longer(node, waits_for)
        return reclaims

    def _hold_longer(self, node: Remainder, waits_for: dict[Container, None]) -> None:
        """Grants there that wait already: where the node has shrunk since, too few end for them, so all must."""
        later: list[Allocate | ContainerResized] = []
        for delayed in reversed(self.delayed):
            here = [one for one in delayed.commands if one.node_id == node.node_id]
            if not here:
                continue
            shortage = Shortage(node, [one for one in delayed.waits_for if one.node is node])
            for grant in later:
                shortage.give_back(grant)
            if shortage:
                delayed.waits_for.update(waits_for)
            later += here

    def _delay(
        self, grant: Allocate | ContainerResized, commands: Sequence[Command], waits_for: dict[Container, None]
    ) -> None:
        """A gang is announced as a whole."""
        container = self._host.container(grant.container_id)
        assert container is not None, "what was granted just now is on the books"
        mine = [grant]
        if isinstance(grant, Allocate):
            together = {one.container_id for one in container.with_its_gang()}
            mine = [one for one in commands if isinstance(one, Allocate) and one.container_id in together]
        delayed = next((self._delayed[one.container_id] for one in mine if one.container_id in self._delayed), None)
        if delayed is None:
            delayed = Delayed(mine)
        delayed.waits_for.update(waits_for)
        for one in mine:
            self._delayed[one.container_id] = delayed
            if isinstance(one, Allocate) and (member := self._host.container(one.container_id)) is not None:
                member.announced = False

    def _is_delayed(self, command: Command) -> bool:
        if not isinstance(command, Allocate | ContainerResized):
            return False
        delayed = self._delayed.get(command.container_id)
        return delayed is not None and any(one is command for one in delayed.commands)

    def _is_unheard(self, command: Command) -> bool:
        return isinstance(command, ContainerEnded) and command.container_id in self._unheard

    def _release(self, delayed: Delayed) -> None:
        for one in delayed.commands:
            self._delayed.pop(one.container_id, None)
            if (container := self._host.container(one.container_id)) is not None:
                container.announced = True
        self._released += delayed.commands

    def never_announced(self, container: Container, *, told: bool) -> None:
        """A guaranteed container is over that waited to be announced; it is still on the books.

        ``told``: who asked hears of it, and of all its gang, before it hears of the end, and so asks anew.
        """
        delayed = self._delayed[container.container_id]
        if told:
            self._release(delayed)
            return
        del self._delayed[container.container_id]
        delayed.commands = [one for one in delayed.commands if one.container_id != container.container_id]
        self._unheard.add(container.container_id)

    # ---- for who paces visits, and for reports

    def has_demand(self) -> bool:
        """True iff somebody who may run waits to borrow."""
        return bool(self.books.tree.root.shapes)

    def lends_on(self, node_id: str) -> bool:
        """True iff something there is lent."""
        remainder = self.books.remainders.get(node_id)
        return remainder is not None and bool(remainder.containers)

    def nodes_with_room(self) -> Iterator[str]:
        """Where something that waits to borrow may fit."""
        self._follow()
        if self.has_demand():
            for node in self.books.index.with_room_for(self.books.cluster.floor):
                yield node.node_id

    def update_shares(self) -> None:
        """Work out anew what each would have if borrowers alone shared the cluster."""
        self.books.tree.update_shares()

    def is_waiting(self, container_id: ContainerId) -> bool:
        """True iff it was granted and waits for borrowers to end."""
        return container_id in self._delayed

    @property
    def options(self) -> SchedulerOptions:
        """What its visits go by."""
        return self._visits.options

    @property
    def ending(self) -> Collection[Container]:
        """Borrowers that were told to end."""
        return self._ending

    @property
    def delayed(self) -> list[Delayed]:
        """Grants that wait for that."""
        return list(dict.fromkeys(self._delayed.values()))

    def is_promoting(self, container: Container) -> bool:
        """True iff it waits to be guaranteed."""
        return container in self._promotions

    def remainder(self, node_id: str) -> Remainder | None:
        """What is left of a node, and who borrows there; None iff it is not there."""
        self._follow()
        return self.books.remainders.get(node_id)


def _holder(node: Remainder) -> ApplicationId | None:
    """For whom room is being freed on the node, where nothing was granted just now."""
    holds = node.host.holds
    return holds[-1].ask.app.application_id if holds else None


def _as_opportunistic(command: Command) -> Command:
    return replace(command, execution_type=ExecutionType.OPPORTUNISTIC) if isinstance(command, Allocate) else command


def _of_borrowers(options: SchedulerOptions) -> SchedulerOptions:
    """Nobody's room is kept for who borrows."""
    return replace(options, reservable_nodes=0.0)
