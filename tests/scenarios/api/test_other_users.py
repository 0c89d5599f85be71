"""Another user of the machine at root's server, by real sockets: the process really is that user's."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

import pytest

from hrm.api.accounts import Accounts
from hrm.api.settings import ApiSettings
from hrm.model.errors import Forbidden
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.sdk.client import Client
from hrm.testing import eventually
from hrm.testing.other_user import OtherUser
from tests.scenarios.api.running_server import RunningServer

pytestmark = pytest.mark.root
ECHO = JobSpec(groups=(TaskGroupSpec(command=("echo", "hello")),), stdin=True)


@pytest.fixture
def accounts() -> Accounts:
    """Those of this machine: root's server."""
    return Accounts()


@pytest.fixture
def other(nobody: OtherUser, server: RunningServer) -> OtherUser:
    """Beside a server: forked before the server's threads were there."""
    import websockets.sync.client  # noqa: F401  (what is not loaded yet, another user may not be able to read)

    return nobody


@pytest.fixture
def roots(server: RunningServer) -> str:
    """An application of root's that runs."""
    with Client(server.unix_address) as client:
        application_id = client.submit(ECHO).application_id
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, b"root's own"))
    return application_id


# What the other user does. At the top of the module, because it is done in another process.


def submit(address: str, token: str | None) -> str:
    with Client(address, token=token) as client:
        return client.submit(ECHO).application_id


def read_log(address: str, token: str | None, application_id: str) -> bytes:
    with Client(address, token=token) as client:
        return b"".join(client.logs(application_id))


def follow_log(address: str, token: str | None, application_id: str) -> bytes:
    with Client(address, token=token) as client:
        return b"".join(client.logs(application_id, follow=True))


def attach(address: str, token: str | None, application_id: str) -> list[object]:
    with Client(address, token=token) as client, client.attach(application_id) as attachment:
        return list(attachment)


def kill(address: str, token: str | None, application_id: str) -> None:
    with Client(address, token=token) as client:
        client.kill(application_id)


def shut_down(address: str, token: str | None, application_id: str) -> None:
    with Client(address, token=token) as client:
        client.shutdown()


DEEDS = [read_log, follow_log, attach, kill, shut_down]


def shout_and_run(port: int, token: str, reset: bool) -> None:
    """Ask for the server's end and be gone before it can look who asked."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(
            b"POST /api/v1/server/shutdown HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
        )


def test_by_the_unix_socket_they_are_who_they_are(other: OtherUser, server: RunningServer) -> None:
    application_id = other.do(submit, server.unix_address, None)

    assert server.facade.apps[application_id].user == "nobody"
    assert other.do(read_log, server.unix_address, None, application_id) == b""


def test_by_tcp_their_own_token_serves_them(other: OtherUser, server: RunningServer) -> None:
    application_id = other.do(submit, server.address, server.token("nobody"))

    assert server.facade.apps[application_id].user == "nobody"


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_to_what_is_roots_they_are_refused(
    other: OtherUser, server: RunningServer, roots: str, deed: Callable[..., object], way: str
) -> None:
    address, token = (server.unix_address, None) if way == "unix" else (server.address, server.token("nobody"))

    with pytest.raises(Forbidden):
        other.do(deed, address, token, roots)

    assert not server.facade.apps[roots].state.final
    assert not server.facade.shutdown_requested


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_roots_token_is_of_no_use_to_them(
    other: OtherUser, server: RunningServer, roots: str, deed: Callable[..., object], way: str
) -> None:
    address = server.unix_address if way == "unix" else server.address

    with pytest.raises(Forbidden, match=f"token of root, .* user id {other.account.pw_uid}"):
        other.do(deed, address, server.token("root", admin=True), roots)

    assert not server.facade.apps[roots].state.final
    assert not server.facade.shutdown_requested


def test_nor_can_they_submit_with_it(other: OtherUser, server: RunningServer) -> None:
    with pytest.raises(Forbidden, match="token of root"):
        other.do(submit, server.address, server.token("root", admin=True))

    assert server.facade.apps == {}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_caller_who_vanishes_is_not_taken_for_root(other: OtherUser, server: RunningServer, reset: bool) -> None:
    # The kernel says root of a socket that nobody holds any more.
    port = int(server.address.rpartition(":")[2])
    for _ in range(10):
        other.do(shout_and_run, port, server.token("root", admin=True), reset)

    with Client(server.address, token=server.token("root", admin=True)) as client:
        client.nodes()  # all that came before it has been taken in
    eventually(lambda: server.open_connections == 0)
    assert not server.facade.shutdown_requested


@pytest.mark.parametrize("settings", [ApiSettings(check_socket_owner=False)])
def test_behind_a_proxy_a_token_may_be_passed_on(other: OtherUser, server: RunningServer) -> None:
    application_id = other.do(submit, server.address, server.token("root"))

    assert server.facade.apps[application_id].user == "root"


def test_root_may_use_anybodys_token(server: RunningServer) -> None:
    application_id = submit(server.address, server.token("nobody"))

    assert server.facade.apps[application_id].user == "nobody"


@pytest.mark.parametrize("user", ["no-such-user", "uid:4711"])
def test_nothing_runs_for_who_is_no_user_of_the_machine(server: RunningServer, user: str) -> None:
    with pytest.raises(Forbidden, match=f"no user '{user}'"):
        submit(server.address, server.token(user, admin=True))

    assert server.facade.apps == {}


def test_somebody_without_an_account_may_look_and_nothing_else(server: RunningServer, roots: str) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(_as_stranger(server.unix_address, roots))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _as_stranger(address: str, application_id: str) -> int:
    os.setuid(987_654)
    with Client(address) as client:
        client.nodes()
        for deed in (lambda: client.submit(ECHO), lambda: client.kill(application_id)):
            try:
                deed()
            except Forbidden:
                continue
            return 1
    return 0
