"""What one RPC server bears: nothing that others send makes it grow beyond these, or wait for ever."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """Of one server, its whole life. Defaults are for thousands of clients and hundreds of masters."""

    #: Of a frame, and of an answer (as Hadoop's ipc.maximum.data.length).
    max_frame_bytes: int = 64 << 20
    #: Of a frame before its sender has said who it is.
    max_handshake_frame_bytes: int = 64 << 10
    #: Of frames of all connections that have come in part.
    max_buffered_bytes: int = 256 << 20
    max_connections: int = 4096
    max_connections_per_address: int = 1024
    #: Calls under way; who has more waits, and is not read from meanwhile.
    max_calls: int = 4096
    max_calls_per_connection: int = 64
    #: A call that takes longer is given up, and its client told to ask again.
    call_timeout_s: float = 60.0
    #: From the connection to its first call.
    handshake_timeout_s: float = 30.0
    #: Without a byte and without a call under way. Clients connect anew when they need to.
    idle_timeout_s: float = 300.0
    #: A client that takes nothing of its answers for so long is let go.
    write_timeout_s: float = 60.0
    #: Answers of calls that must not be done twice: how many are kept, how much of them, how long.
    max_kept_answers: int = 10_000
    max_kept_bytes: int = 16 << 20
    kept_s: float = 600.0

    def within(self, open_files: int) -> RpcLimits:
        """The same for a process that may have so many open files: connections take a quarter of them at most.

        The others are for the store and what runs: a server that cannot open a file stands still.
        """
        connections = min(self.max_connections, max(1, open_files // 4))
        of_one = self.max_connections_per_address
        if connections < self.max_connections:
            # One address must not keep the others out.
            of_one = min(of_one, max(1, connections * 7 // 8))
        return replace(self, max_connections=connections, max_connections_per_address=of_one)
