"""All checks: those of every area, and those that other packages bring.

A package brings checks by an entry point of the group ``hrm.doctor`` that leads to a sequence of `Check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from hrm.doctor.checks import Check, Fact
from hrm.model.errors import InvalidInput

ENTRY_POINTS = "hrm.doctor"
#: Packages of this one with ``CHECKS``, and ``FACTS``.
AREAS = ("machine", "gpu", "cuda", "docker", "storage", "mesos", "kubernetes", "java", "own")


def built_in_checks() -> tuple[Check, ...]:
    """HRM's own, area by area."""
    return tuple(check for area in AREAS for check in import_module(f"hrm.doctor.{area}").CHECKS)


def all_checks() -> tuple[Check, ...]:
    """HRM's own and those of other packages. Raises InvalidInput for one that cannot be loaded."""
    from importlib.metadata import entry_points

    others: list[Check] = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            others += point.load()
        except (ImportError, AttributeError, TypeError) as error:
            raise InvalidInput(
                f"the doctor's checks {point.value!r} cannot be loaded: {error}",
                next_step="mend or remove the package that brings them",
            ) from error
    return (*built_in_checks(), *others)


def all_facts() -> tuple[Fact, ...]:
    """What nodes are compared by."""
    return tuple(fact for area in AREAS for fact in import_module(f"hrm.doctor.{area}").FACTS)


def chosen(checks: Sequence[Check], only: Sequence[str]) -> list[Check]:
    """Those of the areas or names in ``only``; all where it is empty. Raises InvalidInput for one that there is not."""
    wanted = [word for word in only if word]
    for word in wanted:
        if not any(word in (check.area, check.name) for check in checks):
            areas = ", ".join(dict.fromkeys(check.area for check in checks))
            raise InvalidInput(f"no checks are called {word!r}", field="--only", next_step=f"there are: {areas}")
    return [check for check in checks if not wanted or check.area in wanted or check.name in wanted]
