"""What a node is told to run and what it tells back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hrm.model.devices import DeviceUsage
from hrm.model.jobs import TerminalSize
from hrm.model.phrases import Phrase
from hrm.model.python_envs import PythonEnv
from hrm.model.resources import ZERO, Resources
from hrm.model.retrying import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """Everything a node needs to start one container. Launching is idempotent by ``container_id``."""

    container_id: str
    application_id: str
    user: str
    #: Program and arguments; no shell reads them.
    command: tuple[str, ...]
    #: Added to the node's base environment (PATH, HOME, USER, LANG …) and winning over it.
    env: Mapping[str, str] = field(default_factory=dict)
    #: None iff the container's own directory.
    workdir: str | None = None
    resources: Resources = ZERO
    device_ids: tuple[str, ...] = ()
    #: True iff the client feeds the standard input; else it is empty.
    stdin: bool = False
    terminal: TerminalSize | None = None
    #: Bytes kept of each of stdout and stderr; what comes after is dropped and counted.
    log_limit_bytes: int = 64 << 20
    #: Of what is put into its own directory before it begins; None iff nothing.
    upload: str | None = None
    #: Its program runs in this environment, which is built in the container where the node does not have it yet.
    python_env: PythonEnv | None = None
    #: True iff it may be run anew, or gone back to, in the same container. One with a launch context always may.
    restartable: bool = False
    #: When it is run anew by itself; None iff never, or a launch context says it.
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreemptionNotice:
    """What a container is told that is to end for somebody else: in the file that `HRM_PREEMPTION_FILE` names."""

    #: Epoch seconds: if it has not ended by then, it is killed.
    kill_at: float
    reason: str
    #: The application that it is to end for.
    beneficiary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """That a container is to end for another application, or was. Times are epoch seconds."""

    warned_at: float
    kill_at: float
    reason: str
    #: The application that it is to end for.
    beneficiary: str
    #: When it was taken back, because nobody needed it any more; None while it stands.
    spared_at: float | None = None
    #: True iff its time was over, and it was told to end.
    killed: bool = False
    #: ``reason`` for other languages; None iff an older server gave it.
    said: Phrase | None = None

    @property
    def stands(self) -> bool:
        """True iff it is to end and may still do so by itself."""
        return self.spared_at is None and not self.killed

    @property
    def notice(self) -> PreemptionNotice:
        """As the container is told."""
        return PreemptionNotice(kill_at=self.kill_at, reason=self.reason, beneficiary=self.beneficiary)

    def explains(self, record: ExitRecord) -> bool:
        """True iff that end came of it, and not of the container's own fault.

        Who heard of it may be on its way out when it is taken back: so for as long again as the warning gave.
        """
        if record.reason is ExitReason.LOST or (record.reason is ExitReason.NOT_STARTED and not self.killed):
            return False
        return self.spared_at is None or record.ended_at <= self.spared_at + self.kill_at - self.warned_at


class ExitReason(StrEnum):
    """By what a container came to its end."""

    EXITED = "exited"  #: by itself, whatever the code or signal
    STOPPED = "stopped"  #: because it was told to (`stop_containers`)
    NOT_STARTED = "not_started"  #: could not be started (bad workdir, no such user …); `detail` says why
    LOST = "lost"  #: nobody saw it end (shepherd died, machine rebooted)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """How one container ended. Kept on the node until the ResourceManager has acknowledged it."""

    container_id: str
    reason: ExitReason
    #: 0 to 255; 128 + N where signal N ended it, 127 command not found, 126 not executable. None iff LOST.
    exit_code: int | None
    #: Epoch seconds; None where unknown.
    started_at: float | None
    ended_at: float
    detail: str = ""
    cpu_s: float | None = None
    max_rss_mib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecord:
    """A container's process runs: what the node knows of it."""

    container_id: str
    #: -1 between two launches.
    pid: int
    #: When the first launch began, epoch seconds.
    started_at: float
    #: Which launch it is (`hrm.model.relaunching`), and why it is not the one before.
    launch: int = 1
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerUsage:
    """What a container really uses now."""

    container_id: str
    memory_mib: int
    #: Thousandths of a core over the last heartbeat interval.
    cpu_milli: int
    read_bytes: int
    written_bytes: int
    #: What its own directory holds, and its part of what its application's directory on the node does.
    disk_mib: int
    #: 0 to 1 as the task reports by `HRM_PROGRESS_FILE`; None where it reports none.
    progress: float | None = None
    #: When the task said last that it saved its work, by touching `HRM_CHECKPOINT_FILE` (epoch seconds); None: never.
    saved_at: float | None = None
    #: Processes, not counting those that ended.
    processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUsage:
    """What the machine as a whole uses now, other people's processes included."""

    memory_used_mib: int
    cpu_milli: int
    disk_free_mib: int
    #: All its devices, by index: lent, unlent and sick ones.
    devices: tuple[DeviceUsage, ...] = ()


class LogStream(StrEnum):
    """Which of a container's two outputs."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One of the files that a container's output is kept in: its two streams, and what it wrote beside them."""

    name: str
    size_bytes: int
    #: Epoch seconds of the last change; None iff there is no file yet.
    modified_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """A piece of a log. ``end`` is True iff the container has ended and nothing follows."""

    data: bytes
    next_offset: int
    end: bool
    #: Bytes that the limit on logs dropped so far.
    dropped_bytes: int = 0
