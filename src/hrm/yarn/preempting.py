"""What a master is told of its containers that are to end for others (YARN's PreemptionMessage)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hrm.model.ids import ContainerId
from hrm.model.masters import GrantedContainer, WarnedContainer
from hrm.model.requests import ANY
from hrm.yarn.amounts import resource_message
from hrm.yarn.ids import container_message
from hrm.yarn.proto.records_pb2 import PreemptionMessageProto, PriorityProto, ResourceRequestProto

#: With less left there is no time for a master to offer others instead: its next heartbeat would come too late.
STRICT_WITHIN_S = 5.0


def preemption_message(
    warned: Collection[WarnedContainer], granted: Mapping[str, GrantedContainer], now: float
) -> PreemptionMessageProto | None:
    """None iff nothing is to end.

    What others need may come from other containers of the master as well, so it is a contract to be negotiated, with
    what is needed as requests; when time is running out it is these containers.
    """
    if not warned:
        return None
    message = PreemptionMessageProto()
    for one in warned:
        container = container_message(ContainerId.parse(one.container_id))
        if one.kill_at - now < STRICT_WITHIN_S:
            message.strictContract.container.add(id=container)
            continue
        message.contract.container.add(id=container)
        if (known := granted.get(one.container_id)) is not None:
            message.contract.resource.add(
                resource=ResourceRequestProto(
                    priority=PriorityProto(priority=known.priority),
                    resource_name=ANY,
                    capability=resource_message(known.resources, up=True),
                    num_containers=1,
                )
            )
    return message
