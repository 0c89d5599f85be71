"""How explanations say amounts, nodes and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from hrm.core.applications import App, Ask, Shape
from hrm.core.gangs import Gang
from hrm.core.nodes import Node
from hrm.model.resources import GPUS, MEMORY, VCORES, Resources
from hrm.model.units import format_memory, format_milli

#: Names that a sentence or a list of evidence gives at most.
MAX_NAMES = 5

#: What people call the built-in resources.
LABELS = {MEMORY: "memory", VCORES: "vcores", GPUS: "GPUs"}
_ONE = {VCORES: "vcore", GPUS: "GPU"}


def say_resources(resources: Resources, gpu_model: str | None = None) -> str:
    """``2 vcores, 4G, 1 GPU of model V100``; what is none is left out."""
    order = (VCORES, MEMORY, GPUS, *(name for name, _ in resources.others))
    parts = [
        say_amount(name, resources.get(name)) + (say_model(gpu_model) if name == GPUS else "")
        for name in order
        if resources.get(name)
    ]
    return ", ".join(parts) or "nothing"


def say_shape(shape: Shape) -> str:
    """The same of what one container needs."""
    return say_resources(shape.resources, shape.gpu_model)


def say_model(gpu_model: str | None) -> str:
    """`` of model V100``; "" for any."""
    return f" of model {gpu_model}" if gpu_model else ""


def say_amount(name: str, amount: int) -> str:
    """``4G``, ``0.5 vcores``, ``1 GPU``, ``3 licences``."""
    if name == MEMORY:
        return format_memory(amount)
    if name not in LABELS:
        return f"{amount} {name}"
    return f"{format_milli(amount)} {_ONE[name] if amount == 1000 else LABELS[name]}"


def say_of(name: str, used: int, total: int, such: str = "") -> str:
    """``6 of 8 GPUs``, ``3G of 4G memory``; ``such`` stands before the noun."""
    if name == MEMORY:
        return f"{format_memory(used)} of {format_memory(total)} {such}memory"
    if name not in LABELS:
        return f"{used} of {total} {such}{name}"
    return f"{format_milli(used)} of {format_milli(total)} {such}{_ONE[name] if total == 1000 else LABELS[name]}"


def say_number(name: str, amount: int) -> str:
    """Without what of: ``2``, ``1G``; ``none``."""
    if not amount:
        return "none"
    if name == MEMORY:
        return format_memory(amount)
    return format_milli(amount) if name in LABELS else str(amount)


def say_asked(ask: Ask) -> str:
    """What would have to fit: one container, or a whole gang."""
    return say_shape(ask.shape) if ask.gang is None else say_gang(ask.gang)


def say_gang(gang: Gang) -> str:
    """``4 containers of 1 GPU at once, at most 1 on a node``."""
    at_most = "" if gang.tasks_per_node is None else f", at most {gang.tasks_per_node} on a node"
    if len(gang.asks) == 1:
        return f"{say_count(gang.size, 'container')} of {say_shape(gang.asks[0].shape)} at once{at_most}"
    parts = "; ".join(f"{ask.pending} of {say_shape(ask.shape)}" for ask in gang.asks)
    return f"{say_count(gang.size, 'container')} at once ({parts}){at_most}"


def say_names(named: Iterable[Node | str]) -> str:
    """``n1, n2 and 14 more``."""
    names = [one if isinstance(one, str) else one.node_id for one in named]
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def say_nodes_are(nodes: Sequence[Node]) -> str:
    """``n1 is``, ``2 (n1, n2) are``."""
    return f"{nodes[0].node_id} is" if len(nodes) == 1 else f"{len(nodes)} ({say_names(nodes)}) are"


def say_count(number: int, noun: str) -> str:
    """``1 application``, ``3 applications``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def say_app(app: App) -> str:
    """``application 17``: the number is what every command takes."""
    return f"application {app.application_id.seq}"


def say_apps(apps: Sequence[App]) -> str:
    """``application 17``, ``applications 17, 18 and 3 more``."""
    if len(apps) == 1:
        return say_app(apps[0])
    return f"applications {say_names(str(app.application_id.seq) for app in apps)}"


def say_in(seconds: float) -> str:
    """How long from now, about: ``in less than a minute``, ``in about 12 min``, ``in about 3 h``."""
    if seconds < 60:
        return "in less than a minute"
    minutes = ceil(seconds / 60)
    if minutes < 120:
        return f"in about {minutes} min"
    hours = round(minutes / 60)
    return f"in about {hours} h" if hours < 48 else f"in about {round(hours / 24)} days"
