"""Checks: small functions that look at a machine and tell what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.system import System
from hrm.model.findings import Finding


@dataclass(frozen=True, slots=True)
class Unseen:
    """Yielded by a check for what it could not look at; it goes on with the rest."""

    what: str


Look = Callable[[System, Expected], Iterable[Finding | Unseen]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. It finds nothing where what it looks at is not installed, and nothing on a machine that is well."""

    #: ``area.what``: ``gpu.driver-version``.
    name: str
    look: Look
    #: All that it may find.
    faults: tuple[Fault, ...]
    #: True iff it costs so little that every node runs it again and again: files and quick commands.
    quick: bool = False
    #: It is left behind when it takes longer, and the report says so.
    timeout_s: float = 8.0

    @property
    def area(self) -> str:
        """What `hrm doctor --only` chooses by."""
        return self.name.partition(".")[0]


def check(name: str, *faults: Fault, quick: bool = False, timeout_s: float = 8.0) -> Callable[[Look], Check]:
    """Make a `Check` of a function. ``faults``: all that it may find."""

    def make(look: Look) -> Check:
        return Check(name=name, look=look, faults=faults, quick=quick, timeout_s=timeout_s)

    return make


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that nodes of a cluster are compared by."""

    #: ``gpu.driver``.
    name: str
    #: None where the machine has no such thing.
    tell: Callable[[System], str | None]
    #: True iff no two nodes may have the same (an address, an initiator's name); else all are to have it alike.
    unique: bool = False


def fact(name: str, *, unique: bool = False) -> Callable[[Callable[[System], str | None]], Fact]:
    """Make a `Fact` of a function."""

    def make(tell: Callable[[System], str | None]) -> Fact:
        return Fact(name, tell, unique)

    return make
