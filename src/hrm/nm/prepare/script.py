"""The shell script that a container with a launch context runs: variables, then the commands.

It says what YARN's script says, because programs are written for that: values stand in double quotes, so that ``$NAME``
in them is another variable, and the commands go through two shells (Spark escapes for both).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from hrm.model.launch_contexts import LaunchContext

#: What only the node says; the launch context's word for it does not count (YARN's sanitizeEnv).
OURS = frozenset(
    {
        "CONTAINER_ID",
        "HADOOP_TOKEN_FILE_LOCATION",
        "LOCAL_DIRS",
        "LOGNAME",
        "LOG_DIRS",
        "NM_HOST",
        "NM_HTTP_PORT",
        "NM_PORT",
        "PWD",
        "USER",
    }
)
#: What programs may find set on the node, and set otherwise (YARN's env-whitelist).
FROM_NODE = (
    "JAVA_HOME",
    "HADOOP_COMMON_HOME",
    "HADOOP_CONF_DIR",
    "HADOOP_HDFS_HOME",
    "HADOOP_HOME",
    "HADOOP_MAPRED_HOME",
    "HADOOP_YARN_HOME",
)
_PARAMETER = re.compile(r"\{\{(\w+)\}\}")
_USED = re.compile(r"\$\{?(\w+)")
_NAME = re.compile(r"[A-Za-z_]\w*")


def expanded(text: str, log_dir: str) -> str:
    """With what stands for the node's own ways written out."""
    return _PARAMETER.sub(r"$\1", text.replace("<LOG_DIR>", log_dir).replace("<CPS>", ":"))


def launch_script(context: LaunchContext, *, log_dir: str, ours: Mapping[str, str]) -> str:
    """The script's text; ``ours`` are the variables that the node alone sets."""
    theirs = {
        name: expanded(value, log_dir)
        for name, value in context.environment.items()
        # A shell could not be told of others.
        if name not in OURS and _NAME.fullmatch(name)
    }
    lines = ["#!/bin/bash", "", "set -o pipefail -e"]
    lines += [f"export {name}={_plain(value)}" for name, value in sorted(ours.items())]
    lines += [f'export {name}="{_in_double_quotes(theirs[name])}"' for name in _ordered(theirs)]
    line = " ".join(expanded(part, log_dir) for part in context.commands)
    return "\n".join([*lines, f'exec /bin/bash -c "{line}"', ""])


def _plain(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _in_double_quotes(value: str) -> str:
    """As YARN writes it: only what would end the quotes is kept from the shell."""
    return re.sub(r'(?<!\\)"', r"\"", value)


def _ordered(variables: Mapping[str, str]) -> list[str]:
    """Whoever uses another comes after it; all else as given (YARN's orderEnvByDependencies)."""
    uses = {
        name: [used for used in _USED.findall(value) if used in variables and used != name]
        for name, value in variables.items()
    }
    try:
        return [*TopologicalSorter(uses).static_order()]
    except CycleError:
        return [*variables]
