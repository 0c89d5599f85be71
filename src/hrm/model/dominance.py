"""Dominant resources of reports: of which somebody has the largest part of a whole (DRF, NSDI 2011, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping

from hrm.model.resources import GPUS, MEMORY, VCORES

Amounts = Mapping[str, int]


def part_of(amounts: Amounts, total: Amounts, name: str) -> float:
    """0 to 1, of one resource; 0 where there is none of it."""
    return amounts.get(name, 0) / total[name] if total.get(name) else 0.0


def dominant_resource(total: Amounts, *amounts: Amounts) -> str:
    """Of which the first of ``amounts`` is the largest part; where parts are equal the next of them decides."""
    return max((VCORES, MEMORY, GPUS), key=lambda name: tuple(part_of(one, total, name) for one in amounts))


def dominant_share(amounts: Amounts, total: Amounts) -> float:
    """The part of that resource, 0 to 1."""
    return part_of(amounts, total, dominant_resource(total, amounts))
