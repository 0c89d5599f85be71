"""How explanations say amounts, nodes and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hrm.core.applications import Shape
from hrm.core.nodes import Node
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import format_memory, format_milli

#: Names that a sentence or a list of evidence gives at most.
MAX_NAMES = 5

#: What people call the built-in resources.
LABELS = {MEMORY: "memory", VCORES: "vcores", GPUS: "GPUs"}


def say_shape(shape: Shape) -> str:
    """``2 vcores, 4G, 1 GPUs of model V100``."""
    return f"{shape.resources}" + (f" of model {shape.gpu_model}" if shape.gpu_model and shape.gpus else "")


def say_amount(name: str, amount: int) -> str:
    """``4G``, ``0.5 vcores``, ``3 licences``."""
    if name == MEMORY:
        return format_memory(amount)
    return f"{format_milli(amount)} {LABELS[name]}" if name in LABELS else f"{amount} {name}"


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


def say_have(number: int) -> str:
    """The verb that goes with so many of them."""
    return "has" if number == 1 else "have"
