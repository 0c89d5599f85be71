"""`hrm notebook`: Jupyter as a job, reached from here."""

from __future__ import annotations

import secrets
import socket
import sys
import threading
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.job_options import (
    ErrorCodeOption,
    JobOptions,
    VirtualGpusOption,
    attached,
    takes_job_options,
    virtual_gpu_arguments,
)
from hrm.cli.main import fail
from hrm.cli.output import note
from hrm.cli.port_forward import forwarded
from hrm.cli.run import check_virtual_gpus, exit_code
from hrm.cli.session import Session
from hrm.cli.writer import Writer
from hrm.model.errors import Conflict, HrmError
from hrm.model.ids import short_id
from hrm.model.jobs import JobSpec
from hrm.model.reports import ApplicationReport, PortsReport

if TYPE_CHECKING:
    from hrm.cli.connect import Connection
    from hrm.sdk.client import Client
    from hrm.sdk.forwarding import PortForwarder

NOT_FOUND = 127
#: The best that is installed where it runs. The words after it are handed on as they are.
_LAUNCH = """
for kind in lab notebook server; do
    command -v "jupyter-$kind" >/dev/null 2>&1 && exec "jupyter-$kind" "$@"
done
echo "no jupyter-lab, jupyter-notebook or jupyter-server in PATH on $HRM_NODE_ID" >&2
exit 127
"""
#: Below the range from which systems take ports for outgoing connections. Jupyter goes on from there if it is taken.
_FIRST_PORT, _PORTS = 20_000, 10_000
_TOKEN_BYTES = 24
_LOOK_S = 0.2
_ANSWER_S = 10.0
_TAIL_BYTES = 4096


@takes_job_options(without=("tasks", "retries", "max_failures", "master", "upload"))
def notebook(
    options: JobOptions,
    jupyter: Annotated[
        list[str] | None, typer.Argument(metavar="JUPYTER_OPTIONS", help="After --: options of Jupyter's own.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="LOCAL", min=1, max=65535, help="Port here [default: a free one].")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave it running, and say how to reach it.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Show what Jupyter logs.")] = False,
    virtual_gpus: VirtualGpusOption = None,
    error_code: ErrorCodeOption = None,
) -> None:
    """A Jupyter of your own in a container.

    JupyterLab, or what of Jupyter is installed where it runs, as a job: it waits in the queue, listens on its node's
    loopback behind a token of its own, and the URL to open here is printed once it answers. Ctrl-C, or losing this
    process, ends it; with --detach it goes on until its end or `hrm kill`.

    \b
    Examples:
      hrm notebook --gpus 1 --memory 16G
      hrm notebook --detach --timeout 8h -q research
      hrm notebook --workdir ~/papers -- --ServerApp.max_body_size=1000000000
    """
    token = secrets.token_hex(_TOKEN_BYTES)
    # Not on the command line, which everybody on the node may read.
    env = [*(options.env or ()), f"JUPYTER_TOKEN={token}"]
    options = replace(options, name=options.name or "notebook", env=env)
    first_port = _FIRST_PORT + secrets.randbelow(_PORTS)
    own = ("--no-browser", "--ip=127.0.0.1", f"--port={first_port}", "--port-retries=100", "--allow-root")
    try:
        job = options.job(["sh", "-c", _LAUNCH, "jupyter", *own, *(jupyter or ())])
        code = _run(job, token, local=port, detach=detach, log=log, virtual_gpus=virtual_gpus)
    except HrmError as error:
        fail(error, code=error_code)
    raise typer.Exit(code)


def _run(job: JobSpec, token: str, *, local: int | None, detach: bool, log: bool, virtual_gpus: int | None) -> int:
    from hrm.cli.connect import client_or_ephemeral

    submit_id = str(uuid.uuid4())
    if not detach:
        job = attached(job, stdin=False, terminal=None)
    with client_or_ephemeral(virtual_gpu_arguments(virtual_gpus)) as connection:
        if virtual_gpus is not None:
            connection.call(lambda client: check_virtual_gpus(client, virtual_gpus), start=True)
        submitted = connection.call(lambda client: client.submit(job, submit_id=submit_id), start=True)
        opening = _Opening(connection, submitted.application_id, token, local)
        return _leave(opening) if detach else _stay(opening, log=log)


def _stay(opening: _Opening, *, log: bool) -> int:
    tail = _Tail(show=log)
    session = Session(opening.connection, opening.application_id, tail, stdin=None, terminal=None)
    thread = threading.Thread(target=opening.open, name="open", daemon=True)
    thread.start()
    try:
        report = session.run()
    finally:
        opening.over.set()
        thread.join(_ANSWER_S)
        opening.close()
    return _end(opening, report, tail.text)


def _leave(opening: _Opening) -> int:
    connection, application_id = opening.connection, opening.application_id
    try:
        there = opening.wait()
    except KeyboardInterrupt:
        note(f"hrm: {short_id(application_id)} goes on; `hrm kill {short_id(application_id)}` ends it")
        return 130
    if there is None:
        logs = connection.call(lambda client: b"".join(client.logs(application_id, stream="stderr")))
        report = connection.call(lambda client: client.application(application_id))
        return _end(opening, report, logs.decode(errors="replace"))
    port = opening.local or _free(there.ports[0])
    print(f"hrm port-forward {short_id(application_id)} {port}:{there.ports[0]}")
    print(opening.url(port))
    return 0


def _end(opening: _Opening, report: ApplicationReport, said: str) -> int:
    if report.exit_code == NOT_FOUND:
        raise Conflict(
            f"Jupyter is not installed where the notebook ran: {said.strip() or report.message}",
            next_step="`pip install jupyterlab` into the environment that your PATH names first, on that node too",
        )
    if not opening.opened and said:
        sys.stderr.write(said[-_TAIL_BYTES:])
    return exit_code(report)


class _Tail(Writer):
    """Keeps the last of what Jupyter logs, and shows it if that is wanted."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self.text = ""

    def write(self, stream: str, task_index: int, data: bytes) -> None:
        words = data.decode(errors="replace")
        self.text = (self.text + words)[-_TAIL_BYTES:]
        if self._show:
            sys.stderr.write(words)

    def flush(self) -> None:
        sys.stderr.flush()


class _Opening:
    """The way to one notebook: found as soon as it answers, and forwarded."""

    def __init__(self, connection: Connection, application_id: str, token: str, local: int | None) -> None:
        self.connection = connection
        self.application_id = application_id
        self.local = local
        self.over = threading.Event()
        self.opened = False
        self._token = token
        self._forwarder: PortForwarder | None = None

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}/?token={self._token}"

    def open(self) -> None:
        """Wait for it, forward its port and print the URL."""
        there = self.wait()
        if there is None:
            return
        try:
            self._forwarder = forwarded(self.connection, self.application_id, there.ports[0], local=self.local)
        except HrmError as error:
            note(f"hrm: {error}")
            self.connection.client.kill(self.application_id, error.message)
            return
        self.opened = True
        print(self.url(self._forwarder.port), flush=True)
        note(f"hrm: notebook {short_id(self.application_id)} runs on {there.node_id}; Ctrl-C ends it")

    def wait(self) -> PortsReport | None:
        """Where it answers, with that port alone; None iff it ended before."""
        while not self.over.is_set():
            try:
                client = self.connection.client
                if client.application(self.application_id).state.final:
                    return None
                there = client.ports(self.application_id)
                for port in there.ports:
                    if _answers(client, there, port, self._token):
                        return replace(there, ports=[port])
            except HrmError:
                pass  # it does not run yet, or the server is away: the next look tells
            time.sleep(_LOOK_S)
        return None

    def close(self) -> None:
        if self._forwarder is not None:
            self._forwarder.close()


def _answers(client: Client, there: PortsReport, port: int, token: str) -> bool:
    """True iff HTTP is spoken there, and it has come so far as to answer."""
    request = f"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: token {token}\r\n"
    tunnel = client.forward(there.application_id, port)
    try:
        tunnel.send(f"{request}Connection: close\r\n\r\n".encode())
        return tunnel.receive(_ANSWER_S).startswith(b"HTTP/1.")
    except TimeoutError:
        return False
    finally:
        tunnel.close()


def _free(port: int) -> int:
    """``port``, or one that is free here now."""
    for candidate in (port, 0):
        try:
            with socket.create_server(("127.0.0.1", candidate)) as probe:
                found: int = probe.getsockname()[1]
                return found
        except OSError:
            continue
    raise Conflict("no port is free here")
