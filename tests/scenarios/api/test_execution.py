"""A program beside a task over a real WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hrm import Client
from hrm.model.errors import Conflict, Forbidden, InvalidInput, NoServer
from hrm.model.execution import ExecSpec, FrameKind
from hrm.model.jobs import JobSpec, TaskGroupSpec, TerminalSize
from hrm.sdk.forwarding import Tunnel

if TYPE_CHECKING:
    from tests.scenarios.api.running_server import RunningServer

JOB = JobSpec(groups=(TaskGroupSpec(command=("serve",)),))
SPEC = ExecSpec(command=("sh", "-i"), env={"A": "1"}, terminal=TerminalSize(rows=24, columns=80))


def running(client: Client, server: RunningServer) -> str:
    application_id = client.submit(JOB).application_id
    server.do(lambda facade: facade.begin(application_id))
    return application_id


def test_what_is_typed_comes_to_the_program_and_its_words_and_exit_code_come_back(
    client: Client, server: RunningServer
) -> None:
    with client.execute(running(client, server), SPEC) as execution:
        execution.send_stdin(b"typed")
        execution.resize(40, 132)
        execution.signal(15)
        execution.close_stdin()
        said = list(execution)

    assert said == [
        (FrameKind.STDOUT, f"{SPEC!r}\n".encode()),
        (FrameKind.STDERR, b"typed"),
        (FrameKind.STDERR, b"RESIZE 00280084\n"),
        (FrameKind.STDERR, b"SIGNAL 0f\n"),
    ]
    assert execution.exit_code == 7


def test_a_task_that_does_not_run_is_joined_by_nothing(client: Client, server: RunningServer) -> None:
    waiting = client.submit(JOB).application_id

    with client.execute(waiting, SPEC) as execution, pytest.raises(Conflict, match="does not run"):
        next(iter(execution))


def test_another_user_comes_into_no_container(client: Client, server: RunningServer) -> None:
    application_id = running(client, server)

    with server.client("bob") as bob, pytest.raises(Forbidden):
        bob.execute(application_id, SPEC)


@pytest.mark.parametrize("first", ["{", "[]", '{"type":"exec","command":[]}', b"\0"])
def test_a_first_frame_that_is_no_command_is_refused(client: Client, server: RunningServer, first: str | bytes) -> None:
    tunnel = Tunnel(client._transport, f"/applications/{running(client, server)}/exec")
    tunnel.say(first)

    with pytest.raises(InvalidInput):
        tunnel.receive()


def test_the_end_of_the_server_ends_it(client: Client, server: RunningServer) -> None:
    with client.execute(running(client, server), SPEC) as execution:
        output = iter(execution)
        next(output)
        server.stop()

        with pytest.raises(NoServer):
            next(output)
