"""Containers that have ended: what ended them, and whether anything starts them again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from hrm.doctor.checks import Unseen, check
from hrm.doctor.docker.containers import Container, ended_containers
from hrm.doctor.docker.engine import Engine, engine, installed
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kernel_log import boot_time
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.doctor.units import systemd_runs
from hrm.model.findings import Finding, Risk, Severity, Step, Text

#: What ended longer ago is left alone: somebody has decided about it.
RECENT_S = 7 * 24 * 3600.0
#: How long before and after these times containers end with them. A daemon that stops gives containers 10 s; one that
#: starts marks as ended now what died without it; a machine takes minutes to boot.
_STOP_S, _START_S, _BOOT_S = (30.0, 5.0), (20.0, 60.0), (600.0, 60.0)
#: An end for lack of memory is told of for a day.
_OOM_RECENT_S = 24 * 3600.0
_MAX_LINES = 10
#: In microseconds since the machine booted; 0 for never.
STOPPED_AT = ("systemctl", "show", "--property=InactiveEnterTimestampMonotonic", "--")

#: What exit codes mean, by what sets them: the daemon (125 to 128), a signal (128 and its number).
EXIT_CODES: dict[int, Text] = {
    125: Text("the daemon could not run it", "守护进程无法运行它"),
    126: Text("its program cannot be executed", "程序无法执行"),
    127: Text("its program was not found", "找不到程序"),
    128: Text("it could not be started", "无法启动"),
    129: Text("SIGHUP: its terminal went away", "SIGHUP:终端断开"),
    130: Text("SIGINT: Ctrl-C", "SIGINT:Ctrl-C"),
    131: Text("SIGQUIT", "SIGQUIT"),
    132: Text("SIGILL: a processor's instruction that this machine does not have", "SIGILL:本机 CPU 不支持的指令"),
    134: Text("SIGABRT: the program gave up (an assertion, or memory)", "SIGABRT:程序自行中止（断言失败或内存错误）"),
    135: Text("SIGBUS: often too little /dev/shm (--shm-size)", "SIGBUS:常见原因是 /dev/shm 太小（--shm-size）"),
    136: Text("SIGFPE: a division by zero", "SIGFPE:除以零"),
    137: Text(
        "SIGKILL: docker kill, or docker stop after its 10 s", "SIGKILL:docker kill，或 docker stop 等待 10 秒之后"
    ),
    139: Text("SIGSEGV: the program crashed", "SIGSEGV:程序崩溃"),
    143: Text("SIGTERM: docker stop", "SIGTERM:docker stop"),
    255: Text("the program gave up, or the daemon lost sight of it", "程序失败，或守护进程与它失去联系"),
}

DOWN_SINCE_DAEMON = Fault(
    code="HRM-DOCKER-030",
    severity=Severity.WARNING,
    title=Text(
        "Container {name} is down since Docker's daemon stopped (exit code {code})",
        "容器 {name} 随 Docker 守护进程停止而停止（退出码 {code}）",
    ),
    why=Text(
        "It has no restart policy: the daemon, or the machine, has come back, and nothing starts the container.",
        "它没有重启策略：守护进程或机器恢复后，没有任何机制会启动该容器。",
    ),
    cure=Text(
        "Start it, and give it a restart policy if it is to run for ever.",
        "启动该容器；如需长期运行，设置重启策略。",
    ),
)
OUT_OF_MEMORY = Fault(
    code="HRM-DOCKER-031",
    severity=Severity.WARNING,
    title=Text(
        "Container {name} was killed for lack of memory (limit {limit})", "容器 {name} 因内存不足被终止（上限 {limit}）"
    ),
    why=Text(
        "Exit code 137 with OOMKilled: it reached its limit, or the machine ran out. It will again when started again.",
        "退出码 137 且 OOMKilled 为真：达到了内存上限，或整机内存耗尽。重新启动后会再次发生。",
    ),
    cure=Text("Give it more memory, or let it use less; then start it.", "提高内存上限或减少内存使用，然后再启动。"),
)
KILLED = Fault(
    code="HRM-DOCKER-032",
    severity=Severity.INFO,
    title=Text("Container {name} was killed (exit code 137)", "容器 {name} 被强制终止（退出码 137）"),
    why=Text(
        "SIGKILL from outside: docker kill, docker stop whose 10 s passed, or kill -9; not for lack of memory. "
        "It has no restart policy: it stays down.",
        "来自外部的 SIGKILL:docker kill、docker stop 超过 10 秒，或 kill -9；不是内存不足。"
        "它没有重启策略，不会自动恢复。",
    ),
    cure=Text("Start it, if it is still wanted.", "如仍需要，启动它。"),
)
FAILED = Fault(
    code="HRM-DOCKER-033",
    severity=Severity.INFO,
    title=Text("Container {name} ended with exit code {code}", "容器 {name} 以退出码 {code} 结束"),
    why=Text(
        "The code says who ended it: the daemon (125 to 128), a signal (128 and its number), or its own program.",
        "退出码说明由谁结束：守护进程（125 至 128）、信号（128 加信号编号）或程序自身。",
    ),
    cure=Text("Read its log.", "查看其日志。"),
)


@check("docker.ended", DOWN_SINCE_DAEMON, OUT_OF_MEMORY, KILLED, FAILED, timeout_s=10.0)
def ended_containers_are_explained(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Containers that ended with an error were meant to end."""
    if not installed(system, expected):
        return
    docker = engine(system, expected)
    now = system.now()
    failed = [one for one in ended_containers(docker) if one.exit_code and now - one.finished_at < RECENT_S]
    breaks = list(_breaks(docker)) if failed else []
    for container in failed[:_MAX_LINES]:
        # What docker.gpus and docker.lingering explain has an error, and never ran.
        if container.status != "created":
            yield _explained(docker, container, breaks, now)


def meaning_of(code: int) -> Text:
    """What an exit code of a container's says."""
    if code in EXIT_CODES:
        return EXIT_CODES[code]
    if code > 128:
        return Text(f"signal {code - 128}", f"信号 {code - 128}")
    return Text("its program failed", "程序失败")


def _explained(docker: Engine, container: Container, breaks: list[tuple[float, float]], now: float) -> Finding:
    if container.oom_killed:
        return OUT_OF_MEMORY.found(
            name=container.name,
            limit=f"{container.memory_bytes >> 20} MiB" if container.memory_bytes else "-",
            severity=None if now - container.finished_at < _OOM_RECENT_S else Severity.INFO,
            evidence=[container.evidence],
            cure=[_decide(), *_more_memory(docker, container), _start(docker, container)],
        )
    with_daemon = any(first <= container.finished_at <= last for first, last in breaks)
    if with_daemon and container.restart_policy == "no" and container.exit_code in (137, 143, 255):
        return DOWN_SINCE_DAEMON.found(
            name=container.name,
            code=container.exit_code,
            evidence=[container.evidence],
            cure=_bring_back(docker, container),
        )
    if container.exit_code == 137 and container.restart_policy == "no":
        cure = [_decide(), *_bring_back(docker, container)]
        return KILLED.found(name=container.name, evidence=[container.evidence], cure=cure)
    logs = docker.command("logs", "--tail", "50", container.name)
    found = FAILED.found(
        name=container.name,
        code=container.exit_code,
        evidence=[container.evidence],
        cure=[run(*logs, about=Text("See what it said last.", "查看最后的输出。"))],
    )
    meaning = meaning_of(container.exit_code)
    return replace(found, why=Text(f"{container.exit_code}: {meaning.en}.", f"{container.exit_code}:{meaning.zh}。"))


def _breaks(docker: Engine) -> Iterator[tuple[float, float]]:
    """Spans of time in which containers ended with the daemon or the machine."""
    booted_at = boot_time(docker.system)
    started_at = docker.started_at()
    if started_at is not None:
        yield started_at - _START_S[0], started_at + _START_S[1]
    if booted_at is None:
        return
    yield booted_at - _BOOT_S[0], booted_at + _BOOT_S[1]
    if docker.usual and systemd_runs(docker.system):
        output = docker.system.run(*STOPPED_AT, docker.service)
        found = re.search(r"=(\d+)$", output.stdout.strip())
        if found is not None and found[1] != "0":
            stopped_at = booted_at + int(found[1]) / 1e6
            yield stopped_at - _STOP_S[0], stopped_at + _STOP_S[1]


def _bring_back(docker: Engine, container: Container) -> list[Step]:
    policy = docker.command("update", "--restart", "unless-stopped", container.name)
    about = Text("Let the daemon start it from now on.", "以后由守护进程自动启动。")
    return [_start(docker, container), run(*policy, about=about)]


def _start(docker: Engine, container: Container) -> Step:
    about = Text(f"Start container {container.name}.", f"启动容器 {container.name}。")
    # It takes its memory and GPUs again.
    return run(*docker.command("start", container.name), about=about, risk=Risk.DISRUPTIVE)


def _decide() -> Step:
    """Somebody may have ended it on purpose."""
    return by_hand("Ask whose it is whether it is still wanted. If so:", "先向使用者确认是否仍需要。如果需要：")


def _more_memory(docker: Engine, container: Container) -> list[Step]:
    if not container.memory_bytes:
        return [
            by_hand(
                "The machine itself ran out of memory: see who uses it, or give the container a limit.",
                "整机内存耗尽：查明占用者，或为容器设置上限。",
            )
        ]
    twice = f"{container.memory_bytes >> 19}m"
    argv = docker.command("update", "--memory", twice, "--memory-swap", twice, container.name)
    return [run(*argv, about=Text("Double its limit.", "将上限提高一倍。"))]
