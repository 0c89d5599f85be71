"""All state of the scheduler, and the moves that keep its books balanced.

`hrm.core.scheduler` decides which move an event means. Checks, explanations and reports only read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from hrm.core.amounts import Amounts
from hrm.core.applications import App, Ask, Container, Hold, Shape, ShapeKey, container_key
from hrm.core.gangs import Gang
from hrm.core.nodes import Node, NodeIndex
from hrm.core.openings import Openings
from hrm.core.queues import Cluster
from hrm.core.tags import Tags
from hrm.core.tree import QueueTree
from hrm.model.errors import InvariantBroken
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.node_needs import needs_of
from hrm.model.nodes import NodeSpec
from hrm.model.queues import QueueSpec
from hrm.model.requests import GangRequest, ResourceRequest
from hrm.model.resources import Resources


class Books:
    """Nodes, queues, applications, and what they ask for and hold."""

    def __init__(self, root: QueueSpec, epoch: int) -> None:
        #: Goes into the ids of containers.
        self.epoch = epoch
        self.index = NodeIndex()
        self.openings = Openings(self.index)
        self.cluster = Cluster(self.openings)
        self.tree = QueueTree(root, self.cluster)
        #: In the order they joined.
        self.nodes: dict[str, Node] = {}
        self.nodes_of_rack: Counter[str] = Counter()
        #: Labels of which requests without one may have what is left, with the number of nodes.
        self.shared_labels: Counter[str] = Counter()
        #: What the containers of each rack bear.
        self.tags_of_rack: defaultdict[str, Tags] = defaultdict(Tags)
        #: Told of what is asked for: amounts, model of GPU, how many more. None iff nobody wants to know.
        self.watch_asks: Callable[[Amounts, str | None, int], None] | None = None
        #: In the order they were submitted.
        self.apps: dict[ApplicationId, App] = {}
        #: Space on nodes that is being freed for somebody, first come first.
        self.holds: dict[Hold, None] = {}
        #: Those that wait, the oldest first; who has kept nodes in vain is put behind the others.
        self.gangs: dict[Gang, None] = {}
        #: The only one that nodes are kept for; None iff there is none.
        self.gathering: Gang | None = None
        #: Counts what may have left more room than before: a gang that did not fit need not be tried again until then.
        self.room_grew = 0
        #: Nodes that may be odd (`Node.is_odd`): those that were resized, or where something ran already.
        self.odd_nodes: set[Node] = set()
        self._shapes: dict[ShapeKey, Shape] = {}
        #: Takes an opportunistic container off its books, so that it can be taken here; None iff there is none.
        self.give_up: Callable[[Container], None] | None = None

    # ---- lookups

    def live(self, attempt_id: AttemptId) -> App | None:
        """The application whose attempt is live; None iff it is not, or not any more."""
        app = self.apps.get(attempt_id.application)
        return app if app is not None and app.attempt == attempt_id else None

    def container(self, container_id: ContainerId) -> Container | None:
        app = self.apps.get(container_id.attempt.application)
        return None if app is None else app.containers.get(container_key(container_id))

    # ---- asks

    def request(self, app: App, requests: Iterable[ResourceRequest]) -> None:
        """Take absolute counts for the keys named; asks that come to nothing are dropped."""
        touched: dict[Ask, None] = {}
        for request in requests:
            ask = self._ask_for(app, request)
            if ask is not None:
                if ask.gang is not None:
                    ask.gang.tried_at = -1
                self._change_pending(ask, ask.set_place(request))
                touched[ask] = None
        for ask in touched:
            if not ask.pending:
                self._drop(ask)
            else:
                self._trim_holds(ask)
        app.queue.rekey_path(app)

    def drop_asks(self, app: App) -> None:
        for ask in list(app.asks):
            self._change_pending(ask, -ask.pending)
            ask.pending = 0
            self._drop(ask)
        app.queue.rekey_path(app)

    def _ask_for(self, app: App, request: ResourceRequest) -> Ask | None:
        """The ask that the request is about; a new one unless it withdraws what was never asked."""
        key = (
            request.priority,
            request.allocation_request_id,
            (request.resources, request.gpu_model, request.needs),
            request.for_master,
            None if request.gang is None else request.gang.gang_id,
            None,
            request.placement,
        )
        ask = app.asks_by_key.get(key)
        if ask is None and request.count:
            ask = Ask(app, self._shape(request), request, app.next_ask)
            app.next_ask += 1
            if request.gang is not None:
                self._join_gang(ask, request.gang)
            app.add_ask(ask)
            if app.runnable:
                app.queue.add_waiting(app, ask)
        return ask

    def _join_gang(self, ask: Ask, request: GangRequest) -> None:
        """The first of a gang says how many of it one node may have."""
        gang = ask.app.gangs.get(request.gang_id)
        if gang is None:
            gang = ask.app.gangs[request.gang_id] = Gang(ask.app, request)
            self.gangs[gang] = None
        gang.asks.append(ask)
        ask.gang = gang

    def _leave_gang(self, ask: Ask, gang: Gang) -> None:
        gang.asks.remove(ask)
        if not gang.asks:
            self.let_go(gang)
            del ask.app.gangs[gang.gang_id], self.gangs[gang]

    def _change_pending(self, ask: Ask, more: int) -> None:
        if more > 0 and self.watch_asks is not None:
            self.watch_asks(ask.shape, ask.shape.gpu_model, more)
        ask.app.demand.add_times(ask.shape, more)
        ask.app.queue.change_demand(ask.shape, more)

    def _drop(self, ask: Ask) -> None:
        app, shape = ask.app, ask.shape
        self._trim_holds(ask)
        app.drop_ask(ask)
        if not app.asks:
            # When it asks again, what it lacks then counts from then.
            app.fair_since = None
        if app.runnable:
            app.queue.remove_waiting(app, ask)
        if ask.gang is not None:
            self._leave_gang(ask, ask.gang)
        if ask.grows is not None and not ask.promotes:
            ask.grows.growth = None
        shape.uses -= 1
        if not shape.uses:
            del self._shapes[shape.key]

    def _shape(self, request: ResourceRequest) -> Shape:
        """The shared shape of such asks, with one more use."""
        key = request.resources, request.gpu_model, request.needs
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = Shape.make(*key)
        shape.uses += 1
        return shape

    # ---- attempts

    def begin_attempt(self, app: App, attempt_id: AttemptId) -> None:
        app.attempt = attempt_id
        mine = (attempt_id.number, self.epoch)
        app.next_container = 1 + max((key[2] for key in app.containers if key[:2] == mine), default=0)

    def end_attempt(self, app: App) -> None:
        """Its asks go, and its master no longer counts. Its containers are still to be forgotten."""
        self.drop_asks(app)
        for node in list(app.reserved):
            self.unreserve(node)
        app.attempt = None
        app.queue.am_usage.subtract(app.am_usage)
        app.am_usage = Amounts()
        app.queue.ease()

    # ---- containers

    def grant(self, ask: Ask, node: Node, positions: Sequence[int] | None = None) -> Container:
        """Answer one of what the ask waits for on ``node``, which has room, on its devices at ``positions``.

        `NodeIndex` is left to the caller. Where a container grows it is that one.
        """
        app, shape = ask.app, ask.shape
        if ask.grows is not None:
            return self._let_grow(ask, ask.grows)
        attempt = app.attempt
        if attempt is None:
            raise InvariantBroken(f"{app.application_id} asks without a live attempt")
        seq = app.next_container
        app.next_container = seq + 1
        container_id = ContainerId(attempt, self.epoch, seq)
        container = Container(container_id, app, node, shape, node.take(shape, positions), ask.priority)
        app.containers[attempt.number, self.epoch, seq] = container
        node.containers[container] = None
        if ask.placement is not None:
            if ask.constraint is not None:
                ask.constraint.placed(node)
            container.tags = ask.placement.tags
            node.bear(container, 1)
        if ask.gang is not None:
            container.gang_id = ask.gang.gang_id
        ask.count_down(node)
        if not ask.pending:
            self._drop(ask)
        elif app.holds:
            self._trim_holds(ask)
        # Demand is usage and what is waited for: granting moves from one to the other.
        app.queue.charge(app, shape, 1)
        if ask.for_master:
            container.is_master = True
            self._count_master(container)
        return container

    # ---- containers that grow and shrink

    def ask_to_grow(self, container: Container, more: Resources) -> None:
        """Have it wait for so much more, where it runs."""
        container.growth = self._wait_where_it_runs(container.app, container, more)

    def ask_to_promote(self, app: App, container: Container) -> Ask:
        """Have an opportunistic container of the application wait for room of its own, where it runs."""
        return self._wait_where_it_runs(app, container, container.shape.frozen(), promotes=True)

    def _wait_where_it_runs(self, app: App, container: Container, more: Resources, *, promotes: bool = False) -> Ask:
        request = _where_it_runs(container, more)
        ask = Ask(app, self._shape(request), request, app.next_ask)
        ask.grows, ask.promotes = container, promotes
        app.next_ask += 1
        app.add_ask(ask)
        if app.runnable:
            app.queue.add_waiting(app, ask)
        self._change_pending(ask, ask.set_place(request))
        app.queue.rekey_path(app)
        return ask

    def withdraw(self, ask: Ask) -> None:
        """It asks for nothing any more."""
        self._change_pending(ask, -ask.pending)
        ask.pending = 0
        self._drop(ask)
        ask.app.queue.rekey_path(ask.app)

    def withdraw_growth(self, container: Container) -> None:
        """It is to stay as it is. No error if it waits for nothing."""
        if (ask := container.growth) is not None:
            self.withdraw(ask)

    def _let_grow(self, ask: Ask, container: Container) -> Container:
        app, shape = ask.app, ask.shape
        if ask.promotes:
            return self._promote(ask, container)
        container.node.take(shape)
        container.shape = _sum(container.shape, shape)
        if container.hold is not None or container.killed:
            app.marked.add(shape)
        ask.count_down(container.node)
        self._drop(ask)
        app.queue.charge(app, shape, 1)
        return container

    def _promote(self, ask: Ask, container: Container) -> Container:
        """It holds from now on what it held of the room that nobody used."""
        app, node = ask.app, self.nodes[container.node.node_id]
        assert self.give_up is not None, "only who is on other books can be promoted"
        self.give_up(container)
        positions = tuple(node.positions[device_id] for device_id in container.device_ids)
        node.take(ask.shape, positions)
        container.app, container.node = app, node
        app.containers[container_key(container.container_id)] = container
        node.containers[container] = None
        node.bear(container, 1)
        ask.count_down(node)
        self._drop(ask)
        app.queue.charge(app, ask.shape, 1)
        return container

    def shrink(self, container: Container, less: Resources) -> None:
        """It gives back so much of what it holds, none of it GPUs."""
        app, node, freed = container.app, container.node, Amounts.of(less)
        rest = container.shape.copy()
        rest.subtract(freed)
        container.shape = rest
        if container.hold is not None or container.killed:
            app.marked.subtract(freed)
        node.shrunk(freed)
        self.top_up(node)
        app.demand.subtract(freed)
        app.queue.change_demand(freed, -1)
        app.queue.charge(app, freed, -1)
        app.queue.ease()

    # ---- containers that are there

    def take_in(self, container: Container) -> None:
        """A container that runs already, with the devices it names."""
        app, shape = container.app, container.shape
        key = container_key(container.container_id)
        app.containers[key] = container
        if app.attempt is not None and key[:2] == (app.attempt.number, self.epoch):
            app.next_container = max(app.next_container, key[2] + 1)
        container.node.occupy(container)
        self.odd_nodes.add(container.node)
        self.index.update(container.node)
        if self.watch_asks is not None:
            self.watch_asks(shape, None, 1)
        app.demand.add(shape)
        app.queue.change_demand(shape, 1)
        app.queue.charge(app, shape, 1)
        if container.is_master and app.attempt is not None and app.attempt.number == key[0]:
            self._count_master(container)

    def _count_master(self, container: Container) -> None:
        container.app.am_usage.add(container.shape)
        container.app.queue.am_usage.add(container.shape)

    def forget(self, container: Container) -> None:
        """It has ended: what it held is free."""
        self.withdraw_growth(container)
        app, shape = container.app, container.shape
        del app.containers[container_key(container.container_id)]
        if container.hold is not None or container.killed:
            container.killed = False
            self._unmark(container)
        container.node.give_back(container)
        self.top_up(container.node)
        app.demand.subtract(shape)
        app.queue.change_demand(shape, -1)
        app.queue.charge(app, shape, -1)
        app.queue.ease()

    # ---- space that is freed for somebody

    def hold(self, hold: Hold, kill_at: float) -> None:
        """Keep what is free of it from now on, and the rest as the victims end, which are killed at ``kill_at``."""
        self.holds[hold] = None
        hold.ask.app.holds[hold] = None
        hold.ask.app.queue.changes += 1
        hold.node.holds.append(hold)
        for victim in hold.victims:
            victim.hold = hold
            victim.kill_at = kill_at
            victim.app.marked.add(victim.shape)
            victim.app.queue.changes += 1
        hold.top_up()
        self.index.update(hold.node)

    def drop_hold(self, hold: Hold) -> None:
        """Let the space go. Victims that were not killed yet are spared; the others stay marked until they end."""
        self.fulfil(hold)
        self.top_up(hold.node)
        self.openings.let_go(hold.node)

    def fulfil(self, hold: Hold) -> None:
        """Let the space go for the grant that it was kept for. Then comes `top_up`: others get what is left."""
        del self.holds[hold]
        del hold.ask.app.holds[hold]
        hold.ask.app.queue.changes += 1
        hold.node.holds.remove(hold)
        for victim in list(hold.victims):
            self._unmark(victim)
        hold.let_go()

    def top_up(self, node: Node) -> None:
        """Keep more of what is free here, first come first; who is not needed to end any more is spared."""
        self.room_grew += 1
        for hold in node.holds:
            hold.top_up()
            if hold.complete:
                for victim in list(hold.victims):
                    self._unmark(victim)
        self.index.update(node)

    def _unmark(self, victim: Container) -> None:
        if victim.hold is not None:
            del victim.hold.victims[victim]
            victim.hold = None
        if not victim.killed:
            victim.app.marked.subtract(victim.shape)
            victim.app.queue.changes += 1

    def _trim_holds(self, ask: Ask) -> None:
        """Keep space for no more than the ask still waits for."""
        kept = [hold for hold in ask.app.holds if hold.ask is ask]
        for hold in kept[ask.pending :]:
            self.drop_hold(hold)

    # ---- reservations

    def reserve(self, ask: Ask, node: Node) -> None:
        node.reservation = ask
        ask.app.reserved[node] = None
        self.index.update(node)

    def unreserve(self, node: Node) -> None:
        """Take the node's reservation away, if there is one."""
        if node.reservation is not None:
            del node.reservation.app.reserved[node]
            node.reservation = None
            self.room_grew += 1
            self.index.update(node)
            self.openings.let_go(node)

    def let_go(self, gang: Gang) -> list[Node]:
        """Keep no nodes for the gang any more; those that were."""
        gang.gathers_since = None
        if self.gathering is gang:
            self.gathering = None
        kept = gang.gathered
        for node in kept:
            self.unreserve(node)
        return kept

    # ---- nodes

    def set_schedulable(self, node: Node, schedulable: bool) -> None:
        """Whether new containers may be placed there."""
        node.schedulable = schedulable
        if not schedulable:
            self.release(node)
        self.room_grew += 1
        self.index.update(node)

    def add_node(self, spec: NodeSpec) -> None:
        self.take_node(Node(spec))

    def take_node(self, node: Node) -> None:
        """One more, with what runs there."""
        self.nodes[node.node_id] = node
        self._count_place(node, 1)
        node.move_to(self.tags_of_rack[node.rack])
        self.cluster.total.add(node.total)
        self._follow_cluster()
        self.room_grew += 1
        self.index.update(node)

    def _follow_cluster(self) -> None:
        for queue in self.tree.follow_cluster():
            self.openings.ease(queue)

    def remove_node(self, node: Node) -> None:
        """It is not there any more; its containers are still to be forgotten."""
        self.release(node)
        del self.nodes[node.node_id]
        self._count_place(node, -1)
        node.schedulable = False
        self.index.update(node)
        self.cluster.total.subtract(node.total)
        self._follow_cluster()
        self.openings.visited(node)

    def release(self, node: Node) -> None:
        """Let go of all that is reserved or kept on the node."""
        self.unreserve(node)
        for hold in list(node.holds):
            self.drop_hold(hold)

    def _count_place(self, node: Node, by: int) -> None:
        self.nodes_of_rack[node.rack] += by
        if node.shared:
            self.shared_labels[node.label] += by
            if not self.shared_labels[node.label]:
                del self.shared_labels[node.label]

    def resize_node(self, node: Node, spec: NodeSpec) -> None:
        self.release(node)
        self.cluster.total.subtract(node.total)
        self._count_place(node, -1)
        node.set_spec(spec)
        node.move_to(self.tags_of_rack[node.rack])
        self.odd_nodes.add(node)
        self.room_grew += 1
        self._count_place(node, 1)
        self.cluster.total.add(node.total)
        self._follow_cluster()
        self.index.update(node)


def _sum(held: Amounts, more: Amounts) -> Amounts:
    total = held.copy()
    total.add(more)
    return total


def _where_it_runs(container: Container, resources: Resources) -> ResourceRequest:
    """For so much on the node of the container, whatever its label."""
    node = container.node
    return ResourceRequest(
        resources=resources,
        count=1,
        priority=container.priority,
        resource_name=node.node_id,
        relax_locality=False,
        needs=needs_of(frozenset(), None, node.label or None),
    )
