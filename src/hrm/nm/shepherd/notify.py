"""Tell the service manager that started us how we are (the protocol of sd_notify(3))."""

from __future__ import annotations

import os
import socket


def tell_service_manager(state: str) -> bool:
    """Send for example ``READY=1``. False, and nothing happens, where no service manager wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            # "@" stands for the zero byte that begins an abstract name.
            sock.connect("\0" + address[1:] if address[0] == "@" else address)
            sock.sendall(state.encode())
        except OSError:
            return False
    return True
