"""What operators say of nodes while a server runs: attributes and labels. It outlives the server, as a drain does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hrm.core.events import NodeResourceUpdate
from hrm.model.errors import Conflict, NotFound
from hrm.model.inventory import Inventory, NodeLabel, NodeNotes
from hrm.model.reports import NodeLabelReport
from hrm.rm.health import Health
from hrm.rm.manager import ResourceManager
from hrm.rm.nodes import LiveNode
from hrm.rm.records import NodeLabelRow
from hrm.rm.turn import Turn


class Annotations:
    """Part of the facade's inside. One instance, on the manager's loop."""

    def __init__(self, manager: ResourceManager, health: Health) -> None:
        self._manager = manager
        self._nodes = manager.nodes
        self._health = health

    def labels(self) -> list[NodeLabelReport]:
        """Those of ``hrm.yaml`` first."""
        return [
            NodeLabelReport(
                name=label.name,
                exclusive=label.exclusive,
                declared=self._nodes.is_declared(label.name),
                nodes=[node.spec.node_id for node in self._nodes if node.spec.label == label.name],
            )
            for label in self._nodes.labels.values()
        ]

    async def set_attributes(self, node_id: str, change: Mapping[str, str | None], *, by: str) -> None:
        """These are its attributes besides those that it has; None: no more by an operator's word.

        Raises NotFound, InvalidInput.
        """
        await self._manager.turns.ask(self._set_attributes, node_id, dict(change), by)

    async def set_labels(self, labels: Mapping[str, str | None], *, by: str) -> None:
        """All of these nodes have these labels from now on ("": none; None: what ``hrm.yaml`` says), or none has.

        Raises NotFound for a node or a label that is not there.
        """
        await self._manager.turns.ask(self._set_labels, dict(labels), by)

    async def add_labels(self, labels: Sequence[NodeLabel], *, by: str) -> None:
        """Nodes may have these from now on. One that is there already stays as it is.

        Raises Conflict where one is there with the other exclusivity.
        """
        await self._manager.turns.ask(self._add_labels, tuple(labels), by)

    async def remove_labels(self, names: Collection[str], *, by: str) -> None:
        """Nodes that have these have none. Raises NotFound, Conflict for what ``hrm.yaml`` has or a queue names."""
        await self._manager.turns.ask(self._remove_labels, list(dict.fromkeys(names)), by)

    def declare(self, turn: Turn, inventory: Inventory) -> None:
        """What ``hrm.yaml`` says from now on, in a turn."""
        self._nodes.declare(inventory)
        for node in self._nodes:
            self._dress(turn, node)

    # --- in a turn

    def _set_attributes(self, turn: Turn, node_id: str, change: dict[str, str | None], by: str) -> None:
        node = self._node(node_id)
        self._note(turn, node, self._nodes.notes_of(node_id).with_attributes(change))
        self._manager.record(turn, "node_attributes_set", node_id=node_id, attributes=change, by=by)

    def _set_labels(self, turn: Turn, labels: dict[str, str | None], by: str) -> None:
        nodes = [(self._node(node_id), label) for node_id, label in labels.items()]
        for _, label in nodes:
            if label and label not in self._nodes.labels:
                raise self._no_label(label)
        for node, label in nodes:
            node_id = node.spec.node_id
            self._note(turn, node, replace(self._nodes.notes_of(node_id), label=label))
            self._manager.record(turn, "node_label_set", node_id=node_id, label=node.spec.label, by=by)

    def _add_labels(self, turn: Turn, labels: tuple[NodeLabel, ...], by: str) -> None:
        there = self._nodes.labels
        for label in labels:
            if (known := there.get(label.name, label)).exclusive != label.exclusive:
                raise Conflict(
                    f"node label {label.name} is there and {'exclusive' if known.exclusive else 'not exclusive'}",
                    next_step="remove it first, or change it in hrm.yaml",
                )
        for label in labels:
            if label.name not in there:
                self._nodes.add_label(label)
                turn.put(NodeLabelRow(name=label.name, exclusive=label.exclusive))
                self._manager.record(turn, "node_label_added", label=label.name, exclusive=label.exclusive, by=by)

    def _remove_labels(self, turn: Turn, names: list[str], by: str) -> None:
        there = self._nodes.labels
        for name in names:
            if name not in there:
                raise self._no_label(name)
            if self._nodes.is_declared(name):
                raise Conflict(f"node label {name} is declared in hrm.yaml", next_step="take it out there, and reload")
            if queues := self._manager.queues.naming_label(name):
                raise Conflict(f"node label {name} is named by queue {queues[0]}", next_step="change the queue first")
        for name in names:
            self._nodes.remove_label(name)
            turn.put(NodeLabelRow(name=name, exclusive=there[name].exclusive, removed=True))
            self._manager.record(turn, "node_label_removed", label=name, by=by)
        for node in self._nodes:
            notes = self._nodes.notes_of(node.spec.node_id)
            if notes.label in names:
                self._note(turn, node, replace(notes, label=None))

    def _note(self, turn: Turn, node: LiveNode, notes: NodeNotes) -> None:
        self._nodes.note(node.spec.node_id, notes)
        turn.touch(node)
        self._dress(turn, node)

    def _dress(self, turn: Turn, node: LiveNode) -> None:
        """What it is now is known to the scheduler."""
        node.whole = self._nodes.dressed(node.told)
        before, node.spec = node.spec, self._health.lent(node.whole)
        node_id = node.spec.node_id
        if node.spec != before and self._nodes.is_up(node_id):
            turn.touch(node)
            self._manager.tell(turn, NodeResourceUpdate(node.spec))
            self._manager.pacer.room(node_id)

    def _node(self, node_id: str) -> LiveNode:
        node = self._nodes.get(node_id)
        if node is None:
            raise NotFound(f"no node {node_id!r}", next_step="`hrm nodes` lists them")
        return node

    def _no_label(self, name: str) -> NotFound:
        known = ", ".join(self._nodes.labels)
        return NotFound(
            f"no node label {name!r:.80}",
            next_step=f"one of {known}"
            if known
            else "declare it under node_labels in hrm.yaml, or `hrm nodes labels --add`",
        )
