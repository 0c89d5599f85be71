"""What an application asks for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.errors import InvalidInput
from hrm.model.node_needs import ANY_NODE, NodeNeeds
from hrm.model.resources import Resources
from hrm.model.tag_placements import TagPlacement

ANY = "*"


class ExecutionType(StrEnum):
    """Whether a container keeps what it was granted (YARN's ExecutionType)."""

    GUARANTEED = "guaranteed"
    #: Granted on room that no guaranteed request can use, outside of all shares; ended as soon as one can.
    OPPORTUNISTIC = "opportunistic"


@dataclass(frozen=True, slots=True, kw_only=True)
class GangRequest:
    """That containers belong to a gang: all that an application asks for under one ``gang_id`` is granted together."""

    gang_id: int = 0
    #: Containers of the gang on one node at most; None iff any number.
    tasks_per_node: int | None = None

    def __post_init__(self) -> None:
        if self.tasks_per_node is not None and self.tasks_per_node < 1:
            raise InvalidInput(f"must be at least 1: {self.tasks_per_node}", field="tasks_per_node")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequest:
    """``count`` containers of one shape at one place (YARN's ResourceRequest).

    Counts are absolute: a new request with the same key replaces the old one, and 0 withdraws it. The key is
    (``priority``, ``allocation_request_id``, ``resource_name``, ``resources``, ``gpu_model``, ``needs``,
    ``for_master``, ``placement``, ``execution_type``, and the id of its gang). What belongs to one gang is told by one
    event, whole.
    """

    resources: Resources
    count: int
    #: Lower is more urgent within the application, as in YARN.
    priority: int = 0
    #: Node id, rack (begins with "/") or "*".
    resource_name: str = ANY
    #: False iff the place is a must.
    relax_locality: bool = True
    allocation_request_id: int = 0
    #: Glob over device models, None iff any will do.
    gpu_model: str | None = None
    #: Only a node that meets these will do.
    needs: NodeNeeds = ANY_NODE
    #: True iff the application's own master is to run there: the queue's limit on masters counts it.
    for_master: bool = False
    #: Set iff they are granted only together with all others of this gang.
    gang: GangRequest | None = None
    #: Tags that they bear, and what runs beside them; None iff neither.
    placement: TagPlacement | None = None
    execution_type: ExecutionType = ExecutionType.GUARANTEED

    def __post_init__(self) -> None:
        if self.count < 0:
            raise InvalidInput(f"cannot be negative: {self.count}", field="count")
        if any(amount < 0 for _, amount in self.resources.items()) or not self.resources:
            raise InvalidInput(f"must ask for something: {self.resources}", field="resources")
        gpus = self.resources.gpus_milli
        if gpus > 1000 and gpus % 1000:
            raise InvalidInput(f"a fraction of a GPU lies on one device: {gpus} milli", field="gpus_milli")
        if self.for_master and self.execution_type is not ExecutionType.GUARANTEED:
            raise InvalidInput("a master's own container is guaranteed", field="execution_type")
        if self.gang is not None and self.placement is not None:
            raise InvalidInput("containers of a gang bear no tags", field="placement")
        if self.gang is not None and (self.resource_name != ANY or self.for_master):
            raise InvalidInput(
                "containers of a gang name no place, and are for no master", field="gang", next_step=f"say {ANY!r}"
            )
