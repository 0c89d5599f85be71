"""One node's books: what is free, device by device, and what runs there; and the index that finds nodes with room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hrm.core.amounts import Amounts
from hrm.core.reasons import Reason
from hrm.core.tags import Tags
from hrm.model.attributes import parse_expression
from hrm.model.node_needs import NodeNeeds
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources

if TYPE_CHECKING:
    from hrm.core.applications import Ask, Container, Hold, Shape

WHOLE = 1000
#: Needs of which a node remembers whether it meets them.
_MAX_KNOWN = 64


class Node:
    """A machine. ``free`` is total minus what runs; GPUs are kept per device besides.

    500 + 500 free milli on two devices is not a whole GPU: up to 1000 a container lies on one device, above it gets
    wholly free ones.
    """

    __slots__ = (
        "_known",
        "_model_positions",
        "attributes",
        "bucket",
        "containers",
        "device_free",
        "device_models",
        "devices",
        "free",
        "holds",
        "label",
        "largest_free",
        "models",
        "node_id",
        "offers",
        "overcommitted",
        "positions",
        "rack",
        "rack_tags",
        "reservation",
        "schedulable",
        "spec",
        "tags",
        "total",
        "whole_free",
        "withheld",
    )

    def __init__(self, spec: NodeSpec) -> None:
        self.node_id = spec.node_id
        self.schedulable = True
        #: True iff requests without a label are to wait: those with the node's own are looked at first.
        self.withheld = False
        #: In the order they came. A dict for its order and its speed; the values mean nothing.
        self.containers: dict[Container, None] = {}
        #: Space kept for whom it is freed, first come first; not part of ``free``.
        self.holds: list[Hold] = []
        #: The ask that this node is reserved for: nothing else is placed here.
        self.reservation: Ask | None = None
        #: True iff facts (a smaller node, recovered containers) put more here than there is.
        self.overcommitted = False
        #: Of its containers, those that bear any.
        self.tags = Tags()
        #: The same of all nodes of its rack; the books say which.
        self.rack_tags = Tags()
        #: Where `NodeIndex` keeps it.
        self.bucket: tuple[int, int, int] | None = None
        self.set_spec(spec)

    def set_spec(self, spec: NodeSpec) -> None:
        """Take a new size. What runs stays, even if it is now too much."""
        self.spec = spec
        self.rack = spec.rack
        self.offers = frozenset(spec.offers)
        self.attributes = dict(spec.attributes)
        self.label = spec.label
        self._known: dict[NodeNeeds, bool] = {}
        self.total = Amounts.of(spec.total)
        self.free = self.total.copy()
        #: By index.
        self.devices: tuple[DeviceSpec, ...] = tuple(sorted(spec.devices, key=lambda device: device.index))
        self.device_models = tuple(device.model for device in self.devices)
        self.models = tuple(sorted(set(self.device_models)))
        self.positions = {device.device_id: position for position, device in enumerate(self.devices)}
        self.device_free = [WHOLE] * len(self.devices)
        self._model_positions: dict[str, tuple[int, ...]] = {}
        self.overcommitted = False
        for container in self.containers:
            self._book(container)
        self.sum_devices()

    def positions_of_model(self, glob: str) -> tuple[int, ...]:
        """Positions of the devices whose model matches (case does not count)."""
        known = self._model_positions.get(glob)
        if known is None:
            pattern = glob.lower()
            known = tuple(i for i, device in enumerate(self.devices) if fnmatchcase(device.model.lower(), pattern))
            self._model_positions[glob] = known
        return known

    def meets(self, needs: NodeNeeds) -> bool:
        """True iff it is what a request wants of a node besides room. Remembered until the node changes."""
        known = self._known.get(needs)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[needs] = self._meets(needs)
        return known

    def _meets(self, needs: NodeNeeds) -> bool:
        if (needs.label or "") != self.label and (needs.label or self.spec.exclusive):
            return False
        constraint = needs.constraint
        return needs.offers <= self.offers and (not constraint or parse_expression(constraint).meets(self.attributes))

    def admits(self, shape: Shape) -> bool:
        """The same for a shape."""
        return not (shape.choosy or self.label) or self.meets(shape.needs)

    @property
    def shared(self) -> bool:
        """True iff it has a label, and what requests with it leave is everybody's."""
        return bool(self.label) and not self.spec.exclusive

    def lends_to(self, shape: Shape) -> bool:
        """True iff the shape may come here only as long as no request with the node's label wants the place."""
        return bool(self.label) and not shape.label

    def fits(self, shape: Shape) -> bool:
        """True iff it can be placed here now, as far as amounts and devices go."""
        if not shape.fits_in(self.free):
            return False
        if (shape.choosy or self.label) and (not self.meets(shape.needs) or (self.withheld and self.lends_to(shape))):
            return False
        gpus = shape.gpus
        if not gpus:
            return True
        if shape.gpu_model is None:
            return self.largest_free >= gpus if gpus <= WHOLE else self.whole_free * WHOLE >= gpus
        pieces = self.pieces(shape)
        return max(pieces, default=0) >= gpus if gpus <= WHOLE else pieces.count(WHOLE) * WHOLE >= gpus

    def why_not(self, shape: Shape) -> Reason:
        """What is short here now. Only for a shape that does not fit."""
        free = self.free
        if not self.admits(shape):
            return Reason.NOT_OFFERED
        if shape.gpus:
            if shape.gpus > sum(self.pieces(shape)) or shape.gpus > free.gpus:
                return Reason.INSUFFICIENT_GPUS
            if shape.fits_in(free):
                return Reason.GPU_FRAGMENTED
        if shape.memory > free.memory:
            return Reason.INSUFFICIENT_MEMORY
        return Reason.INSUFFICIENT_VCORES if shape.vcores > free.vcores else Reason.INSUFFICIENT_OTHER

    def pieces(self, shape: Shape) -> list[int]:
        """Free milli of each device that may serve the shape."""
        if shape.gpu_model is None:
            return self.device_free
        return [self.device_free[i] for i in self.positions_of_model(shape.gpu_model)]

    def could_hold(self, shape: Shape) -> bool:
        """True iff it would fit if nothing ran here."""
        return self.admits(shape) and self.is_large_enough(shape)

    def is_large_enough(self, shape: Shape) -> bool:
        """The same, whatever else is wanted of the node: attributes and labels may change, its size hardly does."""
        if not shape.fits_in(self.total):
            return False
        if not shape.gpus:
            return True
        devices = len(self.devices) if shape.gpu_model is None else len(self.positions_of_model(shape.gpu_model))
        return devices * WHOLE >= shape.gpus

    def allowed_positions(self, shape: Shape) -> Sequence[int]:
        """Positions of the devices that may serve the shape."""
        return range(len(self.device_free)) if shape.gpu_model is None else self.positions_of_model(shape.gpu_model)

    def take(self, shape: Shape, positions: Sequence[int] | None = None) -> tuple[str, ...]:
        """Take the amounts and the devices at ``positions``, which `fits` has found to be there.

        Where nobody chose them, a fraction goes to the fullest device that still fits, so that whole devices stay
        whole.
        """
        free = self.free
        gpus = shape.gpus
        # Every grant takes this path, so what Amounts.subtract does is written out.
        free.memory -= shape.memory
        free.vcores -= shape.vcores
        free.gpus -= gpus
        if shape.others:
            free.add_others(shape.others, -1)
        if not gpus:
            return ()
        device_free = self.device_free
        chosen = pick_devices(gpus, device_free, self.allowed_positions(shape)) if positions is None else positions
        part = gpus if gpus < WHOLE else WHOLE
        for i in chosen:
            device_free[i] -= part
        self.sum_devices()
        devices = self.devices
        return tuple([devices[i].device_id for i in chosen])

    def put_back(self, shape: Shape, positions: Sequence[int]) -> None:
        """Undo a `take` with these positions."""
        self.free.add(shape)
        part = min(shape.gpus, WHOLE)
        for i in positions:
            self.device_free[i] += part
        self.sum_devices()

    def occupy(self, container: Container) -> None:
        """Book a container that runs already, on the devices it names."""
        self.containers[container] = None
        self.bear(container, 1)
        self._book(container)
        self.sum_devices()

    def bear(self, container: Container, by: int) -> None:
        """Count its tags, if it has any: ``by`` 1 where it comes, -1 where it goes."""
        if container.tags:
            self.tags.add(container, by)
            self.rack_tags.add(container, by)

    def move_to(self, rack_tags: Tags) -> None:
        """It belongs to this rack now."""
        for container in self.containers:
            self.rack_tags.add(container, -1)
            rack_tags.add(container, 1)
        self.rack_tags = rack_tags

    def give_back(self, container: Container) -> None:
        """Free what a container held. Devices that left the node meanwhile are passed over."""
        del self.containers[container]
        self.bear(container, -1)
        self.free.add(container.shape)
        if container.device_ids:
            part = container.milli_per_device
            for device_id in container.device_ids:
                position = self.positions.get(device_id)
                if position is not None:
                    self.device_free[position] += part
                else:
                    self.free.gpus -= part
            self.sum_devices()
        if self.overcommitted:
            self.overcommitted = self._is_short()

    def shrunk(self, freed: Amounts) -> None:
        """A container gave so much back, none of it GPUs."""
        self.free.add(freed)
        if self.overcommitted:
            self.overcommitted = self._is_short()

    def _book(self, container: Container) -> None:
        self.free.subtract(container.shape)
        part = container.milli_per_device
        for device_id in container.device_ids:
            position = self.positions.get(device_id)
            if position is not None:
                self.device_free[position] -= part
            else:
                # Held, but not of what is here: the devices that are left are as free as they were.
                self.free.gpus += part
        self.overcommitted = self._is_short()

    def _is_short(self) -> bool:
        return any(amount < 0 for _, amount in self.free.items()) or any(free < 0 for free in self.device_free)

    @property
    def is_odd(self) -> bool:
        """True iff more is used here than there is, as facts have it: it is too full, or a device in use is gone."""
        return self.overcommitted or any(one not in self.positions for c in self.containers for one in c.device_ids)

    def sum_devices(self) -> None:
        """After ``device_free`` changed."""
        if self.device_free:
            #: Milli free on the emptiest device, and number of wholly free ones: what most fits ask for.
            self.largest_free = max(self.device_free)
            self.whole_free = self.device_free.count(WHOLE)
        else:
            self.largest_free = self.whole_free = 0


def pick_devices(gpus: int, device_free: Sequence[int], allowed: Iterable[int]) -> tuple[int, ...]:
    """Positions of the devices for ``gpus`` milli, the fullest that fits or the first whole ones; () iff too few."""
    if gpus <= WHOLE:
        best, best_free = -1, WHOLE + 1
        for i in allowed:
            free = device_free[i]
            if gpus <= free < best_free:
                best, best_free = i, free
        return (best,) if best >= 0 else ()
    whole = [i for i in allowed if device_free[i] == WHOLE][: gpus // WHOLE]
    return tuple(whole) if len(whole) * WHOLE == gpus else ()


class NodeIndex:
    """Nodes by how much is free, coarsely: a bucket holds those whose free amounts have equal bit lengths.

    A node changes its bucket only when something halves or doubles, so keeping the index costs next to nothing, and
    a search skips the full nodes without looking at them.
    """

    def __init__(self) -> None:
        self._buckets: dict[tuple[int, int, int], dict[Node, None]] = {}
        #: Told of each node that changed; None iff nobody wants to know.
        self.watch: Callable[[Node], None] | None = None
        #: Collects the nodes that changed; None iff nobody wants to know.
        self.changed: dict[Node, None] | None = None

    @property
    def empty(self) -> bool:
        """True iff no node takes anything new."""
        return not self._buckets

    def update(self, node: Node) -> None:
        """After ``node.free``, its schedulability or its reservation changed, or it left."""
        if self.watch is not None:
            self.watch(node)
        if self.changed is not None:
            self.changed[node] = None
        free = node.free
        bucket = (_bits(free.memory), _bits(free.vcores), _bits(free.gpus)) if node.schedulable else None
        if bucket == node.bucket:
            return
        self.remove(node)
        if bucket is not None:
            self._buckets.setdefault(bucket, {})[node] = None
            node.bucket = bucket

    def remove(self, node: Node) -> None:
        if node.bucket is not None:
            held = self._buckets[node.bucket]
            del held[node]
            if not held:
                del self._buckets[node.bucket]
            node.bucket = None

    def with_room_for(self, floor: Amounts) -> Iterator[Node]:
        """Schedulable nodes with at least ``floor`` free, the emptiest buckets first."""
        memory, vcores, gpus = _bits(floor.memory), _bits(floor.vcores), _bits(floor.gpus)
        for bucket in sorted(self._buckets, reverse=True):
            if bucket[0] >= memory and bucket[1] >= vcores and bucket[2] >= gpus:
                for node in self._buckets[bucket]:
                    if floor.fits_in(node.free):
                        yield node


def size(total: Resources) -> tuple[int, ...]:
    """Which of two nodes is called the larger: by memory, then vcores, then GPUs."""
    return total.memory_mib, total.vcores_milli, total.gpus_milli


def _bits(amount: int) -> int:
    return amount.bit_length() if amount > 0 else 0
