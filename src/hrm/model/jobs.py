"""What people submit: a job of task groups. A job becomes one application whose master is the built-in task set."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from hrm.model.attributes import parse_expression
from hrm.model.errors import InvalidInput, TooLarge
from hrm.model.files import check_path, offers_of
from hrm.model.inventory import check_label
from hrm.model.node_needs import NodeNeeds, needs_of
from hrm.model.python_envs import PythonEnv
from hrm.model.resources import Resources
from hrm.model.yarn import YarnApplication

DEFAULT_RESOURCES = Resources(memory_mib=1024, vcores_milli=1000)
MAX_TASKS = 100_000
MAX_ENV_BYTES = 512 * 1024
MAX_COMMAND_BYTES = 1024 * 1024
MAX_NAME_CHARS = 256
MAX_PRIORITY = 1_000_000
MAX_MASTER_ATTEMPTS = 100
#: All of a gang is one decision and one transaction.
MAX_GANG_TASKS = 4096
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.()%-]*")
_UPLOAD_ID = re.compile(r"[0-9a-f]{64}")
#: What would break a line or steer a terminal: C0 and C1 controls, line and paragraph separator.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroupSpec:
    """``tasks`` tasks that run one command; each learns its number from ``HRM_TASK_INDEX``."""

    command: tuple[str, ...]
    name: str = "main"
    tasks: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = DEFAULT_RESOURCES
    #: Directory to run in, on the node; None iff the container's own.
    workdir: str | None = None
    #: How often a failed task is tried again.
    retries: int = 0
    #: A task that runs longer is ended and counts as failed; None iff unlimited.
    timeout_s: float | None = None
    #: Lower is more urgent within the job.
    priority: int = 0
    gpu_model: str | None = None
    #: Names of groups of the job whose tasks must all have succeeded before one of these begins (Slurm's afterok).
    depends_on: tuple[str, ...] = ()
    #: Shared paths that must be there on its nodes.
    shared: tuple[str, ...] = ()
    #: Paths that it reads: it would like to run where they are on the node's own disks.
    inputs: tuple[str, ...] = ()
    #: Expression on attributes of its nodes (`hrm.model.attributes`); None iff any will do. Slurm's ``--constraint``.
    constraint: str | None = None
    #: Node label of its nodes, "" for none; None iff as its queue says.
    node_label: str | None = None

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise InvalidInput("is empty", field="command", next_step="give the program and its arguments")
        if any("\0" in part for part in self.command):
            raise InvalidInput("has a NUL byte", field="command")
        if sum(_size_bytes(part, "command") for part in self.command) > MAX_COMMAND_BYTES:
            raise TooLarge(f"command: longer than {MAX_COMMAND_BYTES} bytes", next_step="put it into a file")
        if not 1 <= self.tasks <= MAX_TASKS:
            raise InvalidInput(f"must be from 1 to {MAX_TASKS}: {self.tasks}", field="tasks")
        for name, value in self.env.items():
            if not _ENV_NAME.fullmatch(name) or "\0" in value:
                raise InvalidInput(f"not a variable: {name!r:.80}", field="env", next_step="write NAME=VALUE")
        if sum(len(name) + _size_bytes(value, "env") for name, value in self.env.items()) > MAX_ENV_BYTES:
            raise TooLarge(f"env: larger than {MAX_ENV_BYTES} bytes", next_step="pass a file instead")
        for name, amount in self.resources.items():
            if amount < 0:
                raise InvalidInput(f"cannot be negative: {amount}", field=name)
        if self.resources.memory_mib == 0:
            raise InvalidInput("must be above zero", field="memory", next_step="write for example 512M")
        if self.resources.vcores_milli == 0:
            raise InvalidInput("must be above zero", field="cpus", next_step="write for example 0.1")
        if self.resources.gpus_milli > 1000 and self.resources.gpus_milli % 1000:
            raise InvalidInput(
                f"a fraction of a GPU lies on one device: {self.resources.gpus_milli} thousandths",
                field="gpus",
                next_step="ask for at most 1, or for a whole number",
            )
        if self.gpu_model is not None and not self.resources.gpus_milli:
            raise InvalidInput(
                f"{self.gpu_model!r:.80} is named, but no GPU is asked for", field="gpu_model", next_step="ask for gpus"
            )
        if self.workdir is not None and (not self.workdir.startswith("/") or "\0" in self.workdir):
            raise InvalidInput(f"must be an absolute path: {self.workdir!r:.80}", field="workdir")
        if not 0 <= self.retries <= MAX_TASKS:
            raise InvalidInput(f"must be from 0 to {MAX_TASKS}: {self.retries}", field="retries")
        if self.timeout_s is not None and not (self.timeout_s > 0 and math.isfinite(self.timeout_s)):
            raise InvalidInput(f"must be above zero and finite: {self.timeout_s}", field="timeout")
        if not 0 <= self.priority <= MAX_PRIORITY:
            raise InvalidInput(f"must be from 0 to {MAX_PRIORITY}: {self.priority}", field="priority")
        for number, path in enumerate(self.shared):
            check_path(path, f"shared[{number}]")
        for number, path in enumerate(self.inputs):
            check_path(path, f"inputs[{number}]")
        if self.constraint is not None:
            parse_expression(self.constraint)
        if self.node_label:
            check_label(self.node_label, "node_label")
        _check_name(self.name)

    @property
    def needs(self) -> NodeNeeds:
        """What its nodes must be besides large enough."""
        return needs_of(offers_of(self.shared), self.constraint, self.node_label)


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    """What the client's window shows, in characters."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if not (0 < self.rows <= 10_000 and 0 < self.columns <= 10_000):
            raise InvalidInput(f"not a terminal's size: {self.rows}×{self.columns}", field="terminal")


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterSpec:
    """How the application's own master is looked after."""

    #: How often it is started before the application has failed (YARN's maxAppAttempts).
    max_attempts: int = 2
    #: True iff the containers of an attempt that failed go on, and are given to the next.
    keep_containers: bool = False
    #: Failures longer ago than this count no more; None iff all count (YARN's attemptFailuresValidityInterval).
    validity_interval_s: float | None = None
    #: Node label of what it asks for without one, "" for none; None iff as its own container, or as its queue says.
    node_label: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= MAX_MASTER_ATTEMPTS:
            raise InvalidInput(f"must be from 1 to {MAX_MASTER_ATTEMPTS}: {self.max_attempts}", field="max_attempts")
        interval_s = self.validity_interval_s
        if interval_s is not None and not (interval_s > 0 and math.isfinite(interval_s)):
            raise InvalidInput(f"must be above zero and finite: {interval_s}", field="validity_interval_s")
        if self.node_label:
            check_label(self.node_label, "node_label")


@dataclass(frozen=True, slots=True, kw_only=True)
class GangSpec:
    """That the tasks of a job run all at once or not at all."""

    #: The job fails if it has waited for so long to begin; None iff it waits as long as it takes.
    timeout_s: float | None = None
    #: Tasks on one node at most; None iff any number.
    tasks_per_node: int | None = None

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not (self.timeout_s > 0 and math.isfinite(self.timeout_s)):
            raise InvalidInput(f"must be above zero and finite: {self.timeout_s}", field="timeout")
        if self.tasks_per_node is not None and not 1 <= self.tasks_per_node <= MAX_GANG_TASKS:
            raise InvalidInput(f"must be from 1 to {MAX_GANG_TASKS}: {self.tasks_per_node}", field="tasks_per_node")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One submission.

    Tasks are numbered through all groups from 0. The job succeeds iff every task does; it fails as soon as more than
    ``max_failures`` tasks have used up their retries (None: runs on and fails in the end).
    """

    groups: tuple[TaskGroupSpec, ...]
    name: str = ""
    queue: str | None = None
    max_failures: int | None = None
    #: Higher runs first within a fifo queue.
    priority: int = 0
    #: True iff the job lives only as long as its client stays attached (`hrm run`).
    attached: bool = False
    #: True iff the (single) task reads from its client.
    stdin: bool = False
    #: Set iff the (single) task gets a terminal of its own.
    terminal: TerminalSize | None = None
    #: Set iff the (single) task is a master of its own, which asks for further containers and runs what it likes there.
    master: MasterSpec | None = None
    #: Set iff it came from a client of YARN, whose application has a master of its own.
    yarn: YarnApplication | None = None
    #: The upload that each container finds in its own directory, by its id; None iff none.
    upload: str | None = None
    #: The Python environment in which each task runs; None iff none of its own.
    python_env: PythonEnv | None = None
    #: Set iff all tasks, of all groups, are one gang: they begin together, and one that fails ends the others.
    gang: GangSpec | None = None
    #: True iff its tasks run in opportunistic containers: on what others leave, and ended as soon as those want it.
    opportunistic: bool = False

    def __post_init__(self) -> None:
        if not self.groups:
            raise InvalidInput("has no task group", field="groups")
        if len({group.name for group in self.groups}) != len(self.groups):
            raise InvalidInput("two groups have one name", field="groups")
        if self.task_count > MAX_TASKS:
            raise InvalidInput(f"more than {MAX_TASKS} tasks: {self.task_count}", field="tasks")
        if (self.stdin or self.terminal) and self.task_count != 1:
            raise InvalidInput("only a job of one task can be read from or typed to", field="stdin")
        if self.master and self.task_count != 1:
            raise InvalidInput(
                f"a master is one task, not {self.task_count}", field="tasks", next_step="ask for more in it"
            )
        if self.master and self.groups[0].retries:
            raise InvalidInput("a master has attempts", field="retries", next_step="say max_attempts")
        if self.yarn and not self.master:
            raise InvalidInput("an application of YARN's has a master", field="yarn")
        if self.master and self.opportunistic:
            raise InvalidInput(
                "a master's own container is guaranteed", field="opportunistic", next_step="ask for such in the master"
            )
        if self.gang:
            self._check_gang()
        if self.max_failures is not None and self.max_failures < 0:
            raise InvalidInput(f"cannot be negative: {self.max_failures}", field="max_failures")
        if not -MAX_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise InvalidInput(f"must be from {-MAX_PRIORITY} to {MAX_PRIORITY}: {self.priority}", field="priority")
        if self.gang is not None and any(group.inputs for group in self.groups):
            raise InvalidInput("a gang is placed as a whole, wherever all of it fits", field="inputs")
        _check_name(self.name)
        if self.upload is not None and not _UPLOAD_ID.fullmatch(self.upload):
            raise InvalidInput(
                f"not the id of an upload: {self.upload!r:.80}", field="upload", next_step="upload a directory first"
            )
        if any(group.depends_on for group in self.groups):
            _check_dependencies(self.groups)

    def _check_gang(self) -> None:
        if self.master:
            raise InvalidInput(
                "a master asks for its containers itself", field="gang", next_step="leave one of them out"
            )
        if self.task_count > MAX_GANG_TASKS:
            raise InvalidInput(f"more than {MAX_GANG_TASKS} tasks at once: {self.task_count}", field="tasks")
        if any(group.depends_on for group in self.groups):
            raise InvalidInput(
                "the tasks of a gang begin together", field="depends_on", next_step="make two jobs of it, or no gang"
            )

    @property
    def task_count(self) -> int:
        return sum(group.tasks for group in self.groups)

    @property
    def display_name(self) -> str:
        """The name given, else that of the first command's program."""
        return self.name or self.groups[0].command[0].rsplit("/", 1)[-1][:MAX_NAME_CHARS]

    def group_of(self, index: int) -> tuple[int, TaskGroupSpec]:
        """The group (with its position) in which the task numbered ``index`` stands.

        All that an own master launches counts as one with it.
        """
        if self.master:
            return 0, self.groups[0]
        for position, group in enumerate(self.groups):
            if index < group.tasks:
                return position, group
            index -= group.tasks
        raise IndexError(index)

    def in_queue(self, queue: str) -> JobSpec:
        return replace(self, queue=queue)


def _check_dependencies(groups: tuple[TaskGroupSpec, ...]) -> None:
    """Every name is a group's, none is named twice, and some order satisfies them all."""
    positions = {group.name: position for position, group in enumerate(groups)}
    for position, group in enumerate(groups):
        seen: set[str] = set()
        for number, name in enumerate(group.depends_on):
            where = f"groups[{position}].depends_on[{number}]"
            if name not in positions:
                near = difflib.get_close_matches(name[:MAX_NAME_CHARS], positions, n=1)
                hint = f"did you mean {near[0]}?" if near else "name other groups of this job"
                raise InvalidInput(f"no group is called {name!r:.80}", field=where, next_step=hint)
            if name in seen:
                raise InvalidInput(f"names {name!r:.80} twice", field=where)
            seen.add(name)
    try:
        TopologicalSorter({group.name: group.depends_on for group in groups}).prepare()
    except CycleError as error:
        # The standard library names what comes first first; people say who waits for whom.
        circle = error.args[1][:0:-1]
        begin = circle.index(min(circle, key=positions.__getitem__))
        circle = [*circle[begin:], *circle[: begin + 1]]
        raise InvalidInput(
            f"groups wait for each other in a circle: {' → '.join(circle[:8])}{' …' if len(circle) > 8 else ''}",
            field=f"groups[{positions[circle[0]]}].depends_on",
            next_step="take one of them out",
        ) from None


def _size_bytes(text: str, field: str) -> int:
    """Bytes of ``text`` where a program is given it. Raises InvalidInput where it has no bytes (lone surrogates)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput("is not valid Unicode", field=field, next_step="use names whose bytes are UTF-8") from None


def _check_name(name: str) -> None:
    """A name may hold anything printable (it is data, never run); it must fit a line."""
    if len(name) > MAX_NAME_CHARS or _CONTROL.search(name):
        raise InvalidInput(
            f"longer than {MAX_NAME_CHARS} characters or with control characters: {name[:40]!r}", field="name"
        )
