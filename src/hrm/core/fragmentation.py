"""How much of a node's idle GPUs the usual tasks can use: exact, in GPU milli, weighed by how often each task comes.

What one device adds depends on what is left of it, and of the rest of the node only on whether the vcores are enough
for each typical task. So there is a table for each such level of vcores, and a node is one look-up per device.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from hrm.core.mix import Kind, Typical
from hrm.core.nodes import WHOLE, Node

#: States of nodes that are remembered; forgotten together when they are more.
_MAX_COVERED = 65_536


class Fragmentation:
    """Weng et al., "Beware of Fragmentation" (ATC'23). For one typical task the fragment of a node is

    - all that is idle, if the node cannot take the task (vcores, GPUs or model), or the task needs no GPU;
    - else what is idle on devices that cannot serve it: less is left than it needs, or they are of another model.

    The fragmentation of the node is the sum over the typical tasks, each times its frequency.
    """

    def __init__(self, typical: Sequence[Typical]) -> None:
        #: Those that need GPUs.
        self.served = [one for one in typical if one.kind.gpus_milli]
        self._fractions = [one for one in self.served if one.kind.gpus_milli <= WHOLE]
        self._multiples = [one for one in self.served if one.kind.gpus_milli > WHOLE]
        #: Vcores from which on more of them fit.
        self._steps = sorted({one.kind.vcores_milli for one in self.served})
        self._tables: dict[tuple[int, str], list[float]] = {}

    def of(self, node: Node) -> float:
        """Fragmentation of the node as it is."""
        device_free = free_of(node)
        return sum(device_free) - self.usable(node, node.free.vcores, device_free)

    def usable(self, node: Node, vcores: int, device_free: Sequence[int]) -> float:
        """What is idle less the fragmentation, were so much free on the node."""
        level = bisect_right(self._steps, vcores)
        models = node.models
        if len(models) == 1:
            table = self._tables.get((level, models[0])) or self._table(level, models[0])
            usable = sum([table[free] for free in device_free])
        else:
            usable = 0.0
            for device, free in zip(node.devices, device_free, strict=True):
                table = self._tables.get((level, device.model)) or self._table(level, device.model)
                usable += table[free]
        if self._multiples:
            for one in self._multiples:
                if one.kind.vcores_milli <= vcores:
                    usable += one.frequency * self.of_wholes(one.kind, wholes(node, device_free, one.kind.gpu_model))
        return usable

    def _table(self, level: int, model: str) -> list[float]:
        """By what is left of a device of this model: how much of that tasks for one device can use."""
        vcores = self._steps[level - 1] if level else -1
        fitting = [
            one for one in self._fractions if one.kind.vcores_milli <= vcores and serves(model, one.kind.gpu_model)
        ]
        # Typical tasks are few dozens, of fewer sizes: what they can use is summed by size.
        sizes: dict[int, float] = {}
        for one in fitting:
            sizes[one.kind.gpus_milli] = sizes.get(one.kind.gpus_milli, 0.0) + one.frequency
        table = [
            sum(frequency * self.of_device(size, left) for size, frequency in sizes.items() if size <= left)
            for left in range(WHOLE + 1)
        ]
        self._tables[level, model] = table
        return table

    def of_device(self, size: int, left: int) -> float:
        """How much of what is left of one device counts as usable by a task that needs ``size`` of it and fits."""
        return left

    def of_wholes(self, kind: Kind, whole: int) -> float:
        """The same of so many wholly free devices, for a task that needs several."""
        return whole * WHOLE if whole * WHOLE >= kind.gpus_milli else 0


class Lookahead(Fragmentation):
    """Fragmentation that looks past the next task: at all that a node could still take.

    It differs from `Fragmentation` in three points, and knows no more:

    - what a task would leave of its device counts only as far as others can fill it. Fragmentation takes a whole
      device as fully usable by a task of 0.81 GPU, though 0.19 will be left that hardly anybody can use;
    - tasks for several devices can use multiples of what they need, not all devices that are free;
    - a part of the whole depends on how much of the idle GPUs the vcores suffice for, with as many tasks as fit, where
      fragmentation asks whether they suffice for one.
    """

    #: How much of the measure depends on vcores.
    VCORES_COUNT = 0.1

    def __init__(self, typical: Sequence[Typical]) -> None:
        self._refill = refill(typical)
        with_gpus = sum(one.frequency for one in typical if one.kind.gpus_milli)
        super().__init__([Typical(one.kind, one.frequency / with_gpus) for one in typical if one.kind.gpus_milli])
        self._covered: dict[tuple[int, int], float] = {}

    def usable(self, node: Node, vcores: int, device_free: Sequence[int]) -> float:
        usable = super().usable(node, vcores, device_free)
        if not usable:
            return 0.0
        key = vcores // 1000, sum(device_free)
        covered = self._covered.get(key)
        if covered is None:
            if len(self._covered) >= _MAX_COVERED:
                self._covered.clear()
            covered = self._covered[key] = self._cover(*key)
        return usable * (1 - self.VCORES_COUNT + self.VCORES_COUNT * covered)

    def _cover(self, vcores: int, idle_milli: int) -> float:
        """For how much of the idle GPUs whole vcores suffice: the mean over the typical tasks that fit at all."""
        covered = fitting = 0.0
        for one in self.served:
            kind = one.kind
            if kind.vcores_milli <= vcores * 1000:
                copies = vcores * 1000 // kind.vcores_milli if kind.vcores_milli else idle_milli
                covered += one.frequency * min(1.0, copies * kind.gpus_milli / idle_milli)
                fitting += one.frequency
        return covered / fitting if fitting else 0.0

    def of_device(self, size: int, left: int) -> float:
        return size + self._refill[left - size]

    def of_wholes(self, kind: Kind, whole: int) -> float:
        return whole * WHOLE // kind.gpus_milli * kind.gpus_milli


def refill(typical: Sequence[Typical]) -> list[int]:
    """By what is left of a device: the most of it that tasks of typical sizes can fill together."""
    sizes = sorted({one.kind.gpus_milli for one in typical if 0 < one.kind.gpus_milli <= WHOLE})
    filled = [0]
    for left in range(1, WHOLE + 1):
        fills = [size + filled[left - size] for size in sizes if size <= left]
        filled.append(max(fills, default=0))
    return filled


def free_of(node: Node) -> list[int]:
    """What is free of each device; 0 where facts put more on one than it has."""
    return [max(free, 0) for free in node.device_free] if node.overcommitted else node.device_free


def wholes(node: Node, device_free: Sequence[int], glob: str) -> int:
    """Wholly free devices of a model."""
    if not glob:
        return device_free.count(WHOLE)
    return sum(device_free[position] == WHOLE for position in node.positions_of_model(glob))


def serves(model: str, glob: str) -> bool:
    """True iff a device of this model may serve who asks for ``glob``."""
    return not glob or fnmatchcase(model.lower(), glob.lower())


#: Makes a measure for a set of typical tasks.
Measure = Callable[[Sequence[Typical]], Fragmentation]
