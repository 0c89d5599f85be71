"""Random clusters, queues, work and faults: what must hold whatever happens."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hrm.core.amounts import Amounts
from hrm.core.applications import Ask, Shape, Way
from hrm.core.commands import (
    Allocate,
    AppActivated,
    Command,
    ContainerEnded,
    ContainerResized,
    KillContainer,
    PreemptContainer,
)
from hrm.core.events import (
    AppAdded,
    AppMoved,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    BlacklistChanged,
    CheckpointSaved,
    ContainerExpired,
    ContainerFinished,
    ContainerRecovered,
    ContainerReleased,
    ContainerResize,
    Event,
    NodeAdded,
    NodeRemoved,
    NodeResourceUpdate,
    NodeSchedulable,
    NodeUpdate,
    OptionsChanged,
    Preempt,
    PriorityChanged,
    QueueAdded,
    QueuesChanged,
    RequestsUpdated,
    UpdateGangs,
    UpdateShares,
)
from hrm.core.invariants import check_invariants
from hrm.core.ordering import is_below
from hrm.core.reasons import Reason
from hrm.core.scheduler import Scheduler
from hrm.core.views import QueueView
from hrm.model.attributes import parse_expression
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.queues import QueueSpec
from hrm.model.resources import ZERO, Resources
from hrm.testing.builders import amounts, node, queue
from tests.properties.core.clusters import ASKS, GANG_IDS, GREEDY, NODE_IDS, NODES, OPTIONS, gangs, trees

NUMBERS = st.integers(0, 100)
#: What applications make for themselves.
MADE = ("m", "b.m", "n.m")


@dataclass(frozen=True)
class Held:
    """A container as this machine knows it."""

    application_id: ApplicationId
    node_id: str
    resources: Resources


class CoreMachine(RuleBasedStateMachine):
    """Feeds one scheduler, and a second one the same events at the same times: their commands must agree."""

    @initialize(
        tree=trees(),
        nodes=st.lists(NODES, min_size=2, max_size=4, unique_by=lambda spec: spec.node_id),
        first=st.lists(st.tuples(NUMBERS, st.one_of(st.tuples(GREEDY), ASKS)), min_size=1, max_size=5),
        options=OPTIONS,
    )
    def start(self, tree, nodes, first, options) -> None:  # type: ignore[no-untyped-def]
        self.most_reservable = options.reservable_nodes
        self.scheduler = Scheduler(tree, epoch=2, options=options)
        self.twin = Scheduler(tree, epoch=2, options=options)
        self.now = 0.0
        self.next_app = 1
        self.next_recovered = 1
        self.attempts: list[AttemptId] = []
        self.containers: dict[ContainerId, Held] = {}
        self.ever: set[ContainerId] = set()
        self.killed: set[ContainerId] = set()
        #: What gangs ask for, by amounts.
        self.gangs: dict[tuple[AttemptId, int], Counter[Resources]] = {}
        for spec in nodes:
            self.tell(NodeAdded(spec))
        for number, asks in first:
            self.submit_to(number, 0, asks)
            self.visit_where_there_is_room()

    def tell(self, event: Event) -> list[Command]:
        self.now += 1.0
        try:
            commands = self.scheduler.handle(event, self.now)
        except InvalidInput:
            try:
                self.twin.handle(event, self.now)
            except InvalidInput:
                return []
            raise AssertionError(f"refused once, taken once: {event}") from None
        assert commands == self.twin.handle(event, self.now)
        self.check_gangs(commands)
        for command in commands:
            match command:
                case Allocate(container_id=container_id):
                    assert container_id not in self.ever, "a container id was given twice"
                    self.ever.add(container_id)
                    self.containers[container_id] = Held(
                        container_id.attempt.application, command.node_id, command.resources
                    )
                    self.check_room(command)
                    self.check_place(command)
                case ContainerEnded(container_id=container_id):
                    self.containers.pop(container_id, None)
                case ContainerResized(container_id=container_id, node_id=node_id, resources=resources):
                    held = self.containers[container_id]
                    assert held.node_id == node_id, "a container grows where it runs"
                    assert held.resources.gpus_milli == resources.gpus_milli
                    self.containers[container_id] = replace(held, resources=resources)
                case PreemptContainer():
                    self.check_victim(command)
                case KillContainer(container_id=container_id):
                    assert container_id in self.containers
                    assert container_id not in self.killed, "a container is killed once"
                    self.killed.add(container_id)
                case AppActivated() if not isinstance(event, ContainerRecovered):
                    self.check_running(command.application_id)
        return commands

    # ---- what is checked where it is decided

    def check_room(self, granted: Allocate) -> None:
        """No allocation overfills a node, in what it takes of it, or a device."""
        gpus = granted.resources.gpus_milli
        assert len(granted.device_ids) == (0 if gpus == 0 else 1 if gpus <= 1000 else gpus // 1000)
        assert len(set(granted.device_ids)) == len(granted.device_ids)
        view = self.scheduler.node_view(granted.node_id)
        assert view is not None
        assert all(view.free.get(name) >= 0 for name, amount in granted.resources.items() if amount)
        assert all(view.device_free_milli[device_id] >= 0 for device_id in granted.device_ids)

    def check_place(self, granted: Allocate) -> None:
        """No container is on a node that what its request wants of nodes excludes."""
        container = self.scheduler.books.container(granted.container_id)
        assert container is not None and isinstance(container.shape, Shape)
        needs, spec = container.shape.needs, container.node.spec
        if needs.constraint:
            assert parse_expression(needs.constraint).meets(dict(spec.attributes))
        assert (needs.label or "") == spec.label or (not needs.label and not spec.exclusive)

    def check_gangs(self, commands: list[Command]) -> None:
        """Of a gang all is granted in one decision, or nothing."""
        granted: dict[tuple[AttemptId, int], Counter[Resources]] = {}
        for command in commands:
            if isinstance(command, Allocate) and command.allocation_request_id >= GANG_IDS:
                gang = command.container_id.attempt, command.allocation_request_id
                granted.setdefault(gang, Counter())[command.resources] += 1
        for gang, members in granted.items():
            assert members == self.gangs.pop(gang)

    def check_victim(self, warned: PreemptContainer) -> None:
        """Whoever is preempted keeps its fair share, counting all of it that is to end."""
        view = self.scheduler.application_view(warned.container_id.attempt.application)
        assert view is not None
        lineage = self.lineage(view.queue)
        total = Amounts()
        for one in self.scheduler.node_views():
            total.add(Amounts.of(one.total))
        assert not is_below(lineage[0].spec.policy, Amounts.of(warned.left_to_victim), view.fair_share, total)
        assert all(one.spec.preemptable for one in lineage)
        assert warned.beneficiary != view.application_id
        assert warned.container_id not in self.killed

    def check_running(self, application_id: ApplicationId) -> None:
        """What a limit let run does not pass it."""
        view = self.scheduler.application_view(application_id)
        assert view is not None
        for one in self.lineage(view.queue):
            assert one.spec.max_running_apps is None or one.applications_running <= one.spec.max_running_apps

    def lineage(self, path: str) -> list[QueueView]:
        """The queue and those above it."""
        by_path = {view.path: view for view in self.scheduler.queue_views()}
        found = [by_path[path]]
        while found[-1].parent is not None:
            found.append(by_path[found[-1].parent])
        return found

    def over_max(self) -> set[str]:
        return {
            view.path
            for view in self.scheduler.queue_views()
            if view.max_share is not None and not view.used.fits_in(view.max_share)
        }

    # ---- the cluster

    @rule(spec=NODES)
    def node_joins_or_changes(self, spec) -> None:  # type: ignore[no-untyped-def]
        known = self.scheduler.node_view(spec.node_id) is not None
        self.tell(NodeResourceUpdate(spec) if known else NodeAdded(spec))

    @rule(node_id=st.sampled_from(NODE_IDS), comes_back=st.booleans())
    def node_is_lost(self, node_id: str, comes_back: bool) -> None:
        self.tell(NodeRemoved(node_id))
        assert not any(held.node_id == node_id for held in self.containers.values())
        if comes_back:
            self.tell(NodeAdded(node(node_id, cpus=4, memory="8G", gpus=1)))

    @rule(node_id=st.sampled_from(NODE_IDS), schedulable=st.booleans())
    def node_is_drained_or_back(self, node_id: str, schedulable: bool) -> None:
        self.tell(NodeSchedulable(node_id, schedulable))

    @rule(node_id=st.sampled_from(NODE_IDS))
    def visit(self, node_id: str) -> None:
        before, over = self.scheduler.node_view(node_id), self.over_max()
        kept_for = self.reservation_of(node_id)
        granted = [one for one in self.tell(NodeUpdate(node_id)) if isinstance(one, Allocate)]
        if granted:
            assert before is not None
            assert before.schedulable
            assert self.over_max() == over, "an allocation brought a queue over its max share"
        # One that is stale goes, and the same application may reserve the node again, for another request.
        if kept_for is not None and kept_for is self.reservation_of(node_id):
            views = [self.scheduler.container_view(one.container_id) for one in granted]
            assert {view.way for view in views if view} <= {Way.PREEMPTION}, "a reserved node took something else"

    def reservation_of(self, node_id: str) -> Ask | None:
        node = self.scheduler.books.nodes.get(node_id)
        return None if node is None else node.reservation

    @rule()
    def visit_where_there_is_room(self) -> None:
        for node_id in list(self.scheduler.nodes_with_room()):
            self.visit(node_id)

    # ---- applications

    @rule(number=NUMBERS, priority=st.integers(0, 2), asks=ASKS)
    def submit(self, number: int, priority: int, asks) -> None:  # type: ignore[no-untyped-def]
        self.submit_to(number, priority, asks)
        self.visit_where_there_is_room()

    @rule(path=st.sampled_from(MADE), asks=ASKS)
    def submit_to_a_queue_that_nobody_declared(self, path: str, asks) -> None:  # type: ignore[no-untyped-def]
        if self.make(path):
            self.submit_into(path, 0, asks)
            self.visit_where_there_is_room()

    def make(self, path: str) -> bool:
        parent, _, name = path.rpartition(".")
        made = queue(name, undeclared=True, max_share=amounts(3, "6G", gpus=1))
        if parent and self.scheduler.queue_spec(parent) is None:
            made, parent = queue(parent, made, undeclared=True), ""
        self.tell(QueueAdded(parent or "root", made))
        return self.scheduler.queue_spec(path) is not None

    def submit_to(self, number: int, priority: int, asks) -> None:  # type: ignore[no-untyped-def]
        self.submit_into(self.leaf(number), priority, asks)

    def submit_into(self, path: str, priority: int, asks) -> None:  # type: ignore[no-untyped-def]
        application_id = ApplicationId(1, self.next_app)
        self.next_app += 1
        user = ("ada", "bob")[self.next_app % 2]
        self.tell(AppAdded(application_id, path, user, float(self.next_app % 3), priority))
        attempt = AttemptId(application_id, 1)
        self.tell(AttemptAdded(attempt))
        self.attempts.append(attempt)
        self.tell(RequestsUpdated(attempt, tuple(asks)))

    def leaf(self, number: int) -> str:
        leaves = self.scheduler.leaf_paths()
        return leaves[number % len(leaves)]

    def pick(self, number: int) -> AttemptId | None:
        return self.attempts[number % len(self.attempts)] if self.attempts else None

    @rule(number=NUMBERS, asks=ASKS)
    def ask(self, number: int, asks) -> None:  # type: ignore[no-untyped-def]
        if attempt := self.pick(number):
            self.tell(RequestsUpdated(attempt, tuple(asks)))

    @rule(number=NUMBERS, asks=gangs())
    def ask_for_a_gang(self, number: int, asks) -> None:  # type: ignore[no-untyped-def]
        if attempt := self.pick(number):
            gang = attempt, asks[0].allocation_request_id
            withdrawn = self.gangs.get(gang, Counter())
            asked = Counter({ask.resources: ask.count for ask in asks})
            self.gangs[gang] = asked
            rest = [replace(asks[0], resources=one, count=0) for one in withdrawn if one not in asked]
            self.tell(RequestsUpdated(attempt, (*asks, *rest)))
            self.visit_where_there_is_room()

    @rule(number=NUMBERS, asks=gangs(), ends=st.lists(NUMBERS, max_size=6))
    def a_gang_gathers_while_others_end(self, number: int, asks, ends: list[int]) -> None:  # type: ignore[no-untyped-def]
        self.ask_for_a_gang(number, asks)
        self.update_gangs()
        for end in ends:
            self.container_ends(end)
            self.visit_where_there_is_room()
        self.update_gangs()

    @rule()
    def update_gangs(self) -> None:
        self.tell(UpdateShares())
        self.tell(UpdateGangs())

    @rule(number=NUMBERS)
    def leave(self, number: int) -> None:
        if attempt := self.pick(number):
            self.attempts.remove(attempt)
            self.tell(AppRemoved(attempt.application))

    @rule(number=NUMBERS, keep=st.booleans())
    def next_attempt(self, number: int, keep: bool) -> None:
        if attempt := self.pick(number):
            following = AttemptId(attempt.application, attempt.number + 1)
            self.tell(AttemptRemoved(attempt, keep))
            self.tell(AttemptAdded(following))
            self.attempts[self.attempts.index(attempt)] = following

    @rule(number=NUMBERS, where=NUMBERS)
    def move(self, number: int, where: int) -> None:
        if attempt := self.pick(number):
            self.tell(AppMoved(attempt.application, self.leaf(where)))

    @rule(number=NUMBERS, path=st.sampled_from(MADE))
    def move_to_a_queue_that_nobody_declared(self, number: int, path: str) -> None:
        if (attempt := self.pick(number)) and self.make(path):
            self.tell(AppMoved(attempt.application, path))

    @rule(number=NUMBERS, priority=st.integers(0, 3))
    def change_priority(self, number: int, priority: int) -> None:
        if attempt := self.pick(number):
            self.tell(PriorityChanged(attempt.application, priority))

    @rule(number=NUMBERS, nodes=st.frozensets(st.sampled_from(NODE_IDS)))
    def blacklist(self, number: int, nodes: frozenset[str]) -> None:
        if attempt := self.pick(number):
            self.tell(BlacklistChanged(attempt.application, nodes))

    # ---- containers

    @rule(number=NUMBERS)
    def container_ends(self, number: int) -> None:
        if self.containers:
            container_id = list(self.containers)[number % len(self.containers)]
            del self.containers[container_id]
            self.tell(ContainerFinished(container_id))
            self.tell(ContainerFinished(container_id))

    @rule(number=NUMBERS, how=st.sampled_from([ContainerReleased, ContainerExpired]))
    def container_is_given_back(self, number: int, how) -> None:  # type: ignore[no-untyped-def]
        if self.containers:
            container_id = list(self.containers)[number % len(self.containers)]
            self.tell(how(container_id))
            assert container_id not in self.containers

    @rule(number=NUMBERS, cpus=st.sampled_from([0.5, 1, 3]), memory=st.sampled_from(["512M", "1G", "5G"]))
    def container_is_to_hold_more_or_less(self, number: int, cpus: float, memory: str) -> None:
        if self.containers:
            container_id, held = list(self.containers.items())[number % len(self.containers)]
            wanted = replace(amounts(cpus, memory), gpus_milli=held.resources.gpus_milli)
            self.tell(ContainerResize(container_id, wanted))
            self.visit_where_there_is_room()

    @rule(number=NUMBERS, node_id=st.sampled_from(NODE_IDS), gpus=st.sampled_from([0, 0.5, 1]), master=st.booleans())
    def container_is_recovered(self, number: int, node_id: str, gpus: float, master: bool) -> None:
        if attempt := self.pick(number):
            container_id = ContainerId(attempt, 1, self.next_recovered)
            self.next_recovered += 1
            devices = (f"{node_id}/0",) if gpus else ()
            size = amounts(1, "1G", gpus=gpus)
            self.containers[container_id] = Held(attempt.application, node_id, size)
            self.tell(ContainerRecovered(container_id, node_id, size, devices, for_master=master))

    @rule(number=NUMBERS)
    def checkpoint(self, number: int) -> None:
        if self.containers:
            self.tell(CheckpointSaved(list(self.containers)[number % len(self.containers)]))

    @rule()
    def preempt(self) -> None:
        self.tell(UpdateShares())
        self.tell(Preempt())

    @rule(number=NUMBERS, want=GREEDY, later_s=st.sampled_from([0.0, 5.0, 20.0]))
    def somebody_comes_late_and_starves(self, number: int, want, later_s: float) -> None:  # type: ignore[no-untyped-def]
        self.submit(number, 0, [want])
        for _ in range(3):
            self.preempt()
            self.now += later_s
        self.killed_containers_end()

    @rule()
    def killed_containers_end(self) -> None:
        for container_id in [one for one in self.containers if one in self.killed]:
            del self.containers[container_id]
            self.tell(ContainerFinished(container_id))
        self.visit_where_there_is_room()

    # ---- configuration

    @rule(tree=trees())
    def reload(self, tree: QueueSpec) -> None:
        self.tell(QueuesChanged(tree))

    @rule(options=OPTIONS)
    def change_options(self, options) -> None:  # type: ignore[no-untyped-def]
        self.most_reservable = max(self.most_reservable, options.reservable_nodes)
        self.tell(OptionsChanged(options))

    @rule()
    def update_shares(self) -> None:
        self.tell(UpdateShares())

    # ---- what must hold

    @invariant()
    def the_books_balance(self) -> None:
        check_invariants(self.scheduler)

    @invariant()
    def what_is_used_is_what_runs_and_nothing_else(self) -> None:
        """Reservations and space that is kept are no usage."""
        used = Counter[ApplicationId]()
        sums: dict[ApplicationId, Resources] = {}
        for held in self.containers.values():
            used[held.application_id] += 1
            sums[held.application_id] = sums.get(held.application_id, ZERO) + held.resources
        for attempt in self.attempts:
            view = self.scheduler.application_view(attempt.application)
            assert view is not None
            assert (view.containers, view.used) == (used[attempt.application], sums.get(attempt.application, ZERO))
        root = self.scheduler.queue_views()[0]
        assert root.used == sum(sums.values(), start=ZERO)

    @invariant()
    def no_application_reserves_more_than_it_may(self) -> None:
        views = self.scheduler.node_views()
        gathering = self.scheduler.books.gathering
        if gathering is not None:
            # What the gang keeps is as much as it needs.
            views = [view for view in views if view.reserved_for != gathering.app.application_id]
        counts = Counter(view.reserved_for for view in views if view.reserved_for is not None)
        # Requests for a node may reserve it besides; nodes that left make the part smaller, not the reservations.
        most = math.ceil(len(NODE_IDS) * self.most_reservable) + 2
        assert max(counts.values(), default=0) <= (most if self.most_reservable else 0)

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
                self.visit(node_id)
            if len(self.ever) == before:
                break
        else:
            return
        for attempt in self.attempts:
            reason = self.scheduler.explain(attempt.application).reason
            assert reason not in (str(Reason.NOT_YET_SCHEDULED), str(Reason.BEHIND_OTHERS)), reason


CoreMachine.TestCase.settings = settings(
    max_examples=250, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCore = CoreMachine.TestCase


class LongLife(CoreMachine):
    """The same, longer and more often."""


LongLife.TestCase.settings = settings(
    max_examples=1500, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCoreAtLength = pytest.mark.real(LongLife.TestCase)
