"""The sections `nodes` and `node_labels` of ``hrm.yaml``: what operators say of nodes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hrm.config.documents import Document
from hrm.config.fields import Scalar, Strict
from hrm.config.keys import KeyPath, nearest
from hrm.model.attributes import MAX_ATTRIBUTES, check_name, check_value
from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.inventory import Inventory, NodeLabel, NodeNotes, check_rack


class NodeNotesShape(Strict):
    """One of `nodes`."""

    attributes: dict[str, Scalar] | None = Field(default=None, description="Names and values by which jobs choose it.")
    label: str | None = Field(default=None, description="Its node label, one of node_labels.")
    rack: str | None = Field(default=None, description="The rack that it stands in.")


class NodeLabelShape(Strict):
    """One of `node_labels`."""

    exclusive: bool | None = Field(default=None, description="False: what its own jobs leave, others may use.")


def check_inventory(
    document: Document,
    nodes: dict[str, NodeNotesShape | None] | None,
    labels: dict[str, NodeLabelShape | None] | None,
) -> None:
    """Add a finding for each rule that the two break."""
    for name in labels or {}:
        _try(document, ("node_labels", name), lambda name=name: NodeLabel(name))
    for node_id, notes in (nodes or {}).items():
        path: KeyPath = ("nodes", node_id)
        _try(document, path, lambda node_id=node_id: parse_node_id(node_id))
        attributes = (notes and notes.attributes) or {}
        if len(attributes) > MAX_ATTRIBUTES:
            document.add((*path, "attributes"), f"more than {MAX_ATTRIBUTES} of them")
        for name in attributes:
            at: KeyPath = (*path, "attributes", name)
            _try(document, at, lambda name=name, at=at: check_value(document.text(at), check_name(name)))
        if notes and (rack := notes.rack) is not None:
            _try(document, (*path, "rack"), lambda rack=rack: check_rack(rack))
        label = notes.label if notes else None
        if label and label not in (labels or {}):
            near = nearest(label, labels or {})
            document.add(
                (*path, "label"),
                f"no such node label: {label!r:.80}",
                next_step=f"did you mean {near!r}?" if near else "declare it under node_labels",
            )


def inventory_of(
    document: Document,
    nodes: dict[str, NodeNotesShape | None] | None,
    labels: dict[str, NodeLabelShape | None] | None,
) -> Inventory:
    """What the two say, which `check_inventory` found to be right."""
    return Inventory(
        nodes={
            node_id: NodeNotes(
                attributes={
                    name: document.text(("nodes", node_id, "attributes", name))
                    for name in (notes and notes.attributes) or {}
                },
                label=notes.label if notes else None,
                rack=notes.rack if notes else None,
            )
            for node_id, notes in (nodes or {}).items()
        },
        labels=tuple(
            NodeLabel(name, exclusive=label is None or label.exclusive is not False)
            for name, label in (labels or {}).items()
        ),
    )


def plain_inventory(inventory: Inventory) -> dict[str, Any]:
    """In the keys of the file."""
    return {
        "nodes": {
            node_id: {
                **({"attributes": dict(notes.attributes)} if notes.attributes else {}),
                **({} if notes.label is None else {"label": notes.label}),
                **({} if notes.rack is None else {"rack": notes.rack}),
            }
            for node_id, notes in inventory.nodes.items()
        },
        "node_labels": {label.name: {"exclusive": label.exclusive} for label in inventory.labels},
    }


def _try(document: Document, path: KeyPath, check: Any) -> None:
    try:
        check()
    except InvalidInput as error:
        document.add(path, error.problem, next_step=error.next_step)
