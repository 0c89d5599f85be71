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
from hrm.model.phrases import Phrase, phrase
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


def say_contests(keys: Sequence[Key]) -> Iterator[Phrase]:
    """From the root down, one sentence for each pair of keys.

    ``queue a came before queue b in root (drf): dominant share over weight 0.1 against 0.25``.
    """
    for at in range(len(keys) - 2, -1, -2):
        taken, other = keys[at], keys[at + 1]
        child = taken[-1]
        parent = child.queue if isinstance(child, App) else child.parent
        if parent is not None:
            yield _say(parent, taken[:-1], other[:-1], leaf=isinstance(child, App))


def _say(parent: Queue, taken: Key, other: Key, *, leaf: bool) -> Phrase:
    spec = parent.spec
    first, second = _name(taken, leaf=leaf), _name(other, leaf=leaf)
    if not len(taken) == len(other) == _LENGTHS[spec.policy]:
        return phrase("contest.as_then", first=first, second=second, parent=parent.path)
    policy = str(spec.policy)
    if other < taken:
        return phrase("contest.passed_over", second=second, parent=parent.path, policy=policy)
    why = _why(spec.policy, spec.order, taken, other)
    return phrase("contest", first=first, second=second, parent=parent.path, policy=policy, why=why)


def _name(key: Key, *, leaf: bool) -> Phrase:
    return phrase("application", app=key[-1][1]) if leaf else phrase("queue", queue=str(key[-1]))


def _why(policy: Policy, order: Order, taken: Key, other: Key) -> Phrase:
    """What of the two keys is the first to differ."""
    if policy is Policy.FIFO:
        if taken[0] != other[0]:
            return phrase("contest.priority", ours=-taken[0], theirs=-other[0])
        return _older(taken, other)
    if taken[0] != other[0]:
        return phrase("contest.need", ours=_need(taken), theirs=_need(other))
    numbers = range(1, len(taken) - 2)
    differs = next((at for at in numbers if taken[at] != other[at]), None)
    if differs is None:
        return _older(taken, other)
    ours, theirs = taken[differs], other[differs]
    if isinstance(ours, tuple):
        return phrase("contest.other_resources")
    if taken[0] == NEEDY:
        return phrase("contest.min_share", ours=ours, theirs=theirs)
    if order is Order.DEFICIT:
        what, scale = ("memory", 1024) if policy is Policy.FAIR else ("cluster", 1)
        return phrase(f"contest.deficit_{what}", ours=-ours / scale, theirs=-theirs / scale)
    if policy is Policy.FAIR:
        return phrase("contest.memory", ours=ours / 1024, theirs=theirs / 1024)
    rank = ("dominant", "second", "third")[min(differs, 3) - 1]
    return phrase(f"contest.{rank}_share", ours=ours, theirs=theirs)


def _need(key: Key) -> Phrase:
    words = {NEEDY: "contest.is_needy", CONTENT: "contest.is_content"}
    return phrase(words.get(key[0], "contest.asks_nothing"))


def _older(taken: Key, other: Key) -> Phrase:
    if taken[-2] != other[-2]:
        return phrase("contest.older", seconds=other[-2] - taken[-2])
    return phrase("contest.by_name")
