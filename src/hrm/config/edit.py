"""Changes of one value in ``hrm.yaml`` that leave everything else, comments too, as it was written."""

from __future__ import annotations

from typing import Any

import yaml

from hrm.model.errors import InvalidInput

_WEIGHT = "weight"


def with_queue_weight(text: str, queue: str, weight: float) -> str:
    """``text`` with another weight of the queue (its path without the root).

    Raises InvalidInput where the file does not declare the queue, or it is written in a way that is not changed here
    (anchors, merged keys).
    """
    node = _find(text, queue)
    written = f"{weight:g}"
    present = _value(node, _WEIGHT) if isinstance(node, yaml.MappingNode) else None
    if present is not None:
        changed = text[: present.start_mark.index] + written + text[present.end_mark.index :]
    elif isinstance(node, yaml.ScalarNode):
        changed = f"{text[: node.start_mark.index]} {{{_WEIGHT}: {written}}}{text[node.end_mark.index :]}"
    elif node.flow_style:
        at = node.start_mark.index + 1
        changed = f"{text[:at]}{_WEIGHT}: {written}{', ' if node.value else ''}{text[at:]}"
    else:
        at = node.start_mark.index
        changed = f"{text[:at]}{_WEIGHT}: {written}\n{' ' * node.start_mark.column}{text[at:]}"
    _check(text, changed, queue, weight)
    return changed


def _find(text: str, queue: str) -> Any:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in queue.split("."):
        node = _value(node, "queues")
        node = None if node is None else _value(node, name)
        if node is None:
            raise InvalidInput(
                f"the configuration does not declare {queue!r}", field="queue", next_step="declare it under `queues:`"
            )
    return node


def _value(node: Any, key: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value
    return None


def _check(before: str, after: str, queue: str, weight: float) -> None:
    """That nothing but the weight is another now."""
    wanted: Any = yaml.safe_load(before)
    at = wanted
    *above, last = queue.split(".")
    for name in above:
        at = at["queues"][name]
    at["queues"][last] = {**(at["queues"][last] or {}), _WEIGHT: weight}
    try:
        found = yaml.safe_load(after)
    except yaml.YAMLError:
        found = None
    if found != wanted:
        raise InvalidInput(f"{queue!r} is written in a way that only people can change", next_step="edit the file")
