"""Containers as masters are given them: with an address to start them at, and the token that lets them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from hrm.model.ids import AttemptId, ContainerId
from hrm.model.masters import GrantedContainer
from hrm.yarn.amounts import resource_message
from hrm.yarn.asks import request_id_of
from hrm.yarn.execution_types import message_of
from hrm.yarn.ids import container_message
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto.identifiers_pb2 import TASK, ContainerTokenIdentifierProto
from hrm.yarn.proto.records_pb2 import ContainerProto, NodeIdProto, PriorityProto
from hrm.yarn.proto.service_pb2 import NMTokenProto
from hrm.yarn.sessions import Session
from hrm.yarn.tokens.secrets import TokenSecrets

#: So long a grant may be used; the ResourceManager takes it back at the same time.
TOKEN_LIFE_S = 600.0


class Grants:
    """Makes them. ``is_found`` says of a node whether masters can be told where it is."""

    def __init__(
        self,
        secrets: TokenSecrets,
        nodes: NodeAddresses,
        is_found: Callable[[str], bool] = lambda node_id: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = secrets
        self._nodes = nodes
        self.is_found = is_found
        self._clock = clock

    def node_message(self, node_id: str) -> NodeIdProto:
        address = self._nodes.of(node_id)
        return NodeIdProto(host=address.host, port=address.port)

    def container(self, granted: GrantedContainer, user: str, *, version: int = 0) -> ContainerProto:
        """With a token, which names its node, size and user."""
        container = ContainerId.parse(granted.container_id)
        address = self._nodes.of(granted.node_id)
        now_ms = int(self._clock() * 1000)
        identifier = ContainerTokenIdentifierProto(
            containerId=container_message(container),
            nmHostAddr=f"{address.host}:{address.port}",
            appSubmitter=user,
            resource=resource_message(granted.resources, up=True),
            expiryTimeStamp=now_ms + int(TOKEN_LIFE_S * 1000),
            rmIdentifier=container.attempt.application.cluster_timestamp,
            priority=PriorityProto(priority=granted.priority),
            creationTime=now_ms,
            containerType=TASK,
            executionType=message_of(granted.execution_type),
            version=version,
            allocation_request_id=request_id_of(granted.allocation_request_id),
            allocation_tags=granted.tags,
        )
        return ContainerProto(
            id=identifier.containerId,
            nodeId=self.node_message(granted.node_id),
            node_http_address=address.http_address,
            resource=identifier.resource,
            priority=identifier.priority,
            container_token=self._secrets.issue_container(identifier),
            execution_type=message_of(granted.execution_type),
            allocation_request_id=identifier.allocation_request_id,
            version=version,
            allocation_tags=granted.tags,
        )

    def node_tokens(self, session: Session, attempt: AttemptId, user: str, nodes: Iterable[str]) -> list[NMTokenProto]:
        """Of nodes of which the attempt has none yet, or none of the key that is used now."""
        if session.nm_key_id != self._secrets.nm_key_id:
            session.nm_key_id = self._secrets.nm_key_id
            nodes = {*nodes, *session.nodes_known}
            session.nodes_known.clear()
        fresh = [node_id for node_id in dict.fromkeys(nodes) if node_id not in session.nodes_known]
        session.nodes_known.update(fresh)
        messages = []
        for node_id in fresh:
            node = self.node_message(node_id)
            messages.append(NMTokenProto(nodeId=node, token=self._secrets.issue_nm(attempt, node, user)))
        return messages
