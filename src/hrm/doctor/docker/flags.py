"""Arguments that Docker's daemon is started with, against what ``daemon.json`` says.

The daemon does not start where both set the same thing (moby, ``daemon/config/config.go``: "the following directives
are specified both as a flag and in the configuration file").
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from hrm.doctor.checks import check
from hrm.doctor.docker.engine import DAEMON_JSON, configuration
from hrm.doctor.evidence import line_of, matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, restart, run
from hrm.doctor.system import System
from hrm.doctor.units import drop_ins, unit_file
from hrm.model.findings import Evidence, Finding, Severity, Text

#: Read by Debian's unit and by init scripts.
DEFAULTS = "/etc/default/docker"
_SHORT = {"H": "host", "g": "data-root", "s": "storage-driver", "G": "group", "l": "log-level", "D": "debug"}
#: What may be given several times has its plural in the file.
_PLURAL = {
    "host": "hosts",
    "exec-opt": "exec-opts",
    "storage-opt": "storage-opts",
    "log-opt": "log-opts",
    "insecure-registry": "insecure-registries",
    "registry-mirror": "registry-mirrors",
    "label": "labels",
    "add-runtime": "runtimes",
    "default-address-pool": "default-address-pools",
}

SET_TWICE = Fault(
    code="HRM-DOCKER-006",
    severity=Severity.WARNING,
    title=Text(
        "{keys}: set in daemon.json and by arguments of Docker's daemon",
        "{keys} 同时在 daemon.json 和守护进程参数中设置",
    ),
    why=Text(
        "The daemon does not start with both: the following directives are specified both as a flag and in the "
        "configuration file. One that runs will not come back after its next restart.",
        "守护进程无法启动：the following directives are specified both as a flag and in the configuration file。"
        "正在运行的守护进程下次重启后将无法恢复。",
    ),
    cure=Text(
        "Take it out of one of the two: a drop-in of the unit leaves the argument out.",
        "只保留一处：用单元的 drop-in 去掉该参数。",
    ),
)


@check("docker.arguments", SET_TWICE, quick=True)
def nothing_is_set_twice(system: System, expected: Expected) -> Iterator[Finding]:
    """What ``daemon.json`` sets no argument sets, too."""
    said = configuration(system)
    twice = {key: evidence for key, evidence in arguments(system).items() if key in said} if said else {}
    if not twice:
        return
    in_file = [line for key in twice for line, _ in matching_lines(system, DAEMON_JSON, f'"{re.escape(key)}"')]
    yield SET_TWICE.found(
        keys=", ".join(sorted(twice)),
        evidence=[*dict.fromkeys(twice.values()), *in_file],
        cure=[
            by_hand(
                f"Take it out of {DAEMON_JSON}; or with systemctl edit docker write a drop-in that first empties "
                "ExecStart (ExecStart=) and then has it whole without the argument.",
                f"从 {DAEMON_JSON} 中删除；或用 systemctl edit docker 编写 drop-in:先清空 ExecStart(ExecStart=),"
                "再写出不含该参数的完整命令。",
            ),
            run("systemctl", "daemon-reload"),
            restart("docker"),
        ],
    )


def arguments(system: System) -> dict[str, Evidence]:
    """What the daemon's service sets by arguments, by the keys of ``daemon.json``, with the lines that do."""
    path = unit_file(system, "docker")
    starts: list[Evidence] = []
    for place in [path, *drop_ins(system, "docker")] if path is not None else []:
        for number, line in enumerate((system.read(place) or "").replace("\\\n", " ").splitlines(), 1):
            name, equals, value = line.strip().partition("=")
            if name == "ExecStart" and equals:
                # An empty one takes back all before it.
                starts = [*starts, line_of(place, number, line.strip())] if value.strip() else []
    found = {key: start for start in starts for key in _keys(start.text)}
    if any("$DOCKER_OPTS" in start.text for start in starts) or path is None:
        for evidence, options in matching_lines(system, DEFAULTS, r"^\s*DOCKER_OPTS=(.+)"):
            found.update(dict.fromkeys(_keys(options[1].strip("\"'")), evidence))
    return found


def _keys(command_line: str) -> Iterator[str]:
    try:
        words = shlex.split(command_line)
    except ValueError:
        words = command_line.split()
    for word in words:
        if flag := re.match(r"--([a-z][a-z-]*)(=|$)", word):
            yield _PLURAL.get(flag[1], flag[1])
        elif (flag := re.match(r"-([HgsGlD])", word)) is not None:
            yield _PLURAL.get(_SHORT[flag[1]], _SHORT[flag[1]])
