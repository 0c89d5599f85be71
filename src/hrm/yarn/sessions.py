"""What the doors of masters and of nodes remember of each attempt whose master they spoke with in this life."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from hrm.model.errors import Unauthenticated
from hrm.model.ids import AttemptId
from hrm.model.masters import GrantedContainer, MasterStanding, WarnedContainer
from hrm.rm.facade import Masters
from hrm.yarn.errors import ApplicationAttemptNotFound
from hrm.yarn.placing import Constraints, Placed
from hrm.yarn.proto.records_pb2 import ContainerStatusProto
from hrm.yarn.proto.service_pb2 import AllocateResponseProto

#: Ends of one attempt that its nodes' doors still tell.
_KEPT_ENDS = 1000


@dataclass(slots=True)
class Session:
    """Of one attempt."""

    #: Granted and not over, by container.
    granted: dict[str, GrantedContainer] = field(default_factory=dict)
    #: Of those the ones that it is not told of yet: their node has only just come.
    kept_back: list[GrantedContainer] = field(default_factory=list)
    #: Of those the ones in which something was started.
    launched: set[str] = field(default_factory=set)
    #: What it registered with: where requests with these tags may lie.
    constraints: Constraints = field(default_factory=dict)
    #: Scheduling requests that later ones replace.
    placed: Placed = field(default_factory=OrderedDict)
    #: Versions of containers, which count how often each grew or shrank; none of those from before a restart.
    versions: dict[str, int] = field(default_factory=dict)
    #: Those that were, or may be, started anew in place: how it stands with them their node is asked.
    relaunched: set[str] = field(default_factory=set)
    #: Those that the master gave back while something ran in them.
    released: set[str] = field(default_factory=set)
    #: Given back unused: told as ended with the next answer.
    given_back: list[ContainerStatusProto] = field(default_factory=list)
    #: Those that are to end for others, until they have or need not.
    warned: dict[str, WarnedContainer] = field(default_factory=dict)
    #: Nodes of which the master has a token, and by which key these were made.
    nodes_known: set[str] = field(default_factory=set)
    nm_key_id: int = -1
    #: Changes of nodes that it has heard of (`ClusterView.changes`).
    node_changes: int = 0
    blacklist: frozenset[str] = frozenset()
    #: The last answer: the same again for a call that is repeated.
    answered: AllocateResponseProto | None = None
    #: How containers ended, by container, the last ones.
    ends: OrderedDict[str, ContainerStatusProto] = field(default_factory=OrderedDict)

    def ended(self, container_id: str, status: ContainerStatusProto) -> None:
        self.granted.pop(container_id, None)
        self.kept_back = [one for one in self.kept_back if one.container_id != container_id]
        self.warned.pop(container_id, None)
        self.launched.discard(container_id)
        self.versions.pop(container_id, None)
        self.released.discard(container_id)
        self.relaunched.discard(container_id)
        self.ends[container_id] = status
        while len(self.ends) > _KEPT_ENDS:
            self.ends.popitem(last=False)


class Sessions:
    """By attempt; those of attempts that are over are forgotten as others begin."""

    def __init__(self, masters: Callable[[], Masters]) -> None:
        self._masters = masters
        self._of: dict[AttemptId, Session] = {}

    def __getitem__(self, attempt: AttemptId) -> Session:
        if attempt not in self._of:
            self._forget_those_over()
            self._of[attempt] = Session()
        return self._of[attempt]

    def begin(self, attempt: AttemptId) -> Session:
        """Its master registered: what was before counts no more, but for what runs."""
        self._of.pop(attempt, None)
        return self[attempt]

    def standing(self, attempt: AttemptId) -> MasterStanding:
        """Raises ApplicationAttemptNotFound once it is over."""
        try:
            return self._masters().standing(str(attempt))
        except Unauthenticated:
            self._of.pop(attempt, None)
            raise ApplicationAttemptNotFound(f"Application attempt {attempt} doesn't exist, or is over") from None

    def is_live(self, attempt: AttemptId) -> bool:
        """True iff its master may still speak."""
        try:
            self.standing(attempt)
        except ApplicationAttemptNotFound:
            return False
        return True

    def _forget_those_over(self) -> None:
        for attempt in list(self._of):
            self.is_live(attempt)
