"""Who comes first: one key per policy, smallest first. Siblings are kept sorted by it.

A key is a tuple that ends with the sibling itself, just after its name, which no other sibling has: so no two keys
are equal and the sibling is never compared. The rules are YARN's comparators (FairSharePolicy,
DominantResourceFairnessPolicy, FifoPolicy), written as keys. Siblings that wait for nothing are not in the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hrm.core.amounts import Amounts
from hrm.model.queues import Policy

INFINITE = float("inf")


class Schedulable(Protocol):
    """What a key is made from: a queue among queues or an application among applications."""

    @property
    def name(self) -> Any: ...

    @property
    def start(self) -> float: ...

    @property
    def priority(self) -> int: ...

    @property
    def weight(self) -> float: ...

    @property
    def usage(self) -> Amounts: ...

    @property
    def demand(self) -> Amounts: ...

    @property
    def min_share(self) -> Amounts: ...


Key = tuple[Any, ...]
#: (sibling, size of the cluster) to key.
KeyOf = Callable[[Any, Amounts], Key]

#: First component of a key.
NEEDY, CONTENT, WITHOUT_DEMAND = 0, 1, 2


def fifo_key(one: Schedulable, total: Amounts) -> Key:
    """Higher priority first, then the older."""
    return (-one.priority, one.start, one.name, one)


def fair_key(one: Schedulable, total: Amounts) -> Key:
    """Memory decides: without demand last; below the minimum share first, by used/min; then by used/weight.

    The minimum counts only as far as there is demand for it. Weight 0 comes after all that have weight, by usage.
    """
    used = one.usage.memory
    weight = one.weight
    by_weight = used / weight if weight > 0 else INFINITE
    by_usage = 0 if weight > 0 else used
    demand = one.demand.memory
    minimum = one.min_share.memory
    if minimum > demand:
        minimum = demand
    if used < minimum:
        return (NEEDY, used / minimum, by_weight, by_usage, one.start, one.name, one)
    return (CONTENT if demand > 0 else WITHOUT_DEMAND, 0.0, by_weight, by_usage, one.start, one.name, one)


def drf_key(one: Schedulable, total: Amounts) -> Key:
    """By the dominant share of the cluster over weight, ties by the next largest share, and so on.

    Below its minimum share is who has less than that of its own dominant resource; among such, by used/min in the
    same order of resources (Ghodsi et al., NSDI'11; YARN's DominantResourceFairnessComparatorN).
    """
    usage = one.usage
    if one.min_share.memory or one.min_share.vcores or one.min_share.gpus or one.min_share.others:
        needy = _needy_ratios(one, total)
        if needy is not None:
            return (NEEDY, *needy, one.start, one.name, one)
    weight = one.weight
    if weight <= 0:
        return (CONTENT, INFINITE, INFINITE, INFINITE, (), one.start, one.name, one)
    first = usage.memory / total.memory if total.memory else (INFINITE if usage.memory else 0.0)
    second = usage.vcores / total.vcores if total.vcores else (INFINITE if usage.vcores else 0.0)
    third = usage.gpus / total.gpus if total.gpus else (INFINITE if usage.gpus else 0.0)
    rest: tuple[float, ...] = ()
    if total.others:
        first, second, third, *tail = sorted((share for _, share in _shares(usage, total)), reverse=True)
        rest = tuple(share / weight for share in tail)
    else:
        if second > first:
            first, second = second, first
        if third > second:
            second, third = third, second
            if second > first:
                first, second = second, first
    return (CONTENT, first / weight, second / weight, third / weight, rest, one.start, one.name, one)


def _shares(usage: Amounts, total: Amounts) -> list[tuple[str, float]]:
    """Share of the cluster by resource, largest first; ties in the usual order of resources."""
    # An amount of a resource that the cluster lacks (its node left) counts as more than all of it.
    amounts = usage.frozen()
    shares = [
        (name, amounts.get(name) / whole if whole else (INFINITE if amounts.get(name) else 0.0))
        for name, whole in _every_resource(total)
    ]
    return sorted(shares, key=lambda named: -named[1])


def _every_resource(total: Amounts) -> list[tuple[str, int]]:
    named = [("memory_mib", total.memory), ("vcores_milli", total.vcores), ("gpus_milli", total.gpus)]
    return named + sorted((total.others or {}).items())


def _needy_ratios(one: Schedulable, total: Amounts) -> tuple[Any, ...] | None:
    """Used/min by resource, dominant first, in the shape of a key's middle; None iff not below the minimum."""
    shares = _shares(one.usage, total)
    used, minimum = one.usage.frozen(), one.min_share.frozen()
    dominant = shares[0][0]
    if used.get(dominant) >= minimum.get(dominant):
        return None
    ratios = [
        used.get(name) / minimum.get(name) if minimum.get(name) else (INFINITE if used.get(name) else 0.0)
        for name, _ in shares
    ]
    return (*ratios[:3], tuple(ratios[3:]))


KEYS: dict[Policy, KeyOf] = {Policy.FIFO: fifo_key, Policy.FAIR: fair_key, Policy.DRF: drf_key}
