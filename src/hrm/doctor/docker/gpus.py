"""GPUs in containers: why ``docker run --gpus`` does not work.

Since 19.03 the daemon looks once, as it starts, for ``nvidia-container-runtime-hook`` among its programs (moby,
``daemon/nvidia_linux.go``). Without it no driver serves ``--gpus``, whatever ``daemon.json`` says; the runtime
``nvidia`` there is for ``--runtime=nvidia`` alone. Since 28.3 ``nvidia-cdi-hook`` serves as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check
from hrm.doctor.docker.containers import Container, ended_containers
from hrm.doctor.docker.engine import DAEMON_JSON, Engine, configuration, engine, installed
from hrm.doctor.docker.lingering import is_shim_of, start_again
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.processes import processes
from hrm.doctor.steps import by_hand, end_process, restart, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

#: What the daemon looks for.
HOOKS = ("nvidia-container-runtime-hook", "nvidia-cdi-hook")
GPUS = "/proc/driver/nvidia/gpus"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NO_DRIVER = "could not select device driver"
_NO_RUNTIME = ("Unknown runtime specified", "unknown or invalid runtime name")

NOT_READY = Fault(
    code="HRM-DOCKER-020",
    severity=Severity.WARNING,
    title=Text(
        "Container {name} got no GPU when it was started last, and now would",
        "容器 {name} 上次启动时未能获得 GPU，现在应该可以",
    ),
    why=Text(
        "The daemon started {ago} ago and has what GPUs in containers need; what failed did so before it was ready: "
        "could not select device driver.",
        "守护进程于 {ago} 前启动，GPU 容器所需的组件齐全；失败发生在它就绪之前：could not select device driver。",
    ),
    cure=Text("Start the container again.", "重新启动该容器。"),
)
SHIM_IN_THE_WAY = Fault(
    code="HRM-DOCKER-021",
    severity=Severity.ERROR,
    title=Text(
        "Container {name} gets no GPU: its old shim (pid {pid}) is still there",
        "容器 {name} 无法获得 GPU:旧的 shim 进程（pid {pid}）仍然存在",
    ),
    why=Text(
        "Its last run has not ended for containerd. Starting it fails with: could not select device driver.",
        "对 containerd 而言，该容器的上一次运行尚未结束。启动失败：could not select device driver。",
    ),
    cure=Text("End the shim, then start the container.", "结束该 shim 进程，再启动容器。"),
)
NO_HOOK = Fault(
    code="HRM-DOCKER-022",
    severity=Severity.ERROR,
    title=Text("Docker has no GPU support: {missing} is not installed", "Docker 不支持 GPU:未安装 {missing}"),
    why=Text(
        'Every container with --gpus fails: could not select device driver "" with capabilities: [[gpu]].',
        '所有带 --gpus 的容器都会失败：could not select device driver "" with capabilities: [[gpu]]。',
    ),
    cure=Text(
        "Install nvidia-container-toolkit, add its runtime to daemon.json, and restart the daemon.",
        "安装 nvidia-container-toolkit，将其运行时写入 daemon.json，并重启守护进程。",
    ),
)
HOOK_NOT_SEEN = Fault(
    code="HRM-DOCKER-023",
    severity=Severity.ERROR,
    title=Text(
        "Docker's daemon has run since before {hook} was installed",
        "Docker 守护进程在安装 {hook} 之前就已启动",
    ),
    why=Text(
        "It looks for it only as it starts. Until then containers with --gpus fail: could not select device driver.",
        "它只在启动时查找该程序。在重启之前，所有带 --gpus 的容器都会失败：could not select device driver。",
    ),
    cure=Text("Restart the daemon.", "重启守护进程。"),
)
FROM_SNAP = Fault(
    code="HRM-DOCKER-024",
    severity=Severity.ERROR,
    title=Text("Docker is a snap, which does not see the NVIDIA toolkit", "Docker 是 snap，无法使用 NVIDIA 工具包"),
    why=Text(
        "A snap sees only its own programs: containers with --gpus fail whatever is installed on the machine.",
        "snap 只能看到自带的程序：无论本机安装了什么，带 --gpus 的容器都会失败。",
    ),
    cure=Text(
        "Replace the snap by docker-ce or docker.io. Its containers, images and volumes do not come along.",
        "用 docker-ce 或 docker.io 替换 snap。原有的容器、镜像和卷不会自动迁移。",
    ),
)
RUNTIME_UNKNOWN = Fault(
    code="HRM-DOCKER-025",
    severity=Severity.ERROR,
    title=Text(
        "Docker does not know the runtime {runtime}, which {user} needs", "Docker 没有 {user} 所需的运行时 {runtime}"
    ),
    why=Text(
        "It does not start: Unknown runtime specified. An update or a new daemon.json took the runtime away.",
        "启动失败：Unknown runtime specified。更新或新的 daemon.json 去掉了该运行时。",
    ),
    cure=Text("Add the runtime to daemon.json and restart the daemon.", "将该运行时加入 daemon.json 并重启守护进程。"),
)
RUNTIME_MISSING = Fault(
    code="HRM-DOCKER-026",
    severity=Severity.ERROR,
    title=Text(
        "Runtime {runtime} of Docker's is {path}, which is not there", "Docker 的运行时 {runtime} 指向不存在的 {path}"
    ),
    why=Text(
        "Containers with this runtime do not start. If it is the default runtime, no container does.",
        "使用该运行时的容器无法启动。如果它是默认运行时，则所有容器都无法启动。",
    ),
    cure=Text("Install what brings it, or take it out of daemon.json.", "安装该程序，或将其从 daemon.json 中移除。"),
)


@dataclass(frozen=True, slots=True)
class _Hook:
    """What the daemon has of what serves ``--gpus``."""

    #: Where it lies on the daemon's own PATH; "" where it is nowhere there.
    path: str
    installed_at: float


@check(
    "docker.gpus",
    NOT_READY,
    SHIM_IN_THE_WAY,
    NO_HOOK,
    HOOK_NOT_SEEN,
    FROM_SNAP,
    RUNTIME_UNKNOWN,
    timeout_s=10.0,
)
def containers_get_gpus(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Containers that ask for GPUs get them."""
    if not installed(system, expected):
        return
    docker = engine(system, expected)
    ended = ended_containers(docker)
    for container in ended:
        if any(words in container.error for words in _NO_RUNTIME):
            yield _unknown_runtime(docker, container)
    refused = [one for one in ended if _NO_DRIVER in one.error and one.wants_gpus]
    hook = _hook(docker)
    common = _common_fault(docker, hook, refused, expected)
    if common is not None:
        yield common
    for container in refused:
        shim = next((one for one in processes(system) if is_shim_of(container, one)), None)
        if shim is not None:
            yield SHIM_IN_THE_WAY.found(
                name=container.name,
                pid=shim.pid,
                evidence=[container.evidence, Evidence(f"/proc/{shim.pid}/cmdline", shim.command_line)],
                cure=[end_process(shim.pid, shim.command_line), *start_again(docker, container)],
            )
        elif common is None:
            started_at = docker.started_at()
            yield NOT_READY.found(
                name=container.name,
                ago="?" if started_at is None else _span(system.now() - started_at),
                evidence=[container.evidence],
                cure=start_again(docker, container),
            )


@check("docker.runtimes", RUNTIME_MISSING, quick=True)
def runtimes_are_there(system: System, expected: Expected) -> Iterator[Finding]:
    """Every runtime in ``daemon.json`` is a program that there is."""
    said = configuration(system)
    runtimes = said.get("runtimes", {})
    for name, runtime in runtimes.items() if isinstance(runtimes, dict) else ():
        path = runtime.get("path", "") if isinstance(runtime, dict) else ""
        if not path or system.which(path) is not None:
            continue
        evidence = [line for line, _ in matching_lines(system, DAEMON_JSON, _quoted(path))][:1]
        yield RUNTIME_MISSING.found(
            runtime=name,
            path=path,
            severity=Severity.CRITICAL if expected.docker.required and said.get("default-runtime") == name else None,
            evidence=evidence or [Evidence(DAEMON_JSON, f"{name}: {path}")],
            cure=[*_install(), restart("docker")] if "nvidia" in path else [_take_out(name), restart("docker")],
        )


def _common_fault(docker: Engine, hook: _Hook | None, refused: list[Container], expected: Expected) -> Finding | None:
    """What keeps all containers from GPUs; None where it is not for the daemon that they get none."""
    if hook is None:
        return None
    gpus = len(docker.system.list(GPUS))
    if not refused and not gpus:
        return None
    evidence = [container.evidence for container in refused[:3]] or [Evidence(GPUS, f"{gpus} GPUs")]
    # Where nobody asked Docker for a GPU it may be meant to be so.
    severity = None if refused or expected.docker.required else Severity.INFO
    again = [step for container in refused for step in start_again(docker, container)]
    if docker.from_snap:
        running = docker.process()
        place = [Evidence(f"/proc/{running.pid}/cmdline", running.command_line)] if running else []
        return FROM_SNAP.found(severity=severity, evidence=[*evidence, *place], cure=_replace_snap())
    if not hook.path:
        nowhere = Evidence("PATH of dockerd", f"{HOOKS[0]} is in none of its directories")
        first = [] if gpus else [_no_gpus()]
        return NO_HOOK.found(
            missing=HOOKS[0],
            severity=severity,
            evidence=[*evidence, nowhere],
            cure=[*first, *_install(), *docker.restart(), *again],
        )
    started_at = docker.started_at()
    # An update of it is newer, too, and was seen before: that some container got no GPU tells them apart.
    if refused and started_at is not None and hook.installed_at > started_at:
        return HOOK_NOT_SEEN.found(
            hook=hook.path,
            severity=severity,
            evidence=[
                *evidence,
                Evidence(hook.path, f"{_span(hook.installed_at - started_at)} newer than the daemon"),
            ],
            cure=[*docker.restart(), *again],
        )
    return None


def _hook(docker: Engine) -> _Hook | None:
    """None where the daemon is not on this machine."""
    running = docker.process()
    if running is None:
        return None
    try:
        environment = docker.system.read(f"/proc/{running.pid}/environ") or ""
    except CannotSee:
        environment = ""
    words = dict(word.split("=", 1) for word in environment.split("\0") if "=" in word)
    for name in HOOKS:
        for directory in (words.get("PATH") or _PATH).split(":"):
            found = docker.system.stat(f"{directory}/{name}")
            if found is not None and found.executable and not found.is_dir:
                return _Hook(f"{directory}/{name}", max(found.changed_at, *_packed_at(docker.system)))
    return _Hook("", 0.0)


def _packed_at(system: System) -> Iterator[float]:
    """When packages that bring it were installed: files keep the times at which they were built."""
    for package in ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "nvidia-container-runtime-hook"):
        found = system.stat(f"/var/lib/dpkg/info/{package}.list")
        yield 0.0 if found is None else found.changed_at


def _unknown_runtime(docker: Engine, container: Container) -> Finding:
    return RUNTIME_UNKNOWN.found(
        runtime=container.runtime,
        user=container.name,
        evidence=[container.evidence],
        cure=[
            *(_install() if "nvidia" in container.runtime else [_take_in(container.runtime)]),
            *docker.restart(),
            *start_again(docker, container),
        ],
    )


def _install() -> list[Step]:
    install = Text("Install NVIDIA's toolkit for containers.", "安装 NVIDIA 容器工具包。")
    configure = Text("Add its runtime to daemon.json.", "将其运行时写入 daemon.json。")
    return [
        run("apt-get", "install", "--yes", "nvidia-container-toolkit", about=install),
        run("nvidia-ctk", "runtime", "configure", "--runtime=docker", about=configure),
    ]


def _replace_snap() -> list[Step]:
    return [
        by_hand(
            "Save what is needed of its containers, images and volumes: docker save, docker cp.",
            "先保存所需的容器、镜像和卷：docker save、docker cp。",
        ),
        run("snap", "remove", "docker", about=Text("Remove the snap.", "移除 snap。"), risk=Risk.DISRUPTIVE),
        run(
            "apt-get",
            "install",
            "--yes",
            "docker.io",
            about=Text("Install Docker.", "安装 Docker。"),
        ),
        *_install(),
        restart("docker"),
    ]


def _no_gpus() -> Step:
    return by_hand(
        "This machine has no NVIDIA GPU: start the container on one that has, or without --gpus.",
        "本机没有 NVIDIA GPU:请在有 GPU 的机器上启动该容器，或去掉 --gpus。",
    )


def _take_out(name: str) -> Step:
    return by_hand(
        f"Install what brings it, or take {name} out of {DAEMON_JSON}.",
        f"安装该程序，或将 {name} 从 {DAEMON_JSON} 移除。",
    )


def _take_in(name: str) -> Step:
    return by_hand(f"Add {name} to runtimes in {DAEMON_JSON}.", f"将 {name} 加入 {DAEMON_JSON} 的 runtimes。")


def _quoted(path: str) -> str:
    return '"' + path.replace(".", r"\.") + '"'


def _span(time_s: float) -> str:
    whole = max(0, round(time_s))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
