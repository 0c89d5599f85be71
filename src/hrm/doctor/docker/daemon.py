"""Docker's daemon: whether it runs, answers, and lets in who is to use it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.docker.engine import DAEMON_JSON, Engine, Trouble, engine, installed, trouble_of
from hrm.doctor.evidence import line_of, said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, restart, run
from hrm.doctor.system import System
from hrm.doctor.units import Unit, systemd_runs, unit
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

#: What the daemon says when it cannot start.
_FATAL = (
    r"failed to start daemon|unable to configure the Docker daemon|failed to load listeners|level=fatal"
    r"|repeated too quickly"
)

DAEMON_DOWN = Fault(
    code="HRM-DOCKER-001",
    severity=Severity.ERROR,
    title=Text("Docker's daemon does not run ({how})", "Docker 守护进程没有运行（{how}）"),
    why=Text(
        "No container can be started or looked at: Cannot connect to the Docker daemon. Containers without a restart "
        "policy stay down also when it is back.",
        "无法启动或查看任何容器：Cannot connect to the Docker daemon。"
        "没有重启策略的容器，在守护进程恢复后也不会自动启动。",
    ),
    cure=Text(
        "Read in its journal why it ended, mend that, and start the service.",
        "先在日志中查明退出原因并修复，再启动服务。",
    ),
)
SOCKET_DENIED = Fault(
    code="HRM-DOCKER-002",
    severity=Severity.ERROR,
    title=Text("User {user} may not use Docker's socket {socket}", "用户 {user} 无权访问 Docker 套接字 {socket}"),
    why=Text(
        "Whatever this user starts in Docker fails: permission denied while trying to connect to the Docker daemon "
        "socket. The socket is for root and the group {group}.",
        "该用户的所有 Docker 操作都会失败：permission denied。该套接字只允许 root 和 {group} 组访问。",
    ),
    cure=Text(
        "Add the user to the group and log in again. Who is in it has root's rights: never open the socket to all.",
        "将用户加入该组并重新登录。组内用户等同于拥有 root 权限，切勿将套接字开放给所有人。",
    ),
)
SOCKET_OPEN_TO_ALL = Fault(
    code="HRM-DOCKER-003",
    severity=Severity.WARNING,
    title=Text("Everyone may use Docker's socket {socket}", "任何人都可以访问 Docker 套接字 {socket}"),
    why=Text(
        "Whoever uses the socket has root's rights on this machine, and gets past every limit of the scheduler.",
        "能访问该套接字的人就拥有本机 root 权限，也能绕过调度器的一切限制。",
    ),
    cure=Text("Give it back to its group.", "恢复为仅组内可访问。"),
)
DAEMON_HANGS = Fault(
    code="HRM-DOCKER-004",
    severity=Severity.ERROR,
    title=Text("Docker's daemon does not answer", "Docker 守护进程没有响应"),
    why=Text(
        "Commands of Docker's hang: it waits for a container's shim, its storage or a plugin.",
        "所有 Docker 命令都会卡住：守护进程正在等待某个容器的 shim、存储或插件。",
    ),
    cure=Text(
        "Restart it; end shims that linger if it hangs again.",
        "重启守护进程；如果仍然卡住，结束残留的 shim 进程。",
    ),
)
BAD_CONFIGURATION = Fault(
    code="HRM-DOCKER-005",
    severity=Severity.WARNING,
    title=Text("/etc/docker/daemon.json cannot be read as JSON", "/etc/docker/daemon.json 不是有效的 JSON"),
    why=Text(
        "The daemon does not start with it: unable to configure the Docker daemon. One that runs will not come back "
        "after its next restart.",
        "守护进程无法用它启动：unable to configure the Docker daemon。正在运行的守护进程下次重启后将无法恢复。",
    ),
    cure=Text("Mend the line, and restart the daemon.", "修正该行后重启守护进程。"),
)


@fact("docker.version")
def version(system: System) -> str | None:
    """Of the daemon at its usual address."""
    output = Engine(system).version()
    return output.stdout.strip() or None if output.ok else None


@check("docker.daemon", DAEMON_DOWN, SOCKET_DENIED, DAEMON_HANGS, quick=True)
def daemon_answers(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The daemon runs, and answers whoever looks."""
    if not installed(system, expected):
        return
    docker = engine(system, expected)
    output = docker.version()
    if output.missing:
        yield from _by_service(docker, expected)
        return
    match trouble_of(output):
        case Trouble.DOWN:
            yield from _down(docker, expected, said(output, "Cannot connect|failed to connect|refused"))
        case Trouble.DENIED:
            yield _denied(docker, expected, said(output, "permission denied"))
        case Trouble.HANGS:
            yield DAEMON_HANGS.found(
                severity=Severity.CRITICAL if expected.docker.required else None,
                evidence=[said(output)],
                cure=docker.restart(),
            )
        case Trouble.OTHER:
            yield Unseen(f"whether Docker's daemon answers: {said(output)}")
        case Trouble.NONE:
            return


@check("docker.socket", SOCKET_OPEN_TO_ALL, quick=True)
def socket_is_kept_from_others(system: System, expected: Expected) -> Iterator[Finding]:
    """Only root and one group may use the socket."""
    docker = engine(system, expected)
    socket = docker.socket
    found = system.stat(socket) if socket and installed(system, expected) else None
    if socket is None or found is None or not found.mode & 0o002:
        return
    about = Text("Take the rights of all others away.", "取消其他用户的权限。")
    yield SOCKET_OPEN_TO_ALL.found(
        socket=socket,
        evidence=[Evidence(socket, f"mode {found.mode & 0o7777:o}, owner {found.uid}, group {found.gid}")],
        cure=[run("chmod", "o-rwx", socket, about=about)],
    )


@check("docker.configuration", BAD_CONFIGURATION, quick=True)
def configuration_can_be_read(system: System, expected: Expected) -> Iterator[Finding]:
    """``daemon.json`` is JSON."""
    content = system.read(DAEMON_JSON)
    if not content:
        return
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        lines = content.splitlines()
        line = lines[error.lineno - 1] if error.lineno <= len(lines) else lines[-1]
        yield BAD_CONFIGURATION.found(
            evidence=[line_of(DAEMON_JSON, error.lineno, f"{line.strip()} ({error.msg}, column {error.colno})")],
            cure=[
                by_hand(
                    f"Mend line {error.lineno} of {DAEMON_JSON}. Often a comma is missing, or is after the last entry.",
                    f"修正 {DAEMON_JSON} 第 {error.lineno} 行：常见原因是缺少逗号，或最后一项后面多了逗号。",
                ),
                restart("docker"),
            ],
        )


def _down(docker: Engine, expected: Expected, *evidence: Evidence) -> Iterator[Finding]:
    service = unit(docker.system, docker.service) if docker.usual else None
    meant = expected.docker.required or expected.docker.host is not None
    if service is not None and service.active:
        severity = Severity.ERROR if service.fails or service.enabled or meant else Severity.INFO
        more = [service.evidence, *_last_words(docker, service)]
    else:
        # Where systemd does not run nobody said that it is to run, unless it is expected.
        severity = Severity.ERROR if meant else Severity.INFO
        more = []
    yield DAEMON_DOWN.found(
        how=_how(service, docker),
        severity=Severity.CRITICAL if expected.docker.required else severity,
        evidence=[*evidence, *more],
        cure=_start(docker, service),
    )


def _by_service(docker: Engine, expected: Expected) -> Iterator[Finding | Unseen]:
    """Without the docker command only the service tells."""
    service = unit(docker.system, docker.service)
    if service.stopped or expected.docker.required:
        yield from _down(docker, expected, Evidence("docker", "there is no such command"))
    elif not service.active:
        yield Unseen("whether Docker's daemon answers: there is no docker command")


def _how(service: Unit | None, docker: Engine) -> str:
    if service is not None and service.active:
        return f"{service.name}: {service.active}, {service.result}"
    return docker.host or docker.socket or "?"


def _last_words(docker: Engine, service: Unit) -> list[Evidence]:
    output = docker.system.run("journalctl", "--unit", service.name, "--lines", "50", "--no-pager", "--output", "cat")
    line = said(output, _FATAL) if output.ok and output.lines else None
    return [line] if line is not None else []


def _start(docker: Engine, service: Unit | None) -> list[Step]:
    if service is None or not service.installed:
        return [
            by_hand(
                f"Install Docker, or start the daemon at {docker.host or 'its address'}.",
                f"安装 Docker，或启动 {docker.host or '该地址'} 上的守护进程。",
            )
        ]
    steps: list[Step] = []
    if service.masked:
        steps.append(run("systemctl", "unmask", service.name, about=Text("Allow it to start.", "解除启动屏蔽。")))
    if service.fails:
        about = Text("Forget that it failed, so that it may be started at once.", "清除失败状态，以便立即启动。")
        steps.append(run("systemctl", "reset-failed", service.name, about=about))
    if not systemd_runs(docker.system):
        return [run("service", "docker", "start", about=Text("Start it.", "启动服务。"))]
    start = Text("Start it, now and with the machine.", "立即启动并设置开机自启。")
    return [*steps, run("systemctl", "enable", "--now", service.name, about=start)]


def _denied(docker: Engine, expected: Expected, evidence: Evidence) -> Finding:
    system = docker.system
    socket = docker.socket or docker.host or ""
    found = system.stat(socket) if docker.socket else None
    user = _name(system, "/etc/passwd", system.uid)
    group = "docker" if found is None else _name(system, "/etc/group", found.gid)
    steps: list[Step] = []
    if group == "root":
        # Without a group docker the daemon leaves the socket to root's.
        group = "docker"
        about = Text(
            "Make the group that the daemon gives its socket to.", "创建 docker 组，守护进程会把套接字交给它。"
        )
        steps = [run("groupadd", "docker", about=about, done_if=("already exists",)), *docker.restart()]
    if user not in _members(system, group):
        about = Text(
            f"Add {user} to the group; this gives root's rights.", f"将 {user} 加入该组（等同于授予 root 权限）。"
        )
        steps.append(run("usermod", "--append", "--groups", group, user, about=about))
    steps.append(
        by_hand(
            f"Log in again as {user}, and restart what {user} runs: a session keeps the groups that it began with.",
            f"以 {user} 重新登录，并重启 {user} 运行的程序：会话只保留登录时的组。",
        )
    )
    meant = Severity.ERROR if expected.docker.host else Severity.INFO
    mode = [] if found is None else [Evidence(socket, f"mode {found.mode & 0o7777:o}, group {found.gid} ({group})")]
    return SOCKET_DENIED.found(
        user=user,
        socket=socket,
        group=group,
        severity=Severity.CRITICAL if expected.docker.required else meant,
        evidence=[evidence, *mode],
        cure=steps,
    )


def _name(system: System, path: str, number: int) -> str:
    """Of a user or a group, by the file that has them; the number where it has none."""
    for line in (system.read(path) or "").splitlines():
        words = line.split(":")
        if len(words) > 2 and words[2] == str(number):
            return words[0]
    return str(number)


def _members(system: System, group: str) -> list[str]:
    for line in (system.read("/etc/group") or "").splitlines():
        words = line.split(":")
        if len(words) > 3 and words[0] == group:
            return words[3].split(",")
    return []
