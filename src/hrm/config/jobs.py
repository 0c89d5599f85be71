"""Reads a job from a YAML file.

    name: train
    queue: research
    command: [python, train.py, --epochs, 10]
    tasks: 8
    cpus: 2
    memory: 4G

Several kinds of tasks go into ``groups``, each with the same keys as above; what stands outside is their default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hrm.config.documents import BadDocument, Document
from hrm.config.fields import Gpus, MemoryMib, Milli, Scalar, Seconds, Strict, reader
from hrm.config.keys import KeyPath
from hrm.config.ray_jobs import ray_job
from hrm.files.python_env import read_python_env
from hrm.model.errors import InvalidInput, TooLarge
from hrm.model.jobs import DEFAULT_RESOURCES, GangSpec, JobSpec, MasterSpec, TaskGroupSpec
from hrm.model.python_envs import PythonEnv
from hrm.model.resources import Resources


def _command(value: Any) -> list[Any]:
    if isinstance(value, str):
        raise InvalidInput(
            "must be a list, not one string", next_step="write [program, argument, …], or [sh, -c, '…'] for a shell"
        )
    if not isinstance(value, list) or not value:
        raise InvalidInput("must be a list of the program and its arguments", next_step="write for example [sleep, 10]")
    for number, part in enumerate(value):
        if part is None or isinstance(part, (dict, list)):
            raise InvalidInput(f"argument {number} is no text", next_step="quote it")
    return value


class JobKind(StrEnum):
    """What looks after the job: the built-in task set, or the program that is submitted.

    With `ray` the built-in one does, and the tasks form a Ray cluster of their own (`hrm.config.ray_jobs`).
    """

    TASKS = "tasks"
    MASTER = "master"
    RAY = "ray"


class GangShape(Strict):
    """That all tasks begin at once or not at all."""

    timeout: Seconds | None = Field(default=None, description="The job fails if it has waited so long to begin.")
    tasks_per_node: int | None = Field(default=None, description="Tasks on one node at most.")


def _gang(value: Any) -> Any:
    """``true`` is a gang without limits."""
    return {} if value is True else None if value is False else value


class GroupShape(Strict):
    """What may differ from group to group."""

    command: Annotated[list[Any], reader(_command)] | None = Field(
        default=None, description="Program and arguments, a list."
    )
    tasks: int | None = Field(default=None, description="How many tasks run it.")
    cpus: Milli | None = Field(default=None, description="CPUs of each task.")
    memory: MemoryMib | None = Field(default=None, description="Memory of each task.")
    gpus: Gpus | None = Field(default=None, description="GPUs of each task; below 1, a part of one.")
    gpu_model: str | None = Field(default=None, description="Only GPUs whose model matches this pattern.")
    env: dict[str, Scalar] | None = Field(default=None, description="Environment of each task.")
    workdir: str | None = Field(default=None, description="Where it runs; relative to the file's directory.")
    retries: int | None = Field(default=None, description="How often a failed task is tried again.")
    timeout: Seconds | None = Field(default=None, description="A task that runs longer is ended and has failed.")
    shared: list[str] | None = Field(default=None, description="Shared paths that must be there on its nodes.")
    inputs: list[str] | None = Field(default=None, description="Paths it reads; it would like to run where they are.")
    constraint: str | None = Field(default=None, description="Only on nodes whose attributes meet this expression.")
    node_label: str | None = Field(default=None, description="Only on nodes with this label.")


class NamedGroupShape(GroupShape):
    """One of several groups of a job file."""

    name: str | None = Field(default=None, description="Name of the group.")
    priority: int | None = Field(default=None, description="Lower runs first within the job.")
    depends_on: list[str] | None = Field(
        default=None, description="Groups whose tasks must all have succeeded before these begin."
    )


class JobShape(GroupShape):
    """A job file: the job's own keys, and those of its groups where all share them."""

    name: str | None = Field(default=None, description="Name of the job.")
    queue: str | None = Field(default=None, description="Queue it goes to.")
    priority: int | None = Field(default=None, description="Higher runs first within a fifo queue.")
    kind: Annotated[JobKind, Field(strict=False)] | None = Field(
        default=None,
        description="tasks; master: one task that asks for further containers itself; ray: a Python script on them.",
    )
    max_attempts: int | None = Field(default=None, description="Of a master: how often it is started.")
    keep_containers: bool | None = Field(
        default=None, description="Of a master: its containers go on when it fails, for its next attempt."
    )
    gang: Annotated[GangShape | None, BeforeValidator(_gang)] = Field(
        default=None, description="All tasks begin at once or not at all: true, or with the keys below."
    )
    opportunistic: bool | None = Field(
        default=None, description="It runs on what others leave, and ends as soon as those want it."
    )
    max_failures: int | None = Field(default=None, description="The job fails once more tasks than this have failed.")
    upload: str | None = Field(
        default=None, description="Directory that each container finds a copy of; relative to the file's directory."
    )
    python_env: str | None = Field(
        default=None,
        description="requirements.txt or pyproject.toml of the environment it runs in; relative to the file.",
    )
    groups: list[NamedGroupShape] | None = Field(
        default=None, description="Several kinds of tasks, each with the keys above."
    )


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job, and what its file names on this machine."""

    job: JobSpec
    #: To be uploaded before the job can name it; None iff nothing is.
    upload: Path | None


def load_job(path: Path) -> JobFile:
    """Raises InvalidInput where the file cannot be read, BadDocument with every finding where it is wrong."""
    document, directory = Document.load(path), path.absolute().parent
    job = parse_job(document, directory)
    shape = document.fit(JobShape)
    assert shape is not None, "it was parsed"
    return JobFile(job, None if shape.upload is None else directory / Path(shape.upload).expanduser())


def parse_job(document: Document, directory: Path) -> JobSpec:
    """``directory`` is what a relative ``workdir`` starts from. Raises BadDocument with every finding."""
    shape = document.fit(JobShape)
    if shape is None:
        document.raise_findings()
    assert shape is not None, "a shape that does not fit has findings"
    if shape.groups is None:
        groups = [_group(document, (), shape, GroupShape(), directory, name="main", priority=0)]
    else:
        groups = [
            _group(
                document,
                ("groups", number),
                group,
                shape,
                directory,
                name=group.name if group.name is not None else f"group{number}",
                priority=group.priority or 0,
                depends_on=tuple(group.depends_on or ()),
            )
            for number, group in enumerate(shape.groups)
        ]
    gang = None if shape.gang is None else _gang_spec(document, shape.gang)
    document.raise_findings()
    try:
        job = JobSpec(
            groups=tuple(group for group in groups if group is not None),
            name=shape.name or "",
            queue=shape.queue,
            max_failures=shape.max_failures,
            priority=shape.priority or 0,
            master=_master(shape),
            python_env=None if shape.python_env is None else _python_env(directory, shape.python_env),
            gang=gang,
            opportunistic=bool(shape.opportunistic),
        )
        return ray_job(job) if shape.kind is JobKind.RAY else job
    except InvalidInput as error:
        document.add_error((), error)
        raise BadDocument(document.findings) from None


def _gang_spec(document: Document, shape: GangShape) -> GangSpec | None:
    """None, with findings added, where it is wrong."""
    try:
        return GangSpec(timeout_s=shape.timeout, tasks_per_node=shape.tasks_per_node)
    except InvalidInput as error:
        document.add_error(("gang",), error)
    return None


def _python_env(directory: Path, named: str) -> PythonEnv:
    """Raises InvalidInput."""
    try:
        return read_python_env(directory / Path(named).expanduser())
    except TooLarge as error:
        raise InvalidInput(error.message, next_step=error.next_step) from None


def _master(shape: JobShape) -> MasterSpec | None:
    """Raises InvalidInput."""
    if shape.kind is not JobKind.MASTER:
        for key in ("max_attempts", "keep_containers"):
            if getattr(shape, key) is not None:
                raise InvalidInput("is said of a master", field=key, next_step="add kind: master, or take it out")
        return None
    return MasterSpec(
        max_attempts=_or(shape.max_attempts, MasterSpec().max_attempts),
        keep_containers=_or(shape.keep_containers, False),
    )


def _group(
    document: Document,
    path: KeyPath,
    own: GroupShape,
    outer: GroupShape,
    directory: Path,
    *,
    name: str,
    priority: int,
    depends_on: tuple[str, ...] = (),
) -> TaskGroupSpec | None:
    """One group, ``outer`` filling in what it does not say; None, with findings added, where that is wrong."""

    def pick(key: str) -> Any:
        value = getattr(own, key)
        return getattr(outer, key) if value is None else value

    command_at = (*path, "command") if own.command is not None else ("command",)
    command = pick("command")
    if command is None:
        if not any(finding.key.endswith("command") for finding in document.findings):
            document.add(path, "has no command", next_step="add command: [program, argument, …]")
        return None
    env = {key: document.text(("env", key)) for key in outer.env or {}}
    env |= {key: document.text((*path, "env", key)) for key in own.env or {}}
    cpus, memory, gpus, workdir = pick("cpus"), pick("memory"), pick("gpus"), pick("workdir")
    try:
        return TaskGroupSpec(
            name=name,
            command=tuple(document.text((*command_at, number)) for number in range(len(command))),
            tasks=_or(pick("tasks"), 1),
            env=env,
            resources=Resources(
                memory_mib=_or(memory, DEFAULT_RESOURCES.memory_mib),
                vcores_milli=_or(cpus, DEFAULT_RESOURCES.vcores_milli),
                gpus_milli=_or(gpus, 0),
            ),
            workdir=None if workdir is None else str(directory / Path(workdir).expanduser()),
            retries=_or(pick("retries"), 0),
            timeout_s=pick("timeout"),
            priority=priority,
            gpu_model=pick("gpu_model"),
            depends_on=depends_on,
            shared=tuple(pick("shared") or ()),
            inputs=tuple(pick("inputs") or ()),
            constraint=pick("constraint"),
            node_label=pick("node_label"),
        )
    except InvalidInput as error:
        document.add_error(path, error)
    except TooLarge as error:
        document.add(path, error.message, next_step=error.next_step)
    return None


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
