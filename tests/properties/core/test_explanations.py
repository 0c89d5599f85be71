"""Explanations promise nothing that does not come true, whatever has happened before."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from hrm.core.applications import Ask
from hrm.core.commands import Allocate
from hrm.core.events import AppMoved, NodeUpdate, RequestsUpdated
from hrm.core.explain.finding import ExpectedEnd
from hrm.core.reasons import Reason
from hrm.core.scheduler import Scheduler
from hrm.model.explanations import Change, EndBasis, Explanation
from hrm.model.ids import AttemptId
from hrm.model.requests import ANY, ResourceRequest
from hrm.model.resources import Resources
from tests.properties.core.test_state_machine import NODE_IDS, CoreMachine


def requests_of(ask: Ask, resources: Resources, change: Change) -> list[ResourceRequest]:
    """The ask for one container, made anew with the change."""
    one = ResourceRequest(
        resources=resources,
        count=1,
        priority=ask.priority,
        allocation_request_id=ask.allocation_request_id,
        gpu_model=None if change.kind == "any_model" else ask.shape.gpu_model,
        for_master=ask.for_master,
        needs=ask.shape.needs,
        placement=ask.placement,
    )
    if change.kind == "other_place":
        return [one]
    return [
        replace(one, resource_name=name, relax_locality=place.relax)
        for name, place in sorted(ask.places.items(), key=lambda item: item[0] == ANY)
    ]


def withdrawal(ask: Ask) -> list[ResourceRequest]:
    return [
        ResourceRequest(
            resources=ask.shape.resources,
            count=0,
            priority=ask.priority,
            resource_name=name,
            allocation_request_id=ask.allocation_request_id,
            gpu_model=ask.shape.gpu_model,
            for_master=ask.for_master,
            needs=ask.shape.needs,
            placement=ask.placement,
        )
        for name in (*ask.places, *(() if ANY in ask.places or not ask.counted_by_any else (ANY,)))
    ]


def granted(scheduler: Scheduler, attempt: AttemptId, resources: Resources, now: float) -> bool:
    """True iff after visits of all nodes something of this size was placed for the attempt."""
    for _ in range(20):
        commands = [one for node_id in NODE_IDS for one in scheduler.handle(NodeUpdate(node_id), now)]
        grants = [one for one in commands if isinstance(one, Allocate)]
        if any(one.container_id.attempt == attempt and one.resources == resources for one in grants):
            return True
        if not grants:
            return False
    return False


class ExplainingMachine(CoreMachine):
    """Tries on a copy what explanations say would start now."""

    def explained(self, attempt: AttemptId) -> Explanation:
        return self.scheduler.explain(
            attempt.application,
            now=self.now,
            expected_end=lambda one: ExpectedEnd(self.now + one.seq, EndBasis.PROGRESS) if one.seq % 3 else None,
            nodes=10,
        )

    @invariant()
    def what_would_start_now_does(self) -> None:
        for attempt in self.attempts:
            explanation = self.explained(attempt)
            for change in explanation.changes:
                if change.starts_now:
                    self.try_on_a_copy(attempt, explanation, change)

    def try_on_a_copy(self, attempt: AttemptId, explanation: Explanation, change: Change) -> None:
        asked = explanation.requests[0]
        # What it needs of a node besides, and what is to run there, the explanation does not repeat.
        alike = [
            number
            for number, one in enumerate(self.scheduler.books.apps[attempt.application].asks)
            if one.shape.resources.as_dict() == asked.asked
            and one.shape.gpu_model == asked.gpu_model
            and [name for name in one.places if name != ANY] == asked.places
            and one.priority == asked.priority
            and one.allocation_request_id == asked.allocation_request_id
        ]
        assert any(self.starts(attempt, number, change) for number in alike), (explanation, change)

    def starts(self, attempt: AttemptId, number: int, change: Change) -> bool:
        """Whether one of its asks does, so changed."""
        scheduler: Scheduler = deepcopy(self.scheduler)
        ask = scheduler.books.apps[attempt.application].asks[number]
        resources = ask.shape.resources if change.asked is None else Resources.of(change.asked)
        asks = requests_of(ask, resources, change)
        if change.queue is None:
            # Instead of what waits, not besides: both may want the same room.
            scheduler.handle(RequestsUpdated(attempt, tuple(withdrawal(ask))), self.now)
            scheduler.handle(RequestsUpdated(attempt, tuple(asks)), self.now)
        else:
            scheduler.handle(AppMoved(attempt.application, change.queue), self.now)
        return granted(scheduler, attempt, resources, self.now)

    @invariant()
    def every_explanation_is_whole(self) -> None:
        for attempt in self.attempts:
            explanation = self.explained(attempt)
            waits = explanation.reason != str(Reason.NOTHING_PENDING)
            assert explanation.queue is not None
            assert bool(explanation.requests) == (waits and bool(self.scheduler.books.apps[attempt.application].asks))
            assert [step.number for step in explanation.conditions] == list(range(1, len(explanation.conditions) + 1))
            remaining = [step.remaining for step in explanation.conditions]
            assert remaining == sorted(remaining, reverse=True)
            assert all(0 <= step.remaining <= step.passing for step in explanation.conditions)
            if explanation.conditions:
                fits = [one for one in explanation.evidence if one["kind"] == "nodes" and one["reason"] == "fits"]
                assert remaining[-1] == sum(one["count"] for one in fits)
                assert len(explanation.nodes) == explanation.conditions[0].remaining
            if explanation.forecast is not None and explanation.forecast.at is not None:
                # What opens with time waits for nobody.
                by_ends = explanation.reason != str(Reason.PLACEMENT_CONSTRAINT)
                assert not by_ends or explanation.forecast.waits_for
                assert bool(explanation.forecast.waits_for) == bool(explanation.forecast.basis)


ExplainingMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestExplaining = ExplainingMachine.TestCase
