"""What operators say of nodes: attributes, labels and racks, in ``hrm.yaml`` and while the server runs.

A node *label* is YARN's partition: a node has at most one. Of an *exclusive* label's nodes only requests that name it
get anything; of others what requests without a label may have is what is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hrm.model.attributes import MAX_ATTRIBUTES, as_value, check_name, check_value
from hrm.model.errors import InvalidInput
from hrm.model.nodes import NodeSpec

#: As YARN has it (NodeLabelUtil).
_LABEL = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,254}")
_RACK = re.compile(r"(?=.{1,255}\Z)(?:/[0-9A-Za-z._-]+)+")
#: Says that a queue may use every label.
EVERY_LABEL = "*"


def check_label(name: str, field: str = "label") -> str:
    """The name of a label. Raises InvalidInput."""
    if not _LABEL.fullmatch(name):
        raise InvalidInput(
            f"not the name of a node label: {name!r:.80}",
            field=field,
            next_step="letters, digits, - and _, at most 255, the first a letter or digit",
        )
    return name


def check_rack(name: str, field: str = "rack") -> str:
    """The name of a rack. Raises InvalidInput."""
    if not _RACK.fullmatch(name):
        raise InvalidInput(
            f"not the name of a rack: {name!r:.80}",
            field=field,
            next_step="write for example /hall1/r3: each part begins with / and has letters, digits and ._-",
        )
    return name


@dataclass(frozen=True, slots=True)
class NodeLabel:
    """One that nodes may have."""

    name: str
    #: False iff requests without a label may use its nodes while no request with it waits for them.
    exclusive: bool = True

    def __post_init__(self) -> None:
        check_label(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNotes:
    """What is said of one node."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    #: "": it has none. None: nothing is said of it.
    label: str | None = None
    #: None: nothing is said of it. In ``hrm.yaml`` alone.
    rack: str | None = None

    def __post_init__(self) -> None:
        if self.rack is not None:
            check_rack(self.rack)
        if len(self.attributes) > MAX_ATTRIBUTES:
            raise InvalidInput(f"more than {MAX_ATTRIBUTES} of them", field="attributes")
        for name, value in self.attributes.items():
            check_value(value, check_name(name))
        if self.label:
            check_label(self.label)

    def with_attributes(self, change: Mapping[str, str | None]) -> NodeNotes:
        """With these attributes, and without those that are None. Raises InvalidInput."""
        values = {**self.attributes, **change}
        return replace(self, attributes={name: value for name, value in values.items() if value is not None})


#: Nothing is said.
NO_NOTES = NodeNotes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The sections `nodes` and `node_labels` of ``hrm.yaml``."""

    nodes: Mapping[str, NodeNotes] = field(default_factory=dict)
    labels: tuple[NodeLabel, ...] = ()


#: Attributes that nodes find themselves.
FOUND = frozenset({"arch", "gpu_driver", "gpu_model", "host", "kernel", "os", "rack"})


def found_attributes(spec: NodeSpec) -> dict[str, str]:
    """What a node is known to have without anybody's word: what it told, its rack, and models of its GPUs."""
    found = {**dict(spec.attributes), "rack": spec.rack}
    if spec.devices:
        found["gpu_model"] = ",".join(sorted({as_value(device.model) for device in spec.devices}))
    return found
