"""What a master in a container of its own has not heard of yet, and the answers that tell it."""

from __future__ import annotations

from collections.abc import Iterable

from hrm.am.protocol import Container
from hrm.model.containers import Preemption
from hrm.model.errors import InvalidInput
from hrm.model.masters import EndedContainer, GrantedContainer, Heartbeat, WarnedContainer
from hrm.model.requests import ExecutionType
from hrm.model.resources import Resources


class Unheard:
    """Collects news between two heartbeats. An answer that did not come through is given again."""

    def __init__(self) -> None:
        self._forget_all()

    def _forget_all(self) -> None:
        self._allocated: list[Container] = []
        self._ended: list[EndedContainer] = []
        self._warned: dict[str, WarnedContainer] = {}
        self._spared: dict[str, None] = {}
        self._resized: dict[str, Resources] = {}
        self._retyped: dict[str, ExecutionType] = {}
        self._last_answer = Heartbeat(response_id=0)

    def begin(self, preemptions: Iterable[tuple[str, Preemption]]) -> None:
        """It registered: it is told anew what stands, and nothing else from before."""
        self._forget_all()
        for name, preemption in preemptions:
            self.preempted(name, preemption)

    def granted(self, container: Container) -> None:
        self._allocated.append(container)

    def given_back(self, name: str) -> None:
        """It need not hear of that grant any more."""
        self._allocated = [one for one in self._allocated if one.container_id != name]

    def preempted(self, name: str, preemption: Preemption) -> None:
        """Something is new of a container's end for others. That its time is over it hears by the end."""
        self._forget_warning(name)
        if preemption.stands:
            self._warned[name] = WarnedContainer(
                container_id=name,
                kill_at=preemption.kill_at,
                reason=preemption.reason,
                beneficiary=preemption.beneficiary,
            )
        elif not preemption.killed:
            self._spared[name] = None

    def resized(self, name: str, resources: Resources) -> None:
        """A container of its own holds this much now."""
        self._resized[name] = resources

    def retyped(self, name: str, execution_type: ExecutionType) -> None:
        """A container of its own was promoted or demoted."""
        self._retyped[name] = execution_type

    def ended(self, container: EndedContainer) -> None:
        self._resized.pop(container.container_id, None)
        self._retyped.pop(container.container_id, None)
        self._forget_warning(container.container_id)
        self._ended.append(container)

    def is_repeated(self, response_id: int) -> bool:
        """True iff the caller did not get the last answer. Raises InvalidInput if it speaks of another."""
        last = self._last_answer.response_id
        if response_id not in (last, last - 1):
            raise InvalidInput(f"the last answer was {last}, not {response_id}", field="response_id")
        return response_id != last

    def answer(self, response_id: int) -> Heartbeat:
        """What it has not heard of; the same again if it did not get the last answer."""
        if response_id == self._last_answer.response_id:
            self._last_answer = Heartbeat(
                response_id=response_id + 1,
                allocated=[granted(one) for one in self._allocated],
                ended=self._ended,
                warned=[*self._warned.values()],
                spared=[*self._spared],
                resized={name: resources.as_dict() for name, resources in self._resized.items()},
                retyped=self._retyped,
            )
            self._allocated, self._ended, self._warned, self._spared, self._resized = [], [], {}, {}, {}
            self._retyped = {}
        return self._last_answer

    def _forget_warning(self, name: str) -> None:
        self._warned.pop(name, None)
        self._spared.pop(name, None)


def granted(container: Container) -> GrantedContainer:
    """As the master is told of it."""
    return GrantedContainer(
        container_id=container.container_id,
        node_id=container.node_id,
        resources=container.resources.as_dict(),
        device_ids=container.device_ids,
        priority=container.priority,
        allocation_request_id=container.allocation_request_id,
        tags=container.tags,
        execution_type=container.execution_type,
    )
