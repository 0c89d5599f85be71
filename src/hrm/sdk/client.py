"""`hrm.Client`: a program's way to a server.

>>> from hrm import Client
>>> from hrm.model.jobs import JobSpec, TaskGroupSpec
>>> with Client() as client:
...     job = JobSpec(groups=(TaskGroupSpec(command=("echo", "hello")),))
...     application_id = client.submit(job).application_id
...     print(client.wait(application_id).state, b"".join(client.logs(application_id)))
FINISHED b'hello\\n'
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from hrm.model.cleaning import Cleanable
from hrm.model.containers import LogFile
from hrm.model.error_codec import error_from_dict
from hrm.model.errors import ClusterError, NoServer, Unauthenticated
from hrm.model.execution import ExecSpec
from hrm.model.explanations import Explanation
from hrm.model.findings import DoctorReport
from hrm.model.ids import ApplicationId, parse_node_id
from hrm.model.job_codec import job_to_dict
from hrm.model.jobs import JobSpec
from hrm.model.reports import (
    ApplicationOrder,
    ApplicationReport,
    CleanReport,
    ContainerReport,
    EventReport,
    NodeLabelReport,
    NodeReport,
    PlacementReport,
    PortsReport,
    QueueAccessReport,
    QueueReport,
    ReloadReport,
    ServerReport,
    SessionReport,
    SubmitReport,
    TaskAttemptReport,
    TaskReport,
    UploadReport,
    WorkReport,
)
from hrm.sdk.server_events import ServerEvent, resumed
from hrm.sdk.transport import CONNECTION_ERRORS, UNIX, Report, Transport, decoded

if TYPE_CHECKING:
    from hrm.config.home import Home
    from hrm.files.archive import Extracted as Fetched
    from hrm.sdk.attachment import Attachment
    from hrm.sdk.execution import Execution
    from hrm.sdk.forwarding import Tunnel

#: How long the doctor may take on a node, and the way there.
EXAMINE_S = 60.0
_LONG_POLL_S = 60.0
_ANSWER_GRACE_S = 15.0
#: Several times what the server means to take, for disks that are slow.
_CLEAN_S = 120.0


class Client:
    """Calls one server. Threads may share a client; every call waits at most ``timeout_s`` for its answer.

    Errors are those of `hrm.model.errors`, as the server raised them; NoServer where none answers. Calls that bear
    it are repeated when a connection breaks, and so is a submit: its id makes a repeated one the same application.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        home: Path | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """``address`` as in ``http://127.0.0.1:8032`` or ``unix:/var/lib/hrm/hrm.sock``.

        None: the server of ``home`` (None: ``$HRM_HOME``), by its Unix socket if there is one, which sees whose process
        this is and needs no token. ``token`` None over TCP: the operator's, from the same home. Raises NoServer (none
        is up) and Unauthenticated (the token's file cannot be read).
        """
        self._transport = _way_in(address, token, home, timeout_s)

    @property
    def address(self) -> str:
        """Of the server."""
        return self._transport.address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop its connections; a later call makes new ones."""
        self._transport.close()

    # --- the server

    def server(self) -> ServerReport:
        """The server itself: version, address, how much it has to do."""
        return self._get("/server", ServerReport)

    def begin_session(self) -> SessionReport:
        """A token of your own for a working day: what a browser logs in with."""
        return decoded(self._transport.call("POST", "/session", repeatable=True), SessionReport)

    def shutdown(self) -> None:
        """End the server in good order; what runs goes on. Admins only."""
        self._transport.call("POST", "/server/shutdown", repeatable=False)

    def drain_server(self) -> ServerReport:
        """Let it start nothing new, and end by itself when nothing runs any more. Admins only."""
        return decoded(self._transport.call("POST", "/server/drain", repeatable=True), ServerReport)

    def undrain_server(self) -> ServerReport:
        """Let it go on as before. Admins only."""
        return decoded(self._transport.call("POST", "/server/undrain", repeatable=True), ServerReport)

    # --- applications

    def submit(self, job: JobSpec, *, submit_id: str | None = None) -> SubmitReport:
        """Submit ``job``; it is safe on disk when this returns.

        With a ``submit_id`` of your own a program that was interrupted may submit again without a second
        application. Raises InvalidInput (with the field that is wrong) and TooLarge.

        >>> client.submit(JobSpec(groups=(TaskGroupSpec(command=("sleep", "1"), tasks=10),), queue="batch"))
        SubmitReport(application_id='application_1763900000000_0001', created=True, queue='batch', rule='specified')
        """
        body = {"job": job_to_dict(job), "submit_id": submit_id or os.urandom(16).hex()}
        data = self._transport.call("POST", "/applications", body=body, repeatable=True)
        return decoded(data, SubmitReport)

    def upload(self, directory: Path | str, *, told: Callable[[UploadReport], None] = lambda report: None) -> str:
        """Upload a directory, and return the id that a job names it by; what the server has already is not sent.

        ``told`` hears what is missing before that is sent. A `.hrmignore` there leaves files out. Raises InvalidInput
        for a file that cannot be read or changes meanwhile, with its name, and TooLarge with the server's limit.

        >>> job = JobSpec(groups=(TaskGroupSpec(command=("python", "train.py")),), upload=client.upload("src"))
        """
        from hrm.sdk.uploading import upload

        return upload(self._transport, Path(directory), told)

    def fetch(
        self,
        application_id: str,
        folder: Path | str,
        *,
        task: int = 0,
        path: str = "",
        attempt: int | None = None,
        overwrite: bool = False,
    ) -> Fetched:
        """Write what a task has at ``path`` in its own directory to below ``folder``; "" is all of it.

        Raises NotFound and Forbidden, Conflict where a file is there already, and ClusterError where it broke off.

        >>> client.fetch(application_id, "results", path="out").files
        """
        from hrm.sdk.fetching import fetch

        query = {"task": task, "path": path, "attempt": attempt}
        pieces = self._whole(self._transport.stream(_path(application_id, "files"), query=query))
        return fetch(pieces, Path(folder), overwrite=overwrite)

    def place(self, job: JobSpec) -> PlacementReport:
        """Where `submit` would have it go, and by which rule. Submits nothing; raises what that would."""
        data = self._transport.call("POST", "/applications/placement", body={"job": job_to_dict(job)}, repeatable=True)
        return decoded(data, PlacementReport)

    def move(self, application_id: str, queue: str) -> ApplicationReport:
        """To another queue, with all that it runs; safe on disk when this returns.

        Raises InvalidInput (no such queue, or a limit there forbids it), Forbidden, Conflict (it is over).
        """
        data = self._transport.call("POST", _path(application_id, "move"), body={"queue": queue}, repeatable=True)
        return decoded(data, ApplicationReport)

    def suspend(self, application_id: str) -> ApplicationReport:
        """Halt all that runs of it; what it holds stays its own. Raises Forbidden, Conflict (over, or not running)."""
        data = self._transport.call("POST", _path(application_id, "suspend"), repeatable=True)
        return decoded(data, ApplicationReport)

    def resume(self, application_id: str) -> ApplicationReport:
        """Let a suspended one go on. Raises Forbidden and Conflict (it is over)."""
        data = self._transport.call("POST", _path(application_id, "resume"), repeatable=True)
        return decoded(data, ApplicationReport)

    def set_priority(self, application_id: str, priority: int) -> ApplicationReport:
        """Its place among its like in a fifo queue: higher runs first. Raises Forbidden and Conflict (it is over)."""
        body = {"priority": priority}
        return decoded(
            self._transport.call("POST", _path(application_id, "priority"), body=body, repeatable=True),
            ApplicationReport,
        )

    def set_deadline(self, application_id: str, at: float | None) -> ApplicationReport:
        """Until when it may live (epoch seconds; None: for ever). Raises InvalidInput (that has passed), Conflict."""
        data = self._transport.call("POST", _path(application_id, "deadline"), body={"at": at}, repeatable=True)
        return decoded(data, ApplicationReport)

    def kill(self, application_id: str, message: str = "") -> None:
        """End it. No error if it has ended. Raises NotFound and Forbidden (it is another user's)."""
        body = {"message": message} if message else {}
        self._transport.call("POST", _path(application_id, "kill"), body=body, repeatable=True)

    def signal(self, application_id: str, signum: int) -> None:
        """Send a signal to each of its running tasks."""
        self._transport.call("POST", _path(application_id, "signal"), body={"signum": signum}, repeatable=False)

    def application(self, application_id: str) -> ApplicationReport:
        """One application. Raises NotFound."""
        return self._get(_path(application_id), ApplicationReport)

    def applications(
        self,
        states: Sequence[str] = (),
        *,
        user: str | None = None,
        queue: str | None = None,
        limit: int = 1000,
        before: str | None = None,
        search: str | None = None,
        order: ApplicationOrder | None = None,
        offset: int | None = None,
    ) -> list[ApplicationReport]:
        """Finished ones too. ``before`` is the last id of the page before (newest first); ``search`` part of a name.

        >>> client.applications(("RUNNING", "ACCEPTED"), user="ada")
        """
        query = {"state": [str(state) for state in states], "user": user, "queue": queue, "search": search}
        page = {"limit": limit, "before": before, "order": order, "offset": offset}
        return self._get("/applications", list[ApplicationReport], **query, **page)

    def wait(self, application_id: str, timeout_s: float | None = None) -> ApplicationReport:
        """Its report when it has ended, or as it is after ``timeout_s`` (None: however long that takes)."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = _LONG_POLL_S if deadline is None else max(0.0, deadline - time.monotonic())
            poll_s = min(_LONG_POLL_S, left_s)
            data = self._transport.call(
                "GET",
                _path(application_id, "wait"),
                query={"timeout_s": poll_s},
                repeatable=True,
                timeout_s=poll_s + _ANSWER_GRACE_S,
            )
            report = decoded(data, ApplicationReport)
            if report.state.final or (deadline is not None and left_s <= poll_s):
                return report

    def tasks(self, application_id: str, offset: int = 0, limit: int = 1000) -> list[TaskReport]:
        """Its tasks, in order, from the one numbered ``offset``."""
        return self._get(_path(application_id, "tasks"), list[TaskReport], offset=offset, limit=limit)

    def explain(self, application_id: str, *, nodes: bool = False) -> Explanation:
        """Why it waits, runs or ended: the reason, and the numbers behind it; with ``nodes`` node by node."""
        return self._get(_path(application_id, "explanation"), Explanation, nodes=nodes or None)

    def history(
        self, application_id: str | None = None, since: float | None = None, limit: int = 10_000, offset: int = 0
    ) -> list[TaskAttemptReport]:
        """Attempts of tasks, oldest first; ``since`` in epoch seconds."""
        return self._get(
            "/history", list[TaskAttemptReport], application_id=application_id, since=since, limit=limit, offset=offset
        )

    def containers(self, application_id: str | None = None) -> list[ContainerReport]:
        """Containers that are not over, and what they use."""
        return self._get("/containers", list[ContainerReport], application_id=application_id)

    def work(self) -> list[WorkReport]:
        """What each application that is not over holds and waits for: what `hrm simulate` begins from."""
        return self._get("/work", list[WorkReport])

    # --- output and input

    def logs(
        self,
        application_id: str,
        *,
        task: int = 0,
        stream: str = "stdout",
        follow: bool = False,
        offset: int = 0,
        attempt: int | None = None,
        file: str | None = None,
    ) -> Generator[bytes, None, None]:
        """What a task wrote, in pieces. ``offset`` in bytes, negative from the end. Closing it ends the connection.

        ``file`` is one of `log_files`, instead of a stream.

        With ``follow`` until the task has ended, through its later attempts unless ``attempt`` names one; a
        connection that breaks is taken up again where it was. Raises NotFound and Forbidden at once.

        >>> for data in client.logs(application_id, follow=True):
        ...     sys.stdout.buffer.write(data)
        """
        path = _path(application_id, "logs")
        query = {"task": task, "stream": str(stream), "file": file, "offset": offset, "attempt": attempt}
        if not follow:
            return self._whole(self._transport.stream(path, query=query))
        return _followed(self._events(path, {**query, "follow": True}))

    def log_files(self, application_id: str, *, task: int = 0, attempt: int | None = None) -> list[LogFile]:
        """The files of a task's output: its streams, and what it wrote beside them."""
        return self._get(_path(application_id, "log-files"), list[LogFile], task=task, attempt=attempt)

    def attach(self, application_id: str) -> Attachment:
        """All its output, its end, and a way in for input and signals; see `hrm.sdk.attachment.Attachment`."""
        from hrm.sdk.attachment import Attachment

        return Attachment(self._transport, _path(application_id, "attach"))

    def ports(self, application_id: str, *, task: int = 0) -> PortsReport:
        """TCP ports of its node's loopback that the task's processes listen on. Raises Conflict if it does not run."""
        return self._get(_path(application_id, "ports"), PortsReport, task=task)

    def forward(self, application_id: str, port: int, *, task: int = 0) -> Tunnel:
        """A connection to a port that the task's processes listen on; see `hrm.sdk.forwarding.Tunnel`.

        Raises Conflict if none of them does, or the task does not run.
        """
        from hrm.sdk.forwarding import Tunnel

        return Tunnel(self._transport, f"{_path(application_id, 'ports')}/{port}?task={task}")

    def execute(self, application_id: str, spec: ExecSpec, *, task: int = 0) -> Execution:
        """Have a program run beside a task, in its container; see `hrm.sdk.execution.Execution`.

        Raises Forbidden; what else keeps it from running is raised by the first piece of output.
        """
        from hrm.sdk.execution import Execution

        return Execution(self._transport, f"{_path(application_id, 'exec')}?task={task}", spec)

    def events(self, after_seq: int = 0, application_id: str | None = None) -> Generator[EventReport, None, None]:
        """What happened after ``after_seq``, then each event as it happens, until it is closed.

        A connection that breaks is taken up again where it was. Raises NoServer when the server is gone.
        """
        return _reports(self._events("/events", {"after_seq": after_seq, "application_id": application_id}))

    # --- queues and nodes

    def queues(self) -> list[QueueReport]:
        """Queues with their shares, parents before children."""
        return self._get("/queues", list[QueueReport])

    def queue_access(self) -> list[QueueAccessReport]:
        """Who may use which queue, the caller among them; parents before children."""
        return self._get("/queues/access", list[QueueAccessReport])

    def nodes(self) -> list[NodeReport]:
        """Nodes, and what is taken of them."""
        return self._get("/nodes", list[NodeReport])

    def drain_node(self, node_id: str, reason: str = "") -> NodeReport:
        """Have nothing new placed there; what runs there goes on. Admins only. Raises NotFound."""
        body = {"reason": reason} if reason else {}
        return decoded(
            self._transport.call("POST", _node_path(node_id, "drain"), body=body, repeatable=True), NodeReport
        )

    def undrain_node(self, node_id: str) -> NodeReport:
        """Have the node used again. Admins only. Raises NotFound."""
        return decoded(self._transport.call("POST", _node_path(node_id, "undrain"), repeatable=True), NodeReport)

    def set_attributes(self, node_id: str, change: Mapping[str, str | None]) -> NodeReport:
        """Set attributes of a node; None takes the word on one back. Admins only. Raises NotFound, InvalidInput."""
        return self._set_node(node_id, {"attributes": dict(change)})

    def set_node_label(self, node_id: str, label: str | None) -> NodeReport:
        """Give a node a label; "" is none, and None what hrm.yaml says. Admins only. Raises NotFound."""
        return self._set_node(node_id, {"label": label})

    def _set_node(self, node_id: str, body: dict[str, Any]) -> NodeReport:
        return decoded(self._transport.call("POST", _node_path(node_id, "set"), body=body, repeatable=True), NodeReport)

    def node_labels(self) -> list[NodeLabelReport]:
        """Node labels, and the nodes that have them."""
        return self._get("/node-labels", list[NodeLabelReport])

    def add_node_label(self, label: str, *, exclusive: bool = True) -> list[NodeLabelReport]:
        """Let nodes have this label. Admins only. Raises Conflict, InvalidInput."""
        return self._change_labels({"add": [{"name": label, "exclusive": exclusive}]})

    def remove_node_label(self, label: str) -> list[NodeLabelReport]:
        """Nodes that have it have none. Admins only. Raises NotFound, Conflict."""
        return self._change_labels({"remove": [label]})

    def _change_labels(self, body: dict[str, Any]) -> list[NodeLabelReport]:
        data = self._transport.call("POST", "/node-labels", body=body, repeatable=False)
        return decoded(data, list[NodeLabelReport])

    def examine_node(self, node_id: str, only: Sequence[str] = ()) -> DoctorReport:
        """Run the doctor's checks there, or only those of these areas. Admins only. Raises NotFound, ClusterError."""
        data = self._transport.call(
            "POST", _node_path(node_id, "examine"), query={"only": list(only)}, repeatable=True, timeout_s=EXAMINE_S
        )
        return decoded(data, DoctorReport)

    def clean(
        self, kinds: Sequence[str] = tuple(Cleanable), *, older_than_s: float | None = None, dry_run: bool = False
    ) -> CleanReport:
        """Clear away what is over for longer than this; None: what the server's retention does not keep. Admins only.

        A call takes some seconds at most: with ``more`` in its report, call again. With ``dry_run`` only told.

        >>> client.clean(("logs", "scratch"), older_than_s=7 * 86400, dry_run=True).logs_bytes
        """
        body = {"kinds": [str(kind) for kind in kinds], "older_than_s": older_than_s, "dry_run": dry_run}
        data = self._transport.call("POST", "/clean", body=body, repeatable=False, timeout_s=_CLEAN_S)
        return decoded(data, CleanReport)

    def reload_queues(self) -> ReloadReport:
        """Let the server read its queues anew. Admins only. Raises InvalidInput, and then nothing has changed."""
        return decoded(self._transport.call("POST", "/queues/reload", repeatable=False), ReloadReport)

    def queue_configuration(self) -> dict[str, Any]:
        """What is in force of the sections `scheduler` and `queues` of hrm.yaml, in their keys. Admins only."""
        return self._get("/queues/configuration", dict[str, Any])

    def _get(self, path: str, kind: type[Report], **query: Any) -> Report:
        return decoded(self._transport.call("GET", path, query=query, repeatable=True), kind)

    def _whole(self, pieces: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        try:
            yield from pieces
        except CONNECTION_ERRORS as error:
            raise self._transport.lost(error) from None

    def _events(self, path: str, query: dict[str, Any]) -> Generator[ServerEvent, None, None]:
        def again(last_id: str) -> Generator[bytes, None, None]:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            return self._transport.stream(path, query=query, headers=headers)

        return resumed(self._transport.stream(path, query=query), again)


def _path(application_id: str, rest: str = "") -> str:
    """Raises InvalidInput for what is no id, so that nothing else gets into a path."""
    path = f"/applications/{ApplicationId.parse(application_id)}"
    return f"{path}/{rest}" if rest else path


def _node_path(node_id: str, rest: str) -> str:
    """Raises InvalidInput for what is no node's name."""
    return f"/nodes/{parse_node_id(node_id)}/{rest}"


def _followed(events: Generator[ServerEvent, None, None]) -> Generator[bytes, None, None]:
    with closing(events):
        for event in events:
            data = json.loads(event.data)
            if event.kind == "end":
                return
            if event.kind == "error":
                raise error_from_dict(data) or ClusterError("the server reports an error without words")
            yield base64.b64decode(data["data"])


def _reports(events: Generator[ServerEvent, None, None]) -> Generator[EventReport, None, None]:
    with closing(events):
        for event in events:
            if event.kind == "error":
                data = json.loads(event.data)
                raise error_from_dict(data) or ClusterError("the server reports an error without words")
            yield decoded(event.data, EventReport)


def _way_in(address: str | None, token: str | None, home: Path | None, timeout_s: float) -> Transport:
    if address is None or (token is None and not address.startswith(UNIX)):
        from hrm.config.home import Home

        place = Home.locate(home)
        if address is None and token is None:
            try:
                return Transport(f"{UNIX}{place.socket_file}", None, timeout_s=timeout_s)
            except NoServer:
                pass  # what the server's file says is tried, and if that fails too, told
        address = address or _address_in(place)
        token = token or _token_in(place)
    return Transport(address, token, timeout_s=timeout_s)


def _address_in(home: Home) -> str:
    up = "ask its operator to start it" if home.is_anothers else "`hrm up` starts one"
    try:
        address = json.loads(home.server_file.read_bytes())["address"]
    except FileNotFoundError:
        if away := home.away():
            raise NoServer(
                f"the server of {home.path} waits for its engine to be back, {away[1]}",
                next_step="it is started again by itself, and containers go on; `hrm down` ends the waiting",
            ) from None
        raise NoServer(f"no server is up for {home.path}", next_step=up) from None
    except OSError as error:
        raise NoServer(
            f"no server answers at {home.socket_file}, and {home.server_file} cannot be read: {error.strerror}",
            next_step=f"{up}, or name a home of yours in HRM_HOME",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise NoServer(f"{home.server_file} is not what a server writes", next_step=f"delete it; {up}") from None
    return str(address)


def _token_in(home: Home) -> str:
    again = "start the server again (`hrm down`, `hrm up`): it writes the token anew"
    try:
        return home.token_file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise Unauthenticated(f"there is no token at {home.token_file}", next_step=again) from None
    except OSError as error:
        raise Unauthenticated(f"cannot read {home.token_file}: {error.strerror}", next_step="ask its owner") from None
    except UnicodeDecodeError:
        raise Unauthenticated(f"{home.token_file} holds no token", next_step=f"delete it, then {again}") from None
