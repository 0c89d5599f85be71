"""How explanations say amounts, nodes and numbers: as phrases, which a catalogue has the words of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from hrm.core.applications import App, Ask, Shape
from hrm.core.gangs import Gang
from hrm.core.nodes import Node
from hrm.model.phrases import Item, Phrase, phrase
from hrm.model.resources import GPUS, MEMORY, VCORES, Resources

#: Names that a sentence or a list of evidence gives at most.
MAX_NAMES = 5

_BUILT_IN = (MEMORY, VCORES, GPUS)


def say_resources(resources: Resources, gpu_model: str | None = None) -> Phrase:
    """``2 vcores, 4G, 1 GPU of model V100``; what is none is left out."""
    order = (VCORES, MEMORY, GPUS, *(name for name, _ in resources.others))
    said: list[Item] = [
        say_amount(name, resources.get(name), gpu_model if name == GPUS else None)
        for name in order
        if resources.get(name)
    ]
    return phrase("resources", amounts=said) if said else phrase("resources.none")


def say_shape(shape: Shape) -> Phrase:
    """The same of what one container needs."""
    return say_resources(shape.resources, shape.gpu_model)


def say_amount(name: str, amount: int, gpu_model: str | None = None) -> Phrase:
    """``4G``, ``0.5 vcores``, ``1 GPU``, ``3 licences``, ``2 GPUs of model V100``."""
    if gpu_model:
        return phrase("amount.gpus_of_model", amount=amount, model=gpu_model)
    if name not in _BUILT_IN:
        return phrase("amount.other", amount=amount, name=name)
    return phrase(f"amount.{name}", amount=amount)


def say_of(name: str, used: int, total: int, *, such: bool = False) -> Phrase:
    """``6 of 8 GPUs``, ``3G of 4G memory``; ``such``: of the model that was spoken of."""
    if name not in _BUILT_IN:
        return phrase("of.other", used=used, total=total, such=int(such), name=name)
    return phrase(f"of.{name}", used=used, total=total, such=int(such))


def say_number(name: str, amount: int) -> Phrase:
    """Without what of: ``2``, ``1G``; ``none``."""
    return say_figure(name, amount) if amount else phrase("number.none")


def say_figure(name: str, amount: int) -> Phrase:
    """The same, with ``0`` for none."""
    kind = "memory" if name == MEMORY else "milli" if name in _BUILT_IN else "other"
    return phrase(f"number.{kind}", amount=amount)


def say_asked(ask: Ask) -> Phrase:
    """What would have to fit: one container, or a whole gang."""
    return say_shape(ask.shape) if ask.gang is None else say_gang(ask.gang)


def say_gang(gang: Gang) -> Phrase:
    """``4 containers of 1 GPU at once, at most 1 on a node``."""
    most = gang.tasks_per_node
    at_most = "" if most is None else phrase("gang.at_most", count=most)
    if len(gang.asks) == 1:
        return phrase("gang", size=gang.size, each=say_shape(gang.asks[0].shape), at_most=at_most)
    some: list[Item] = [phrase("gang.part", count=ask.pending, each=say_shape(ask.shape)) for ask in gang.asks]
    return phrase("gang.mixed", size=gang.size, parts=some, at_most=at_most)


def say_names(named: Iterable[Node | str]) -> Phrase:
    """``n1, n2 and 14 more``."""
    names = [one if isinstance(one, str) else one.node_id for one in named]
    first: list[Item] = [*names[:MAX_NAMES]]
    rest = len(names) - MAX_NAMES
    return phrase("names.more", names=first, more=rest) if rest > 0 else phrase("names", names=first)


def say_nodes_are(nodes: Sequence[Node]) -> Phrase:
    """``n1 is``, ``2 (n1, n2) are``."""
    if len(nodes) == 1:
        return phrase("node_is", node=nodes[0].node_id)
    return phrase("nodes_are", count=len(nodes), nodes=say_names(nodes))


def say_app(app: App) -> Phrase:
    """``application 17``: the number is what every command takes."""
    return phrase("application", app=app.application_id.seq)


def say_apps(apps: Sequence[App]) -> Phrase:
    """``application 17``, ``applications 17, 18 and 3 more``."""
    if len(apps) == 1:
        return say_app(apps[0])
    return phrase("applications", apps=say_names(str(app.application_id.seq) for app in apps))


def say_in(seconds: float) -> Phrase:
    """How long from now, about: ``in less than a minute``, ``in about 12 min``, ``in about 3 h``."""
    if seconds < 60:
        return phrase("in.moment")
    minutes = ceil(seconds / 60)
    if minutes < 120:
        return phrase("in.minutes", minutes=minutes)
    hours = round(minutes / 60)
    return phrase("in.hours", hours=hours) if hours < 48 else phrase("in.days", days=round(hours / 24))
