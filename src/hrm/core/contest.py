"""Who came next when something was granted: noted with the container, so that it can be told why it was this one.

An order is only true for a moment, so what decided it is kept and not worked out later: the key of the chosen one and
that of the next in line, at each level from the application to the root.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from hrm.core.applications import App, Ask, Container
from hrm.core.ordering import CONTENT, NEEDY, Key
from hrm.core.queues import Queue
from hrm.model.queues import Order, Policy

#: Grants whose contest is kept.
KEPT = 1024
#: Components of a key by policy, without the sibling at its end.
_LENGTHS = {Policy.FIFO: 3, Policy.FAIR: 6, Policy.DRF: 7}


class Contests:
    """The latest contests, each at its container: older ones are forgotten.

    Keys that live as long as 100,000 containers would double the price of a grant: Python's garbage collector has to
    look at each of them again and again.
    """

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: deque[Container] = deque()

    def note(self, container: Container, contests: list[Key]) -> None:
        if len(self._noted) == KEPT:
            self._noted.popleft().contests = None
        container.contests = contests
        self._noted.append(container)


def contests_of(ask: Ask) -> list[Key]:
    """Before the ask is granted: key by key whom it comes before, from the leaf up, where there is another one.

    Mostly the chosen one stands at the head of its line. Where it does not, the other is the head, which was passed
    over. Every grant takes this path: one flat list costs a microsecond, a list of pairs six, as Python's garbage
    collector has to look at each of them.
    """
    app = ask.app
    queue: Queue | None = app.queue
    entry, line = app.entry, app.queue.lines[ask.shape]
    found: list[Key] = []
    while queue is not None and entry is not None:
        if len(line) > 1:
            first = line[0]
            found.append(entry)
            found.append(line[1] if first is entry else first)
        entry = queue.entry
        queue = queue.parent
        if queue is not None:
            line = queue.order
    return found


def say_contests(keys: Sequence[Key]) -> Iterator[str]:
    """From the root down, one sentence for each pair of keys.

    ``queue a came before queue b in root (drf): dominant share over weight 0.1 against 0.25``.
    """
    for at in range(len(keys) - 2, -1, -2):
        taken, other = keys[at], keys[at + 1]
        child = taken[-1]
        parent = child.queue if isinstance(child, App) else child.parent
        if parent is not None:
            yield _say(parent, taken[:-1], other[:-1], leaf=isinstance(child, App))


def _say(parent: Queue, taken: Key, other: Key, *, leaf: bool) -> str:
    spec = parent.spec
    first, second = _name(taken, leaf=leaf), _name(other, leaf=leaf)
    if not len(taken) == len(other) == _LENGTHS[spec.policy]:
        return f"{first} came before {second} in {parent.path}, by its policy as it was then"
    if other < taken:
        return f"{second} comes first in {parent.path} ({spec.policy}), but could use nothing of what was free"
    why = _why(spec.policy, spec.order, taken, other)
    return f"{first} came before {second} in {parent.path} ({spec.policy}): {why}"


def _name(key: Key, *, leaf: bool) -> str:
    return f"application {key[-1][1]}" if leaf else f"queue {key[-1]}"


def _why(policy: Policy, order: Order, taken: Key, other: Key) -> str:
    """What of the two keys is the first to differ."""
    if policy is Policy.FIFO:
        if taken[0] != other[0]:
            return f"priority {-taken[0]:g} against {-other[0]:g}"
        return _older(taken, other)
    if taken[0] != other[0]:
        words = {NEEDY: "below its min share", CONTENT: "has its min share"}
        return f"{words.get(taken[0], 'asks for nothing')}, the other {words.get(other[0], 'asks for nothing')}"
    numbers = range(1, len(taken) - 2)
    differs = next((at for at in numbers if taken[at] != other[at]), None)
    if differs is None:
        return _older(taken, other)
    ours, theirs = taken[differs], other[differs]
    if isinstance(ours, tuple):
        return "less of the other resources"
    if taken[0] == NEEDY:
        return f"used over min share {ours:.3g} against {theirs:.3g}"
    if order is Order.DEFICIT:
        what = "GiB of memory" if policy is Policy.FAIR else "of the cluster"
        scale = 1024 if policy is Policy.FAIR else 1
        return f"lacks {-ours / scale:.3g} {what} of its fair share, the other {-theirs / scale:.3g}"
    if policy is Policy.FAIR:
        return f"memory over weight {ours / 1024:.3g} against {theirs / 1024:.3g} GiB"
    rank = ("dominant", "second", "third")[min(differs, 3) - 1]
    return f"{rank} share over weight {ours:.3g} against {theirs:.3g}"


def _older(taken: Key, other: Key) -> str:
    if taken[-2] != other[-2]:
        return f"equal, and older by {other[-2] - taken[-2]:.3g} s"
    return "equal, and first by name"
