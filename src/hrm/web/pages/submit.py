"""The form that submits a job, and says the command line and the job file that would do the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from hrm.api.tokens import Identity
from hrm.model.errors import HrmError, InvalidInput
from hrm.model.jobs import DEFAULT_RESOURCES, JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.units import format_memory, format_milli, parse_duration_s, parse_memory_mib, parse_milli
from hrm.web.desk import Desk
from hrm.web.page import ROOT, Page, Visit

PATH = f"{ROOT}/submit"
FIELDS = (
    "command",
    "name",
    "queue",
    "tasks",
    "cpus",
    "memory",
    "gpus",
    "gpu_model",
    "constraint",
    "node_label",
    "workdir",
    "timeout",
    "retries",
    "env",
)


async def gather(desk: Desk, visit: Visit) -> dict[str, Any]:
    fields = {name: visit.query.get(name, "") for name in FIELDS}
    found: dict[str, Any] = {
        "fields": fields,
        "queues": [queue.name for queue in desk.queues() if queue.type == "leaf"],
        "problem": "",
        "preview": None,
    }
    if not fields["command"]:
        return found
    try:
        job = job_of(fields)
        place = await desk.facade.place(job, user=visit.identity.user, admin=visit.identity.admin)
        found["preview"] = {"queue": place.queue, "command": command_line(job), "file": job_file(job)}
    except HrmError as error:
        found["problem"] = str(error)
    return found


async def submit(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """What the form's button does."""
    await desk.accounts.check_submitter(who.user)
    report = await desk.facade.submit(job_of(fields), user=who.user, admin=who.admin)
    return f"{ROOT}/applications/{report.application_id}"


def job_of(fields: Mapping[str, str]) -> JobSpec:
    """The job that the form describes. Raises InvalidInput naming the field."""
    given = {name: fields.get(name, "").strip() for name in FIELDS}
    try:
        command = shlex.split(given["command"])
    except ValueError as error:
        raise InvalidInput(f"not a command line: {error}", field="command") from None
    if not command:
        raise InvalidInput("is missing", field="command", next_step="write the program and its arguments")
    resources = Resources(
        memory_mib=parse_memory_mib(given["memory"]) if given["memory"] else DEFAULT_RESOURCES.memory_mib,
        vcores_milli=parse_milli(given["cpus"], field="cpus") if given["cpus"] else DEFAULT_RESOURCES.vcores_milli,
        gpus_milli=parse_milli(given["gpus"], field="gpus") if given["gpus"] else 0,
    )
    group: dict[str, Any] = {"command": tuple(command), "resources": resources, "env": _env(given["env"])}
    for name in ("tasks", "retries"):
        if given[name]:
            group[name] = _whole(given[name], name)
    if given["timeout"]:
        group["timeout_s"] = parse_duration_s(given["timeout"], field="timeout")
    for name in ("gpu_model", "constraint", "node_label", "workdir"):
        if given[name]:
            group[name] = given[name]
    named: dict[str, Any] = {name: given[name] for name in ("name", "queue") if given[name]}
    return JobSpec(groups=(TaskGroupSpec(**group),), **named)


def command_line(job: JobSpec) -> str:
    """The `hrm submit` that submits the same."""
    group = job.groups[0]
    words = ["hrm", "submit"]
    for key, value in _told(job).items():
        if key not in ("command", "env"):
            words += [f"--{key.replace('_', '-')}", str(value)]
    words += [word for pair in group.env.items() for word in ("--env", "=".join(pair))]
    return shlex.join([*words, "--", *group.command])


def job_file(job: JobSpec) -> str:
    """The job file that submits the same."""
    return yaml.safe_dump(_told(job), sort_keys=False, allow_unicode=True, default_flow_style=None)


def _told(job: JobSpec) -> dict[str, Any]:
    """What is not as it is by default, in the keys of a job file."""
    group, plain = job.groups[0], TaskGroupSpec(command=("true",))
    told: dict[str, Any] = {}
    if job.name:
        told["name"] = job.name
    if job.queue:
        told["queue"] = job.queue
    told["command"] = list(group.command)
    if group.tasks != plain.tasks:
        told["tasks"] = group.tasks
    told["cpus"] = format_milli(group.resources.vcores_milli)
    told["memory"] = format_memory(group.resources.memory_mib)
    if group.resources.gpus_milli:
        told["gpus"] = format_milli(group.resources.gpus_milli)
    for name in ("gpu_model", "constraint", "node_label", "workdir"):
        if getattr(group, name) is not None:
            told[name] = getattr(group, name)
    if group.timeout_s is not None:
        told["timeout"] = f"{group.timeout_s:g}s"
    if group.retries:
        told["retries"] = group.retries
    if group.env:
        told["env"] = dict(group.env)
    return told


def _env(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if name and not equals:
            raise InvalidInput(f"{name[:40]!r} has no value", field="env", next_step="write NAME=VALUE, one in a line")
        if name:
            found[name] = value
    return found


def _whole(text: str, field: str) -> int:
    if not (text.isdecimal() and len(text) < 10):
        raise InvalidInput(f"not a whole number: {text[:20]!r}", field=field)
    return int(text)


SUBMIT = Page(path=PATH, template="submit.html", gather=gather, section="submit", period_s=0, query=FIELDS)
