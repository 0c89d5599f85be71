"""The scheduler: events in, commands out.

Pure and synchronous: the time comes with each event, ids from counters, every order is explicit. Same events and
times, same commands. All state is changed through `Scheduler.handle`; the rest only reads.

Events about what has gone meanwhile are harmless and ignored: `NodeRemoved`, `NodeUpdate`, `NodeResourceUpdate` and
`NodeSchedulable` for an unknown node; `AppRemoved`, `AttemptRemoved`, `RequestsUpdated`, `BlacklistChanged`, `AppMoved`
and `PriorityChanged` for an application or attempt that is not (or no longer) live; `ContainerReleased`,
`ContainerResize`, `ContainerFinished` and `ContainerExpired` for a container that has ended; `ContainerRecovered` for
one that is on the books. Events that contradict the books raise InvariantBroken, bad input raises InvalidInput; both
change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hrm.core import events as ev
from hrm.core.applications import App, Container, Shape
from hrm.core.books import Books
from hrm.core.commands import AppActivated, Command, ContainerEnded, ContainerResized, EndCause
from hrm.core.explain.application import explain
from hrm.core.explain.finding import ExpectedEnd, Look, nobody_knows
from hrm.core.explain.kept import kept_reason
from hrm.core.gangs import Layout, Wanted, fill_emptied
from hrm.core.leftovers import Remainder
from hrm.core.lending import Lending
from hrm.core.nodes import size
from hrm.core.preemption import preempt
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.core.tree import check_move
from hrm.core.views import (
    AppView,
    AskView,
    ContainerView,
    NodeView,
    QueueView,
    view_app,
    view_asks,
    view_container,
    view_node,
    view_queues,
)
from hrm.core.visits import Visits
from hrm.model.errors import InvalidInput, InvariantBroken, NotFound
from hrm.model.explanations import Explanation
from hrm.model.ids import ApplicationId, ContainerId
from hrm.model.queues import QueueSpec, canonical_path
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import ZERO, Resources
from hrm.model.scheduling import SchedulerOptions


class Scheduler:
    """Shares nodes between the applications of a tree of queues."""

    def __init__(
        self,
        root: QueueSpec,
        *,
        epoch: int,
        options: SchedulerOptions | None = None,
        strategies: Strategies = BUILT_IN,
    ) -> None:
        """``epoch`` goes into container ids and must be larger than at any earlier start.

        ``strategies`` are those that the options may name. Raises InvalidInput.
        """
        self._books = Books(root, epoch)
        self._visits = Visits(self._books, options or SchedulerOptions(), strategies)
        self._strategies = strategies
        #: None as long as nobody asked for opportunistic containers.
        self._lending: Lending | None = None
        self._handlers: dict[type[Any], Callable[[Any, float], list[Command]]] = {
            ev.NodeUpdate: self._visits.on_node_update,
            ev.RequestsUpdated: self._on_requests_updated,
            ev.ContainerFinished: self._on_container_finished,
            ev.ContainerReleased: self._on_container_released,
            ev.ContainerResize: self._on_container_resize,
            ev.ExecutionTypeWanted: self._on_execution_type_wanted,
            ev.ContainerExpired: self._on_container_expired,
            ev.ContainerRecovered: self._on_container_recovered,
            ev.NodeAdded: self._on_node_added,
            ev.NodeRemoved: self._on_node_removed,
            ev.NodeResourceUpdate: self._on_node_resource_update,
            ev.NodeSchedulable: self._on_node_schedulable,
            ev.AppAdded: self._on_app_added,
            ev.AppRemoved: self._on_app_removed,
            ev.AttemptAdded: self._on_attempt_added,
            ev.AttemptRemoved: self._on_attempt_removed,
            ev.AppMoved: self._on_app_moved,
            ev.PriorityChanged: self._on_priority_changed,
            ev.BlacklistChanged: self._on_blacklist_changed,
            ev.QueuesChanged: self._on_queues_changed,
            ev.QueueAdded: self._on_queue_added,
            ev.OptionsChanged: self._on_options_changed,
            ev.UpdateShares: self._on_update_shares,
            ev.UpdateGangs: self._on_update_gangs,
            ev.Preempt: self._on_preempt,
            ev.CheckpointSaved: self._on_checkpoint_saved,
        }

    def handle(self, event: ev.Event, now: float) -> list[Command]:
        """Take one event (``now`` in epoch seconds) and say what is to be done.

        Raises InvalidInput for bad input and InvariantBroken for a contradiction; nothing is changed then.
        """
        commands = self._handlers[type(event)](event, now)
        if self._lending is None:
            return commands
        return self._lending.after(event, commands, now, exhausted=self._visits.exhausted)

    # ---- what applications ask for

    def _on_requests_updated(self, event: ev.RequestsUpdated, now: float) -> list[Command]:
        if app := self._books.live(event.attempt_id):
            requests = event.requests
            borrowed = [one for one in requests if one.execution_type is ExecutionType.OPPORTUNISTIC]
            if borrowed:
                requests = tuple(one for one in requests if one.execution_type is ExecutionType.GUARANTEED)
                self._lend().request(app, borrowed)
            if requests and not app.shares:
                app.queue.let_share(app)
            if self._lending is not None:
                requests = self._lending.less_delayed(app, requests)
            self._books.request(app, requests)
        return []

    def _lend(self) -> Lending:
        if self._lending is None:
            self._lending = Lending(self._books, self._visits.options, self._strategies)
        return self._lending

    def _on_blacklist_changed(self, event: ev.BlacklistChanged, now: float) -> list[Command]:
        if app := self._books.apps.get(event.application_id):
            app.blacklist = event.node_ids
            self._books.room_grew += 1
            self._follow(app)
        return []

    # ---- the life of applications

    def _on_app_added(self, event: ev.AppAdded, now: float) -> list[Command]:
        if event.application_id in self._books.apps:
            raise InvariantBroken(f"{event.application_id} was added already")
        queue = self._books.tree.open_leaf(event.queue, recovered=event.recovered)
        app = App(event.application_id, event.user, event.submitted_at, event.priority, event.tags)
        app.shares = not event.opportunistic
        self._books.apps[event.application_id] = app
        queue.admit(app)
        return self._activate(app) if queue.may_run(app.user) else []

    def _activate(self, app: App) -> list[Command]:
        app.queue.set_running(app, True)
        self._follow(app)
        return [AppActivated(app.application_id)]

    def _follow(self, app: App) -> None:
        """What it borrows goes by what it is now."""
        if self._lending is not None:
            self._lending.follow_app(app)

    def _activate_waiting(self) -> list[Command]:
        """Let run what limits allow now, oldest first."""
        commands: list[Command] = []
        while (app := self._books.tree.next_to_run()) is not None:
            commands += self._activate(app)
        return commands

    def _on_app_removed(self, event: ev.AppRemoved, now: float) -> list[Command]:
        app = self._books.apps.pop(event.application_id, None)
        if app is None:
            return []
        commands = self._end_attempt(app, keep_containers=False)
        queue = app.queue
        queue.dismiss(app)
        if self._lending is not None:
            self._lending.dismiss(app)
        self._books.tree.drop_if_drained(queue)
        return commands + self._activate_waiting()

    def _on_attempt_added(self, event: ev.AttemptAdded, now: float) -> list[Command]:
        app = self._books.apps.get(event.attempt_id.application)
        if app is None:
            raise InvariantBroken(f"{event.attempt_id} is of an application that was never added or is gone")
        if app.attempt is not None:
            raise InvariantBroken(f"{event.attempt_id} starts while {app.attempt} is live")
        self._books.begin_attempt(app, event.attempt_id)
        if self._lending is not None:
            self._lending.begin_attempt(app)
        return []

    def _on_attempt_removed(self, event: ev.AttemptRemoved, now: float) -> list[Command]:
        app = self._books.live(event.attempt_id)
        return [] if app is None else self._end_attempt(app, keep_containers=event.keep_containers)

    def _end_attempt(self, app: App, *, keep_containers: bool) -> list[Command]:
        borrowed = [] if self._lending is None else self._lending.end_attempt(app)
        self._books.end_attempt(app)
        held = [*app.containers.values(), *borrowed]
        if keep_containers:
            return []
        return [self._end(container, EndCause.ATTEMPT_ENDED) for container in held]

    def _on_app_moved(self, event: ev.AppMoved, now: float) -> list[Command]:
        app = self._books.apps.get(event.application_id)
        if app is None:
            return []
        target = self._books.tree.open_leaf(event.queue)
        source = app.queue
        if target is source:
            return []
        try:
            check_move(app, target)
        except InvalidInput:
            # It may have been made for this application.
            self._books.tree.drop_if_drained(target)
            raise
        running = app.runnable
        source.dismiss(app)
        target.admit(app)
        if running:
            target.set_running(app, True)
        if self._lending is not None:
            self._lending.move(app)
        self._books.tree.drop_if_drained(source)
        return self._activate_waiting()

    def _on_priority_changed(self, event: ev.PriorityChanged, now: float) -> list[Command]:
        if app := self._books.apps.get(event.application_id):
            app.priority = event.priority
            app.queue.rekey_path(app)
            self._follow(app)
        return []

    # ---- the life of containers

    def _on_container_finished(self, event: ev.ContainerFinished, now: float) -> list[Command]:
        if container := self._container(event.container_id):
            self._forget(container)
        return []

    def _container(self, container_id: ContainerId) -> Container | None:
        """Guaranteed or not; None iff it is not there (any more)."""
        found = self._books.container(container_id)
        return found if found is not None or self._lending is None else self._lending.books.container(container_id)

    def _forget(self, container: Container, *, with_its_node: bool = False) -> None:
        if self._lending is not None and container.app.borrows:
            self._lending.forget(container)
            return
        if self._lending is not None and not container.announced:
            self._lending.never_announced(container, told=with_its_node)
        self._books.forget(container)

    def _on_container_released(self, event: ev.ContainerReleased, now: float) -> list[Command]:
        container = self._container(event.container_id)
        return [self._end(container, EndCause.RELEASED)] if container else []

    def _on_container_resize(self, event: ev.ContainerResize, now: float) -> list[Command]:
        container = self._container(event.container_id)
        if container is None:
            return []
        held = container.shape.frozen()
        more, less = _beyond(event.resources, held), _beyond(held, event.resources)
        if more.gpus_milli or less.gpus_milli:
            raise InvalidInput("a container keeps the GPUs that it was granted with", field="resources")
        if container.is_master or container.app.attempt is None:
            raise InvalidInput("a master's own container keeps its size", field="container_id")
        books = self._books
        if self._lending is not None and container.app.borrows:
            books = self._lending.books
            self._lending.keep_as_it_is(container)
        if not Shape.make(event.resources, None).fits_in(container.node.total):
            raise InvalidInput(f"{event.resources} is more than {container.node.node_id} has", field="resources")
        books.withdraw_growth(container)
        if more:
            books.ask_to_grow(container, more)
        if not less:
            return []
        books.shrink(container, less)
        return [ContainerResized(container.container_id, container.node.node_id, container.shape.frozen())]

    def _on_execution_type_wanted(self, event: ev.ExecutionTypeWanted, now: float) -> list[Command]:
        container = self._container(event.container_id)
        if container is None or container.app.attempt is None:
            return []
        if container.is_master:
            raise InvalidInput("a master's own container is guaranteed", field="container_id")
        borrows = container.app.borrows
        if event.execution_type is ExecutionType.GUARANTEED:
            if borrows:
                owner = container.app.owner
                if not owner.shares:
                    owner.queue.let_share(owner)
                self._lend().wants_promotion(container)
            return []
        if borrows:
            self._lend().keep_as_it_is(container)
            return []
        return [self._lend().demote(container)] if container.announced else []

    def _on_container_expired(self, event: ev.ContainerExpired, now: float) -> list[Command]:
        container = self._container(event.container_id)
        return [self._end(container, EndCause.EXPIRED)] if container else []

    def _on_container_recovered(self, event: ev.ContainerRecovered, now: float) -> list[Command]:
        app = self._books.apps.get(event.container_id.attempt.application)
        node = self._books.nodes.get(event.node_id)
        # Nobody is left to own it: whoever found it running ends it.
        if app is None:
            return [ContainerEnded(event.container_id, event.node_id, EndCause.ATTEMPT_ENDED)]
        if node is None:
            return [ContainerEnded(event.container_id, event.node_id, EndCause.NODE_LOST)]
        if known := self._container(event.container_id):
            if known.node.node_id != event.node_id:
                raise InvariantBroken(f"{event.container_id} runs on {node.node_id} and on {known.node.node_id}")
            return []
        shape = Shape.make(event.resources, None)
        container = Container(event.container_id, app, node, shape, event.device_ids, event.priority)
        container.started_at = container.unsaved_since = now if event.started_at is None else event.started_at
        container.is_master = event.for_master
        container.gang_id = event.gang_id
        container.tags = event.tags
        if event.execution_type is ExecutionType.OPPORTUNISTIC:
            self._lend().take_in(app, container)
        else:
            if not app.shares:
                app.queue.let_share(app)
            self._books.take_in(container)
        # What runs, runs, whatever the limits on running applications say now.
        return [] if app.runnable else self._activate(app)

    def _end(self, container: Container, cause: EndCause) -> ContainerEnded:
        self._forget(container, with_its_node=cause is EndCause.NODE_LOST)
        return ContainerEnded(container.container_id, container.node.node_id, cause)

    # ---- nodes

    def _on_node_added(self, event: ev.NodeAdded, now: float) -> list[Command]:
        node_id = event.node.node_id
        if node_id in self._books.nodes:
            raise InvariantBroken(f"node {node_id} was added already; it must be removed before it comes back")
        self._books.add_node(event.node)
        return []

    def _on_node_removed(self, event: ev.NodeRemoved, now: float) -> list[Command]:
        node = self._books.nodes.get(event.node_id)
        if node is None:
            return []
        self._books.remove_node(node)
        lost = list(node.containers)
        if self._lending is not None:
            lost += self._lending.containers_on(node.node_id)
        return [self._end(container, EndCause.NODE_LOST) for container in lost]

    def _on_node_resource_update(self, event: ev.NodeResourceUpdate, now: float) -> list[Command]:
        if node := self._books.nodes.get(event.node.node_id):
            self._books.resize_node(node, event.node)
        return []

    def _on_node_schedulable(self, event: ev.NodeSchedulable, now: float) -> list[Command]:
        if node := self._books.nodes.get(event.node_id):
            self._books.set_schedulable(node, event.schedulable)
        return []

    # ---- queues

    def _on_queues_changed(self, event: ev.QueuesChanged, now: float) -> list[Command]:
        self._books.tree.reload(event.root)
        self._books.tree.update_shares()
        if self._lending is not None:
            self._lending.reload()
        return self._activate_waiting()

    def _on_queue_added(self, event: ev.QueueAdded, now: float) -> list[Command]:
        self._books.tree.add(event.parent, event.queue, draining=event.draining)
        # One that drained is opened with limits of its own.
        return self._activate_waiting()

    def _on_options_changed(self, event: ev.OptionsChanged, now: float) -> list[Command]:
        self._visits.go_by(event.options)
        if self._lending is not None:
            self._lending.go_by(event.options)
        if not event.options.preemption:
            for hold in list(self._books.holds):
                self._books.drop_hold(hold)
        return []

    def _on_update_shares(self, event: ev.UpdateShares, now: float) -> list[Command]:
        self._books.tree.update_shares()
        if self._lending is not None:
            self._lending.update_shares()
        return []

    def _on_update_gangs(self, event: ev.UpdateGangs, now: float) -> list[Command]:
        return [*self._visits.gatherings.update(self._visits.options, now)]

    # ---- preemption

    def _on_preempt(self, event: ev.Preempt, now: float) -> list[Command]:
        return [*preempt(self._books, self._visits.options, now, event.most)]

    def _on_checkpoint_saved(self, event: ev.CheckpointSaved, now: float) -> list[Command]:
        if container := self._container(event.container_id):
            saved_at = now if event.saved_at is None else min(event.saved_at, now)
            container.unsaved_since = max(container.unsaved_since, saved_at)
        return []

    # ---- for those within the core that only read

    @property
    def books(self) -> Books:
        """The live state: whoever changes it breaks the books."""
        return self._books

    @property
    def lending(self) -> Lending | None:
        """What opportunistic containers borrow; None as long as nobody asked for such. Only to be read."""
        return self._lending

    @property
    def options(self) -> SchedulerOptions:
        """What visits and preemption go by now."""
        return self._visits.options

    # ---- for the pacer

    def has_demand(self) -> bool:
        """True iff an application that may run waits for a container. Costs nothing."""
        return bool(self._books.tree.root.shapes) or (self._lending is not None and self._lending.has_demand())

    def has_gangs(self) -> bool:
        """True iff a gang waits: then `UpdateGangs` may do something."""
        return bool(self._books.gangs)

    def nodes_with_room(self) -> Iterator[str]:
        """Schedulable nodes where something that waits may fit, those with most room first; none without demand.

        A hint: amounts are checked, devices, places and max shares are not. No event may be handled meanwhile.
        """
        lending = self._lending
        lent: list[str] = []
        if self._books.tree.root.shapes:
            for node in self._books.index.with_room_for(self._books.cluster.floor):
                if lending is not None and lending.lends_on(node.node_id):
                    # Nobody has to end where nothing is lent.
                    lent.append(node.node_id)
                    continue
                yield node.node_id
                if self._visits.one_fills_all:
                    return
        yield from lent
        if lending is not None:
            yield from lending.nodes_with_room()

    @property
    def has_openings(self) -> bool:
        """True iff `next_opening` may have something that is worth asking for."""
        return bool(self._books.openings and self._books.tree.root.shapes)

    def next_opening(self) -> str | None:
        """A node where something that waits may fit, because a limit is not reached any more or kept space was let go.

        A hint as those above, given once; None iff there is none. What is decided does not depend on who asks.
        """
        return self._books.openings.next(one_is_enough=self._visits.one_fills_all)

    # ---- for refusing at submit

    def accepts(self, queue: str) -> bool:
        """True iff applications may enter the queue: it is a leaf, and not being removed."""
        return any(leaf.path == canonical_path(queue) for leaf in self._books.tree.open_leaves())

    def queue_spec(self, path: str, *, draining: bool = False) -> QueueSpec | None:
        """As declared or made; None iff it is not there, or drains and such do not count."""
        queue = self._books.tree.by_path.get(path)
        return None if queue is None or (queue.draining and not draining) else queue.spec

    def leaf_paths(self) -> list[str]:
        """Queues that applications may enter."""
        return [leaf.path for leaf in self._books.tree.open_leaves()]

    def maximum_allocation(self) -> Resources:
        """The size of the largest node (by memory, then vcores, then GPUs); nothing if there are no nodes."""
        return max((node.spec.total for node in self._books.nodes.values()), key=size, default=ZERO)

    def fits_some_node(self, request: ResourceRequest) -> bool:
        """True iff some node, busy or not, would hold one such container if it were empty."""
        shape = Shape.make(request.resources, request.gpu_model)
        return any(node.is_large_enough(shape) for node in self._books.nodes.values())

    def most_at_once(self, requests: Sequence[ResourceRequest], tasks_per_node: int | None = None) -> int:
        """How many of the containers asked for would fit at once if nothing ran on the nodes, as gangs are laid out."""
        wanted = [Wanted(Shape.make(one.resources, one.gpu_model, one.needs), one.count) for one in requests]
        layout = Layout(tasks_per_node)
        fill_emptied(layout, wanted, self._books.nodes.values)
        return len(layout.members)

    # ---- for reports: snapshots

    def queue_views(self) -> list[QueueView]:
        """Parents before children. Looks at every application: for people, not for every event."""
        lending = self._lending
        return view_queues(self._books.tree.root, None if lending is None else lending.books.tree.root)

    def node_views(self) -> list[NodeView]:
        """In the order they joined."""
        return [view_node(node, self._remainder(node_id)) for node_id, node in self._books.nodes.items()]

    def _remainder(self, node_id: str) -> Remainder | None:
        return None if self._lending is None else self._lending.remainder(node_id)

    def node_view(self, node_id: str) -> NodeView | None:
        """None iff the node is not there (any more)."""
        node = self._books.nodes.get(node_id)
        return None if node is None else view_node(node, self._remainder(node_id))

    def application_view(self, application_id: ApplicationId) -> AppView | None:
        """None iff the application is not there (any more). Cheap enough for every line of a list."""
        app = self._books.apps.get(application_id)
        if app is None:
            return None
        borrower = self._borrower(app)
        if borrower is not None and borrower.asks and not app.asks and app.runnable:
            reason = kept_reason(self._lend().books, borrower)
        else:
            reason = kept_reason(self._books, app)
        return view_app(app, borrower, reason)

    def _borrower(self, app: App) -> App | None:
        return None if self._lending is None else self._lending.borrower(app.application_id)

    def ask_views(self, application_id: ApplicationId) -> list[AskView]:
        """What it waits for; nothing if it is not there (any more)."""
        app = self._books.apps.get(application_id)
        if app is None:
            return []
        borrower = self._borrower(app)
        return view_asks(app) if borrower is None else [*view_asks(app), *view_asks(borrower)]

    def container_view(self, container_id: ContainerId) -> ContainerView | None:
        """Why it is where it is, and whether it is to end for somebody. None iff it is not there (any more)."""
        container = self._container(container_id)
        return None if container is None else view_container(container)

    def explain(
        self,
        application_id: ApplicationId,
        *,
        now: float | None = None,
        expected_end: Callable[[ContainerId], ExpectedEnd | None] = nobody_knows,
        nodes: int = 0,
    ) -> Explanation:
        """Why it waits, with numbers, evidence and what would change it: a dry run over all nodes.

        ``now`` (epoch seconds) and ``expected_end`` (when a container ends, as far as that is known) are what a
        forecast is made from; ``nodes``: how many are told one by one. Raises NotFound.
        """
        app = self._books.apps.get(application_id)
        if app is None:
            raise NotFound(f"the scheduler does not know {application_id}")
        borrower = self._borrower(app)
        borrows = borrower is not None and (borrower.asks or (borrower.containers and not app.containers))
        if borrower is not None and borrows and not app.asks and app.runnable:
            lending = self._lend()
            look = Look(books=lending.books, options=lending.options, now=now, expected_end=expected_end)
            return explain(look, borrower, nodes=nodes)
        look = Look(books=self._books, options=self.options, now=now, expected_end=expected_end)
        return explain(look, app, nodes=nodes)


def _beyond(one: Resources, other: Resources) -> Resources:
    """What there is more in ``one``."""
    return Resources.of({name: amount - other.get(name) for name, amount in one.items() if amount > other.get(name)})
