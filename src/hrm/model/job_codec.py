"""JobSpec as plain JSON values: the form on the wire and in the store.

```
{"name": "train", "queue": "research", "priority": 0, "max_failures": null, "attached": false, "stdin": false,
 "terminal": {"rows": 24, "columns": 80}, "master": {"max_attempts": 2, "keep_containers": false}, "upload": null,
 "python_env": {"files": {"requirements.txt": "numpy"}},
 "gang": {"timeout_s": 600.0, "tasks_per_node": 1}, "opportunistic": false,
 "groups": [{"name": "main", "command": ["python", "train.py"], "tasks": 4, "env": {"SEED": "1"},
             "resources": {"memory_mib": 4096, "vcores_milli": 2000, "gpus_milli": 500},
             "workdir": "/data", "retries": 0, "timeout_s": 3600.0, "priority": 0, "gpu_model": null,
             "depends_on": [], "shared": [], "inputs": [], "constraint": "os=debian12",
             "node_label": null}]}
```

Amounts are exact integers; human forms (``4G``) are read by the command line and by job files, not here. Only
``groups`` and each group's ``command`` must be there; what is left out has JobSpec's default, and so has each of
the built-in resources. A field nobody knows is an error, not a silence. Text is Unicode: a command or path whose
bytes are not UTF-8 is refused here, because neither JSON nor the store can hold it.
"""

from __future__ import annotations

import base64
import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.model.jobs import DEFAULT_RESOURCES, MAX_TASKS, GangSpec, JobSpec, MasterSpec, TaskGroupSpec, TerminalSize
from hrm.model.python_envs import PythonEnv
from hrm.model.resources import GPUS, MEMORY, VCORES, Resources
from hrm.model.units import LARGEST
from hrm.model.yarn import YarnApplication

_JOB_FIELDS = (
    "name",
    "queue",
    "priority",
    "max_failures",
    "attached",
    "stdin",
    "terminal",
    "master",
    "gang",
    "opportunistic",
    "upload",
    "python_env",
    "groups",
)
_GROUP_FIELDS = (
    "name",
    "command",
    "tasks",
    "env",
    "resources",
    "workdir",
    "retries",
    "timeout_s",
    "priority",
    "gpu_model",
    "depends_on",
    "shared",
    "inputs",
    "constraint",
    "node_label",
)
#: Names of amounts in the model's own messages, which speak of human forms, as they stand here.
_WIRE_FIELD = {
    "memory": f"resources.{MEMORY}",
    "cpus": f"resources.{VCORES}",
    "gpus": f"resources.{GPUS}",
    "timeout": "timeout_s",
}
#: What somebody who forgot the unit writes; it must not become a resource nobody has.
_MEANT_BUILT_IN = {
    "memory": MEMORY,
    "mem": MEMORY,
    "vcores": VCORES,
    "vcpus": VCORES,
    "cpus": VCORES,
    "cpu": VCORES,
    "gpus": GPUS,
    "gpu": GPUS,
}
_RESOURCE_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_./-]{0,127}$")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def job_to_dict(job: JobSpec) -> dict[str, Any]:
    """Plain JSON values with every field written out, so that a later default does not change a stored job."""
    return {
        "name": job.name,
        "queue": job.queue,
        "priority": job.priority,
        "max_failures": job.max_failures,
        "attached": job.attached,
        "stdin": job.stdin,
        "terminal": None if job.terminal is None else {"rows": job.terminal.rows, "columns": job.terminal.columns},
        "master": None
        if job.master is None
        else {
            "max_attempts": job.master.max_attempts,
            "keep_containers": job.master.keep_containers,
            "validity_interval_s": job.master.validity_interval_s,
            "node_label": job.master.node_label,
        },
        "gang": None
        if job.gang is None
        else {"timeout_s": job.gang.timeout_s, "tasks_per_node": job.gang.tasks_per_node},
        "opportunistic": job.opportunistic,
        "upload": job.upload,
        "python_env": None if job.python_env is None else {"files": dict(job.python_env.files)},
        "groups": [
            {
                "name": group.name,
                "command": list(group.command),
                "tasks": group.tasks,
                "env": dict(group.env),
                "resources": group.resources.as_dict(),
                "workdir": group.workdir,
                "retries": group.retries,
                "timeout_s": group.timeout_s,
                "priority": group.priority,
                "gpu_model": group.gpu_model,
                "depends_on": list(group.depends_on),
                "shared": list(group.shared),
                "inputs": list(group.inputs),
                "constraint": group.constraint,
                "node_label": group.node_label,
            }
            for group in job.groups
        ],
        **({} if job.yarn is None else {"yarn": _yarn_to_dict(job.yarn)}),
    }


def job_from_dict(data: object, *, kept: bool = True) -> JobSpec:
    """The job that ``data`` describes. Not ``kept``: as users may write it, who cannot say what YARN's clients say.

    Raises InvalidInput with the path of what is wrong (``groups[2].resources.memory_mib``), and TooLarge for a
    command or an environment over its limit.
    """
    fields = _object(data, "", (*_JOB_FIELDS, "yarn") if kept else _JOB_FIELDS)
    if "groups" not in fields:
        raise InvalidInput(
            "is missing", field="groups", next_step='give "groups": [{"command": ["program", "argument"]}]'
        )
    groups = _list(fields["groups"], "groups")
    if len(groups) > MAX_TASKS:
        raise InvalidInput(f"more than {MAX_TASKS}: {len(groups)}", field="groups")
    max_failures = fields.get("max_failures")
    terminal = fields.get("terminal")
    master = fields.get("master")
    gang = fields.get("gang")
    yarn = fields.get("yarn")
    return JobSpec(
        groups=tuple(_group(group, f"groups[{position}]") for position, group in enumerate(groups)),
        name=_text(fields.get("name", ""), "name"),
        queue=_optional_text(fields.get("queue"), "queue"),
        priority=_integer(fields.get("priority", 0), "priority"),
        max_failures=None if max_failures is None else _integer(max_failures, "max_failures"),
        attached=_boolean(fields.get("attached", False), "attached"),
        stdin=_boolean(fields.get("stdin", False), "stdin"),
        terminal=None if terminal is None else _terminal(terminal, "terminal"),
        master=None if master is None else _master(master, "master"),
        gang=None if gang is None else _gang(gang, "gang"),
        opportunistic=_boolean(fields.get("opportunistic", False), "opportunistic"),
        yarn=None if yarn is None else _yarn(yarn, "yarn"),
        upload=_optional_text(fields.get("upload"), "upload"),
        python_env=None if (python := fields.get("python_env")) is None else _python_env(python, "python_env"),
    )


def _group(data: object, path: str) -> TaskGroupSpec:
    fields = _object(data, path, _GROUP_FIELDS)
    if "command" not in fields:
        raise InvalidInput("is missing", field=f"{path}.command", next_step='give "command": ["program", "argument"]')
    command = _list(fields["command"], f"{path}.command")
    timeout_s = fields.get("timeout_s")
    depends_on = _list(fields.get("depends_on", []), f"{path}.depends_on")
    shared = _list(fields.get("shared", []), f"{path}.shared")
    inputs = _list(fields.get("inputs", []), f"{path}.inputs")
    with _at(path):
        return TaskGroupSpec(
            command=tuple(_text(part, f"command[{position}]") for position, part in enumerate(command)),
            name=_text(fields.get("name", "main"), "name"),
            tasks=_integer(fields.get("tasks", 1), "tasks"),
            env=_env(fields.get("env", {}), "env"),
            resources=resources_from_dict(fields.get("resources", {}), "resources"),
            workdir=_optional_text(fields.get("workdir"), "workdir"),
            retries=_integer(fields.get("retries", 0), "retries"),
            timeout_s=None if timeout_s is None else _seconds(timeout_s, "timeout_s"),
            priority=_integer(fields.get("priority", 0), "priority"),
            gpu_model=_optional_text(fields.get("gpu_model"), "gpu_model"),
            depends_on=tuple(_text(name, f"depends_on[{number}]") for number, name in enumerate(depends_on)),
            shared=tuple(_text(one, f"shared[{number}]") for number, one in enumerate(shared)),
            inputs=tuple(_text(one, f"inputs[{number}]") for number, one in enumerate(inputs)),
            constraint=_optional_text(fields.get("constraint"), "constraint"),
            node_label=_optional_text(fields.get("node_label"), "node_label"),
        )


def launch_from_dict(data: object) -> tuple[tuple[str, ...], dict[str, str], str | None]:
    """Command, environment and directory as a master of its own gives them for a container. Raises InvalidInput."""
    fields = _object(data, "", ("command", "env", "workdir"))
    if "command" not in fields:
        raise InvalidInput("is missing", field="command", next_step='give "command": ["program", "argument"]')
    command = _list(fields["command"], "command")
    return (
        tuple(_text(part, f"command[{position}]") for position, part in enumerate(command)),
        _env(fields.get("env", {}), "env"),
        _optional_text(fields.get("workdir"), "workdir"),
    )


def resources_from_dict(data: object, path: str) -> Resources:
    """Exact amounts by name; of the built-in ones what is left out has a task's default. Raises InvalidInput."""
    amounts = _object(data, path, None)
    for name, amount in amounts.items():
        if right := _MEANT_BUILT_IN.get(name.lower()):
            raise InvalidInput("unknown resource", field=f"{path}.{name}", next_step=f"did you mean {right}?")
        if not _RESOURCE_NAME.match(name):
            raise InvalidInput(f"not a resource's name: {name[:40]!r}", field=path, next_step="begin with a letter")
        if _integer(amount, f"{path}.{name}") < 0:
            raise InvalidInput(f"cannot be negative: {amount}", field=f"{path}.{name}")
    return Resources.of({**DEFAULT_RESOURCES.as_dict(), **amounts})


def _env(data: object, path: str) -> dict[str, str]:
    return {name: _text(value, f"{path}.{name}") for name, value in _object(data, path, None).items()}


def _python_env(data: object, path: str) -> PythonEnv:
    fields = _object(data, path, ("files",))
    return PythonEnv(files=_env(fields.get("files", {}), f"{path}.files"))


def _terminal(data: object, path: str) -> TerminalSize:
    fields = _object(data, path, ("rows", "columns"))
    missing = {"rows", "columns"} - fields.keys()
    if missing:
        raise InvalidInput(f"is missing {' and '.join(sorted(missing))}", field=path)
    return TerminalSize(
        rows=_integer(fields["rows"], f"{path}.rows"), columns=_integer(fields["columns"], f"{path}.columns")
    )


def _master(data: object, path: str) -> MasterSpec:
    fields = _object(data, path, ("max_attempts", "keep_containers", "validity_interval_s", "node_label"))
    interval_s = fields.get("validity_interval_s")
    with _at(path):
        return MasterSpec(
            max_attempts=_integer(fields.get("max_attempts", MasterSpec().max_attempts), "max_attempts"),
            keep_containers=_boolean(fields.get("keep_containers", False), "keep_containers"),
            validity_interval_s=None if interval_s is None else _seconds(interval_s, "validity_interval_s"),
            node_label=_optional_text(fields.get("node_label"), "node_label"),
        )


def _yarn_to_dict(yarn: YarnApplication) -> dict[str, Any]:
    return {
        "application_type": yarn.application_type,
        "tags": list(yarn.tags),
        "unmanaged": yarn.unmanaged,
        "log_context": base64.b64encode(yarn.log_context).decode(),
        "lifetime_s": yarn.lifetime_s,
        "view_acl": yarn.view_acl,
        "modify_acl": yarn.modify_acl,
    }


_YARN_FIELDS = tuple(_yarn_to_dict(YarnApplication()))


def _yarn(data: object, path: str) -> YarnApplication:
    fields = _object(data, path, _YARN_FIELDS)
    tags, lifetime_s = _list(fields.get("tags", []), f"{path}.tags"), fields.get("lifetime_s")
    with _at(path):
        return YarnApplication(
            application_type=_text(fields.get("application_type", "YARN"), "application_type"),
            tags=tuple(_text(tag, f"tags[{number}]") for number, tag in enumerate(tags)),
            unmanaged=_boolean(fields.get("unmanaged", False), "unmanaged"),
            log_context=_bytes(fields.get("log_context", ""), "log_context"),
            lifetime_s=None if lifetime_s is None else _seconds(lifetime_s, "lifetime_s"),
            view_acl=_text(fields.get("view_acl", ""), "view_acl"),
            modify_acl=_text(fields.get("modify_acl", ""), "modify_acl"),
        )


def _bytes(data: object, path: str) -> bytes:
    try:
        return base64.b64decode(_text(data, path), validate=True)
    except ValueError:
        raise InvalidInput("is not base64", field=path) from None


def _gang(data: object, path: str) -> GangSpec:
    fields = _object(data, path, ("timeout_s", "tasks_per_node"))
    timeout_s, tasks_per_node = fields.get("timeout_s"), fields.get("tasks_per_node")
    with _at(path):
        return GangSpec(
            timeout_s=None if timeout_s is None else _seconds(timeout_s, "timeout_s"),
            tasks_per_node=None if tasks_per_node is None else _integer(tasks_per_node, "tasks_per_node"),
        )


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Errors from inside name the field as it stands on the wire, with its whole path."""
    try:
        yield
    except InvalidInput as error:
        field = _WIRE_FIELD.get(error.field, error.field)
        if field in (MEMORY, VCORES, GPUS):
            field = f"resources.{field}"
        raise InvalidInput(
            error.problem, field=f"{path}.{field}" if field else path, next_step=error.next_step
        ) from None


def _object(data: object, path: str, known: Collection[str] | None) -> Mapping[str, Any]:
    """``data`` if it is a JSON object with none but ``known`` names (None: any)."""
    if not isinstance(data, Mapping):
        raise InvalidInput(f"must be an object, not {_kind(data)}", field=path)
    for name in data:
        if not isinstance(name, str) or _SURROGATE.search(name):
            raise InvalidInput(f"not a name: {name!r:.40}", field=path)
        if known is not None and name not in known:
            near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.5)
            raise InvalidInput(
                f"unknown field {name[:40]!r}",
                field=path,
                next_step=f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}",
            )
    return data


def _list(data: object, path: str) -> list[Any]:
    if not isinstance(data, (list, tuple)):
        raise InvalidInput(f"must be a list, not {_kind(data)}", field=path)
    return list(data)


def _text(data: object, path: str) -> str:
    if not isinstance(data, str):
        raise InvalidInput(f"must be text, not {_kind(data)}", field=path)
    if _SURROGATE.search(data):
        raise InvalidInput("is not valid Unicode", field=path, next_step="use names whose bytes are UTF-8")
    return data


def _optional_text(data: object, path: str) -> str | None:
    return None if data is None else _text(data, path)


def _boolean(data: object, path: str) -> bool:
    if not isinstance(data, bool):
        raise InvalidInput(f"must be true or false, not {_kind(data)}", field=path)
    return data


def _integer(data: object, path: str) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise InvalidInput(f"must be a whole number, not {_kind(data)}", field=path)
    if abs(data) > LARGEST:
        raise InvalidInput("is out of range", field=path)
    return data


def _seconds(data: object, path: str) -> float:
    if isinstance(data, bool) or not isinstance(data, (int, float)):
        raise InvalidInput(f"must be a number of seconds, not {_kind(data)}", field=path)
    # An integer may be too large for a float, so the range comes first.
    if not (-LARGEST <= data <= LARGEST and math.isfinite(data)):
        raise InvalidInput("is out of range", field=path)
    return float(data)


def _kind(data: object) -> str:
    if data is None:
        return "null"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a fraction",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(data), type(data).__name__)
