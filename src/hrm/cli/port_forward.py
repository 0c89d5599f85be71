"""`hrm port-forward`: ports of a task, on this machine's loopback."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.connect import Connection, connect
from hrm.cli.output import note
from hrm.cli.selectors import AppArgument, select_one
from hrm.model.errors import Conflict, InvalidInput
from hrm.model.ids import short_id

if TYPE_CHECKING:
    from hrm.sdk.forwarding import PortForwarder

_MAX_PORT = 65535


def port_forward(
    app: AppArgument,
    ports: Annotated[
        list[str] | None,
        typer.Argument(metavar="[[LOCAL:]PORT]...", help="Without one: the only port that the task listens on."),
    ] = None,
    task: Annotated[int, typer.Option("--task", metavar="NUMBER", min=0, help="Of which task.")] = 0,
) -> None:
    """Bring ports of a task to this machine.

    What connects to 127.0.0.1:LOCAL here is connected to 127.0.0.1:PORT on the task's node, through the server. Only
    ports that processes of the task itself listen on, only for its owner and admins, and here only for you. Without
    LOCAL it is PORT, or where that is taken any free one. Until the application ends, or Ctrl-C.

    \b
    Examples:
      hrm port-forward last 8000            http://127.0.0.1:8000 is the task's
      hrm port-forward 17 9000:8000         under another number here
      hrm port-forward 17 8000 --task 3     of its fourth task
    """
    connection = Connection(connect())
    try:
        application_id = select_one(connection.client, app)
        pairs = [_pair(word) for word in ports or ()]
        there = connection.client.ports(application_id, task=task)
        for _, port in pairs:
            if port not in there.ports:
                raise Conflict(
                    f"task {task} of {short_id(application_id)} does not listen on {port}",
                    next_step=_what(there.ports),
                )
        with ExitStack() as forwarders:
            for local, port in pairs or [(None, _only(there.ports))]:
                begun = forwarded(connection, application_id, port, local=local, task=task)
                forwarders.enter_context(begun)
                print(f"127.0.0.1:{begun.port} -> {there.node_id}:{port}", flush=True)
            report = connection.call(lambda client: client.wait(application_id, timeout_s=None))
            note(f"hrm: {short_id(application_id)} is {report.state}")
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    finally:
        connection.close()


def forwarded(
    connection: Connection, application_id: str, port: int, *, local: int | None = None, task: int = 0
) -> PortForwarder:
    """Begin to forward. ``local`` None: the same number, or where that is taken any that is free. Raises Conflict."""
    from hrm.sdk.forwarding import PortForwarder

    def begin(local_port: int) -> PortForwarder:
        return PortForwarder(
            lambda: connection.client.forward(application_id, port, task=task),
            local_port=local_port,
            on_error=lambda error: note(f"hrm: {error}"),
        )

    if local is not None:
        return begin(local)
    try:
        return begin(port)
    except Conflict:
        return begin(0)


def _pair(word: str) -> tuple[int | None, int]:
    local, colon, port = word.rpartition(":")
    try:
        return (_port(local) if colon else None), _port(port)
    except ValueError:
        raise InvalidInput(
            f"not [LOCAL:]PORT: {word!r:.40}", next_step=f"write 8000 or 9000:8000, from 1 to {_MAX_PORT}"
        ) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MAX_PORT):
        raise ValueError(text)
    return int(text[:9])


def _only(ports: list[int]) -> int:
    if len(ports) != 1:
        raise InvalidInput("name the PORT", next_step=_what(ports))
    return ports[0]


def _what(ports: list[int]) -> str:
    return f"it listens on {', '.join(map(str, ports))}" if ports else "it listens on none; it may not have come so far"
