"""What an import made of each property."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Honoured:
    """A property that has its key."""

    source: str
    line: int
    #: ``maxResources``, ``yarn.scheduler.fair.preemption``.
    property: str
    #: Path of the queue that it was said of, or the user; "" iff it counts for all.
    of: str
    #: Path of the key in ``hrm.yaml``.
    key: str
    #: As it is written there.
    value: str


@dataclass(frozen=True, slots=True, order=True)
class NotApplicable:
    """A property that HRM has no use for, and why."""

    source: str
    line: int
    property: str
    of: str
    why: str


@dataclass(frozen=True, slots=True, order=True)
class Warned:
    """Something to look at: what is honoured, but not as it looks."""

    source: str
    line: int
    property: str
    of: str
    text: str


@dataclass(slots=True)
class ImportReport:
    """Every property of the files in one of the first two lists."""

    honoured: list[Honoured] = field(default_factory=list)
    not_applicable: list[NotApplicable] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people, by file and line."""
        return [
            *(f"{_where(one)} -> {one.key}: {one.value}" for one in sorted(self.honoured)),
            *(f"{_where(one)}: not applicable: {one.why}" for one in sorted(self.not_applicable)),
            *(f"{_where(one)}: warning: {one.text}" for one in sorted(self.warnings)),
            f"{len(self.honoured)} honoured, {len(self.not_applicable)} not applicable, {len(self.warnings)} warnings",
        ]

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "honoured": [_plain(one) for one in sorted(self.honoured)],
            "not_applicable": [_plain(one) for one in sorted(self.not_applicable)],
            "warnings": [_plain(one) for one in sorted(self.warnings)],
        }


def _where(one: Honoured | NotApplicable | Warned) -> str:
    name = f"{one.of}: {one.property}" if one.of else one.property
    return f"{one.source}:{one.line}: {name}"


def _plain(one: Honoured | NotApplicable | Warned) -> dict[str, Any]:
    return {name: getattr(one, name) for name in type(one).__slots__}
