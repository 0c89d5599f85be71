"""Opportunistic containers in random clusters: whoever is guaranteed something never notices them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hrm.core.commands import Allocate, Command, ContainerEnded, ExecutionTypeChanged, ReclaimContainer
from hrm.core.events import (
    AppAdded,
    AppMoved,
    AppRemoved,
    AttemptAdded,
    AttemptRemoved,
    BlacklistChanged,
    ContainerFinished,
    ContainerRecovered,
    ContainerResize,
    Event,
    ExecutionTypeWanted,
    NodeAdded,
    NodeRemoved,
    NodeResourceUpdate,
    NodeSchedulable,
    NodeUpdate,
    OptionsChanged,
    Preempt,
    QueuesChanged,
    RequestsUpdated,
    UpdateGangs,
    UpdateShares,
)
from hrm.core.invariants import check_invariants
from hrm.core.scheduler import Scheduler
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.queues import QueueSpec
from hrm.model.requests import ExecutionType
from hrm.testing.builders import amounts
from tests.properties.core.clusters import ASKS, GREEDY, NODE_IDS, NODES, OPTIONS, gangs, trees

NUMBERS = st.integers(0, 100)
GUARANTEED, OPPORTUNISTIC = ExecutionType.GUARANTEED, ExecutionType.OPPORTUNISTIC


class Cluster:
    """One scheduler, and what was announced of it."""

    def __init__(self, tree: QueueSpec, options) -> None:  # type: ignore[no-untyped-def]
        self.scheduler = Scheduler(tree, epoch=2, options=options)
        self.guaranteed: dict[ContainerId, tuple[object, ...]] = {}
        self.borrowing: set[ContainerId] = set()
        self.ending: list[ContainerId] = []

    def tell(self, event: Event, now: float, *, at_once: bool) -> list[Command] | None:
        """None iff it is refused. ``at_once``: who is told to end for others has ended."""
        try:
            commands = self.scheduler.handle(event, now)
        except InvalidInput:
            return None
        self.note(commands)
        while at_once and self.ending:
            commands += self.end_one(now)
        check_invariants(self.scheduler)
        return commands

    def end_one(self, now: float) -> list[Command]:
        container_id = self.ending.pop(0)
        self.borrowing.discard(container_id)
        commands = self.scheduler.handle(ContainerFinished(container_id), now)
        self.note(commands)
        return commands

    def note(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Allocate(container_id=name, execution_type=execution_type):
                    assert name not in self.guaranteed and name not in self.borrowing
                    if execution_type is GUARANTEED:
                        self.guaranteed[name] = command.node_id, command.resources, command.device_ids
                    else:
                        self.borrowing.add(name)
                    self.check_room(command)
                case ContainerEnded(container_id=name):
                    assert name in self.guaranteed or name in self.borrowing, "of what nobody knows, no end is told"
                    self.guaranteed.pop(name, None)
                    self.borrowing.discard(name)
                    self.ending = [one for one in self.ending if one != name]
                case ReclaimContainer(container_id=name):
                    assert name in self.borrowing, "only who borrows is ended so"
                    assert name not in self.ending, "and once"
                    self.ending.append(name)
                case ExecutionTypeChanged(container_id=name, execution_type=execution_type):
                    if execution_type is GUARANTEED:
                        self.borrowing.remove(name)
                        self.guaranteed[name] = (command.node_id,)
                    else:
                        del self.guaranteed[name]
                        self.borrowing.add(name)

    def check_room(self, granted: Allocate) -> None:
        """Of what is announced everything has its room, device by device."""
        view = self.scheduler.node_view(granted.node_id)
        node = self.scheduler.books.nodes.get(granted.node_id)
        container = self.scheduler.books.container(granted.container_id)
        if view is None or node is None or (container is not None and container.gang_id is not None):
            # Its node is lost, and so it is told; and with it all of its gang.
            return
        waiting = [one for one in node.containers if not one.announced]
        free = view.free
        devices = dict(view.device_free_milli)
        for one in waiting:
            free = free + one.shape.frozen()
            for device_id in one.device_ids:
                devices[device_id] += one.milli_per_device
        for name, amount in granted.resources.items():
            if amount and free.get(name) < 0:
                # The node has shrunk since the grant: below what guaranteed containers hold, so none may borrow there.
                assert node.free.frozen().get(name) < 0
                assert view.opportunistic_used.get(name) == 0
        assert all(devices[device_id] >= 0 for device_id in granted.device_ids)


class LendingMachine(RuleBasedStateMachine):
    """The same guaranteed work in two clusters, in one of which others borrow what is left."""

    #: True iff borrowers end as soon as they are told.
    at_once = True

    @initialize(
        tree=trees(),
        nodes=st.lists(NODES, min_size=2, max_size=4, unique_by=lambda spec: spec.node_id),
        options=OPTIONS,
        first=st.lists(GREEDY, min_size=1, max_size=3),
    )
    def start(self, tree, nodes, options, first) -> None:  # type: ignore[no-untyped-def]
        self.mixed, self.plain = Cluster(tree, options), Cluster(tree, options)
        self.now = 0.0
        self.next_app = 1
        self.next_recovered = 1
        self.attempts: list[AttemptId] = []
        #: Those that only borrow: the plain cluster has them too, with nothing that they want.
        self.borrowers: list[AttemptId] = []
        self.all_borrowers: list[AttemptId] = []
        for spec in nodes:
            self.tell(NodeAdded(spec))
        for number, greedy in enumerate(first):
            self.somebody_borrows(3 * number, (greedy,))

    def tell(self, event: Event, *, plain: bool = True) -> None:
        self.now += 1.0
        mixed = self.mixed.tell(event, self.now, at_once=self.at_once)
        if plain:
            alone = self.plain.tell(event, self.now, at_once=True)
            assert (mixed is None) == (alone is None), "refused once, taken once"
            if self.at_once and mixed is not None and alone is not None:
                assert self.about_guaranteed(mixed) == self.about_guaranteed(alone)

    def about_guaranteed(self, commands: list[Command]) -> Counter[str]:
        """All that is decided but for who borrows."""
        borrowers = {attempt.application for attempt in self.all_borrowers}
        kept = []
        for one in commands:
            container_id = getattr(one, "container_id", None)
            if container_id is None or container_id.attempt.application not in borrowers:
                kept.append(repr(one))
        return Counter(kept)

    def submit(self, number: int) -> AttemptId:
        leaves = self.mixed.scheduler.leaf_paths()
        application_id = ApplicationId(1, self.next_app)
        self.next_app += 1
        user = ("ada", "bob")[self.next_app % 2]
        self.tell(AppAdded(application_id, leaves[number % len(leaves)], user, float(self.next_app % 3)))
        self.tell(AttemptAdded(AttemptId(application_id, 1)))
        return AttemptId(application_id, 1)

    def visit_all(self) -> None:
        for node_id in NODE_IDS:
            self.tell(NodeUpdate(node_id))

    # ---- who borrows

    @rule(number=NUMBERS, asks=st.one_of(st.tuples(GREEDY), ASKS, gangs()))
    def somebody_borrows(self, number: int, asks) -> None:  # type: ignore[no-untyped-def]
        if not self.borrowers or number % 3 == 0:
            self.borrowers.append(self.submit(number))
            self.all_borrowers.append(self.borrowers[-1])
        attempt = self.borrowers[number % len(self.borrowers)]
        wanted = tuple(replace(one, for_master=False, execution_type=OPPORTUNISTIC) for one in asks)
        self.tell(RequestsUpdated(attempt, wanted), plain=False)
        self.visit_all()

    @rule(number=NUMBERS)
    def a_borrower_ends(self, number: int) -> None:
        if self.mixed.borrowing:
            container_id = sorted(self.mixed.borrowing, key=str)[number % len(self.mixed.borrowing)]
            self.mixed.borrowing.remove(container_id)
            self.mixed.ending = [one for one in self.mixed.ending if one != container_id]
            self.tell(ContainerFinished(container_id), plain=False)

    @rule(number=NUMBERS, cpus=st.sampled_from([0.5, 1, 3]), memory=st.sampled_from(["512M", "1G", "5G"]))
    def a_borrower_grows_or_shrinks(self, number: int, cpus: float, memory: str) -> None:
        if self.mixed.borrowing:
            container_id = sorted(self.mixed.borrowing, key=str)[number % len(self.mixed.borrowing)]
            container = self.mixed.scheduler.lending.books.container(container_id)  # type: ignore[union-attr]
            assert container is not None
            wanted = replace(amounts(cpus, memory), gpus_milli=container.shape.gpus)
            self.tell(ContainerResize(container_id, wanted), plain=False)
            self.visit_all()

    @rule(number=NUMBERS, node_id=st.sampled_from(NODE_IDS))
    def a_borrower_is_found_running(self, number: int, node_id: str) -> None:
        if self.borrowers and self.mixed.scheduler.node_view(node_id) is not None:
            container_id = ContainerId(self.borrowers[number % len(self.borrowers)], 1, self.next_recovered)
            self.next_recovered += 1
            self.mixed.borrowing.add(container_id)
            found = ContainerRecovered(container_id, node_id, amounts(1, "1G"), execution_type=OPPORTUNISTIC)
            # What runs, runs: its application may have waited to run, which the plain cluster does not know.
            if self.mixed.scheduler.application_view(container_id.attempt.application).runnable:  # type: ignore[union-attr]
                self.tell(found, plain=False)
            else:
                self.mixed.borrowing.discard(container_id)

    # ---- who is guaranteed something

    @rule(number=NUMBERS, asks=st.one_of(ASKS, gangs()))
    def somebody_asks(self, number: int, asks) -> None:  # type: ignore[no-untyped-def]
        if not self.attempts or number % 3 == 0:
            self.attempts.append(self.submit(number))
        self.tell(RequestsUpdated(self.attempts[number % len(self.attempts)], tuple(asks)))
        self.visit_all()

    @rule(number=NUMBERS)
    def a_guaranteed_container_ends(self, number: int) -> None:
        both = sorted(self.mixed.guaranteed.keys() & self.plain.guaranteed.keys(), key=str)
        if both:
            container_id = both[number % len(both)]
            del self.mixed.guaranteed[container_id], self.plain.guaranteed[container_id]
            self.tell(ContainerFinished(container_id))

    @rule(number=NUMBERS, cpus=st.sampled_from([0.5, 1, 3]), memory=st.sampled_from(["512M", "1G", "5G"]))
    def a_guaranteed_container_grows_or_shrinks(self, number: int, cpus: float, memory: str) -> None:
        both = sorted(self.mixed.guaranteed.keys() & self.plain.guaranteed.keys(), key=str)
        if both:
            container = self.mixed.scheduler.books.container(both[number % len(both)])
            assert container is not None
            wanted = replace(amounts(cpus, memory), gpus_milli=container.shape.gpus)
            self.tell(ContainerResize(container.container_id, wanted))
            self.visit_all()

    @rule(number=NUMBERS, borrows=st.booleans())
    def somebody_leaves(self, number: int, borrows: bool) -> None:
        among = self.borrowers if borrows else self.attempts
        if among:
            attempt = among.pop(number % len(among))
            self.tell(AppRemoved(attempt.application))

    @rule(number=NUMBERS, keep=st.booleans(), borrows=st.booleans())
    def the_next_attempt_begins(self, number: int, keep: bool, borrows: bool) -> None:
        among = self.borrowers if borrows else self.attempts
        if among:
            attempt = among[number % len(among)]
            following = AttemptId(attempt.application, attempt.number + 1)
            self.tell(AttemptRemoved(attempt, keep))
            self.tell(AttemptAdded(following))
            among[among.index(attempt)] = following

    @rule(number=NUMBERS, where=NUMBERS)
    def somebody_moves(self, number: int, where: int) -> None:
        everybody = [*self.attempts, *self.borrowers]
        if everybody:
            leaves = self.mixed.scheduler.leaf_paths()
            self.tell(AppMoved(everybody[number % len(everybody)].application, leaves[where % len(leaves)]))

    @rule(number=NUMBERS, nodes=st.frozensets(st.sampled_from(NODE_IDS)))
    def blacklist(self, number: int, nodes: frozenset[str]) -> None:
        everybody = [*self.attempts, *self.borrowers]
        if everybody:
            self.tell(BlacklistChanged(everybody[number % len(everybody)].application, nodes))

    # ---- the cluster

    @rule(node_id=st.sampled_from(NODE_IDS))
    def a_node_is_visited(self, node_id: str) -> None:
        self.tell(NodeUpdate(node_id))

    @rule(node_id=st.sampled_from(NODE_IDS), most=st.integers(1, 3))
    def a_visit_is_cut_short(self, node_id: str, most: int) -> None:
        self.tell(NodeUpdate(node_id, most=most))

    @rule(spec=NODES)
    def a_node_joins_or_changes(self, spec) -> None:  # type: ignore[no-untyped-def]
        known = self.mixed.scheduler.node_view(spec.node_id) is not None
        self.tell(NodeResourceUpdate(spec) if known else NodeAdded(spec))

    @rule(node_id=st.sampled_from(NODE_IDS))
    def a_node_is_lost(self, node_id: str) -> None:
        self.tell(NodeRemoved(node_id))

    @rule(node_id=st.sampled_from(NODE_IDS), schedulable=st.booleans())
    def a_node_is_drained_or_back(self, node_id: str, schedulable: bool) -> None:
        self.tell(NodeSchedulable(node_id, schedulable))

    @rule()
    def a_round(self) -> None:
        self.tell(UpdateShares())
        self.tell(UpdateGangs())
        self.tell(Preempt())

    @rule(tree=trees())
    def the_queues_change(self, tree: QueueSpec) -> None:
        self.tell(QueuesChanged(tree))

    @rule(options=OPTIONS)
    def the_options_change(self, options) -> None:  # type: ignore[no-untyped-def]
        self.tell(OptionsChanged(options))

    # ---- what must hold

    @invariant()
    def shares_and_usage_are_those_of_a_cluster_without_borrowers(self) -> None:
        if not self.at_once:
            return
        assert self.mixed.guaranteed == self.plain.guaranteed
        for one, other in zip(self.mixed.scheduler.queue_views(), self.plain.scheduler.queue_views(), strict=True):
            assert (one.path, one.used, one.demand, one.fair_share) == (
                other.path,
                other.used,
                other.demand,
                other.fair_share,
            )

    @invariant()
    def all_that_waits_is_explained(self) -> None:
        for attempt in self.borrowers:
            assert self.mixed.scheduler.explain(attempt.application).message


class LateLendingMachine(LendingMachine):
    """Who is told to end takes its time, and containers change their type."""

    at_once = False

    @rule()
    def one_that_was_told_to_has_ended(self) -> None:
        if self.mixed.ending:
            self.mixed.end_one(self.now)
            check_invariants(self.mixed.scheduler)

    @rule(number=NUMBERS, guaranteed=st.booleans())
    def a_container_is_to_be_of_another_type(self, number: int, guaranteed: bool) -> None:
        known = [*self.mixed.guaranteed, *sorted(self.mixed.borrowing, key=str)]
        if known:
            wanted = GUARANTEED if guaranteed else OPPORTUNISTIC
            self.tell(ExecutionTypeWanted(known[number % len(known)], wanted), plain=False)
            for node_id in NODE_IDS:
                self.tell(NodeUpdate(node_id), plain=False)

    def tell(self, event: Event, *, plain: bool = True) -> None:
        # Types change here, so that the two are no longer alike.
        super().tell(event, plain=False)

    @rule()
    def when_all_have_ended_nothing_waits_to_be_announced(self) -> None:
        while self.mixed.ending:
            self.mixed.end_one(self.now)
        lending = self.mixed.scheduler.lending
        assert lending is None or not lending.delayed
        check_invariants(self.mixed.scheduler)


def often(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> type[RuleBasedStateMachine.TestCase]:
    machine.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return machine.TestCase


class LongLife(LendingMachine):
    """The same, longer and more often."""


class LateLongLife(LateLendingMachine):
    """The same, longer and more often."""


TestLending = often(LendingMachine, 10, 25)
TestLateLending = often(LateLendingMachine, 10, 25)
TestLendingAtLength = pytest.mark.real(often(LongLife, 300, 40))
TestLateLendingAtLength = pytest.mark.real(often(LateLongLife, 300, 40))
