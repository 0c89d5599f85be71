"""Working directories of Mesos, and agents that do not start because of what theirs remembers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mesos.settings import AGENT, MASTER, Mesos, is_remote, mesos
from hrm.doctor.mounts import evidence_of, mounts
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text
from hrm.model.mounts import mount_of

#: Of the log of an agent, by glog and by its older names.
_LOGS = tuple(
    f"{prefix}mesos-{name}.{level}"
    for prefix in ("", "lt-")
    for name in ("agent", "slave")
    for level in ("ERROR", "INFO")
)
_DEFAULT_LOG_DIR = "/var/log/mesos"
_FAILED = re.compile(r"Failed to perform recovery")
_STARTED = re.compile(r"Finished recovery|Registered with master|Re-?registered with master")
#: What made the recovery fail, in the wordings of 0.2x, 1.0 to 1.4, and since 1.5.
_CHANGED = re.compile(
    r"Incompatible (?:slave|agent) info detected|Configuration change not permitted under|"
    r"are incompatible with (?:slave|agent) resources|Couldn't find attribute"
)
_REMOVES = re.compile(r"rm -f (\S+/meta/slaves/latest)")

STALE = Fault(
    code="HRM-MESOS-050",
    severity=Severity.ERROR,
    title=Text(
        "The Mesos agent does not start: {latest} has it with other settings",
        "Mesos agent 无法启动：{latest} 记录的设置与现在不同",
    ),
    why=Text(
        "Its resources, attributes or name were changed. It compares them with what it remembers of its last run and "
        "gives up: Failed to perform recovery.",
        "改变了它的资源、属性或主机名。启动时它与上次运行的记录比较，不一致就退出：Failed to perform recovery。",
    ),
    cure=Text(
        "With the master running: stop the agent, remove the link, start the agent with its flags. It comes back as a "
        "new agent; tasks of the old one are lost.",
        "在 master 运行的情况下：停止 agent，删除该链接，再用所需参数启动。它会作为新的 agent 注册；旧任务会丢失。",
    ),
)
SHARED = Fault(
    code="HRM-MESOS-051",
    severity=Severity.WARNING,
    title=Text(
        "Master and agent of this machine share the work_dir {path}", "本机的 master 和 agent 共用 work_dir {path}"
    ),
    why=Text(
        "Whoever clears it to cure the agent takes the master's registry with it, and all agents have to come anew.",
        "为修复 agent 而清理该目录时会连 master 的注册表一起删掉，所有 agent 都要重新注册。",
    ),
    cure=Text("Give each a directory of its own.", "给两者各自的目录。"),
)
ON_NETWORK = Fault(
    code="HRM-MESOS-052",
    severity=Severity.ERROR,
    title=Text(
        "The work_dir {path} of the Mesos {role} lies on {source} ({kind})",
        "Mesos {role} 的 work_dir {path} 位于 {source}({kind})",
    ),
    why=Text(
        "Other machines have the same directory, and agents overwrite what each remembers of itself.",
        "其他机器也挂载了同一目录，各 agent 会互相覆盖自己的记录。",
    ),
    cure=Text("Choose a directory on a disk of this machine.", "改用本机磁盘上的目录。"),
)
IN_TMP = Fault(
    code="HRM-MESOS-053",
    severity=Severity.WARNING,
    title=Text(
        "The work_dir {path} of the Mesos {role} is cleared with /tmp",
        "Mesos {role} 的 work_dir {path} 会随 /tmp 被清理",
    ),
    why=Text(
        "After a restart, or when systemd-tmpfiles clears /tmp, sandboxes and what the daemon remembers are gone.",
        "重启后，或 systemd-tmpfiles 清理 /tmp 时，sandbox 和守护进程的记录都会消失。",
    ),
    cure=Text("Choose a directory such as /var/lib/mesos.", "改用 /var/lib/mesos 这样的目录。"),
)


@check("mesos.recovery", STALE, quick=True)
def agent_is_not_kept_from_starting_by_its_past(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """An agent that does not run did not end because its settings changed."""
    told = mesos(system, expected)
    if AGENT not in told.roles or told.runs(AGENT):
        return
    places = list(dict.fromkeys([told.value(AGENT, "log_dir") or _DEFAULT_LOG_DIR, _DEFAULT_LOG_DIR]))
    for place in [place for place in places if is_remote(system, place)]:
        yield Unseen(f"{place}: it lies on a server, which may not answer")
        places.remove(place)
    for path in [f"{place}/{name}" for place in places for name in _LOGS]:
        try:
            content = system.read(path, tail=True)
        except CannotSee as error:
            yield Unseen(str(error))
            continue
        failed = _failure(path, content or "")
        if failed is None:
            continue
        evidence, named = failed
        latest = named or f"{told.value(AGENT, 'work_dir') or '/var/lib/mesos'}/meta/slaves/latest"
        target = None if is_remote(system, latest) else system.link(latest)
        if target is not None:
            yield STALE.found(
                latest=latest,
                evidence=[*evidence, Evidence(latest, f"-> {target}")],
                cure=_remove(system, told, latest),
            )
        return


@check("mesos.directories", SHARED, ON_NETWORK, IN_TMP)
def each_daemon_has_a_directory_of_its_own(system: System, expected: Expected) -> Iterator[Finding]:
    """Working directories are local, last, and are not shared."""
    told = mesos(system, expected)
    settings = {role: found for role in told.roles if (found := told.get(role, "work_dir")) is not None}
    for role, setting in settings.items():
        mount = mount_of(setting.value, mounts(system))
        if mount is not None and mount.network:
            yield ON_NETWORK.found(
                path=setting.value,
                role=role,
                source=mount.source,
                kind=mount.kind,
                evidence=[setting.evidence, evidence_of(mount)],
                cure=[_choose(role)],
            )
        if setting.value.startswith(("/tmp/", "/var/tmp/")) or setting.value in ("/tmp", "/var/tmp"):
            yield IN_TMP.found(path=setting.value, role=role, evidence=[setting.evidence], cure=[_choose(role)])
    if len(settings) == 2 and settings[MASTER].value.rstrip("/") == settings[AGENT].value.rstrip("/"):
        yield SHARED.found(
            path=settings[AGENT].value,
            evidence=[settings[MASTER].evidence, settings[AGENT].evidence],
            # What is only prepared, as packages do on every machine, harms nobody yet.
            severity=None if told.runs(MASTER) else Severity.INFO,
            cure=[
                by_hand(
                    f"Stop the master, move {settings[MASTER].value}/replicated_log to a directory of its own, name "
                    "that as MESOS_work_dir in mesos-master-env.sh, start the master.",
                    f"停止 master，把 {settings[MASTER].value}/replicated_log 移到单独的目录，"
                    "在 mesos-master-env.sh 中用 MESOS_work_dir 指定它，再启动 master。",
                    risk=Risk.DISRUPTIVE,
                )
            ],
        )


def _failure(path: str, content: str) -> tuple[list[Evidence], str] | None:
    """The last failed recovery of a log and the link that it names, unless the agent started after it."""
    lines = content.splitlines()
    at = next((number for number in reversed(range(len(lines))) if _FAILED.search(lines[number])), None)
    if at is None or any(_STARTED.search(line) for line in lines[at:]):
        return None
    after = lines[at : at + 40]
    changed = next((line for line in after if _CHANGED.search(line)), None)
    if changed is None:
        return None
    named = next((found[1] for line in after if (found := _REMOVES.search(line))), "")
    evidence = [line_of(path, at + 1, lines[at].strip())]
    if changed is not lines[at]:
        evidence.append(Evidence(path, changed.strip()))
    return evidence, named


def _remove(system: System, told: Mesos, latest: str) -> list[Step]:
    """In this order: the master first, so that the new agent finds it; no agent while the link goes."""
    mount = mount_of(latest, mounts(system))
    about = Text(f"Remove the link {latest} (its target stays).", f"删除链接 {latest}（目标目录保留）。")
    if mount is None or mount.point == "/":
        removal = run("rm", "-f", latest, about=about, risk=Risk.DISRUPTIVE)
    else:
        removal = by_hand(
            f"Make sure that {mount.point} is this agent's own disk and mounted, then: rm -f {latest}",
            f"确认 {mount.point} 已挂载并且是本 agent 自己的磁盘，然后执行：rm -f {latest}",
            risk=Risk.DISRUPTIVE,
        )
    master = told.value(AGENT, "master") or "the master"
    flags = " ".join(
        f"--{flag}={told.value(AGENT, flag)!r}"
        for flag in ("master", "work_dir", "isolation", "nvidia_gpu_devices", "resources")
        if told.value(AGENT, flag)
    )
    return [
        by_hand(
            f"On the master's machine ({master}): mesos-start-cluster.sh, if the master does not run.",
            f"若 master 没有运行，在 master 机器（{master}）上执行：mesos-start-cluster.sh。",
        ),
        by_hand(
            "On this machine: mesos-stop-agents.sh (or systemctl stop mesos-agent): no agent may run while the link "
            "goes.",
            "在本机执行：mesos-stop-agents.sh（或 systemctl stop mesos-agent）：删除链接时不能有 agent 在运行。",
            risk=Risk.DISRUPTIVE,
        ),
        removal,
        by_hand(f"Start the agent: mesos-agent {flags}", f"启动 agent:mesos-agent {flags}"),
    ]


def _choose(role: str) -> Step:
    return by_hand(
        f"Set MESOS_work_dir of the {role} to a directory on a local disk, such as /var/lib/mesos/{role}, and restart "
        "it.",
        f"把 {role} 的 MESOS_work_dir 设为本地磁盘上的目录，例如 /var/lib/mesos/{role}，并重启。",
    )
