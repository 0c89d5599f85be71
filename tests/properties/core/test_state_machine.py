"""Random clusters, queues, work and faults: what must hold whatever happens."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hrm.core.amounts import Amounts
from hrm.core.commands import Allocate, ContainerEnded, KillContainer, PreemptContainer
from hrm.core.events import (
    AppAdded,
    AppMoved,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    BlacklistChanged,
    CheckpointSaved,
    ContainerFinished,
    ContainerRecovered,
    Event,
    NodeAdded,
    NodeRemoved,
    NodeResourceUpdate,
    NodeSchedulable,
    NodeUpdate,
    Preempt,
    PriorityChanged,
    QueuesChanged,
    RequestsUpdated,
    UpdateShares,
)
from hrm.core.invariants import check_invariants
from hrm.core.ordering import is_below
from hrm.core.reasons import Reason
from hrm.core.scheduler import Scheduler
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.queues import Order, QueueSpec, ShareOfCluster
from hrm.model.requests import ANY, ResourceRequest
from hrm.model.scheduling import SchedulerOptions, Victims
from hrm.testing.builders import amounts, node, queue, queues

MODELS = ("RTX 2080 Ti", "V100")
NODE_IDS = tuple(f"n{i}" for i in range(5))
LEAVES = ("a", "b", "p.x", "p.y")
POLICIES = ("fair", "drf", "fifo")


@st.composite
def trees(draw: st.DrawFn) -> QueueSpec:
    """Trees over the same few paths, so that a reload adds, drops and changes queues."""
    drf = draw(st.booleans())
    leaf_policies = POLICIES if drf else ("fair", "fifo")

    def limits(leaf: bool) -> dict[str, object]:
        most = draw(st.sampled_from([None, None, 1, 3, 6]))
        return {
            "weight": draw(st.sampled_from([0.0, 1.0, 1.0, 2.0, 3.0])),
            "order": draw(st.sampled_from(Order)) if not leaf else Order.RATIO,
            "max_share_of_cluster": ShareOfCluster(default=0.5) if most is None and draw(st.booleans()) else None,
            "policy": draw(st.sampled_from(leaf_policies if leaf else ("drf", "fair") if drf else ("fair",))),
            "max_share": None if most is None else amounts(most, f"{most * 2}G", gpus=most, licences=most),
            "min_share": draw(st.sampled_from([amounts(), amounts(1, "1G"), amounts(0, "2G")])) if most != 1 else None,
            "max_running_apps": draw(st.sampled_from([None, None, None, 0, 1, 2])),
            "fair_share_preemption_timeout_s": draw(st.sampled_from([None, 0, 3])),
            "fair_share_preemption_threshold": draw(st.sampled_from([None, 0.5, 1.0])),
            "min_share_preemption_timeout_s": draw(st.sampled_from([None, 0, 3])),
            "min_run_before_preemption_s": draw(st.sampled_from([None, None, 5])),
            "preemptable": draw(st.sampled_from([True, True, True, False])),
            "max_running_apps_per_user": draw(st.sampled_from([None, None, None, 0, 1, 2])),
        }

    def leaf(name: str) -> QueueSpec:
        return queue(name, **limits(leaf=True))  # type: ignore[arg-type]

    children = [leaf(name) for name in ("a", "b") if name == "a" or draw(st.booleans())]
    below = [name for name in ("x", "y") if draw(st.booleans())]
    if below:
        parent = limits(leaf=False)
        child_policies = {"policy": "fair"} if parent["policy"] == "fair" else {}
        children.append(
            queue("p", *(queue(name, **{**limits(leaf=True), **child_policies}) for name in below), **parent)  # type: ignore[arg-type]
        )
    return queues(
        *children, policy="drf" if drf else "fair", max_running_apps=draw(st.sampled_from([None, None, 1, 4]))
    )


NODES = st.builds(
    node,
    st.sampled_from(NODE_IDS),
    cpus=st.integers(1, 6),
    memory=st.sampled_from(["2G", "5G", "8G"]),
    gpus=st.integers(0, 3),
    model=st.sampled_from(MODELS),
    rack=st.sampled_from(["/r1", "/r2"]),
    others=st.sampled_from([None, {"licences": 2}]),
)
REQUESTS = st.builds(
    ResourceRequest,
    resources=st.sampled_from(
        [
            amounts(1, "1G"),
            amounts(0.5, "3G"),
            amounts(2, "512M"),
            amounts(0.5, "512M", gpus=0.3),
            amounts(0.5, "512M", gpus=0.7),
            amounts(1, "1G", gpus=1),
            amounts(1, "1G", gpus=2),
            amounts(1, "1G", licences=1),
        ]
    ),
    count=st.sampled_from([0, 1, 2, 3, 5, 8]),
    priority=st.integers(0, 2),
    resource_name=st.sampled_from([ANY, ANY, ANY, "n0", "n1", "/r1", "/r9"]),
    relax_locality=st.booleans(),
    gpu_model=st.sampled_from([None, "rtx*", "V100"]),
    for_master=st.sampled_from([False, False, False, True]),
)

ASKS = st.lists(REQUESTS, min_size=1, max_size=3)


class CoreMachine(RuleBasedStateMachine):
    """Feeds one scheduler, and a second one the same events at the same times: their commands must agree."""

    @initialize(
        tree=trees(),
        nodes=st.lists(NODES, min_size=2, max_size=4, unique_by=lambda spec: spec.node_id),
        first=st.lists(st.tuples(st.sampled_from(LEAVES), ASKS), min_size=1, max_size=5),
        options=st.sampled_from(
            [
                SchedulerOptions(),
                SchedulerOptions(assign_multiple=False),
                SchedulerOptions(dynamic_max_assign=True),
                SchedulerOptions(max_assign=2, wait_before_kill_s=3),
                SchedulerOptions(wait_before_kill_s=0, victims=Victims.LEAST_WORK_LOST),
                SchedulerOptions(node_locality_threshold=0.5, rack_locality_threshold=0.5),
                SchedulerOptions(reservable_nodes=0.3, reservation_threshold=amounts(1, "1G")),
            ]
        ),
    )
    def start(self, tree, nodes, first, options) -> None:  # type: ignore[no-untyped-def]
        self.options = options
        self.scheduler = Scheduler(tree, epoch=2, options=options)
        self.twin = Scheduler(tree, epoch=2, options=options)
        self.now = 0.0
        self.next_app = 1
        self.next_recovered = 1
        self.attempts: list[AttemptId] = []
        self.containers: dict[ContainerId, None] = {}
        self.ever: set[ContainerId] = set()
        self.killed: set[ContainerId] = set()
        for spec in nodes:
            self.tell(NodeAdded(spec))
        for path, asks in first:
            self.submit_to(path, 0, asks)
        self.visit_where_there_is_room()

    def tell(self, event: Event) -> None:
        self.now += 1.0
        try:
            commands = self.scheduler.handle(event, self.now)
        except InvalidInput:
            try:
                self.twin.handle(event, self.now)
            except InvalidInput:
                return
            raise AssertionError(f"refused once, taken once: {event}") from None
        assert commands == self.twin.handle(event, self.now)
        over = self.over_max()
        for command in commands:
            match command:
                case Allocate(container_id=container_id):
                    assert container_id not in self.ever, "a container id was given twice"
                    self.ever.add(container_id)
                    self.containers[container_id] = None
                    self.check_devices(command)
                case ContainerEnded(container_id=container_id):
                    self.containers.pop(container_id, None)
                case PreemptContainer():
                    self.check_victim(command)
                case KillContainer(container_id=container_id):
                    assert container_id in self.containers
                    assert container_id not in self.killed, "a container is killed once"
                    self.killed.add(container_id)
        if any(isinstance(command, Allocate) for command in commands):
            assert over == self.over_before, "an allocation brought a queue over its max share"

    def over_max(self) -> set[str]:
        return {
            view.path
            for view in self.scheduler.queue_views()
            if view.max_share is not None and not view.used.fits_in(view.max_share)
        }

    def check_victim(self, warned: PreemptContainer) -> None:
        """Whoever is preempted keeps its fair share, counting all of it that is to end."""
        view = self.scheduler.application_view(warned.container_id.attempt.application)
        assert view is not None
        by_path = {one.path: one for one in self.scheduler.queue_views()}
        spec = by_path[view.queue].spec
        total = Amounts()
        for one in self.scheduler.node_views():
            total.add(Amounts.of(one.total))
        assert not is_below(spec.policy, Amounts.of(warned.left_to_victim), view.fair_share, total)
        assert spec.preemptable
        assert warned.beneficiary != view.application_id
        assert warned.container_id not in self.killed

    @rule()
    def preempt(self) -> None:
        self.tell(UpdateShares())
        self.tell(Preempt())

    @rule()
    def killed_containers_end(self) -> None:
        for container_id in [one for one in self.containers if one in self.killed]:
            del self.containers[container_id]
            self.tell(ContainerFinished(container_id))
        self.visit_where_there_is_room()

    @rule(number=st.integers(0, 100))
    def checkpoint(self, number: int) -> None:
        if self.containers:
            self.tell(CheckpointSaved(list(self.containers)[number % len(self.containers)]))

    def check_devices(self, granted: Allocate) -> None:
        gpus = granted.resources.gpus_milli
        assert len(granted.device_ids) == (0 if gpus == 0 else 1 if gpus <= 1000 else gpus // 1000)
        assert len(set(granted.device_ids)) == len(granted.device_ids)

    # ---- the cluster

    @rule(spec=NODES)
    def node_joins_or_changes(self, spec) -> None:  # type: ignore[no-untyped-def]
        known = self.scheduler.node_view(spec.node_id) is not None
        self.tell(NodeResourceUpdate(spec) if known else NodeAdded(spec))

    @rule(node_id=st.sampled_from(NODE_IDS), comes_back=st.booleans())
    def node_is_lost(self, node_id: str, comes_back: bool) -> None:
        self.tell(NodeRemoved(node_id))
        if comes_back:
            self.tell(NodeAdded(node(node_id, cpus=4, memory="8G", gpus=1)))

    @rule(node_id=st.sampled_from(NODE_IDS), schedulable=st.booleans())
    def node_is_drained_or_back(self, node_id: str, schedulable: bool) -> None:
        self.tell(NodeSchedulable(node_id, schedulable))

    @rule(node_id=st.sampled_from(NODE_IDS))
    def visit(self, node_id: str) -> None:
        self.visit_one(node_id)

    def visit_one(self, node_id: str) -> None:
        self.over_before = self.over_max()
        self.tell(NodeUpdate(node_id))

    @rule()
    def visit_where_there_is_room(self) -> None:
        for node_id in list(self.scheduler.nodes_with_room()):
            self.visit_one(node_id)

    # ---- applications

    @rule(path=st.sampled_from(LEAVES), priority=st.integers(0, 2), asks=ASKS)
    def submit(self, path: str, priority: int, asks: list[ResourceRequest]) -> None:
        self.submit_to(path, priority, asks)
        self.visit_where_there_is_room()

    def submit_to(self, path: str, priority: int, asks: list[ResourceRequest]) -> None:
        if not self.scheduler.accepts(path):
            return
        application_id = ApplicationId(1, self.next_app)
        self.next_app += 1
        user = ("ada", "bob")[self.next_app % 2]
        self.tell(AppAdded(application_id, path, user, float(self.next_app % 3), priority))
        attempt = AttemptId(application_id, 1)
        self.tell(AttemptAdded(attempt))
        self.attempts.append(attempt)
        self.tell(RequestsUpdated(attempt, tuple(asks)))

    def pick(self, number: int) -> AttemptId | None:
        return self.attempts[number % len(self.attempts)] if self.attempts else None

    @rule(number=st.integers(0, 100), asks=ASKS)
    def ask(self, number: int, asks: list[ResourceRequest]) -> None:
        if attempt := self.pick(number):
            self.tell(RequestsUpdated(attempt, tuple(asks)))

    @rule(number=st.integers(0, 100))
    def leave(self, number: int) -> None:
        if attempt := self.pick(number):
            self.attempts.remove(attempt)
            self.tell(AppRemoved(attempt.application))

    @rule(number=st.integers(0, 100), keep=st.booleans())
    def next_attempt(self, number: int, keep: bool) -> None:
        if attempt := self.pick(number):
            following = AttemptId(attempt.application, attempt.number + 1)
            self.tell(AttemptRemoved(attempt, keep))
            self.tell(AttemptAdded(following))
            self.attempts[self.attempts.index(attempt)] = following

    @rule(number=st.integers(0, 100), path=st.sampled_from(LEAVES))
    def move(self, number: int, path: str) -> None:
        if attempt := self.pick(number):
            self.tell(AppMoved(attempt.application, path))

    @rule(number=st.integers(0, 100), priority=st.integers(0, 3))
    def change_priority(self, number: int, priority: int) -> None:
        if attempt := self.pick(number):
            self.tell(PriorityChanged(attempt.application, priority))

    @rule(number=st.integers(0, 100), nodes=st.frozensets(st.sampled_from(NODE_IDS)))
    def blacklist(self, number: int, nodes: frozenset[str]) -> None:
        if attempt := self.pick(number):
            self.tell(BlacklistChanged(attempt.application, nodes))

    # ---- containers

    @rule(number=st.integers(0, 100))
    def container_ends(self, number: int) -> None:
        if self.containers:
            container_id = list(self.containers)[number % len(self.containers)]
            del self.containers[container_id]
            self.tell(ContainerFinished(container_id))
            self.tell(ContainerFinished(container_id))

    @rule(number=st.integers(0, 100), node_id=st.sampled_from(NODE_IDS), gpus=st.sampled_from([0, 0.5, 1]))
    def container_is_recovered(self, number: int, node_id: str, gpus: float) -> None:
        if attempt := self.pick(number):
            container_id = ContainerId(attempt, 1, self.next_recovered)
            self.next_recovered += 1
            devices = (f"{node_id}/0",) if gpus else ()
            self.containers[container_id] = None
            self.tell(ContainerRecovered(container_id, node_id, amounts(1, "1G", gpus=gpus), devices))

    # ---- queues

    @rule(tree=trees())
    def reload(self, tree: QueueSpec) -> None:
        self.tell(QueuesChanged(tree))

    @rule()
    def update_shares(self) -> None:
        self.tell(UpdateShares())

    # ---- what must hold

    @invariant()
    def the_books_balance(self) -> None:
        check_invariants(self.scheduler)

    @invariant()
    def no_application_reserves_more_than_it_may(self) -> None:
        views = self.scheduler.node_views()
        counts = Counter(view.reserved_for for view in views if view.reserved_for is not None)
        # Requests for a node may reserve it besides; nodes that left make the part smaller, not the reservations.
        most = math.ceil(len(NODE_IDS) * self.options.reservable_nodes) + 2
        assert max(counts.values(), default=0) <= (most if self.options.reservable_nodes else 0)

    @invariant()
    def what_was_granted_is_what_is_held(self) -> None:
        views = [self.scheduler.application_view(attempt.application) for attempt in self.attempts]
        assert sum(view.containers for view in views if view) == len(self.containers)

    @invariant()
    def all_that_waits_is_explained(self) -> None:
        for attempt in self.attempts:
            view = self.scheduler.application_view(attempt.application)
            assert view is not None
            explanation = self.scheduler.explain(attempt.application)
            assert explanation.message
            waits = view.pending > 0 or not view.runnable
            assert (explanation.reason != str(Reason.NOTHING_PENDING)) == waits

    @rule()
    def after_visiting_all_nodes_what_waits_has_no_room(self) -> None:
        for _ in range(30):
            before = len(self.ever)
            for node_id in NODE_IDS:
                self.visit_one(node_id)
            if len(self.ever) == before:
                break
        else:
            return
        for attempt in self.attempts:
            reason = self.scheduler.explain(attempt.application).reason
            assert reason not in (str(Reason.NOT_YET_SCHEDULED), str(Reason.BEHIND_OTHERS)), reason


CoreMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCore = CoreMachine.TestCase
