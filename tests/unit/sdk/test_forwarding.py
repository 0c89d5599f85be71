"""Who may use a forwarded port on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from hrm.model.errors import Conflict, Forbidden, HrmError
from hrm.sdk.forwarding import PortForwarder, Tunnel
from hrm.testing import eventually
from hrm.testing.other_user import OtherUser


class Forwarded:
    """A forwarder whose tunnels lead nowhere, and what became of connections to it."""

    def __init__(self) -> None:
        self.opened = 0
        self.errors: list[HrmError] = []
        self.forwarder = PortForwarder(self._open, local_port=0, on_error=self.errors.append)

    def _open(self) -> Tunnel:
        self.opened += 1
        raise Conflict("no process of the container listens there")


@pytest.fixture
def forwarded() -> Iterator[Forwarded]:
    made = Forwarded()
    with made.forwarder:
        yield made


def hold_on(port: int) -> bytes:
    """Connect, and wait until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        return connection.recv(1)


def test_who_forwards_comes_in_and_hears_why_it_cannot_be_carried(forwarded: Forwarded) -> None:
    assert hold_on(forwarded.forwarder.port) == b""

    assert forwarded.opened == 1
    assert [type(error) for error in forwarded.errors] == [Conflict]


@pytest.mark.root
def test_a_process_of_another_user_does_not_come_in(forwarded: Forwarded) -> None:
    with OtherUser("nobody") as nobody:
        assert nobody.do(hold_on, forwarded.forwarder.port) == b""

    eventually(lambda: forwarded.errors)
    assert forwarded.opened == 0
    assert [type(error) for error in forwarded.errors] == [Forbidden]


def test_a_port_that_is_taken_is_told(forwarded: Forwarded) -> None:
    with pytest.raises(Conflict, match=f"127.0.0.1:{forwarded.forwarder.port}"):
        PortForwarder(forwarded._open, local_port=forwarded.forwarder.port, on_error=forwarded.errors.append)


def test_after_its_end_nobody_listens(forwarded: Forwarded) -> None:
    forwarded.forwarder.close()

    with pytest.raises(OSError):
        hold_on(forwarded.forwarder.port)
