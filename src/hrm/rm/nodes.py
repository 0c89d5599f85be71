"""Nodes as the ResourceManager knows them: what they are, what they last said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from hrm.model.containers import NodeUsage
from hrm.model.findings import Finding
from hrm.model.inventory import NO_NOTES, Inventory, NodeLabel, NodeNotes, found_attributes
from hrm.model.isolation import Isolation
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.model.states import NodeState
from hrm.rm.records import NodeLabelRow, NodeRow


@dataclass(frozen=True, slots=True)
class Drain:
    """Somebody wants nothing new on a node. ``at`` is epoch seconds."""

    at: float
    by: str
    reason: str = ""


@dataclass(slots=True)
class LiveNode:
    """A node that registered, lost ones too until they are forgotten."""

    #: What it lends now, and what it would lend with the GPUs that are ``out``; and the latter as it said it itself.
    spec: NodeSpec
    whole: NodeSpec
    told: NodeSpec
    #: How the machine itself does; see ``shown_state``.
    state: NodeState
    isolation: Isolation
    last_heartbeat_at: float
    usage: NodeUsage | None = None
    message: str = ""
    #: Kept by `Nodes`: what operators want of it, and say of it.
    drain: Drain | None = None
    notes: NodeNotes = NO_NOTES
    #: Kept by `hrm.rm.health`: what the doctor's last round found, and when; GPUs that are out, each with the reason.
    findings: tuple[Finding, ...] = ()
    examined_at: float | None = None
    out: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_state(self) -> NodeState:
        """A machine that does not do well is first of all that."""
        return NodeState.DRAINING if self.drain and self.state is NodeState.RUNNING else self.state

    @property
    def row(self) -> NodeRow:
        drain, notes = self.drain, self.notes
        return NodeRow(
            node_id=self.spec.node_id,
            state=self.shown_state,
            rack=self.spec.rack,
            total=self.spec.total,
            last_seen_at=self.last_heartbeat_at,
            drained_at=drain.at if drain else None,
            drained_by=drain.by if drain else "",
            drain_reason=drain.reason if drain else "",
            said_attributes=dict(notes.attributes) or None,
            said_label=notes.label,
        )


class Nodes:
    """All nodes by id, in the order in which they first registered."""

    def __init__(self) -> None:
        self._by_id: dict[str, LiveNode] = {}
        #: By node id; of nodes that have not come back yet, too.
        self._drains: dict[str, Drain] = {}
        #: By node id, what operators said while a server ran; what ``hrm.yaml`` says; labels that came by the former.
        self._notes: dict[str, NodeNotes] = {}
        self._declared = Inventory()
        self._added_labels: dict[str, NodeLabel] = {}
        #: Who has the server as a whole take nothing new; None iff nobody.
        self.closed_by: str | None = None
        #: Machines that cannot be nodes, by name, each with the reason.
        self.refused: dict[str, str] = {}
        #: Set once the first has registered.
        self.arrived = asyncio.Event()

    def get(self, node_id: str) -> LiveNode | None:
        return self._by_id.get(node_id)

    def is_up(self, node_id: str) -> bool:
        """True iff it registered and was not lost since."""
        node = self._by_id.get(node_id)
        return node is not None and node.state is not NodeState.LOST

    def is_schedulable(self, node_id: str) -> bool:
        """True iff new containers may be placed there."""
        node = self._by_id.get(node_id)
        well = node is not None and node.state is NodeState.RUNNING
        return well and node_id not in self._drains and self.closed_by is None

    def may_fit_when_back(self, resources: Resources) -> bool:
        """True iff a node that is lost, or one with GPUs that are out, was large enough, and may be again."""
        return any((node.out or node.state is NodeState.LOST) and resources.fits_in(node.whole.total) for node in self)

    def put(self, node: LiveNode) -> None:
        node.drain = self._drains.get(node.spec.node_id)
        node.notes = self.notes_of(node.spec.node_id)
        self._by_id[node.spec.node_id] = node
        self.arrived.set()

    def refuse(self, name: str, reason: str) -> bool:
        """A machine cannot be a node; with "" it can again. True iff there is something new to say about it."""
        if not reason:
            self.refused.pop(name, None)
            return False
        new = self.refused.get(name) != reason
        self.refused[name] = reason
        return new

    def restore(self, rows: Iterable[NodeRow], labels: Iterable[NodeLabelRow] = ()) -> None:
        """What the last server was told of nodes holds for when they come back."""
        for label in labels:
            if not label.removed:
                self._added_labels[label.name] = NodeLabel(label.name, label.exclusive)
        for row in rows:
            self.note(row.node_id, NodeNotes(attributes=row.said_attributes or {}, label=row.said_label))
            if row.drained_at is not None:
                self._drains[row.node_id] = Drain(row.drained_at, row.drained_by, row.drain_reason)

    def drain(self, node_id: str, drain: Drain | None) -> None:
        """Begin a drain, or end it."""
        if drain is None:
            self._drains.pop(node_id, None)
        else:
            self._drains[node_id] = drain
        if node := self._by_id.get(node_id):
            node.drain = drain

    # --- attributes and labels

    def declare(self, inventory: Inventory) -> None:
        """What ``hrm.yaml`` says from now on. Nodes that are there are dressed anew by `hrm.rm.annotations`."""
        self._declared = inventory

    @property
    def labels(self) -> dict[str, NodeLabel]:
        """By name, those of ``hrm.yaml`` first."""
        return {label.name: label for label in self._declared.labels} | {
            name: label for name, label in self._added_labels.items() if not self.is_declared(name)
        }

    def is_declared(self, label: str) -> bool:
        """True iff ``hrm.yaml`` has the label."""
        return any(one.name == label for one in self._declared.labels)

    def add_label(self, label: NodeLabel) -> None:
        self._added_labels[label.name] = label

    def remove_label(self, name: str) -> None:
        """One that ``hrm.yaml`` has not."""
        self._added_labels.pop(name, None)

    def notes_of(self, node_id: str) -> NodeNotes:
        """What operators said of it while a server ran."""
        return self._notes.get(node_id, NO_NOTES)

    def note(self, node_id: str, notes: NodeNotes) -> None:
        """This is what they say of it from now on."""
        if notes == NO_NOTES:
            self._notes.pop(node_id, None)
        else:
            self._notes[node_id] = notes
        if node := self._by_id.get(node_id):
            node.notes = notes

    def dressed(self, spec: NodeSpec) -> NodeSpec:
        """A node as it told of itself, with what is known and said of it.

        An operator's word counts for more than ``hrm.yaml``, and that for more than what the node found.
        """
        said, declared = self.notes_of(spec.node_id), self._declared.nodes.get(spec.node_id, NO_NOTES)
        spec = replace(spec, rack=declared.rack or spec.rack)
        attributes = {**found_attributes(spec), **declared.attributes, **said.attributes}
        label = self.labels.get((declared.label if said.label is None else said.label) or "")
        return replace(
            spec.with_attributes(attributes),
            label=label.name if label else "",
            exclusive=label is None or label.exclusive,
        )

    def __iter__(self) -> Iterator[LiveNode]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)
