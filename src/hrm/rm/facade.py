"""The one way into the ResourceManager for every front door (native REST, YARN's protocols, the page).

Doors translate and check who is asking; all else is here. Everything runs on the ResourceManager's loop. Reports are
snapshots.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from hrm.files.manifest import Manifest
from hrm.model.cleaning import Cleanable
from hrm.model.containers import LogChunk, LogFile
from hrm.model.execution import ExecSpec
from hrm.model.explanations import Explanation
from hrm.model.findings import DoctorReport
from hrm.model.inventory import Inventory, NodeLabel
from hrm.model.jobs import JobSpec
from hrm.model.masters import FinalStatus, Heartbeat, Launched, MasterStanding, Registration
from hrm.model.placement import PlacementPolicy
from hrm.model.queues import QueueSpec
from hrm.model.relaunching import LaunchState, RelaunchKind
from hrm.model.reports import (
    ApplicationOrder,
    ApplicationReport,
    AttemptReport,
    CleanReport,
    ContainerReport,
    EventReport,
    MeasuresReport,
    NodeLabelReport,
    NodeReport,
    PlacementReport,
    PortsReport,
    QueueAccessReport,
    QueueReport,
    ReloadReport,
    ServerReport,
    SubmitReport,
    TaskAttemptReport,
    TaskReport,
    UploadReport,
    WorkReport,
)
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.model.streams import ByteStream


class Masters(Protocol):
    """What masters in containers of their own ask for. Attempts are named by YARN's ids (``appattempt_…``).

    Every call answers when what it decided is on disk, and raises Unauthenticated for an attempt that is over.
    """

    async def register(
        self, attempt_id: str, *, host: str = "", rpc_port: int = -1, tracking_url: str = ""
    ) -> Registration: ...

    async def allocate(
        self,
        attempt_id: str,
        response_id: int,
        *,
        asks: Sequence[ResourceRequest] = (),
        releases: Sequence[str] = (),
        progress: float | None = None,
        blacklist: frozenset[str] | None = None,
        tracking_url: str | None = None,
    ) -> Heartbeat:
        """``blacklist`` is of all nodes that it does not want, and None iff that is as before; so is the URL."""

    async def resize(self, attempt_id: str, wanted: Mapping[str, Resources]) -> dict[str, str]:
        """Containers in which something of its runs are to hold so much. Returns those of which it cannot be, and why.

        What is less is given back at once, more is granted in its turn; `Heartbeat.resized` says when.
        """

    async def retype(self, attempt_id: str, wanted: Mapping[str, ExecutionType]) -> dict[str, str]:
        """Containers are to be guaranteed, or opportunistic. Returns those that cannot be, and why.

        Demotion is at once, promotion has its turn; `Heartbeat.retyped` says when.
        """

    async def launch(
        self, attempt_id: str, container_id: str, command: Sequence[str], env: Mapping[str, str], workdir: str | None
    ) -> Launched: ...

    async def stop(self, attempt_id: str, container_ids: Sequence[str]) -> None: ...

    async def signal(self, attempt_id: str, container_id: str, signum: int) -> None:
        """To what the master launched there. No error if it has ended."""

    async def relaunch(
        self,
        attempt_id: str,
        container_id: str,
        kind: RelaunchKind,
        *,
        command: Sequence[str] = (),
        env: Mapping[str, str] = ...,
        auto_commit: bool = True,
        key: str = "",
    ) -> None:
        """Have what runs there make way for another launch in place; answered when the node has taken that on.

        ``command`` and ``env`` are of a replacement; the same ``key`` again is the same order. Raises NotFound where
        nothing of the master's runs, Conflict where that cannot be done now, InvalidInput and ClusterError.
        """

    async def localize(
        self, attempt_id: str, container_id: str, command: Sequence[str], env: Mapping[str, str]
    ) -> None:
        """Bring the files of a launch context into a container that runs. Raises as `relaunch`."""

    async def launch_state(self, attempt_id: str, container_id: str) -> LaunchState:
        """What its node says of it. Raises NotFound, Conflict for one that has not begun, and ClusterError."""

    async def finish(
        self, attempt_id: str, status: FinalStatus, message: str = "", *, tracking_url: str | None = None
    ) -> None: ...

    def standing(self, attempt_id: str) -> MasterStanding:
        """How things stand with an attempt that is not over. Answers at once."""


class Files(Protocol):
    """What jobs bring along and what they leave."""

    async def begin_upload(self, manifest: Manifest, *, user: str) -> UploadReport:
        """Say what of it is to be sent. Raises TooLarge where it is over the limit or the user's quota."""

    async def receive_upload(self, upload_id: str, pieces: AsyncIterator[bytes], *, user: str) -> UploadReport:
        """Take contents that are missing, as a pack (`hrm.files.pack`); what came whole stays, come what may.

        Raises NotFound for one that was not begun, InvalidInput for what was not asked for or is not what it says.
        """

    async def fetch(self, application_id: str, task_index: int, path: str, *, attempt: int | None = None) -> ByteStream:
        """What a task has in its container's directory, as `hrm.files.archive` has it; of its latest attempt by itself.

        Raises NotFound, also where it was cleared away, and InvalidInput for a path that leads out of it.
        """


class NodeWords(Protocol):
    """What operators say of nodes while the server runs; it outlives the server."""

    def labels(self) -> list[NodeLabelReport]:
        """Those of ``hrm.yaml`` first."""

    async def set_attributes(self, node_id: str, change: Mapping[str, str | None], *, by: str) -> None:
        """Set these; None: the word on it is taken back. Raises NotFound, InvalidInput."""

    async def set_labels(self, labels: Mapping[str, str | None], *, by: str) -> None:
        """By node id, all or none; "": no label, None: what ``hrm.yaml`` says. Raises NotFound."""

    async def add_labels(self, labels: Sequence[NodeLabel], *, by: str) -> None:
        """Raises Conflict where one is there that is exclusive or not as this is not."""

    async def remove_labels(self, names: Collection[str], *, by: str) -> None:
        """Raises NotFound, and Conflict for what ``hrm.yaml`` has or a queue names."""


class Facade(Protocol):
    """Application ids are YARN's long form; queues are paths without the root. Unknown ones raise NotFound."""

    @property
    def masters(self) -> Masters: ...

    @property
    def files(self) -> Files: ...

    @property
    def node_words(self) -> NodeWords: ...

    def server(self) -> ServerReport: ...

    async def new_application_id(self) -> str:
        """An id for `submit`, which nobody else gets, now or after a restart. Raises StoreError."""

    def measures(self) -> MeasuresReport:
        """What it counts of itself since its start."""

    async def submit(
        self,
        job: JobSpec,
        *,
        user: str,
        submit_id: str | None = None,
        application_id: str | None = None,
        admin: bool = False,
    ) -> SubmitReport:
        """Take a job into the queue that the placement rules give. Returns after it is committed to the store.

        The same ``submit_id`` by the same user again returns the application made the first time; so does the same
        ``application_id``, which `new_application_id` gave. For an ``admin`` of the server ACLs do not count. Raises
        InvalidInput (unknown queue; a request larger than any node, naming the largest), Forbidden (the user may not
        submit there; the application is another's), Conflict (the id was not given) and StoreError.
        """

    async def place(self, job: JobSpec, *, user: str, admin: bool = False) -> PlacementReport:
        """Where `submit` would have it go; raises what that would."""

    async def move(self, application_id: str, queue: str, *, by: str, admin: bool = False) -> ApplicationReport:
        """To another leaf queue, with all that it runs and asks for; returns when that is committed.

        Raises Conflict (it is over), Forbidden (``by`` may not submit there) and InvalidInput (no such queue; it would
        pass a limit there): nothing has changed then. Whether ``by`` may change the application the door knows.
        """

    async def suspend(self, application_id: str, *, by: str) -> ApplicationReport:
        """Halt all containers of one that runs, and begin nothing new of it; what they hold stays theirs.

        Returns when that is committed. No error if it is suspended. Raises Conflict (it is over, or nothing runs yet).
        """

    async def resume(self, application_id: str, *, by: str) -> ApplicationReport:
        """Let it go on. No error if it is not suspended. Raises Conflict (it is over)."""

    async def set_priority(self, application_id: str, priority: int, *, by: str) -> ApplicationReport:
        """Its place among its like in a fifo queue; returns when that is committed. Raises Conflict (it is over)."""

    async def set_deadline(self, application_id: str, at: float | None, *, by: str) -> ApplicationReport:
        """Until when it may live (epoch seconds; None: for ever); returns when that is committed.

        Raises Conflict (it is over) and InvalidInput (that moment has passed).
        """

    async def groups(self, user: str) -> tuple[str, ...]:
        """That the machine says the user is in."""

    async def administers(self, queue: str, *, user: str) -> bool:
        """True iff the queue's admin ACL, or one above it, names the user."""

    async def queue_access(self, *, user: str, admin: bool = False) -> list[QueueAccessReport]:
        """Who may use which queue; parents before children."""

    async def kill(self, application_id: str, *, by: str, message: str = "") -> None:
        """End it; returns when that is committed. No error if it has ended."""

    async def fail_attempt(self, attempt_id: str, *, by: str) -> None:
        """End the run of a master of its own as if it had failed; returns when that is committed.

        Raises NotFound and Conflict (it is over, or has no container yet).
        """

    async def application(self, application_id: str) -> ApplicationReport: ...

    async def job(self, application_id: str) -> JobSpec:
        """What was submitted."""

    def current_attempt(self, application_id: str) -> AttemptReport | None:
        """The latest run of the master of one that is not over; None once it is. Asks memory alone."""

    async def attempts(self, application_id: str) -> list[AttemptReport]:
        """The runs of its master, oldest first."""

    async def applications(
        self,
        *,
        states: Sequence[str] = (),
        user: str | None = None,
        queue: str | None = None,
        limit: int = 1000,
        before: str | None = None,
        search: str = "",
        order: ApplicationOrder = ApplicationOrder.NEWEST,
        offset: int = 0,
    ) -> list[ApplicationReport]:
        """Finished ones too. ``before`` is the last id of the page before, newest first; ``search`` part of a name."""

    async def resource_seconds(self, application_id: str) -> dict[str, float]:
        """What its containers held, by name (``memory_mib`` …), times the seconds that they held it, until now."""

    async def application_counts(self) -> dict[str, int]:
        """How many applications there are by state, of all that are kept."""

    async def tasks(self, application_id: str, *, offset: int = 0, limit: int = 1000) -> list[TaskReport]: ...

    async def history(
        self, application_id: str | None = None, *, since: float | None = None, limit: int = 10_000, offset: int = 0
    ) -> list[TaskAttemptReport]:
        """Attempts of tasks, oldest first."""

    def containers(self, application_id: str | None = None) -> list[ContainerReport]:
        """Those that are not over."""

    def work(self) -> list[WorkReport]:
        """What each application that is not over holds and waits for, in the order of submission."""

    def queues(self) -> list[QueueReport]:
        """Parents before children."""

    def nodes(self) -> list[NodeReport]: ...

    async def drain_node(self, node_id: str, *, by: str, reason: str = "") -> NodeReport:
        """Place nothing on it from now on, also after a restart; what runs there goes on."""

    async def undrain_node(self, node_id: str, *, by: str) -> NodeReport:
        """Use it again. No error if it is not drained."""

    async def examine_node(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        """Run the doctor's checks on it now: all, or those of the areas and names in ``only``.

        Raises NotFound, ClusterError where the node cannot, InvalidInput for a name that there is not.
        """

    async def clean(
        self, kinds: Collection[Cleanable], *, older_than_s: float | None, dry_run: bool, by: str
    ) -> CleanReport:
        """Clear away what is over since longer than this (None: what the server's retention does not keep).

        With ``dry_run`` only say what that would be.
        """

    async def explain(self, application_id: str, *, nodes: bool = False) -> Explanation:
        """Why it waits, runs or ended; with ``nodes`` node by node."""

    async def wait(self, application_id: str, *, timeout_s: float) -> ApplicationReport:
        """As soon as it has ended, or after ``timeout_s`` as it is then."""

    async def read_log(
        self,
        application_id: str,
        task_index: int,
        stream: str,
        *,
        offset: int,
        max_bytes: int,
        attempt: int | None = None,
    ) -> LogChunk:
        """Of a `LogStream`, or of one of `log_files`, from the latest attempt of the task unless one is named.

        Empty and not ended while it has not begun.
        """

    async def log_files(self, application_id: str, task_index: int, *, attempt: int | None = None) -> list[LogFile]:
        """The files of a task's output: its streams, and what it wrote beside them. Raises NotFound."""

    def events(self, *, after_seq: int, application_id: str | None = None) -> AsyncIterator[EventReport]:
        """Those kept after ``after_seq``, then each as it happens, without end."""

    async def latest_events(self, application_id: str, *, limit: int) -> list[EventReport]:
        """The latest of one application's, oldest first."""

    async def write_stdin(self, application_id: str, data: bytes) -> None:
        """To the single task of a job with ``stdin`` or ``terminal``; waits until it has begun."""

    async def close_stdin(self, application_id: str) -> None: ...

    async def signal(self, application_id: str, signum: int, *, container_id: str | None = None) -> None:
        """To every running task, or only to what runs in one container; waits for nothing."""

    def resize_terminal(self, application_id: str, rows: int, columns: int) -> None: ...

    async def ports(self, application_id: str, task_index: int) -> PortsReport:
        """What its processes listen on. Raises Conflict if the task does not run."""

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        """Where on the node a port leads to ``to``, at which the server listens; None iff it is the server's machine.

        One for each ``purpose``.         Raises NotFound, and ClusterError where the node does not answer.
        """

    async def connect(self, application_id: str, task_index: int, port: int) -> ByteStream:
        """To a port that a process of the task listens on. Raises Conflict if none does, or the task does not run."""

    async def execute(self, application_id: str, task_index: int, spec: ExecSpec, *, by: str) -> ByteStream:
        """A program beside the task, in its container (`hrm.model.execution`). Raises NotFound and Conflict."""

    def attach(self, application_id: str) -> None:
        """A client holds this job (``attached`` jobs end when their last client is gone for a grace time)."""

    def detach(self, application_id: str) -> None: ...

    async def reload_queues(
        self,
        root: QueueSpec,
        *,
        options: SchedulerOptions | None = None,
        placement: PlacementPolicy | None = None,
        inventory: Inventory | None = None,
    ) -> ReloadReport:
        """Take a new, validated tree, and what else is named. Raises InvalidInput, with nothing changed, if what runs
        cannot live in it."""

    def request_shutdown(self) -> None:
        """Begin an orderly end of the server; containers go on."""

    async def drain_server(self, *, by: str) -> ServerReport:
        """Start nothing new on any node, and end the server when nothing runs any more.

        What is submitted meanwhile is kept and waits for the next server.
        """

    async def undrain_server(self, *, by: str) -> ServerReport:
        """Go on as before. No error if it does not drain."""
