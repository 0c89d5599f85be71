"""The books of opportunistic containers: what guaranteed ones leave of each node, and who borrows it.

They are `Books` like the others, with nodes whose free amounts follow from those of the nodes they stand for, and
applications that stand for others. See `hrm.core.lending`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hrm.core.applications import App, Ask, Container
from hrm.core.books import Books
from hrm.core.nodes import Node
from hrm.core.queues import Queue
from hrm.model.queues import Policy, QueueSpec, QueueType
from hrm.model.resources import ZERO


class Remainder(Node):
    """What is left of a node; where more is lent than that, amounts are negative until some of it is back.

    Its own containers are the borrowers. Tags are those of the whole node.
    """

    __slots__ = ("host",)

    def __init__(self, host: Node) -> None:
        super().__init__(host.spec)
        self.host = host
        self.tags = host.tags
        self.follow()

    def follow(self) -> None:
        """Work out anew what is left."""
        if self.rack_tags is not self.host.rack_tags:
            self.move_to(self.host.rack_tags)
        self.schedulable = self.host.schedulable
        self.free = self.host.free.copy()
        self.device_free = list(self.host.device_free)
        for container in self.containers:
            self._book(container)
        self.sum_devices()


class Borrower(App):
    """What an application asks for and holds besides what it is guaranteed."""

    __slots__ = ("_owner",)

    def __init__(self, owner: App) -> None:
        super().__init__(owner.application_id, owner.user, owner.start, owner.priority)
        self._owner = owner

    @property
    def owner(self) -> App:
        return self._owner


class Leftovers(Books):
    """Without limits: what is borrowed counts towards nobody's share."""

    def __init__(self, root: QueueSpec, epoch: int) -> None:
        super().__init__(root, epoch)
        self.remainders: dict[str, Remainder] = {}

    def add_remainder(self, host: Node) -> Remainder:
        """A node joined the other books."""
        node = self.remainders[host.node_id] = Remainder(host)
        self.take_node(node)
        node.rack_tags = host.rack_tags
        return node

    def follow(self, node: Remainder) -> None:
        """After something changed on the node that it stands for."""
        if node.spec is not node.host.spec:
            self.resize_node(node, node.host.spec)
        node.follow()
        self.room_grew += 1
        self.index.update(node)

    def grant(self, ask: Ask, node: Node, positions: Sequence[int] | None = None) -> Container:
        """Containers of an application are numbered through, whichever books they are on."""
        ask.app.next_container = ask.app.owner.next_container
        container = super().grant(ask, node, positions)
        ask.app.owner.next_container = ask.app.next_container
        return container


def as_borrowers_see(queue: Queue, above: Policy = Policy.DRF) -> QueueSpec:
    """The queue and all below it, with weights and orders, without limits and promises.

    Queues that drain are plain ones here: who may enter is decided on the other books.
    """
    spec = queue.spec
    # What drains may have stood below another policy.
    policy = Policy.FAIR if above is Policy.FAIR and spec.policy is Policy.DRF else spec.policy
    return replace(
        spec,
        min_share=ZERO,
        max_share=None,
        min_share_of_cluster=None,
        max_share_of_cluster=None,
        max_running_apps=None,
        max_running_apps_per_user=None,
        max_running_apps_of_users=(),
        max_am_share=None,
        undeclared=False,
        policy=policy,
        type=QueueType.PARENT if spec.is_parent else spec.type,
        children=tuple(as_borrowers_see(child, policy) for child in queue.children.values()),
    )
