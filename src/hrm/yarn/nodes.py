"""Where YARN's clients and masters find each node: an address for each id of HRM's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """``http_address`` is ``host:port`` of where its logs are read."""

    host: str
    port: int
    http_address: str


class NodeAddresses:
    """``open_door`` opens that of a node which is asked for and has none yet, and says at which host and port.

    Without it such nodes have port 0: there is nobody to call.
    """

    def __init__(self, http_address: str, open_door: Callable[[str], tuple[str, int]] | None = None) -> None:
        self.http_address = http_address
        self._open_door = open_door
        #: By name: texts of what programs on nodes read to find the server.
        self.client_files: Mapping[str, str] = {}
        self._of: dict[str, NodeAddress] = {}

    def add(self, node_id: str, host: str, port: int) -> NodeAddress:
        """Where the node's door is from now on."""
        address = self._of[node_id] = NodeAddress(host, port, self.http_address)
        return address

    def of(self, node_id: str) -> NodeAddress:
        if (known := self._of.get(node_id)) is not None:
            return known
        if self._open_door is None:
            return NodeAddress(node_id, 0, self.http_address)
        return self.add(node_id, *self._open_door(node_id))
