"""Applications as the scheduler sees them: what they ask for and what they hold."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from hrm.core.amounts import NOTHING, Amounts
from hrm.core.constraints import Constraint
from hrm.core.locality import Delay, Level
from hrm.core.ordering import Key
from hrm.core.reasons import Reason
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.node_needs import ANY_NODE, NodeNeeds
from hrm.model.requests import ANY, ResourceRequest
from hrm.model.resources import Resources
from hrm.model.tag_placements import TagPlacement

if TYPE_CHECKING:
    from hrm.core.gangs import Gang
    from hrm.core.nodes import Node
    from hrm.core.queues import Queue

#: Amounts, model of GPU, and what a node must be besides.
ShapeKey = tuple[Resources, str | None, NodeNeeds]
#: What tells asks of one application apart: priority, request id, shape, for its master, gang, container that grows,
#: tags and constraint.
AskKey = tuple[int, int, ShapeKey, bool, int | None, ContainerId | None, TagPlacement | None]


class Shape(Amounts):
    """What one container needs: amounts, model of GPU, and what a node must be besides.

    Equal asks of all applications share one object. So a visit that finds a shape too large for a
    node turns it down once, not once per application.
    """

    __slots__ = ("choosy", "gpu_model", "key", "label", "missed_visit", "needs", "reason", "resources", "uses")

    resources: Resources
    gpu_model: str | None
    needs: NodeNeeds
    #: False iff any node without a label will do.
    choosy: bool
    #: Of the nodes that will do, "" iff none is named.
    label: str
    #: Equal iff the shapes are.
    key: ShapeKey
    #: Asks that have this shape, waiting or not; it is forgotten with the last.
    uses: int
    #: Number of the last visit that found no room for it.
    missed_visit: int
    #: Why there was none.
    reason: Reason

    @classmethod
    def make(cls, resources: Resources, gpu_model: str | None, needs: NodeNeeds = ANY_NODE) -> Shape:
        shape = cls.of(resources)
        shape.resources = resources
        shape.gpu_model = gpu_model
        shape.needs = needs
        shape.choosy = needs != ANY_NODE
        shape.label = needs.label or ""
        shape.key = resources, gpu_model, needs
        shape.uses = 0
        shape.missed_visit = 0
        shape.reason = Reason.NOT_YET_SCHEDULED
        return shape


class Place:
    """How many containers of an ask are wanted on one node, in one rack or anywhere."""

    __slots__ = ("count", "relax")

    def __init__(self, count: int, relax: bool) -> None:
        self.count = count
        self.relax = relax


class Ask:
    """Containers of one shape and priority that an application waits for.

    An ask with a "*" place counts as YARN's: that count is the total, the counts of nodes and racks say where they
    are preferred, and ``relax`` false on the rack or on "*" forbids to go as far as that. Without "*" each named place
    stands for itself: its count adds to the total, and ``relax`` false means that only this place will do.
    """

    __slots__ = (
        "_reason",
        "_reason_visit",
        "allocation_request_id",
        "app",
        "constraint",
        "counted_by_any",
        "delay",
        "for_master",
        "gang",
        "grows",
        "order",
        "pending",
        "placement",
        "places",
        "plain",
        "priority",
        "promotes",
        "shape",
    )

    def __init__(self, app: App, shape: Shape, request: ResourceRequest, seq: int) -> None:
        self.app = app
        self.shape = shape
        self.priority = request.priority
        self.allocation_request_id = request.allocation_request_id
        self.for_master = request.for_master
        #: What it is granted together with; None iff each container by itself.
        self.gang: Gang | None = None
        #: The container that is to hold this in addition; None iff it asks for containers.
        self.grows: Container | None = None
        #: True iff that one is opportunistic, and this is what it holds already: it is to be guaranteed.
        self.promotes = False
        #: Tags that its containers bear, and what must hold of a node; None iff neither.
        self.placement = placement = request.placement
        #: The latter, as it stands now; None iff any node will do.
        self.constraint: Constraint | None = None
        if placement is not None and placement.constraint is not None:
            self.constraint = Constraint(placement.constraint, placement, app)
        #: True iff it may lie anywhere at once, by itself, and is for no master: a visit has nothing more to check.
        self.plain = False
        #: Among the asks of the application: lower priority number first, then request id, then the older.
        self.order = (self.priority, self.allocation_request_id, seq)
        self.places: dict[str, Place] = {}
        #: True iff the count of "*" is the total.
        self.counted_by_any = False
        #: How long it waits for places it would like; None before the first look, and where nothing waits for such.
        self.delay: Delay | None = None
        #: Containers still waited for.
        self.pending = 0
        # Why, and in which visit, it was turned down for another reason than its shape.
        self._reason = Reason.NOT_YET_SCHEDULED
        self._reason_visit = 0

    def __lt__(self, other: Ask) -> bool:
        return self.order < other.order

    def set_place(self, request: ResourceRequest) -> int:
        """Take a new absolute count; returns by how much the number of containers waited for changed."""
        name = request.resource_name
        if request.count:
            self.places[name] = Place(request.count, request.relax_locality)
        else:
            self.places.pop(name, None)
        if name == ANY:
            self.counted_by_any = True
        plain = self.gang is None and self.placement is None
        self.plain = plain and self.places.keys() == {ANY} and not self.for_master
        before = self.pending
        counted = self.places.get(ANY, Place(0, True)).count if self.counted_by_any else self._sum_of_places()
        self.pending = counted
        return counted - before

    def _sum_of_places(self) -> int:
        return sum(place.count for place in self.places.values())

    def turn_down(self, reason: Reason, visit: int) -> None:
        """A visit found room for the shape, and did not place it."""
        self._reason, self._reason_visit = reason, visit

    @property
    def reason(self) -> Reason:
        """Why the last visit that looked at it, or at its shape, turned it down."""
        return self._reason if self._reason_visit >= self.shape.missed_visit else self.shape.reason

    def accepts(self, node: Node) -> bool:
        """True iff the places asked for allow this node.

        How long a wish waits before it gives way is another matter: see `hrm.core.locality`.
        """
        if self.promotes and self.grows is not None and not self.grows.has_devices_free_on(node):
            # They have just been granted to others.
            return False
        places = self.places
        anywhere = places.get(ANY)
        if anywhere is not None and len(places) == 1:
            return True
        if node.node_id in places:
            return True
        rack = places.get(node.rack)
        if anywhere is None:
            return rack is not None or any(place.relax for place in places.values())
        if rack is not None:
            return rack.relax
        return anywhere.relax

    def is_kept_off(self, node: Node) -> bool:
        """True iff the node is not what its constraint wants, by what runs there."""
        return self.constraint is not None and not self.constraint.meets(node)

    def level_at(self, node: Node) -> Level:
        """How near the node is to the places it would like; everything is near to who does not care."""
        places = self.places
        if node.node_id in places or places.keys() == {ANY}:
            return Level.NODE
        return Level.RACK if node.rack in places else Level.ANYWHERE

    def count_down(self, node: Node) -> None:
        """One container was placed on ``node``, which `accepts` allows."""
        self.pending -= 1
        if self.delay is not None:
            self.delay.placed(self.level_at(node))
        places = self.places
        anywhere = places.get(ANY)
        if anywhere is not None and len(places) == 1:
            anywhere.count -= 1
            return
        at_node, at_rack = places.get(node.node_id), places.get(node.rack)
        if anywhere is not None:
            self._use(ANY, anywhere)
            if at_node is not None:
                self._use(node.node_id, at_node)
            if at_rack is not None:
                self._use(node.rack, at_rack)
        elif at_node is not None:
            self._use(node.node_id, at_node)
        elif at_rack is not None:
            self._use(node.rack, at_rack)
        else:
            self._use(*next((name, place) for name, place in places.items() if place.relax))

    def _use(self, name: str, place: Place) -> None:
        place.count -= 1
        if not place.count:
            del self.places[name]

    @property
    def goes_beyond(self) -> bool:
        """True iff it may lie elsewhere than on the nodes and in the racks that it names."""
        anywhere = self.places.get(ANY)
        if anywhere is not None:
            return anywhere.relax or len(self.places) == 1
        return any(place.relax for place in self.places.values())

    def closed_racks(self) -> tuple[str, ...]:
        """Racks in which it must lie on no node that it does not name: relaxation is off there."""
        if ANY not in self.places:
            return ()
        return tuple(name for name, place in self.places.items() if name.startswith("/") and not place.relax)

    def strict_places(self) -> tuple[str, ...]:
        """The nodes and racks it must lie on one of; () iff it may lie on others, or on none at all."""
        closed = self.closed_racks()
        return () if self.goes_beyond else tuple(name for name in self.places if name != ANY and name not in closed)


class Way(StrEnum):
    """How a container came to its place."""

    ORDER = "order"  #: its application came first by policy among those that the node had room for
    RESERVATION = "reservation"  #: the node was reserved for it
    PREEMPTION = "preemption"  #: others ended for it here
    RECOVERY = "recovery"  #: it ran already


class Container:
    """A grant on the books. Compared by identity: there is one object per container."""

    __slots__ = (
        "announced",
        "app",
        "container_id",
        "contests",
        "device_ids",
        "gang_id",
        "growth",
        "hold",
        "is_master",
        "kill_at",
        "killed",
        "level",
        "node",
        "priority",
        "shape",
        "started_at",
        "tags",
        "unsaved_since",
        "way",
    )

    def __init__(
        self,
        container_id: ContainerId,
        app: App,
        node: Node,
        shape: Amounts,
        device_ids: tuple[str, ...],
        priority: int,
    ) -> None:
        self.container_id = container_id
        self.app = app
        self.node = node
        self.shape = shape
        self.device_ids = device_ids
        self.priority = priority
        #: True iff the application's own master runs here.
        self.is_master = False
        #: Of the gang that it was granted with; None iff none. Its members that still run have the same.
        self.gang_id: int | None = None
        #: That it bears while it is here.
        self.tags: frozenset[str] = frozenset()
        #: What it waits for to hold in addition; None iff it is to stay as it is.
        self.growth: Ask | None = None
        self.way = Way.RECOVERY
        #: Whom it came before when it was granted (see `hrm.core.contest`); None iff that is forgotten.
        self.contests: Sequence[Key] | None = ()
        #: How near it is to the places asked for; None iff none were.
        self.level: Level | None = None
        self.started_at = 0.0
        #: Since when its work would be lost if it ended: its start, or its last checkpoint. Epoch seconds.
        self.unsaved_since = 0.0
        #: What it is to end for; None iff nobody wants it to.
        self.hold: Hold | None = None
        #: When it is killed if it has not ended by then, and whether that was said.
        self.kill_at = 0.0
        self.killed = False
        #: False as long as its grant waits for opportunistic containers to end.
        self.announced = True

    @property
    def milli_per_device(self) -> int:
        return min(self.shape.gpus, 1000)

    def has_devices_free_on(self, node: Node) -> bool:
        """True iff its devices have on that node, where it is not on the books, what it holds of them."""
        part = self.milli_per_device
        at = (node.positions.get(device_id) for device_id in self.device_ids)
        return all(position is not None and node.device_free[position] >= part for position in at)

    def with_its_gang(self) -> list[Container]:
        """This one, and all that are of no use without it."""
        if self.gang_id is None:
            return [self]
        others = [one for one in self.app.containers.values() if one.gang_id == self.gang_id and one is not self]
        return [self, *others]


class Hold:
    """Space on ``node`` that is kept for one container of ``ask``, for which it is being freed. Compared by identity.

    What it has got is off the node's free amounts and devices, so that nobody else can take it; as victims end, it
    takes what they leave, up to what its ask needs.
    """

    __slots__ = ("ask", "device_milli", "got", "node", "victims")

    def __init__(self, ask: Ask, node: Node, positions: tuple[int, ...], victims: list[Container]) -> None:
        self.ask = ask
        self.node = node
        #: Kept so far.
        self.got = Amounts()
        #: The same of each device it is to get, by position.
        self.device_milli = dict.fromkeys(positions, 0)
        #: Containers that are to end for it and have not yet.
        self.victims = dict.fromkeys(victims)

    @property
    def complete(self) -> bool:
        return self.ask.shape.fits_in(self.got)

    def top_up(self) -> None:
        """Take from what is free on the node what is still lacking."""
        node, shape, got, free = self.node, self.ask.shape, self.got, self.node.free
        part = min(shape.gpus, 1000)
        gpus = 0
        for position, milli in self.device_milli.items():
            more = max(min(node.device_free[position], part - milli), 0)
            self.device_milli[position] += more
            node.device_free[position] -= more
            gpus += more
        more_of = Amounts(
            max(min(free.memory, shape.memory - got.memory), 0),
            max(min(free.vcores, shape.vcores - got.vcores), 0),
            gpus,
            {name: max(min(free.other(name), whole - got.other(name)), 0) for name, whole in shape.others.items()}
            if shape.others
            else None,
        )
        got.add(more_of)
        free.subtract(more_of)
        node.sum_devices()

    def let_go(self) -> None:
        """Give all of it back to the node."""
        for position, milli in self.device_milli.items():
            self.node.device_free[position] += milli
            self.device_milli[position] = 0
        self.node.free.add(self.got)
        self.got = Amounts()
        self.node.sum_devices()


def container_key(container_id: ContainerId) -> tuple[int, int, int]:
    """What tells containers of one application apart. Cheaper to hash than the whole id."""
    return container_id.attempt.number, container_id.epoch, container_id.seq


class App:
    """One application in a leaf queue. Orders among its siblings as queues do: see `hrm.core.ordering`."""

    __slots__ = (
        "am_usage",
        "application_id",
        "asks",
        "asks_by_key",
        "attempt",
        "blacklist",
        "containers",
        "demand",
        "entry",
        "fair_since",
        "gangs",
        "holds",
        "marked",
        "min_share",
        "missed_visit",
        "name",
        "next_ask",
        "next_container",
        "nothing_to_preempt",
        "priority",
        "queue",
        "reserved",
        "runnable",
        "shapes",
        "shares",
        "start",
        "tags",
        "usage",
        "user",
        "weight",
    )

    def __init__(
        self,
        application_id: ApplicationId,
        user: str,
        submitted_at: float,
        priority: int,
        tags: frozenset[str] = frozenset(),
    ) -> None:
        self.application_id = application_id
        #: Last tie-break. Numbers, because as text application 10000 would come before 9999.
        self.name = (application_id.cluster_timestamp, application_id.seq)
        self.user = user
        self.start = submitted_at
        self.priority = priority
        #: That it was submitted with: placement constraints of others may name them.
        self.tags = tags
        self.weight = 1.0
        #: Applications have no minimum share.
        self.min_share = NOTHING
        self.queue: Queue
        #: False iff limits on running applications make it wait.
        self.runnable = False
        #: False as long as it is due nothing, as it asks for opportunistic containers alone.
        self.shares = True
        self.usage = Amounts()
        #: What its master's container got, until the attempt is over.
        self.am_usage = Amounts()
        #: Usage and all that it still asks for.
        self.demand = Amounts()
        #: Waiting asks in their order.
        self.asks: list[Ask] = []
        self.asks_by_key: dict[AskKey, Ask] = {}
        #: Those that wait, by their ids.
        self.gangs: dict[int, Gang] = {}
        #: Shapes that wait to be placed, each with the number of asks; none while it may not run.
        self.shapes: dict[Shape, int] = {}
        #: None before the first and between two.
        self.attempt: AttemptId | None = None
        self.next_container = 1
        self.next_ask = 0
        self.containers: dict[tuple[int, int, int], Container] = {}
        self.blacklist: frozenset[str] = frozenset()
        #: Nodes reserved for it.
        self.reserved: dict[Node, None] = {}
        #: Space that is being freed for it.
        self.holds: dict[Hold, None] = {}
        #: What those of its containers hold that are to end for others.
        self.marked = Amounts()
        #: When it last had its fair share, as far as preemption goes; None before the first look.
        self.fair_since: float | None = None
        #: True iff preemption was due for it and the last look found no container that may go.
        self.nothing_to_preempt = False
        #: Its place among its siblings; None iff it is not in the order (waits for nothing, or may not run).
        self.entry: Key | None = None
        self.missed_visit = 0

    def add_ask(self, ask: Ask) -> None:
        self.asks_by_key[self._key(ask)] = ask
        insort(self.asks, ask)

    def drop_ask(self, ask: Ask) -> None:
        del self.asks_by_key[self._key(ask)]
        self.asks.remove(ask)

    @property
    def owner(self) -> App:
        """Itself, but where it stands for another one on the books of opportunistic containers."""
        return self

    @property
    def borrows(self) -> bool:
        """True iff its containers are opportunistic."""
        return self.owner is not self

    @property
    def age(self) -> tuple[float, tuple[int, int]]:
        """Order among those that wait to run: the older first."""
        return self.start, self.name

    @property
    def fair_share(self) -> Resources:
        """As of the last update of shares."""
        return self.queue.share_of(self)

    def pending(self) -> int:
        """Containers waited for."""
        return sum(ask.pending for ask in self.asks)

    @staticmethod
    def _key(ask: Ask) -> AskKey:
        gang_id = None if ask.gang is None else ask.gang.gang_id
        grows = None if ask.grows is None else ask.grows.container_id
        return (
            ask.priority,
            ask.allocation_request_id,
            ask.shape.key,
            ask.for_master,
            gang_id,
            grows,
            ask.placement,
        )
