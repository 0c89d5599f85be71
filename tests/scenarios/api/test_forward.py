"""A port of a task over a real WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hrm import Client
from hrm.model.errors import Conflict, Forbidden, InvalidInput, NoServer, NotFound
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.testing.facade import PORT

if TYPE_CHECKING:
    from tests.scenarios.api.running_server import RunningServer

JOB = JobSpec(groups=(TaskGroupSpec(command=("serve",)),))


def running(client: Client, server: RunningServer) -> str:
    application_id = client.submit(JOB).application_id
    server.do(lambda facade: facade.begin(application_id))
    return application_id


def test_bytes_go_both_ways_until_both_have_said_everything(client: Client, server: RunningServer) -> None:
    application_id = running(client, server)
    assert client.ports(application_id).ports == [PORT]

    tunnel = client.forward(application_id, PORT)
    tunnel.send(b"one ")
    said = tunnel.receive()
    tunnel.send(b"two")
    tunnel.end()
    while data := tunnel.receive():
        said += data
    tunnel.close()

    assert said == b"one two"


def test_what_nobody_listens_on_or_does_not_run_is_refused(client: Client, server: RunningServer) -> None:
    waiting = client.submit(JOB).application_id
    application_id = running(client, server)

    for application, port, task, error in (
        (application_id, PORT + 1, 0, Conflict),
        (waiting, PORT, 0, Conflict),
        (application_id, PORT, 7, NotFound),
        (application_id, 70000, 0, InvalidInput),
    ):
        with pytest.raises(error):
            client.forward(application, port, task=task)
    with pytest.raises(Conflict):
        client.ports(waiting)


def test_another_user_sees_no_port_and_comes_to_none(client: Client, server: RunningServer) -> None:
    application_id = running(client, server)

    with server.client("bob") as bob:
        for call in (lambda: bob.ports(application_id), lambda: bob.forward(application_id, PORT)):
            with pytest.raises(Forbidden):
                call()


def test_the_end_of_the_server_ends_the_connection(client: Client, server: RunningServer) -> None:
    tunnel = client.forward(running(client, server), PORT)

    server.stop()

    with pytest.raises(NoServer):
        tunnel.receive()
