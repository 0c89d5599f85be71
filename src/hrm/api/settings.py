"""What an operator may choose about the front door. The defaults suit one machine and its own users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hrm.api.peers import PeerProtocol
from hrm.config.addresses import is_loopback
from hrm.model.errors import InvalidInput

#: Of every path but ``/healthz``.
PREFIX = "/api/v1"
#: How the paths begin that masters in containers of their own call, each with its attempt's token.
MASTERS = f"{PREFIX}/masters/"
#: How the paths begin by which contents are uploaded: theirs are the only bodies that are not read whole.
UPLOADS = f"{PREFIX}/uploads/"
#: How long a client's reader may pause in the middle of much output.
PAUSE_S = 600.0
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Limits and names of the front door. Raises InvalidInput where a limit makes no sense."""

    #: Names besides the loopback ones by which clients reach this server (the Host header, without a port).
    allowed_hosts: tuple[str, ...] = ()
    #: Web origins besides the server's own that may call it (``https://portal.example.org``).
    allowed_origins: tuple[str, ...] = ()
    #: A token counts only where the socket that brings it belongs to its user, if that can be told.
    check_socket_owner: bool = True
    max_body_bytes: int = 8 << 20
    #: Per user, over all routes: how many a second in the long run, and how many at once.
    requests_per_s: float = 500.0
    burst: int = 2000
    #: Event streams and attached clients that are open at once, in all and of one user.
    max_streams: int = 1000
    max_streams_per_user: int = 200
    #: How often a silent event stream sends a comment, so that both sides notice a dead connection.
    heartbeat_interval_s: float = 15.0
    #: Of an OpenTelemetry collector; None iff none is sent traces.
    otlp_endpoint: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "requests_per_s", "burst", "max_streams", "max_streams_per_user"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"must be at least 1: {getattr(self, name)}", field=name)
        if not 0.01 <= self.heartbeat_interval_s <= 3600:
            raise InvalidInput(f"must be from 0.01 to 3600: {self.heartbeat_interval_s}", field="heartbeat_interval_s")

    def check_bind(self, host: str) -> None:
        """Whether the server may listen on ``host``.

        Every call needs a token whatever the address, so there is no unauthenticated door to refuse. What is checked
        here is that nobody leaves loopback by accident: HRM speaks no TLS of its own, so beyond loopback a token
        travels readable. Any other address is refused unless ``allowed_hosts`` names how clients will reach it, which
        the check of the Host header needs anyway. Raises InvalidInput.
        """
        if is_loopback(host) or self.allowed_hosts:
            return
        raise InvalidInput(
            f"{host!r} is not a loopback address, and no allowed_hosts say that others may come in",
            field="host",
            next_step="listen on 127.0.0.1, or list under server.allowed_hosts the names by which clients reach this "
            "machine, and put a proxy that speaks TLS in front",
        )

    def uvicorn_options(self) -> dict[str, Any]:
        """How uvicorn has to serve the application so that the limits here hold on its side too."""
        return {
            "http": PeerProtocol,
            # A frame from an attached client is at most a window of standard input; anything larger is no client.
            "ws_max_size": 1 << 20,
            # Output of programs is streamed in small pieces over loopback: deflating each costs more than it saves.
            "ws_per_message_deflate": False,
            # A client whose reader pauses answers no pings meanwhile; one whose machine is gone never does.
            "ws_ping_timeout": PAUSE_S,
            "server_header": False,
            "proxy_headers": False,
            "access_log": False,
            "timeout_keep_alive": 75,
            "timeout_graceful_shutdown": 3,
        }
