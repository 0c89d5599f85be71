"""Who chooses the node for a container: strategies that score nodes with room for a shape, the least score first.

Without one the scheduler places what fits on the node that is visited, as YARN. With one, the unit of a decision is a
request: the next in the queues' order gets the best node of all that have room (see `hrm.core.candidates`).

Strategies are pure as everything in the core: scores depend on events alone. They are asked again only for nodes that
changed, so a score may depend on the node, the shape, and what bumps ``epoch`` when it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from hrm.core.amounts import Amounts
from hrm.core.applications import Shape, ShapeKey
from hrm.core.fragmentation import Fragmentation, Lookahead, Measure, free_of
from hrm.core.mix import Kind, TaskMix
from hrm.core.nodes import WHOLE, Node, pick_devices
from hrm.model.scheduling import Strategy

#: Compared within one shape. Equal scores: the node that joined first.
Score = float | tuple[float, ...]


class PlacementStrategy(Protocol):
    """What a strategy is asked and told. Own ones may inherit from it: all but `score` has a default."""

    #: Grows when scores given before are no longer right.
    epoch: int = 0

    def score(self, node: Node, shape: Shape) -> Score:
        """How bad it is to place the shape on the node, which has room for it."""
        ...

    def pick(self, node: Node, shape: Shape, score: Score) -> Sequence[int]:
        """Positions of the node's devices for the shape, which is placed there for this score: one device up to 1000
        milli, wholly free ones above. By default the fullest that fits."""
        if not shape.gpus:
            return ()
        return pick_devices(shape.gpus, node.device_free, node.allowed_positions(shape))

    def changed(self, node: Node) -> None:
        """What is free on the node changed, or the node is gone."""
        return None

    def asked(self, amounts: Amounts, gpu_model: str | None, count: int) -> None:
        """So many more containers are asked for, or were found running."""
        return None

    def resized(self, largest: Amounts) -> None:
        """The cluster's nodes have other sizes: at most so much of each resource."""
        return None


class Pack(PlacementStrategy):
    """The fullest node: the least part free, on the average of the resources that the node has."""

    def score(self, node: Node, shape: Shape) -> Score:
        free, total = node.free, node.total
        parts = [
            left / whole
            for left, whole in ((free.memory, total.memory), (free.vcores, total.vcores), (free.gpus, total.gpus))
            if whole
        ]
        return sum(parts) / len(parts) if parts else 0.0


class Spread(PlacementStrategy):
    """The node with fewest containers."""

    def score(self, node: Node, shape: Shape) -> Score:
        return len(node.containers)


class _Vectors(PlacementStrategy):
    """Strategies over vcores and GPUs as parts of the largest node; memory takes the place of GPUs where there are
    none. Scores are whole hundredths, as in the paper's simulator: finer ones do worse."""

    def __init__(self) -> None:
        self._largest = Amounts(1, 1, 1)

    def resized(self, largest: Amounts) -> None:
        self._largest = largest
        self.epoch += 1

    def parts(self, amounts: Amounts) -> tuple[float, float]:
        largest = self._largest
        second = amounts.gpus / largest.gpus if largest.gpus else amounts.memory / max(largest.memory, 1)
        return amounts.vcores / max(largest.vcores, 1), second


class BestFit(_Vectors):
    """Where least is left (Panigrahy et al., "Heuristics for Vector Bin Packing", 2011)."""

    def score(self, node: Node, shape: Shape) -> Score:
        free, asked = self.parts(node.free), self.parts(shape)
        left = (free[0] - asked[0] + free[1] - asked[1]) / 2
        return -math.floor(100 * (1 - left))


class DotProduct(_Vectors):
    """Where the product of what is free and what is asked for is least (the paper's DotProd, after Tetris)."""

    def score(self, node: Node, shape: Shape) -> Score:
        free, asked = self.parts(node.free), self.parts(shape)
        alike = (free[0] * asked[0] + free[1] * asked[1]) / 2
        return -math.floor(100 * (1 - alike))


class Fgd(PlacementStrategy):
    """Fragmentation gradient descent (Weng et al., ATC'23): where fragmentation grows least, of equal ones the node
    with least idle GPU. A fraction of a GPU tries each device.

    The paper's simulator scores by whole hundredths of a sigmoid. Its steps decide how often the second rule speaks,
    which does as much for the result as the first, so they are kept.
    """

    measure: Measure = Fragmentation

    def __init__(self, mix: TaskMix | None = None) -> None:
        """With a ``mix`` nothing is learned from what is asked for."""
        self._learns = mix is None
        self._mix = mix or TaskMix()
        self._mix_epoch = self._mix.epoch
        self._fragmentation = self.measure(self._mix.typical())
        #: Of nodes as they are now.
        self._usable: dict[Node, float] = {}
        #: By state of a node and what of a shape matters.
        self._scores: dict[tuple[object, ...], Score] = {}

    def asked(self, amounts: Amounts, gpu_model: str | None, count: int) -> None:
        if self._learns:
            self._mix.see(Kind.of(amounts, gpu_model), count)
            if self._mix.epoch != self._mix_epoch:
                self._mix_epoch = self._mix.epoch
                self._fragmentation = self.measure(self._mix.typical())
                self._usable.clear()
                self._scores.clear()
                self.epoch += 1

    def changed(self, node: Node) -> None:
        self._usable.pop(node, None)

    def score(self, node: Node, shape: Shape) -> Score:
        device_free = free_of(node)
        if len(node.models) != 1:
            return self._score(node, shape, device_free)
        # Many nodes are in one state, first of all those that are empty.
        state = shape.vcores, shape.gpus, node.models, node.free.vcores, *sorted(device_free)
        score = self._scores.get(state)
        if score is None:
            if len(self._scores) >= _MAX_STATES:
                self._scores.clear()
            score = self._scores[state] = self._score(node, shape, device_free)
        return score

    def _score(self, node: Node, shape: Shape, device_free: list[int]) -> Score:
        usable = self._usable.get(node)
        if usable is None:
            usable = self._usable[node] = self._fragmentation.usable(node, node.free.vcores, device_free)
        left, _ = self._best(node, shape, device_free)
        return self.step(usable - left - shape.gpus), sum(device_free)

    def step(self, growth_milli: float) -> float:
        """Growths that count as equal have one value."""
        return -int(100 / (1 + math.exp(growth_milli / 1000)))

    def pick(self, node: Node, shape: Shape, score: Score) -> Sequence[int]:
        return self._best(node, shape, free_of(node))[1]

    def _best(self, node: Node, shape: Shape, device_free: list[int]) -> tuple[float, Sequence[int]]:
        """What is usable after the shape was placed on the best devices, and which those are."""
        gpus, vcores = shape.gpus, node.free.vcores - shape.vcores
        if not gpus:
            return self._fragmentation.usable(node, vcores, device_free), ()
        allowed = node.allowed_positions(shape)
        if gpus > WHOLE:
            chosen = pick_devices(gpus, device_free, allowed)
            after = device_free.copy()
            for position in chosen:
                after[position] = 0
            return self._fragmentation.usable(node, vcores, after), chosen
        best, best_position = -1.0, -1
        tried = set()
        for position in allowed:
            free = device_free[position]
            # Devices of other models differ though as much is left of them.
            one = free if len(node.models) == 1 else (free, node.devices[position].model)
            if free < gpus or one in tried:
                continue
            tried.add(one)
            after = device_free.copy()
            after[position] = free - gpus
            usable = self._fragmentation.usable(node, vcores, after)
            if usable > best or (usable == best and free < device_free[best_position]):
                best, best_position = usable, position
        return best, (best_position,)


class LookaheadFgd(Fgd):
    """The same with `Lookahead` as its measure, and growths in steps of 0.005 GPU."""

    measure = Lookahead

    def step(self, growth_milli: float) -> float:
        return math.ceil(growth_milli / 5)


class Random(PlacementStrategy):
    """Any node with room, each equally likely, and any device.

    Each node and shape has a clock that rings after a time that is exponentially distributed: whose rings first is
    chosen, and set anew from then on. The others need not be: such clocks forget. So only what changed is drawn again,
    here too.
    """

    #: Shapes whose time is kept, those used last.
    _SHAPES = 4096

    def __init__(self, seed: int = 0) -> None:
        self._state = seed & _MASK
        #: When the last clock of a shape rang.
        self._now: dict[ShapeKey, float] = {}

    def score(self, node: Node, shape: Shape) -> Score:
        return self._now.get(shape.key, 0.0) - math.log(1.0 - self._draw())

    def pick(self, node: Node, shape: Shape, score: Score) -> Sequence[int]:
        assert isinstance(score, float)
        key = shape.key
        self._now.pop(key, None)
        self._now[key] = score
        if len(self._now) > self._SHAPES:
            del self._now[next(iter(self._now))]
        if not 0 < shape.gpus <= WHOLE:
            return super().pick(node, shape, score)
        fitting = [i for i in node.allowed_positions(shape) if node.device_free[i] >= shape.gpus]
        return (fitting[int(self._draw() * len(fitting))],)

    def _draw(self) -> float:
        """In [0, 1). SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", OOPSLA'14)."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((state ^ (state >> 31)) >> 11) / (1 << 53)


_MASK = (1 << 64) - 1
#: States of nodes whose scores are remembered; forgotten together when they are more.
_MAX_STATES = 65_536

#: Makes a strategy for one scheduler.
Strategies = Mapping[str, Callable[[], PlacementStrategy]]

BUILT_IN: Strategies = {
    Strategy.PACK: Pack,
    Strategy.SPREAD: Spread,
    Strategy.BEST_FIT: BestFit,
    Strategy.DOT_PRODUCT: DotProduct,
    Strategy.FGD: Fgd,
    Strategy.LOOKAHEAD: LookaheadFgd,
    Strategy.RANDOM: Random,
}
