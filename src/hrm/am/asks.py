"""What a master in a container of its own asks for, holds and gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hrm.am.protocol import AllocateRequest, Container
from hrm.model.jobs import TaskGroupSpec
from hrm.model.node_needs import ANY_NODE, NodeNeeds
from hrm.model.requests import ANY, ExecutionType, ResourceRequest

#: Of the ask for the master's own container; masters' asks have numbers from 0 on.
MASTER_REQUEST = -1

_OneThing = tuple[int, int, object]
AskKey = tuple[int, int, str, object, str | None, NodeNeeds, object, ExecutionType]


class Asks:
    """Between what a master says in its calls and what its stand-in says to the scheduler."""

    def __init__(self, needs: NodeNeeds = ANY_NODE, label: str | None = None) -> None:
        """``needs`` are those of the master's own container; without its label they hold for all that it asks for.

        ``label`` is the node label of what it asks for without one.
        """
        self._needs = needs
        self._needs_of_asks = needs._replace(label=label)
        #: Node labels of its asks for anywhere, which those for places beside them share.
        self._labels: dict[_OneThing, str | None] = {}
        #: Granted to the master; it has launched nothing there.
        self._held: dict[str, Container] = {}
        #: Until when it may, in the order of the grants.
        self._held_until: dict[str, float] = {}
        #: On their way back.
        self._released: set[str] = set()
        #: What the master asked for last, by key.
        self._asked: dict[AskKey, ResourceRequest] = {}
        self._new: list[ResourceRequest] = []
        self._releases: list[str] = []

    def next_request(self, progress: float) -> AllocateRequest:
        """What is new."""
        new, self._new = tuple(self._new), []
        releases, self._releases = tuple(self._releases), []
        return AllocateRequest(asks=new, releases=releases, progress=progress)

    @property
    def anything_new(self) -> bool:
        return bool(self._new or self._releases)

    def ask(self, asks: Sequence[ResourceRequest]) -> None:
        """The master wants this; counts are absolute."""
        for one in asks:
            if one.resource_name == ANY:
                self._label(one)
        for one in asks:
            label = self._labels.get(_thing(one)) if one.needs.label is None else one.needs.label
            needs = one.needs._replace(label=label)
            if self._needs_of_asks != ANY_NODE:
                needs = needs.also(self._needs_of_asks)
            one = one if needs == one.needs else replace(one, needs=needs)
            self._asked[_key(one)] = one
            self._new.append(one)

    def _label(self, anywhere: ResourceRequest) -> None:
        """It has this label from now on; under another one it is not wanted any more (YARN's AppSchedulingInfo)."""
        thing, label = _thing(anywhere), anywhere.needs.label
        label = self._needs_of_asks.label if label is None else label
        if self._labels.get(thing, label) != label:
            for key, one in list(self._asked.items()):
                if _thing(one) == thing and one.needs.label != label:
                    del self._asked[key]
                    self._new.append(replace(one, count=0))
        self._labels[thing] = label

    def ask_for_master(self, group: TaskGroupSpec) -> None:
        """For a container of the master itself, and nothing else that was to be asked."""
        self._new = [
            ResourceRequest(
                resources=group.resources,
                count=1,
                priority=0,
                allocation_request_id=MASTER_REQUEST,
                gpu_model=group.gpu_model,
                needs=self._needs,
                for_master=True,
            )
        ]

    def withdraw(self) -> None:
        """Nothing that the master asked for is wanted any more."""
        self._new = [replace(ask, count=0) for ask in self._asked.values()]
        self._asked.clear()

    def hold(self, container: Container, *, until: float) -> None:
        """It is the master's to launch in, until that time."""
        self._held[container.container_id] = container
        self._held_until[container.container_id] = until

    def next_deadline(self) -> float | None:
        """When the first that is held is overdue."""
        return next(iter(self._held_until.values()), None)

    def overdue(self, now: float) -> list[str]:
        """Those that were held for too long."""
        return [name for name, until in self._held_until.items() if until <= now]

    def put_off(self, delay_s: float) -> None:
        """Those that are held may be held for longer."""
        self._held_until = {name: until + delay_s for name, until in self._held_until.items()}

    def take(self, name: str) -> Container | None:
        """Something is launched there, or it ended; None iff it is not held."""
        self._held_until.pop(name, None)
        return self._held.pop(name, None)

    def __contains__(self, name: str) -> bool:
        """True iff it is held."""
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        """Those that are held; they may be released meanwhile."""
        return iter(list(self._held))

    def release(self, name: str) -> None:
        """Give a container back."""
        self.take(name)
        self._released.add(name)
        self._releases.append(name)

    def was_released(self, name: str) -> bool:
        """True iff its end is only that of a container that was given back; asked once, when it ended."""
        if name not in self._released:
            return False
        self._released.discard(name)
        return True


def _thing(ask: ResourceRequest) -> _OneThing:
    return ask.priority, ask.allocation_request_id, ask.resources


def _key(ask: ResourceRequest) -> AskKey:
    return (
        ask.priority,
        ask.allocation_request_id,
        ask.resource_name,
        ask.resources,
        ask.gpu_model,
        ask.needs,
        ask.placement,
        ask.execution_type,
    )
