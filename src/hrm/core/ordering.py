"""Who comes first: one key per policy, smallest first. Siblings are kept sorted by it.

A key is a tuple that ends with the sibling itself, just after its name, which no other sibling has: so no two keys
are equal and the sibling is never compared. The rules are YARN's comparators (FairSharePolicy,
DominantResourceFairnessPolicy, FifoPolicy), written as keys. Siblings that wait for nothing are not in the order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from hrm.core.amounts import NOTHING, Amounts
from hrm.model.queues import Order, Policy
from hrm.model.resources import Resources

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

    @property
    def fair_share(self) -> Resources: ...


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
    demand = one.demand
    minimum = one.min_share.memory
    if minimum > demand.memory:
        minimum = demand.memory
    if used < minimum:
        return (NEEDY, used / minimum, by_weight, by_usage, one.start, one.name, one)
    wants = demand.memory or demand.vcores or demand.gpus or demand.others
    return (CONTENT if wants else WITHOUT_DEMAND, 0.0, by_weight, by_usage, one.start, one.name, one)


def drf_key(one: Schedulable, total: Amounts) -> Key:
    """By the dominant share of the cluster over weight, ties by the next largest share, and so on.

    Below its minimum share is who has less than that of its own dominant resource; among such, by used/min in the
    same order of resources (Ghodsi et al., NSDI'11; YARN's DominantResourceFairnessComparatorN).
    """
    usage = one.usage
    first = usage.memory / total.memory if total.memory else _share_of_none(usage.memory)
    second = usage.vcores / total.vcores if total.vcores else _share_of_none(usage.vcores)
    third = usage.gpus / total.gpus if total.gpus else _share_of_none(usage.gpus)
    if total.others or one.min_share is not NOTHING:
        return _long_drf_key(one, total, (first, second, third))
    weight = one.weight
    if weight <= 0:
        return (CONTENT, INFINITE, INFINITE, INFINITE, (), one.start, one.name, one)
    if second > first:
        first, second = second, first
    if third > second:
        second, third = third, second
        if second > first:
            first, second = second, first
    return (CONTENT, first / weight, second / weight, third / weight, (), one.start, one.name, one)


def _long_drf_key(one: Schedulable, total: Amounts, built_in: tuple[float, float, float]) -> Key:
    """The same where there is a minimum share or more than the built-in resources."""
    usage, minimum, weight = one.usage, one.min_share, one.weight
    kinds = [
        (built_in[0], usage.memory, minimum.memory),
        (built_in[1], usage.vcores, minimum.vcores),
        (built_in[2], usage.gpus, minimum.gpus),
    ]
    for name, whole in (total.others or {}).items():
        used = usage.other(name)
        kinds.append((used / whole if whole else _share_of_none(used), used, minimum.other(name)))
    kinds.sort(key=lambda kind: -kind[0])
    _, dominant_used, dominant_minimum = kinds[0]
    if dominant_used < dominant_minimum:
        ratios = [used / least if least else _share_of_none(used) for _, used, least in kinds]
        return (NEEDY, *ratios[:3], tuple(ratios[3:]), one.start, one.name, one)
    ratios = [share / weight if weight > 0 else INFINITE for share, _, _ in kinds]
    return (CONTENT, *ratios[:3], tuple(ratios[3:]), one.start, one.name, one)


def fair_deficit_key(one: Schedulable, total: Amounts) -> Key:
    """As `fair_key`, but those that have their minimum by what they lack of their fair share, in memory."""
    key = fair_key(one, total)
    if key[0] == NEEDY:
        return key
    lacks = one.fair_share.memory_mib - one.usage.memory
    return (key[0], 0.0, -lacks, 0, one.start, one.name, one)


def drf_deficit_key(one: Schedulable, total: Amounts) -> Key:
    """As `drf_key`, but those that have their minimum by what they lack of their dominant fair share."""
    key = drf_key(one, total)
    if key[0] == NEEDY:
        return key
    # The share is as old as the last update: of what left the cluster since then nobody is due, or has, anything.
    cluster = [(name, amount) for name, amount in total.items() if amount]
    due, used = one.fair_share, one.usage.frozen()
    lacks = max((due.get(name) / amount for name, amount in cluster), default=0.0)
    lacks -= max((used.get(name) / amount for name, amount in cluster), default=0.0)
    return (CONTENT, -lacks, 0.0, 0.0, (), one.start, one.name, one)


def _share_of_none(used: int) -> float:
    """Share of a resource of which there is nothing: of the cluster (its nodes left) or of a minimum (none is set)."""
    return INFINITE if used else 0.0


KEYS: dict[tuple[Policy, Order], KeyOf] = {
    (Policy.FIFO, Order.RATIO): fifo_key,
    (Policy.FAIR, Order.RATIO): fair_key,
    (Policy.FAIR, Order.DEFICIT): fair_deficit_key,
    (Policy.DRF, Order.RATIO): drf_key,
    (Policy.DRF, Order.DEFICIT): drf_deficit_key,
}


def is_below(policy: Policy, usage: Amounts, share: Resources, total: Amounts) -> bool:
    """True iff the usage is less than the share: in memory, under drf in dominant shares of the cluster.

    YARN's FSAppAttempt.isUsageBelowShare.
    """
    if policy is not Policy.DRF:
        return usage.memory < share.memory_mib
    cluster = total.frozen()
    return usage.frozen().dominant_share(cluster) < share.dominant_share(cluster)
