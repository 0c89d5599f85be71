"""The options that say what a job is, which the commands that submit share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hrm.cli.output import note
from hrm.config.values import MAX_VIRTUAL_GPUS
from hrm.model.errors import CallerError, InvalidInput
from hrm.model.isolation import IsolationMode
from hrm.model.jobs import DEFAULT_RESOURCES, MAX_ENV_BYTES, GangSpec, JobSpec, MasterSpec, TaskGroupSpec, TerminalSize
from hrm.model.reports import UploadReport
from hrm.model.resources import Resources
from hrm.model.units import format_bytes, parse_duration_s, parse_memory_mib, parse_milli

if TYPE_CHECKING:
    from hrm.sdk.client import Client

QueueOption = Annotated[str | None, typer.Option("--queue", "-q", help="Queue to submit to.", metavar="QUEUE")]
CpusOption = Annotated[
    str | None, typer.Option("--cpus", "-c", metavar="NUMBER", help="CPUs of each task: 2, 0.5 [default: 1].")
]
MemoryOption = Annotated[
    str | None, typer.Option("--memory", "-m", metavar="SIZE", help="Memory of each task: 512M, 4G [default: 1G].")
]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", "-g", metavar="NUMBER", help="GPUs of each task: 1, 0.5, or MODEL:1.")
]
GpuModelOption = Annotated[
    str | None, typer.Option("--gpu-model", metavar="MODEL", help="Only GPUs whose model matches: '*2080 Ti', 'H100*'.")
]
VirtualGpusOption = Annotated[
    int | None,
    typer.Option(
        "--virtual-gpus",
        metavar="NUMBER",
        min=0,
        max=MAX_VIRTUAL_GPUS,
        help="A server that is started lends so many GPUs that do no arithmetic, instead of real ones.",
    ),
]
IsolationOption = Annotated[
    IsolationMode | None,
    typer.Option("--isolation", help="What a server that is started enforces [default: node.isolation]."),
]
TasksOption = Annotated[
    int | None, typer.Option("--tasks", "-n", metavar="NUMBER", help="How many tasks run it [default: 1].")
]
NameOption = Annotated[
    str | None, typer.Option("--name", "-J", metavar="NAME", help="Name of the job [default: the program's].")
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="NAME=VALUE", help="Set a variable (again for more); NAME alone takes yours."),
]
CleanEnvOption = Annotated[bool, typer.Option("--clean-env", help="Do not pass on your environment.")]
WorkdirOption = Annotated[
    Path | None, typer.Option("--workdir", "-D", metavar="DIR", help="Directory to run in [default: where you are].")
]
SharedOption = Annotated[
    list[str] | None,
    typer.Option("--shared", metavar="PATH", help="Only on nodes where this shared path is there (again for more)."),
]
InputsOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="PATH", help="It reads this: preferably where a node has it (again for more)."),
]
ConstraintOption = Annotated[
    str | None,
    typer.Option(
        "--constraint",
        "-C",
        metavar="EXPR",
        help="Only on nodes with these attributes: 'os=debian12 & !gpu_model=*T4'.",
    ),
]
NodeLabelOption = Annotated[
    str | None,
    typer.Option(
        "--node-label", metavar="LABEL", help="Only on nodes with this label; '' for none [default: the queue's]."
    ),
]
PythonEnvOption = Annotated[
    Path | None,
    typer.Option("--python-env", metavar="FILE", help="Run in an environment of a requirements.txt or pyproject.toml."),
]
UploadOption = Annotated[
    Path | None,
    typer.Option("--upload", metavar="DIR", help="A copy of this directory is where each task runs (docs/files.md)."),
]
TimeoutOption = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="End a task after: 90s, 2h, 10:30 (M:S), 1-12 (D-H)."),
]
RetriesOption = Annotated[
    int | None, typer.Option("--retries", metavar="NUMBER", help="Try a failed task again so often [default: 0].")
]
MaxFailuresOption = Annotated[
    int | None,
    typer.Option(
        "--max-failures", metavar="NUMBER", help="Give up once more tasks than this have failed [default: never]."
    ),
]
PriorityOption = Annotated[
    int | None, typer.Option("--priority", metavar="NUMBER", help="Higher runs first within a fifo queue.")
]
MasterOption = Annotated[
    bool,
    typer.Option("--master", help="It is a master of its own: it asks for further containers (hrm.sdk)."),
]
GangOption = Annotated[bool, typer.Option("--gang", help="All tasks begin at once or not at all.")]
GangTimeoutOption = Annotated[
    str | None,
    typer.Option("--gang-timeout", metavar="TIME", help="Of a gang: fail if it has not begun after so long: 10m, 2h."),
]
TasksPerNodeOption = Annotated[
    int | None,
    typer.Option("--tasks-per-node", metavar="NUMBER", help="Of a gang: tasks on one node at most [default: any]."),
]
OpportunisticOption = Annotated[
    bool, typer.Option("--opportunistic", help="It runs on what others leave, and ends as soon as those want it.")
]
ErrorCodeOption = Annotated[
    int | None,
    typer.Option(
        "--error-code",
        metavar="CODE",
        min=1,
        max=255,
        help="Exit code of hrm's own errors, to tell them from the command's.",
    ),
]

#: Set by HRM in each container: those of a job that calls `hrm run` itself must not reach the job it makes. And a
#: token is no business of the store, which keeps a job's environment.
_NOT_PASSED = (
    "HRM_APPLICATION_ID",
    "HRM_CONTAINER_ID",
    "HRM_CONTAINER_DIR",
    "HRM_TASK_INDEX",
    "HRM_TASK_COUNT",
    "HRM_QUEUE",
    "HRM_PROGRESS_FILE",
    "HRM_END_TIME",
    "HRM_TOKEN",
    "HRM_AM_TOKEN",
    "HRM_ATTEMPT_ID",
    "HRM_NODE_RANK",
    "HRM_GANG_SIZE",
    "HRM_HOSTS",
    "MASTER_ADDR",
    "MASTER_PORT",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the options say, as they were typed; None where one was not given. A field more is an option more in each
    command that takes them (`takes_job_options`)."""

    queue: QueueOption = None
    cpus: CpusOption = None
    memory: MemoryOption = None
    gpus: GpusOption = None
    gpu_model: GpuModelOption = None
    tasks: TasksOption = None
    name: NameOption = None
    env: EnvOption = None
    clean_env: CleanEnvOption = False
    workdir: WorkdirOption = None
    timeout: TimeoutOption = None
    retries: RetriesOption = None
    max_failures: MaxFailuresOption = None
    priority: PriorityOption = None
    #: True iff what is submitted is a master of its own.
    master: MasterOption = False
    #: A directory to be uploaded, a copy of which is where each task runs.
    upload: UploadOption = None
    #: True iff its tasks are one gang, which one of the other two says as well.
    gang: GangOption = False
    gang_timeout: GangTimeoutOption = None
    tasks_per_node: TasksPerNodeOption = None
    opportunistic: OpportunisticOption = False
    shared: SharedOption = None
    inputs: InputsOption = None
    constraint: ConstraintOption = None
    node_label: NodeLabelOption = None
    python_env: PythonEnvOption = None

    def job(self, command: list[str]) -> JobSpec:
        """A job that runs ``command``. Raises InvalidInput naming the option."""
        group = TaskGroupSpec(command=tuple(command), **self._group_fields(DEFAULT_RESOURCES))
        return self._dressed(JobSpec(groups=(group,), **self._job_fields()))

    def over(self, job: JobSpec) -> JobSpec:
        """``job``, as a file declares it, with the options given winning. Raises InvalidInput naming the option."""
        groups = tuple(replace(group, **self._group_fields(group.resources)) for group in job.groups)
        fields = self._job_fields()
        if job.master is not None:
            fields["master"] = job.master
        if job.gang is not None:
            fields["gang"] = replace(job.gang, **self._gang_fields())
        return self._dressed(replace(job, groups=groups, **fields))

    def _job_fields(self) -> dict[str, Any]:
        given = {"name": self.name, "queue": self.queue, "max_failures": self.max_failures, "priority": self.priority}
        fields: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if self.python_env is not None:
            from hrm.files.python_env import read_python_env

            fields["python_env"] = read_python_env(self.python_env.expanduser())
        if self.master:
            fields["master"] = MasterSpec()
        if self.opportunistic:
            fields["opportunistic"] = True
        if self.gang or self._gang_fields():
            fields["gang"] = GangSpec(**self._gang_fields())
        return fields

    def _gang_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self.gang_timeout is not None:
            fields["timeout_s"] = parse_duration_s(self.gang_timeout, field="--gang-timeout")
        if self.tasks_per_node is not None:
            fields["tasks_per_node"] = self.tasks_per_node
        return fields

    def _group_fields(self, resources: Resources) -> dict[str, Any]:
        fields: dict[str, Any] = {"resources": self._resources(resources)}
        if self.tasks is not None:
            fields["tasks"] = self.tasks
        if self.retries is not None:
            fields["retries"] = self.retries
        if self.timeout is not None:
            fields["timeout_s"] = parse_duration_s(self.timeout, field="--timeout")
        if self.workdir is not None:
            fields["workdir"] = str(self.workdir.expanduser().absolute())
        if self.shared is not None:
            fields["shared"] = tuple(self.shared)
        if self.inputs is not None:
            fields["inputs"] = tuple(self.inputs)
        if self.constraint is not None:
            fields["constraint"] = self.constraint
        if self.node_label is not None:
            fields["node_label"] = self.node_label
        if (model := self._gpu_model()) is not None:
            fields["gpu_model"] = model
        return fields

    def _gpu_model(self) -> str | None:
        """What --gpus MODEL:NUMBER or --gpu-model says."""
        model = self.gpus.rpartition(":")[0] if self.gpus is not None else ""
        if model and self.gpu_model not in (None, model):
            raise InvalidInput(
                f"{self.gpu_model!r}, but --gpus says {model!r}", field="--gpu-model", next_step="name the model once"
            )
        return model or self.gpu_model

    def _resources(self, base: Resources) -> Resources:
        fields: dict[str, Any] = {}
        if self.cpus is not None:
            fields["vcores_milli"] = parse_milli(self.cpus, field="--cpus")
        if self.memory is not None:
            fields["memory_mib"] = parse_memory_mib(self.memory, field="--memory")
        if self.gpus is not None:
            fields["gpus_milli"] = parse_milli(self.gpus.rpartition(":")[2], field="--gpus")
        return replace(base, **fields)

    def _dressed(self, job: JobSpec) -> JobSpec:
        """With the caller's environment below each group's own and ``--env`` above it, and a directory to run in."""
        below = {} if self.clean_env else caller_environment()
        above = dict(_variable(word) for word in self.env or ())
        groups = tuple(
            replace(group, env={**below, **group.env, **above}, workdir=group.workdir or self._standing())
            for group in job.groups
        )
        return replace(job, groups=groups)

    def _standing(self) -> str | None:
        """Where a group runs that says nothing of it. What is uploaded lies in the container's own directory."""
        return None if self.upload is not None else _current_directory()


def takes_job_options(*, without: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose parameter ``options: JobOptions`` is, for the parser, each field of them in its place.

    ``without`` names the fields that make no sense for the command.
    """
    hints = get_type_hints(JobOptions, include_extras=True)
    names = [field.name for field in fields(JobOptions) if field.name not in without]
    defaults = {field.name: field.default for field in fields(JobOptions)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [inspect.Parameter(name, keyword, default=defaults[name], annotation=hints[name]) for name in names]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def parsed(**words: Any) -> None:
            command(options=JobOptions(**{name: words.pop(name) for name in names}), **words)

        given = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in given.parameters.values():
            parameters += own if parameter.name == "options" else [parameter.replace(kind=keyword)]
        parsed.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
        parsed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return parsed

    return decorate


def virtual_gpu_arguments(count: int | None) -> list[str]:
    """The option as the server takes it."""
    return [] if count is None else ["--virtual-gpus", str(count)]


def isolation_arguments(mode: IsolationMode | None) -> list[str]:
    """The option as the server takes it."""
    return [] if mode is None else ["--isolation", str(mode)]


def with_upload(job: JobSpec, directory: Path | None, client: Client) -> JobSpec:
    """The job with that directory, brought to the server where that does not have it yet; what is sent is told."""
    if directory is None:
        return job

    def told(report: UploadReport) -> None:
        size = format_bytes(report.size_bytes)
        note(f"hrm: uploading {len(report.missing)} of {report.files} files ({size} in all) …")

    return replace(job, upload=client.upload(directory.expanduser().absolute(), told=told))


def attached(job: JobSpec, *, stdin: bool, terminal: TerminalSize | None) -> JobSpec:
    """``job`` for a client that stays with it."""
    return replace(job, attached=True, stdin=stdin, terminal=terminal)


def caller_environment() -> dict[str, str]:
    """The caller's environment without what no job can be given: names that are none, and bytes that are no text."""
    environment: dict[str, str] = {}
    for name, value in os.environ.items():
        if name in _NOT_PASSED:
            continue
        try:
            value.encode()
            TaskGroupSpec(command=("true",), env={name: value})
        except (CallerError, UnicodeEncodeError):
            continue
        environment[name] = value
    if sum(len(name) + len(value.encode()) for name, value in environment.items()) > MAX_ENV_BYTES:
        raise InvalidInput(
            f"your environment is larger than {MAX_ENV_BYTES >> 10} KiB",
            field="env",
            next_step="pass --clean-env and what is needed with --env",
        )
    return environment


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise InvalidInput(
            f"the directory you are in is gone: {error.strerror}",
            next_step="cd to one that is there, or name one with --workdir",
        ) from None


def _variable(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if equals:
        return name, value
    if name in os.environ:
        return name, os.environ[name]
    raise InvalidInput(f"{name!r} has no value and is not set here", field="--env", next_step="write NAME=VALUE")
