"""A placement strategy of one's own, held so that its bugs end its own say and nothing else.

A scheduler must not stop half way because of code that is not its own. So whatever a strategy raises is caught, and
what it answers is checked. After the first trouble it is asked no more; until the scheduler goes on without it (at the
end of the visit) the node that joined first is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hrm.core.amounts import Amounts
from hrm.core.applications import Shape
from hrm.core.nodes import WHOLE, Node
from hrm.core.strategies import PlacementStrategy, Score

_Answer = TypeVar("_Answer")
_LONGEST_TROUBLE = 300


class Guarded(PlacementStrategy):
    """Stands before one that is not HRM's."""

    def __init__(self, make: Callable[[], PlacementStrategy]) -> None:
        #: What it raised, or answered that cannot be; None while all is well.
        self.trouble: str | None = None
        self._strategy: PlacementStrategy | None = None
        #: True iff it scores by plain numbers; None before the first.
        self._plain: bool | None = None
        try:
            self._strategy = make()
        except Exception as error:  # noqa: BLE001 - whatever foreign code raises
            self._give_up(error)

    def score(self, node: Node, shape: Shape) -> Score:
        """Always a tuple: then one that is given after the trouble can be compared with those before."""
        least: tuple[float, ...] = ()
        return self._ask(lambda strategy: self._checked(strategy.score(node, shape)), least)

    def pick(self, node: Node, shape: Shape, score: Score) -> Sequence[int]:
        own = score[0] if self._plain and isinstance(score, tuple) and score else score
        found = self._ask(lambda strategy: _free(node, shape, strategy.pick(node, shape, own)), None)
        return super().pick(node, shape, score) if found is None else found

    def changed(self, node: Node) -> None:
        self._ask(lambda strategy: strategy.changed(node), None)

    def asked(self, amounts: Amounts, gpu_model: str | None, count: int) -> None:
        self._ask(lambda strategy: strategy.asked(amounts, gpu_model, count), None)

    def resized(self, largest: Amounts) -> None:
        self._ask(lambda strategy: strategy.resized(largest), None)

    def _ask(self, question: Callable[[PlacementStrategy], _Answer], otherwise: _Answer) -> _Answer:
        if self._strategy is None:
            return otherwise
        try:
            answer = question(self._strategy)
            self.epoch = int(self._strategy.epoch)
        except Exception as error:  # noqa: BLE001 - whatever foreign code raises
            self._give_up(error)
            return otherwise
        return answer

    def _give_up(self, error: Exception) -> None:
        self._strategy = None
        self.trouble = f"{type(error).__name__}: {error}"[:_LONGEST_TROUBLE]

    def _checked(self, score: Score) -> tuple[float, ...]:
        """Raises ValueError, TypeError where scores could not be put in order."""
        plain = not isinstance(score, tuple)
        if self._plain not in (None, plain):
            raise ValueError(f"some scores are numbers and some are tuples: {score!r:.80}")
        self._plain = plain
        numbers = tuple(float(part) for part in (score if isinstance(score, tuple) else (score,)))
        if any(number != number for number in numbers):
            raise ValueError(f"a score is not a number: {score!r:.80}")
        return numbers


def _free(node: Node, shape: Shape, positions: Sequence[int]) -> tuple[int, ...]:
    """The positions, if the shape has room there. Raises ValueError."""
    found = tuple(positions)
    allowed = node.allowed_positions(shape)
    each = min(shape.gpus, WHOLE)
    right = len(found) == len(set(found)) == -(-shape.gpus // WHOLE)
    if not right or not all(at in allowed and node.device_free[at] >= each for at in found):
        raise ValueError(f"devices at {found!r:.80} of {node.node_id} have no room for {shape.gpus / WHOLE:g} GPUs")
    return found
