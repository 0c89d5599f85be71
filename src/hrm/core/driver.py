"""Drives the scheduler alone, in memory: for programs that ask what it would do, without a server or real time.

    core = Driver(QueueSpec(name="root", children=(QueueSpec(name="a", weight=3), QueueSpec(name="b"))))
    core.join(NodeSpec(node_id="n1", total=Resources.parse(cpus=8, memory="16G")))
    train = core.submit("a")
    core.request(train, ResourceRequest(resources=Resources.parse(cpus=1, memory="2G"), count=3))
    core.update_nodes()
    assert core.application(train).containers == 3

Its methods are stable: what they take, give and raise changes with a notice in the changelog only. `Scheduler` and its
events stand below it, for whatever it has no method for (see `Driver.handle`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hrm.core import events as ev
from hrm.core.commands import (
    Allocate,
    Command,
    ContainerEnded,
    ExecutionTypeChanged,
    KillContainer,
    NodeReserved,
    NodeUnreserved,
    PreemptContainer,
)
from hrm.core.explain.finding import ExpectedEnd, nobody_knows
from hrm.core.scheduler import Scheduler
from hrm.core.strategies import BUILT_IN, Strategies
from hrm.core.views import AppView, ContainerView, NodeView, QueueView
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.explanations import Explanation
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.nodes import NodeSpec
from hrm.model.queues import QueueSpec, canonical_path
from hrm.model.requests import ResourceRequest
from hrm.model.scheduling import SchedulerOptions


class Driver:
    """A scheduler, and a clock that only its user moves.

    Applications are named by their attempt, as masters name theirs. Everything is decided when a method is called:
    nothing is placed between two of them. Same calls, same answers.
    """

    def __init__(
        self,
        root: QueueSpec,
        *,
        options: SchedulerOptions | None = None,
        strategies: Strategies = BUILT_IN,
        now: float = 0.0,
    ) -> None:
        """``now``: epoch seconds; ``strategies``: those that ``options.placement_strategy`` may name.

        Raises InvalidInput.
        """
        self.scheduler = Scheduler(root, epoch=1, options=options, strategies=strategies)
        #: Epoch seconds.
        self.now = now
        #: What was granted and has not ended since, in the order it was granted.
        self.granted: dict[ContainerId, Allocate] = {}
        self._cluster_timestamp = int(now * 1000)
        self._next_seq = 1

    def handle(self, event: ev.Event) -> list[Command]:
        """Tell the scheduler any of its events; what it decides. Raises InvalidInput, InvariantBroken."""
        commands = self.scheduler.handle(event, self.now)
        for command in commands:
            if isinstance(command, Allocate):
                self.granted[command.container_id] = command
            elif isinstance(command, ExecutionTypeChanged) and command.container_id in self.granted:
                before = self.granted[command.container_id]
                self.granted[command.container_id] = replace(before, execution_type=command.execution_type)
            elif isinstance(command, ContainerEnded):
                self.granted.pop(command.container_id, None)
        if isinstance(event, ev.ContainerFinished):
            self.granted.pop(event.container_id, None)
        return commands

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises InvalidInput if it were to run backwards."""
        if not seconds >= 0:
            raise InvalidInput(f"time does not run backwards: {seconds}", field="seconds")
        self.now += seconds

    # ---- what happens

    def join(self, node: NodeSpec) -> None:
        """A node joins, empty. Raises InvariantBroken if it is there already."""
        self.handle(ev.NodeAdded(node))

    def leave(self, node_id: str) -> list[Command]:
        """A node goes, with all that runs there."""
        return self.handle(ev.NodeRemoved(node_id))

    def submit(
        self, queue: str, *, user: str = "user", priority: int = 0, submitted_at: float | None = None
    ) -> AttemptId:
        """An application enters a leaf queue, and its master starts. Raises InvalidInput."""
        application_id = ApplicationId(self._cluster_timestamp, self._next_seq)
        since = self.now if submitted_at is None else submitted_at
        self.handle(ev.AppAdded(application_id, queue, user, since, priority))
        self._next_seq += 1
        attempt = AttemptId(application_id, 1)
        self.handle(ev.AttemptAdded(attempt))
        return attempt

    def request(self, app: AttemptId, *requests: ResourceRequest) -> None:
        """Its master asks, by absolute counts."""
        self.handle(ev.RequestsUpdated(app, requests))

    def finish(self, *containers: Allocate | ContainerId) -> None:
        """Containers end by themselves."""
        for one in containers:
            self.handle(ev.ContainerFinished(one.container_id if isinstance(one, Allocate) else one))

    def end(self, app: AttemptId) -> list[Command]:
        """The application is over: its containers end, and whoever waited for its place may run."""
        return [*self.handle(ev.AttemptRemoved(app)), *self.handle(ev.AppRemoved(app.application))]

    def move(self, app: AttemptId, queue: str) -> list[Command]:
        """The application goes to another queue, with all it has. Raises InvalidInput if a limit there forbids it."""
        return self.handle(ev.AppMoved(app.application, queue))

    def reload(self, root: QueueSpec) -> list[Command]:
        """Other queues. Raises InvalidInput, with nothing changed, if what runs cannot live in them."""
        return self.handle(ev.QueuesChanged(root))

    # ---- what is decided

    def update_node(self, node_id: str) -> list[Allocate]:
        """One visit of a node, as at its heartbeat; what was placed."""
        return [one for one in self.handle(ev.NodeUpdate(node_id)) if isinstance(one, Allocate)]

    def update_nodes(self) -> list[Allocate]:
        """Visit all nodes, in the order they joined, until nothing more is placed."""
        granted: list[Allocate] = []
        while more := [one for node in self.nodes() for one in self.update_node(node.node_id)]:
            granted += more
        return granted

    def update_shares(self) -> None:
        """Work fair shares out anew."""
        self.handle(ev.UpdateShares())

    def update_gangs(self) -> list[NodeReserved | NodeUnreserved]:
        """Look which gang may gather nodes, and whether the one that does has done so for too long.

        Works shares out first. Requests with a `GangRequest` are granted at a visit, together or not at all.
        """
        self.update_shares()
        commands = self.handle(ev.UpdateGangs())
        return [one for one in commands if isinstance(one, NodeReserved | NodeUnreserved)]

    def preempt(self) -> list[PreemptContainer | KillContainer]:
        """Look who is starved; who is warned for them, and who is to be killed as that warning has run out.

        Works shares out first. What is to be killed ends when `finish` says so.
        """
        self.update_shares()
        commands = self.handle(ev.Preempt())
        return [one for one in commands if isinstance(one, PreemptContainer | KillContainer)]

    # ---- how things stand

    def queues(self) -> list[QueueView]:
        """Parents before children."""
        return self.scheduler.queue_views()

    def queue(self, path: str) -> QueueView:
        """Raises NotFound."""
        path = canonical_path(path)
        for view in self.queues():
            if view.path == path:
                return view
        raise NotFound(f"no such queue: {path!r}")

    def nodes(self) -> list[NodeView]:
        """In the order they joined."""
        return self.scheduler.node_views()

    def node(self, node_id: str) -> NodeView:
        """Raises NotFound."""
        view = self.scheduler.node_view(node_id)
        if view is None:
            raise NotFound(f"no such node: {node_id!r}")
        return view

    def application(self, app: AttemptId) -> AppView:
        """Usage, demand, fair share, and the code of why it waits. Raises NotFound."""
        view = self.scheduler.application_view(app.application)
        if view is None:
            raise NotFound(f"the scheduler does not know {app.application}")
        return view

    def containers(self, app: AttemptId) -> list[Allocate]:
        """What the application was granted and still holds, in the order it was granted."""
        return [one for one in self.granted.values() if one.container_id.attempt.application == app.application]

    def container(self, container_id: ContainerId) -> ContainerView:
        """Why it is where it is, and whether it is to end for somebody. Raises NotFound."""
        view = self.scheduler.container_view(container_id)
        if view is None:
            raise NotFound(f"no such container: {container_id}")
        return view

    def explain(
        self,
        app: AttemptId,
        *,
        expected_end: Callable[[ContainerId], ExpectedEnd | None] = nobody_knows,
        nodes: int = 0,
    ) -> Explanation:
        """Why it waits, with its numbers; ``nodes``: how many of them are told one by one. Raises NotFound.

        When there will be room is foretold from ``expected_end``: when a container ends, as far as that is known.
        """
        return self.scheduler.explain(app.application, now=self.now, expected_end=expected_end, nodes=nodes)
