"""Settings of Mesos that are misspelt: Mesos does not read them, or reads something else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mesos.settings import Mesos, Setting, mesos
from hrm.doctor.steps import by_hand
from hrm.doctor.system import System
from hrm.model.findings import Finding, Severity, Step, Text

#: Flags that are looked after. An unknown one is only told where it is nearly one of these.
KNOWN = (
    "acls",
    "advertise_ip",
    "advertise_port",
    "attributes",
    "cgroups_hierarchy",
    "cgroups_root",
    "cluster",
    "containerizers",
    "credential",
    "credentials",
    "docker",
    "executor_registration_timeout",
    "hostname",
    "hostname_lookup",
    "image_providers",
    "ip",
    "ip_discovery_command",
    "isolation",
    "launcher",
    "log_dir",
    "logging_level",
    "master",
    "modules",
    "modules_dir",
    "nvidia_gpu_devices",
    "offer_timeout",
    "port",
    "quiet",
    "quorum",
    "reconfiguration_policy",
    "recover",
    "recovery_timeout",
    "registry",
    "resources",
    "role_sorter",
    "roles",
    "runtime_dir",
    "strict",
    "switch_user",
    "weights",
    "whitelist",
    "work_dir",
    "zk",
    "zk_session_timeout",
)
#: Flags of Mesos that are alike to one of KNOWN, and right.
_OTHERS = frozenset({"executor_reregistration_timeout", "http_credentials", "launcher_dir"})
_ALIKE = 0.8
_LEVELS = ("INFO", "WARNING", "ERROR")
_DURATION = re.compile(r"\d+(?:\.\d+)?(?:ns|us|ms|secs|mins|hrs|days|weeks)")

_MEND = Text("Write it as the finding says, and restart the daemon.", "按提示改正后重启该守护进程。")

DOUBLED = Fault(
    code="HRM-MESOS-001",
    severity=Severity.ERROR,
    title=Text(
        "{flag} has one = too many: Mesos reads the value {value}", "{flag} 多写了一个 =:Mesos 读到的值是 {value}"
    ),
    why=Text(
        "The value begins with =. A directory of that name is made below the working directory, or it is refused.",
        "值以 = 开头。Mesos 会在当前目录下创建这个名字的目录，或拒绝该值。",
    ),
    cure=_MEND,
)
UNKNOWN = Fault(
    code="HRM-MESOS-002",
    severity=Severity.WARNING,
    title=Text("Mesos has no setting {flag}; {meant} was probably meant", "Mesos 没有设置项 {flag}，可能想写 {meant}"),
    why=Text(
        "An unknown variable is passed over in silence, so the default counts. An unknown flag on the command line "
        "keeps the daemon from starting.",
        "未知的环境变量会被悄悄忽略，使用默认值；命令行上的未知参数会使守护进程无法启动。",
    ),
    cure=_MEND,
)
PREFIX = Fault(
    code="HRM-MESOS-003",
    severity=Severity.WARNING,
    title=Text("{name} is not read: the prefix has to be MESOS_", "{name} 不会被读取：前缀必须是 MESOS_"),
    why=Text(
        "Mesos looks for variables by the prefix MESOS_ in capitals; the default counts instead.",
        "Mesos 只读取以大写 MESOS_ 开头的变量，因此使用的是默认值。",
    ),
    cure=_MEND,
)
CAPITALS = Fault(
    code="HRM-MESOS-004",
    severity=Severity.INFO,
    title=Text("{name} is written in capitals, the settings around it are not", "{name} 用了大写，而其他设置是小写"),
    why=Text(
        "Mesos reads it all the same. But who later adds {other} has two values for one flag, and one of them loses "
        "in silence.",
        "Mesos 仍会读取。但若以后又加上 {other}，同一参数就有两个值，其中一个会被悄悄忽略。",
    ),
    cure=_MEND,
)
TWICE = Fault(
    code="HRM-MESOS-005",
    severity=Severity.WARNING,
    title=Text("{flag} of the {role} has two values: {one} and {other}", "{role} 的 {flag} 有两个值：{one} 和 {other}"),
    why=Text("Only one of them counts, and a reader cannot tell which.", "只有一个有效，读的人看不出是哪一个。"),
    cure=Text("Remove the line that is not meant.", "删除不需要的那一行。"),
)
NOT_EXPORTED = Fault(
    code="HRM-MESOS-006",
    severity=Severity.ERROR,
    title=Text("{name} is set without export", "{name} 没有 export"),
    why=Text(
        "mesos-daemon.sh reads the file and then starts Mesos: what is not exported does not reach it.",
        "mesos-daemon.sh 读取该文件后启动 Mesos:没有 export 的变量传不到 Mesos。",
    ),
    cure=Text("Write export before it, and restart the daemon.", "在前面加上 export，并重启守护进程。"),
)
INVALID = Fault(
    code="HRM-MESOS-007",
    severity=Severity.ERROR,
    title=Text(
        "{flag} of the {role} cannot be {value}: it takes {wanted}", "{role} 的 {flag} 不能是 {value}：应为 {wanted}"
    ),
    why=Text(
        "The daemon does not start with it, or behaves otherwise than meant.", "守护进程无法启动，或行为与预期不符。"
    ),
    cure=_MEND,
)


@check("mesos.spelling", DOUBLED, UNKNOWN, PREFIX, CAPITALS, TWICE, NOT_EXPORTED)
def settings_are_spelt_as_mesos_reads_them(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Names and values of settings are such as Mesos reads."""
    told = mesos(system, expected)
    for place in told.remote:
        yield Unseen(f"{place}: it lies on a server, which may not answer")
    for setting in told.settings:
        yield from _of_one(setting)
    yield from _capitals(told)
    yield from _twice(told)


@check("mesos.values", INVALID)
def values_are_such_as_mesos_takes(system: System, expected: Expected) -> Iterator[Finding]:
    """Ports, durations, levels and directories are what Mesos takes for one."""
    for setting in mesos(system, expected).settings:
        wanted = _wanted(setting)
        if wanted and not setting.value.startswith("="):
            yield INVALID.found(
                flag=setting.flag,
                role=setting.role,
                value=setting.value or "empty",
                wanted=wanted,
                evidence=[setting.evidence],
                cure=[_write(setting, f"{setting.spelled}={wanted}"), restart_by_hand(setting.role)],
            )


def restart_by_hand(role: str) -> Step:
    """Only whoever knows how Mesos is started here can do it."""
    return by_hand(
        f"Restart the Mesos {role} the way it is started here (systemctl restart mesos-{role}, or "
        f"mesos-daemon.sh mesos-{role}).",
        f"按本机的方式重启 Mesos {role}（systemctl restart mesos-{role}，或 mesos-daemon.sh mesos-{role}）。",
    )


def _of_one(setting: Setting) -> Iterator[Finding]:
    if setting.value.startswith("="):
        right = f"{setting.spelled}={setting.value.lstrip('=')}"
        yield DOUBLED.found(
            flag=setting.spelled,
            value=setting.value,
            evidence=[setting.evidence],
            cure=[_write(setting, right), restart_by_hand(setting.role)],
        )
    if setting.spelled[:6].upper() == "MESOS_" and not setting.spelled.startswith("MESOS_"):
        yield PREFIX.found(
            name=setting.spelled,
            evidence=[setting.evidence],
            cure=[_write(setting, f"MESOS_{setting.flag}={setting.value}"), restart_by_hand(setting.role)],
        )
    elif not setting.exported:
        yield NOT_EXPORTED.found(
            name=setting.spelled,
            evidence=[setting.evidence],
            cure=[_write(setting, f"export {setting.spelled}={setting.value}"), restart_by_hand(setting.role)],
        )
    if setting.flag not in KNOWN and (meant := _nearly(setting.flag)):
        named = setting.spelled.startswith("--")
        yield UNKNOWN.found(
            flag=setting.spelled,
            meant=f"--{meant}" if named else meant,
            evidence=[setting.evidence],
            severity=Severity.ERROR if named else None,
            cure=[_write(setting, f"{'--' if named else 'MESOS_'}{meant}={setting.value}")],
        )


def _capitals(told: Mesos) -> Iterator[Finding]:
    """A file that has both ways of writing."""
    by_file: dict[str, list[Setting]] = {}
    for setting in told.settings:
        if setting.spelled.startswith("MESOS_") and not setting.running:
            by_file.setdefault(setting.evidence.source, []).append(setting)
    for settings in by_file.values():
        lower = [one for one in settings if one.spelled[6:].islower()]
        for one in settings if lower else ():
            if one.spelled[6:].isupper():
                other = f"MESOS_{one.flag}"
                yield CAPITALS.found(
                    name=one.spelled,
                    other=other,
                    evidence=[one.evidence],
                    cure=[_write(one, f"{other}={one.value}")],
                )


def _twice(told: Mesos) -> Iterator[Finding]:
    seen: dict[tuple[str, str, str], Setting] = {}
    for setting in told.settings:
        if not setting.exported or setting.running:
            continue
        key = (setting.evidence.source, setting.role, setting.flag)
        before = seen.setdefault(key, setting)
        if before.value != setting.value:
            yield TWICE.found(
                flag=setting.flag,
                role=setting.role,
                one=before.value,
                other=setting.value,
                evidence=[before.evidence, setting.evidence],
                cure=[by_hand("Remove the line that is not meant.", "删除不需要的那一行。")],
            )
            seen[key] = setting


def _wanted(setting: Setting) -> str:
    """What the value had to be; "" where it is right, or not known here."""
    value = setting.value
    if setting.flag == "port" and not (value.isdigit() and 0 < int(value) < 65536):
        return "5050" if setting.role == "master" else "5051"
    if setting.flag == "logging_level" and value not in _LEVELS:
        return "INFO"
    if setting.flag == "offer_timeout" and not _DURATION.fullmatch(value):
        digits = re.match(r"\d+", value)
        return f"{digits[0] if digits else 60}secs"
    if setting.flag in ("work_dir", "log_dir") and not value.startswith(("/", "=")):
        return f"/{value}" if value else "/var/lib/mesos"
    if setting.flag == "containerizers" and (set(value.split(",")) - {"mesos", "docker"} or not value):
        return "mesos"
    return ""


def _nearly(flag: str) -> str:
    """The known flag that ``flag`` is nearly; "" where there is none."""
    import difflib

    return next(iter(difflib.get_close_matches(flag, KNOWN, 1, _ALIKE)), "") if flag not in _OTHERS else ""


def _write(setting: Setting, right: str) -> Step:
    place = setting.evidence.source
    line = f", line {setting.evidence.line}" if setting.evidence.line else ""
    zh_line = f"第 {setting.evidence.line} 行" if setting.evidence.line else ""
    return by_hand(f"In {place}{line}, write: {right}", f"在 {place} {zh_line}改为：{right}")
