"""What an engine is: the body that runs containers where the scheduler decides.

An engine answers four questions: which nodes are there, launch this, stop that, show its output. It decides nothing.
Its methods and its calls of the listener all happen on one asyncio loop, the ResourceManager's.
`hrm.testing.check_engine` is the conformance suite.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import (
    ContainerUsage,
    ExitRecord,
    LaunchSpec,
    LogChunk,
    LogFile,
    NodeUsage,
    PreemptionNotice,
    StartRecord,
)
from hrm.model.execution import ExecSpec
from hrm.model.findings import DoctorReport
from hrm.model.isolation import Isolation
from hrm.model.nodes import NodeSpec
from hrm.model.relaunching import LaunchState, Relaunch
from hrm.model.resources import Resources
from hrm.model.streams import ByteStream


class EngineListener(Protocol):
    """Told by the engine, on the loop, without delay. Never raises; returns at once."""

    def node_registered(
        self, node: NodeSpec, running: Sequence[StartRecord], finished: Sequence[ExitRecord], isolation: Isolation
    ) -> None:
        """A node joined or came back, with everything it still runs and every end not yet acknowledged.

        What is in neither list does not run there. ``isolation`` says what is enforced on it.
        """

    def node_changed(self, node: NodeSpec, message: str, lost_devices: Mapping[str, str]) -> None:
        """A registered node now lends this much, and ``message`` says what is wrong with it ("" iff nothing).

        ``lost_devices`` do not answer any more: each with a sentence for those whose work was on it.
        """

    def node_examined(self, node_id: str, report: DoctorReport) -> None:
        """A round of the doctor's quick checks on a registered node; every round, whatever it found."""

    def node_lost(self, node_id: str, reason: str) -> None:
        """The node does not answer any more."""

    def node_refused(self, name: str, reason: str) -> None:
        """A machine is there, by this name, and cannot be a node for this reason; "" iff that is over."""

    def heartbeat(self, node_id: str, usage: NodeUsage, containers: Sequence[ContainerUsage]) -> None:
        """The node lives, and uses this much. Comes every `heartbeat_interval_s` of the engine."""

    def containers_started(self, node_id: str, started: Sequence[StartRecord]) -> None:
        """These run now. One that runs another launch than before is told too (`hrm.model.relaunching`)."""

    def containers_finished(self, node_id: str, finished: Sequence[ExitRecord]) -> None:
        """These ended. Reported again after each reconnection until acknowledged: the listener ignores repeats."""


class Engine(Protocol):
    """Runs containers on nodes. Commands return at once; what comes of them is told to the listener."""

    name: str

    async def start(self, listener: EngineListener) -> None:
        """Find the nodes and begin to report. Raises ClusterError if it cannot."""

    async def close(self) -> None:
        """Stop reporting and let go. Containers live on."""

    def launch(self, node_id: str, specs: Sequence[LaunchSpec]) -> None:
        """Start containers, in order. Idempotent by container id: one that ran or runs is not started again.

        One that cannot be started is reported as finished (NOT_STARTED, 126 or 127).
        """

    def stop_containers(self, node_id: str, container_ids: Sequence[str], *, grace_s: float) -> None:
        """TERM to the whole tree, then after ``grace_s`` KILL. Unknown or ended containers are no error."""

    def signal(self, node_id: str, container_id: str, signum: int) -> None:
        """Send one signal to the container's process group. No error if it has ended."""

    def resize(self, node_id: str, container_id: str, resources: Resources) -> None:
        """Hold it to this much memory and CPU from now on. One that uses more memory than that ends.

        No error if it is held to so much already, or has ended. Its GPUs stay as they are.
        """

    def freeze(self, node_id: str, container_ids: Sequence[str], *, frozen: bool) -> None:
        """Halt all processes of these, or let them go on; what they hold stays theirs.

        One that is halted can be stopped like any other. No error if it is so already, or has ended.
        """

    def warn(self, node_id: str, container_id: str, notice: PreemptionNotice) -> None:
        """It is to end by ``notice.kill_at``: the file that its `HRM_PREEMPTION_FILE` names says so from now on.

        Then TERM goes to those processes of its group that have a handler for it; whoever has none goes on until it is
        stopped. The same notice again does nothing. No error if the container has ended.
        """

    def spare(self, node_id: str, container_id: str) -> None:
        """It need not end after all: the file is gone. No error if there was none, or the container has ended."""

    def acknowledge(self, node_id: str, container_ids: Sequence[str]) -> None:
        """The ends of these are safe in the store: the node may forget them (their logs stay)."""

    def forget(self, node_id: str, container_ids: Sequence[str]) -> None:
        """The ResourceManager knows these no more: clear away what they left on the node, their logs too.

        Nothing happens to those that run, or whose end is not acknowledged.
        """

    def end_applications(self, node_id: str, application_ids: Sequence[str]) -> None:
        """These are over: what their containers shared on the node goes as soon as none of them runs there.

        No error if they had nothing there. Where this does not arrive, `clean` finds that they do not live.
        """

    async def clean(
        self, node_id: str, policy: CleanPolicy, *, spare: Collection[str], dry_run: bool, budget_s: float
    ) -> Freed:
        """Clear away what containers left on the node beyond ``policy``; with ``dry_run`` only say what that would be.

        Only of containers whose end is acknowledged, and not of the applications in ``spare``. Ends after about
        ``budget_s``, then with ``more`` to do. Raises ClusterError.
        """

    async def examine(self, node_id: str, only: Sequence[str]) -> DoctorReport:
        """Run the doctor's checks on the node, all or those of the areas and names in ``only``, quick or not.

        Raises ClusterError where that cannot be done, InvalidInput for a name that there is not, NotFound.
        """

    async def read_log(self, node_id: str, container_id: str, stream: str, *, offset: int, max_bytes: int) -> LogChunk:
        """Bytes of a log from ``offset`` (negative: from that far before the end), of a `LogStream` or one of
        `log_files`. Raises NotFound."""

    async def log_files(self, node_id: str, container_id: str) -> list[LogFile]:
        """The files of a container's output: its streams, and what it wrote beside them. Raises NotFound."""

    async def write_stdin(self, node_id: str, container_id: str, data: bytes) -> None:
        """Feed a container launched with ``stdin`` or ``terminal``; waits while it does not read.

        Raises NotFound if there is none. A container that has closed its input swallows the data.
        """

    def close_stdin(self, node_id: str, container_id: str) -> None:
        """End of input."""

    def resize_terminal(self, node_id: str, container_id: str, rows: int, columns: int) -> None:
        """The client's window changed."""

    async def read_files(self, node_id: str, container_id: str, path: str) -> ByteStream:
        """What the container has at ``path`` in its own directory, as `hrm.files.archive` has it; "" is all of it.

        Raises InvalidInput for a path that leads out of it, NotFound where there is nothing, and Conflict where it is
        neither a file nor a directory.
        """

    async def free_port(self, node_id: str) -> int:
        """A TCP port of the node on which nobody listens, given once in a while. Raises ClusterError, NotFound."""

    async def listening_ports(self, node_id: str, container_id: str) -> list[int]:
        """TCP ports of the node's loopback on which the container's own processes listen. Raises NotFound."""

    async def relay(self, node_id: str, to: tuple[str, int], purpose: str = "rpc") -> tuple[str, int] | None:
        """Have a port of the node's own address lead to ``to``, where the server listens; (host, port) of it.

        One port for each ``purpose``; asked again it is the same, with another ``to`` maybe. None iff the node is
        the server's own machine. Raises ClusterError.
        """

    async def connect(self, node_id: str, container_id: str, port: int) -> ByteStream:
        """A TCP connection to one of `listening_ports`, made on the node.

        Raises NotFound if the container does not run there, Conflict if none of its processes listens on ``port``:
        whatever else listens there is not connected to.
        """

    async def execute(self, node_id: str, container_id: str, spec: ExecSpec) -> ByteStream:
        """Run a program beside the container's own: held to its limits, as its user, in its environment.

        What goes both ways are frames (`hrm.model.execution`); the last one is its exit code. It ends with the
        container, and when the stream is closed. Raises NotFound if the container does not run there or the program is
        not found, Conflict if it cannot be started.
        """

    async def relaunch(self, node_id: str, container_id: str, order: Relaunch) -> None:
        """Have the program of a container that runs make way for another launch, in the same directory and limits.

        It answers when the node has taken it on, and will do it whatever becomes of us. Each launch is reported as
        started, with its number. Raises NotFound if it does not run there, and Conflict if that cannot be done now.
        """

    async def localize(self, node_id: str, spec: LaunchSpec) -> None:
        """Bring the files of a launch context into the directory of ``spec``'s container, which runs.

        It answers when that has begun; `launch_state` says how far it is. Raises as `relaunch`.
        """

    async def launch_state(self, node_id: str, container_id: str) -> LaunchState:
        """Which launch of a container runs, what is to follow, and what became of its files. Raises NotFound."""
