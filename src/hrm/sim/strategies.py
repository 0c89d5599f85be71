"""Placement strategies in simulations: HRM's own, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Iterable

from hrm.config.extensions import own_placement_strategy
from hrm.core.commands import Command, StrategyFailed
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.model.errors import InvalidInput
from hrm.model.scheduling import SchedulerOptions


def strategies_for(options: SchedulerOptions) -> Strategies:
    """What these options may name. Raises InvalidInput where it is another package's and cannot be loaded."""
    name = options.placement_strategy
    make = None if name is None else own_placement_strategy(name)
    return BUILT_IN if name is None or make is None else {**BUILT_IN, name: make}


def refuse_failure(commands: Iterable[Command]) -> None:
    """A server goes on without a strategy that fails; a simulation would be another than was asked for.

    Raises InvalidInput.
    """
    for command in commands:
        if isinstance(command, StrategyFailed):
            raise InvalidInput(
                f"the placement strategy {command.strategy!r} failed: {command.trouble}",
                field="placement_strategy",
                next_step="mend the package that brings it, or choose another strategy",
            )
