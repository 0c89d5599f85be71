"""What other packages add to HRM by entry points: placement strategies of one's own.

A package says in its ``pyproject.toml``::

    [project.entry-points."hrm.placement_strategies"]
    coolest_first = "my_package:CoolestFirst"

and `scheduler.placement_strategy` may be ``coolest_first``. What is named is called without arguments, once for each
scheduler, and gives what `hrm.core.strategies.PlacementStrategy` describes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.scheduling import Strategy

GROUP = "hrm.placement_strategies"
_ASKED_OF_IT = ("epoch", "score", "pick", "changed", "asked", "resized")


def placement_strategies() -> tuple[str, ...]:
    """Names that may be configured: built-in ones, then those of other packages. Nothing of theirs is imported."""
    return (*(str(one) for one in Strategy), *_own())


def own_placement_strategy(name: str) -> Callable[[], Any] | None:
    """What makes the strategy, imported and tried now; None iff no other package has one of this name.

    Raises InvalidInput if it cannot be imported, or what it makes is none.
    """
    found = _own().get(name)
    if found is None:
        return None
    try:
        make: Callable[[], Any] = found.load()
        made = make()
    except Exception as error:
        raise InvalidInput(
            f"cannot load the placement strategy {name!r} from {found.value!r}: {error}",
            field="scheduler.placement_strategy",
            next_step="mend the package that brings it, or choose another strategy",
        ) from error
    if lacking := [
        what for what in ("epoch", "score", "pick", "changed", "asked", "resized") if not hasattr(made, what)
    ]:
        raise InvalidInput(
            f"the placement strategy {name!r} ({found.value}) lacks {', '.join(lacking)}",
            field="scheduler.placement_strategy",
            next_step="let it inherit from hrm.core.strategies.PlacementStrategy",
        )
    return make


def _own() -> dict[str, EntryPoint]:
    """By name; a name of a built-in one stays the built-in one's."""
    return {one.name: one for one in entry_points(group=GROUP) if one.name not in list(Strategy)}
