"""Shares in files: amounts (``4 vcores, 8G``) or parts of the cluster (``50%``, ``{cpus: 20%, memory: 50%}``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.queues import ShareOfCluster
from hrm.model.resources import BUILT_IN, GPUS, MEMORY, VCORES, Resources
from hrm.model.units import LARGEST, format_milli, parse_memory_mib, parse_milli

_KEYS = {
    "cpus": (VCORES, parse_milli),
    "memory": (MEMORY, parse_memory_mib),
    "gpus": (GPUS, parse_milli),
}
_WORDS = {
    **dict.fromkeys(("vcore", "vcores", "cpu", "cpus", "core", "cores"), "cpus"),
    **dict.fromkeys(("gpu", "gpus"), "gpus"),
}
_EXAMPLE = "write for example '4 vcores, 8G', {cpus: 4, memory: 8G, gpus: 1} or 50%"
_MAX_CHARS = 24


@dataclass(frozen=True, slots=True)
class GivenShare:
    """What was written: amounts by name, or parts (0 to 1) by name and of all else; never both."""

    amounts: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    part_of_all: float | None = None

    @property
    def is_part(self) -> bool:
        """True iff it is a part of the cluster."""
        return self.part_of_all is not None or bool(self.parts)

    def least(self) -> Resources | ShareOfCluster:
        """As a minimum: what was not named is not guaranteed."""
        return self._share_of_cluster(0.0) if self.is_part else Resources.of(self.amounts)

    def most(self) -> Resources | ShareOfCluster:
        """As a maximum: what was not named is not limited (as YARN's maxResources)."""
        if self.is_part:
            return self._share_of_cluster(1.0)
        return Resources.of({**dict.fromkeys(BUILT_IN, LARGEST), **self.amounts})

    def _share_of_cluster(self, unnamed: float) -> ShareOfCluster:
        default = unnamed if self.part_of_all is None else self.part_of_all
        return ShareOfCluster(default=default, parts=tuple(sorted(self.parts.items())))


def parse_share(value: Any) -> GivenShare:
    """Amounts or percentages, as text or by name: only what was named. Raises InvalidInput naming the wrong part."""
    if isinstance(value, str):
        if _is_percentage(value):
            return GivenShare(part_of_all=_part(value, ""))
        value = _split(value)
    if not isinstance(value, dict) or not value:
        raise InvalidInput("not a share", next_step=_EXAMPLE)
    amounts: dict[str, int] = {}
    parts: dict[str, float] = {}
    for key, amount in value.items():
        if key not in _KEYS:
            raise InvalidInput(f"unknown resource {key!r}", next_step=_EXAMPLE)
        name, parse = _KEYS[key]
        if _is_percentage(amount):
            parts[name] = _part(amount, key)
        else:
            amounts[name] = parse(amount, field=key)
    if amounts and parts:
        raise InvalidInput("mixes amounts and percentages", next_step="write amounts for all, or percentages for all")
    return GivenShare(amounts, parts)


def parse_amounts(value: Any) -> Resources:
    """A share that cannot be a part of the cluster: what was not named is 0. Raises InvalidInput."""
    return Resources.of(_no_part(value).amounts)


def parse_limit(value: Any) -> Resources:
    """A maximum that cannot be a part of the cluster: what was not named is not limited. Raises InvalidInput."""
    most = _no_part(value).most()
    assert isinstance(most, Resources), "it is no part"
    return most


def _no_part(value: Any) -> GivenShare:
    share = parse_share(value)
    if share.is_part:
        raise InvalidInput("cannot be a percentage", next_step="write for example '4 vcores, 8G'")
    return share


def show_share(share: Resources | ShareOfCluster) -> dict[str, str] | str:
    """As `parse_share` reads it; what is not limited is left out."""
    if isinstance(share, ShareOfCluster):
        parts = dict(share.parts)
        if not parts:
            return _percentage(share.default)
        # What a minimum or maximum does not name is 0 or all anyway.
        left_out = share.default in (0.0, 1.0)
        return {
            key: _percentage(parts.get(name, share.default))
            for key, (name, _) in _KEYS.items()
            if name in parts or not left_out
        }
    shown = {"cpus": format_milli(share.vcores_milli), "memory": f"{share.memory_mib}M"}
    shown["gpus"] = format_milli(share.gpus_milli)
    return {key: text for key, text in shown.items() if share.get(_KEYS[key][0]) < LARGEST}


def _is_percentage(value: Any) -> bool:
    return isinstance(value, str) and value.strip().endswith("%")


def _part(text: str, key: str) -> float:
    raw = text.strip().removesuffix("%").strip()
    try:
        percent = Decimal(raw) if len(raw) <= _MAX_CHARS else Decimal("NaN")
    except ArithmeticError:
        percent = Decimal("NaN")
    if not (percent.is_finite() and 0 <= percent <= 100):
        raise InvalidInput(
            f"not a percentage from 0% to 100%: {text.strip()[:_MAX_CHARS]!r}", field=key, next_step=_EXAMPLE
        )
    return float(percent / 100)


def _percentage(part: float) -> str:
    """Exact: the same part is read back. A float's own digits, moved by two places."""
    text = f"{Decimal(repr(part)) * 100:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def _split(text: str) -> dict[str, str]:
    """``4 vcores, 8G`` by key; a number without a word is memory. ``20% cpus, 50% memory`` alike."""
    parts: dict[str, str] = {}
    for part in text.split(","):
        number, _, word = part.strip().partition(" ")
        key = _WORDS.get(word.strip().lower(), "memory")
        if key in parts:
            raise InvalidInput(f"names {key} twice: {text!r}", next_step=_EXAMPLE)
        by_number = key != "memory" or (_is_percentage(number) and word.strip().lower() == "memory")
        parts[key] = number if by_number else part.strip()
    return parts
