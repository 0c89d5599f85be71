"""Who gives back what is lent, where a guaranteed container needs it; and grants that wait for that."""

from __future__ import annotations

from collections.abc import Collection

from hrm.core.amounts import Amounts
from hrm.core.applications import Container
from hrm.core.commands import Allocate, ContainerResized
from hrm.core.leftovers import Remainder


class Delayed:
    """Grants that are decided and not announced: one, or all of a gang. Compared by identity."""

    def __init__(self, commands: list[Allocate | ContainerResized]) -> None:
        self.commands = commands
        #: Borrowers that must have ended before.
        self.waits_for: dict[Container, None] = {}

    @property
    def grants(self) -> list[Allocate]:
        """Those that make containers."""
        return [one for one in self.commands if isinstance(one, Allocate)]


class Shortage:
    """What is lent on a node beyond what is left of it. False iff nothing is."""

    def __init__(self, node: Remainder, coming: Collection[Container] = ()) -> None:
        """``coming``: containers there that are counted as given back."""
        self._node = node
        self._free = node.free.copy()
        self._device_free = list(node.device_free)
        for container in coming:
            self.add(container.shape, container.device_ids)

    def add(self, amounts: Amounts, device_ids: tuple[str, ...]) -> None:
        """So much more is free."""
        self._free.add(amounts)
        for device_id in device_ids:
            position = self._node.positions.get(device_id)
            if position is not None:
                self._device_free[position] += min(amounts.gpus, 1000)

    def give_back(self, grant: Allocate | ContainerResized) -> None:
        """As if this were not granted. How much a container grew is not known here: nothing then."""
        if isinstance(grant, Allocate):
            self.add(Amounts.of(grant.resources), grant.device_ids)

    def __bool__(self) -> bool:
        return any(amount < 0 for _, amount in self._free.items()) or min(self._device_free, default=0) < 0

    def is_eased_by(self, container: Container) -> bool:
        """True iff it holds some of what is lacking."""
        held = container.shape.frozen()
        if any(amount < 0 and held.get(name) for name, amount in self._free.items() if name != "gpus_milli"):
            return True
        positions = (self._node.positions.get(device_id) for device_id in container.device_ids)
        return any(at is not None and self._device_free[at] < 0 for at in positions)


def choose_victims(node: Remainder, ending: Collection[Container]) -> list[Container]:
    """Those that have to end besides those that are ``ending`` already, as few as will do.

    One alone if it suffices; else one by one. Who loses least work goes first, who began last among equals; members of
    gangs last, and all of a gang or none.
    """
    coming = [one for one in node.containers if one in ending]
    if not Shortage(node, coming):
        return []
    staying = [one for one in reversed(node.containers) if one not in ending]
    order = sorted(staying, key=lambda one: (one.gang_id is not None, -one.unsaved_since))
    for container in order:
        if container.gang_id is None and not Shortage(node, [*coming, container]):
            return [container]
    chosen: dict[Container, None] = {}
    for container in order:
        short = Shortage(node, _there(node, [*coming, *chosen]))
        if not short:
            break
        if container not in chosen and short.is_eased_by(container):
            chosen.update(dict.fromkeys(one for one in container.with_its_gang() if one not in ending))
    # What was chosen early may not be needed for the sake of what came later.
    for container in list(chosen):
        if container.gang_id is None:
            others = [one for one in chosen if one is not container]
            if not Shortage(node, _there(node, [*coming, *others])):
                chosen = dict.fromkeys(others)
    return list(chosen)


def _there(node: Remainder, containers: list[Container]) -> list[Container]:
    """Members of gangs may run elsewhere."""
    return [one for one in containers if one.node is node]
