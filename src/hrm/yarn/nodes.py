"""Where YARN's clients and masters find each node: an address for each id of HRM's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """``http_address`` is ``host:port`` of what it tells over HTTP: its logs, and what runs there."""

    host: str
    port: int
    http_address: str


class NodeAddresses:
    """``open_door`` opens those of a node which is asked for and has none yet, and says where they are.

    Without it such nodes have port 0: there is nobody to call. ``http_address`` is the server's own, which answers for
    all nodes.
    """

    def __init__(self, http_address: str, open_door: Callable[[str], NodeAddress] | None = None) -> None:
        self.http_address = http_address
        self._open_door = open_door
        #: By name: texts of what programs on nodes read to find the server.
        self.client_files: Mapping[str, str] = {}
        self._of: dict[str, NodeAddress] = {}

    def add(self, node_id: str, address: NodeAddress) -> NodeAddress:
        """Where the node's doors are from now on."""
        self._of[node_id] = address
        return address

    def of(self, node_id: str) -> NodeAddress:
        if (known := self._of.get(node_id)) is not None:
            return known
        if self._open_door is None:
            return NodeAddress(node_id, 0, self.http_address)
        return self.add(node_id, self._open_door(node_id))

    def log(self, node_id: str | None, container_id: str, user: str) -> str:
        """The page with what a container printed; None: it is not known where it was."""
        place = self.http_address if node_id is None else self.of(node_id).http_address
        return f"http://{place}/node/containerlogs/{container_id}/{user}"
