"""The Unix socket as a way in: who calls is known without a token, and everything goes over it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from hrm.api import peers
from hrm.api.accounts import Accounts, name_in_system
from hrm.config import sockets
from hrm.model.errors import Forbidden, InvalidInput, NoServer, Unauthenticated
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.sdk.attachment import Ended, Output
from hrm.sdk.client import Client
from tests.scenarios.api.running_server import RunningServer

ECHO = JobSpec(groups=(TaskGroupSpec(command=("echo", "hello")),), stdin=True)
TESTER = name_in_system(os.geteuid())


@pytest.fixture
def accounts() -> Accounts:
    """Those of this machine: the tester's server."""
    return Accounts()


@pytest.fixture
def client(server: RunningServer) -> Client:
    with Client(server.unix_address) as connected:
        yield connected


def test_the_caller_is_whose_process_it_is(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id

    assert client.application(application_id).user == TESTER
    client.reload_queues()
    client.shutdown()
    assert server.facade.shutdown_requested


def test_logs_events_and_an_attached_client_go_over_it(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.record("task_started", application_id))
    server.do(lambda facade: facade.apps[application_id].stdin_read.set())

    with client.attach(application_id) as attachment:
        attachment.send_stdin(b"in")
        attachment.close_stdin()
        attachment.signal(signal.SIGUSR1)
        server.do(lambda facade: facade.write(application_id, b"out"))
        items = iter(attachment)
        assert next(items) == Output("stdout", 0, b"out")
        server.do(lambda facade: facade.end(application_id))
        *_, end = items

    app = server.facade.apps[application_id]
    assert isinstance(end, Ended)
    assert (bytes(app.stdin), app.stdin_closed, app.signals) == (b"in", True, [signal.SIGUSR1])
    assert b"".join(client.logs(application_id, follow=True)) == b"out"
    assert next(client.events()).kind == "task_started"


def test_many_calls_go_over_one_connection(client: Client, server: RunningServer) -> None:
    for _ in range(20):
        client.nodes()

    assert server.open_connections == 1


def test_a_connection_that_broke_is_replaced(client: Client, server: RunningServer) -> None:
    client.nodes()
    server.drop_connections()

    assert len(client.nodes()) == 1


def test_with_a_token_the_caller_is_whom_it_names(server: RunningServer) -> None:
    with Client(server.unix_address, token=server.token("ada")) as ada, pytest.raises(Forbidden, match="ada is no"):
        ada.shutdown()
    with Client(server.unix_address, token="hrm1.x.y") as garbled, pytest.raises(Unauthenticated):
        garbled.nodes()


@pytest.mark.parametrize("address", ["unix:", "unix:hrm.sock", "unix:./run/hrm.sock"])
def test_an_address_without_a_whole_path_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="not an address"):
        Client(address)


def test_nothing_there_is_no_server(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match=str(tmp_path / "hrm.sock")):
        Client(f"unix:{tmp_path}/hrm.sock")


class TestTheServerOfAHome:
    """Which way a client takes that is told no address."""

    @pytest.fixture
    def home(self, server: RunningServer, tmp_path: Path) -> Path:
        """Of the server, as it looks while it is up."""
        (tmp_path / "server.json").write_text(json.dumps({"pid": os.getpid(), "address": server.address}))
        (tmp_path / "token").write_text(server.token("ada"))
        (tmp_path / "hrm.sock").symlink_to(server.socket_file)
        return tmp_path

    def test_the_socket_comes_first(self, home: Path) -> None:
        with Client(home=home) as client:
            assert client.address == f"unix:{home}/hrm.sock"
            client.reload_queues()  # as the tester, who may; ada may not

    def test_the_socket_alone_is_enough(self, home: Path) -> None:
        (home / "server.json").unlink()
        (home / "token").unlink()

        with Client(home=home) as client:
            assert len(client.nodes()) == 1

    def test_without_it_the_address_and_the_token_do(self, home: Path, server: RunningServer) -> None:
        (home / "hrm.sock").unlink()

        with Client(home=home) as client:
            assert client.address == server.address
            with pytest.raises(Forbidden, match="ada is no admin"):
                client.reload_queues()

    def test_a_dead_server_is_not_taken_for_one(self, home: Path, server: RunningServer) -> None:
        (home / "hrm.sock").unlink()
        sockets.listen(home / "hrm.sock", mode=0o600).close()

        with Client(home=home) as client:
            assert client.address == server.address

    def test_who_brings_a_token_comes_in_as_its_user_by_the_address(self, home: Path, server: RunningServer) -> None:
        with Client(home=home, token=server.token("bob")) as client:
            assert client.address == server.address

    def test_it_is_found_in_a_home_whose_path_is_too_long_for_a_socket(
        self, home: Path, server: RunningServer, tmp_path: Path
    ) -> None:
        deep = tmp_path.joinpath(*["a-long-name-of-a-directory"] * 8)
        deep.mkdir(parents=True)
        (deep / "hrm.sock").symlink_to(server.socket_file)

        with Client(home=deep) as client:
            assert client.address == f"unix:{deep}/hrm.sock"
            assert len(client.nodes()) == 1


def test_over_tcp_whose_socket_it_is_is_looked_up_once_for_each_connection(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[peers.Address, peers.Address]] = []
    look = peers.socket_owner

    def counted(theirs: peers.Address, ours: peers.Address) -> int | None:
        looks.append((theirs, ours))
        return look(theirs, ours)

    monkeypatch.setattr(peers, "socket_owner", counted)
    with server.client() as one, server.client() as other:
        for _ in range(5):
            one.nodes()
            other.nodes()

    assert len(looks) == len(set(looks)) == 2
