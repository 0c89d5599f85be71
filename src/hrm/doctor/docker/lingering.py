"""What lingers of containers that have ended: their shims, and their processes.

Every container has a shim, a process between the daemon and it, with the container's full id among its arguments. Where
the daemon and containerd ended without it, it can stay behind, and its container will not start.
"""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.docker.containers import Container, ended_containers
from hrm.doctor.docker.engine import Engine, engine, installed
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.processes import Running, processes
from hrm.doctor.steps import end_process, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

#: The shim of a container that has just ended is about to end, too.
SETTLE_S = 5.0

SHIM_LINGERS = Fault(
    code="HRM-DOCKER-010",
    severity=Severity.ERROR,
    title=Text(
        "Container {name} does not run, but its shim (pid {pid}) does",
        "容器 {name} 没有运行，但它的 shim 进程（pid {pid}）仍然存在",
    ),
    why=Text(
        "The container will not start again, with errors that name other things: container with given ID already "
        "exists, could not select device driver. Its programs may still run, and use GPUs and memory.",
        "该容器无法再次启动，报错也往往与此无关：container with given ID already exists、could not select device "
        "driver。容器内的程序可能仍在运行并占用 GPU 和内存。",
    ),
    cure=Text("End the shim, then start the container.", "结束该 shim 进程，再启动容器。"),
)
PROCESSES_LINGER = Fault(
    code="HRM-DOCKER-011",
    severity=Severity.ERROR,
    title=Text(
        "Container {name} does not run, but processes of it do: {pids}",
        "容器 {name} 没有运行，但它的进程仍在运行：{pids}",
    ),
    why=Text(
        "They use GPUs, memory and ports outside all limits, and keep the container from starting again.",
        "这些进程不受任何限制地占用 GPU、内存和端口，并使容器无法再次启动。",
    ),
    cure=Text("End them, then start the container.", "结束这些进程，再启动容器。"),
)


@check("docker.lingering", SHIM_LINGERS, PROCESSES_LINGER)
def nothing_lingers(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Of a container that has ended no shim and no process is left."""
    docker = engine(system, expected)
    ended = _settled(docker) if installed(system, expected) else []
    if not ended:
        return
    running = [one for one in processes(system) if one.state != "Z"]
    cgroups = [(one, _cgroup(system, one.pid)) for one in running]
    found = {
        container.id: (
            [one for one in running if is_shim_of(container, one)],
            # The shim itself is in another.
            [one for one, cgroup in cgroups if container.id in cgroup and not is_shim_of(container, one)],
        )
        for container in ended
    }
    if not any(shims or inner for shims, inner in found.values()):
        return
    # Another look: what has been started meanwhile rightly has a shim.
    still = {(container.id, container.finished_at) for container in ended_containers(docker)}
    for container in ended:
        shims, inner = found[container.id]
        if (container.id, container.finished_at) not in still or not (shims or inner):
            continue
        evidence = [_line(one) for one in (*shims, *inner)]
        cure = [*(end_process(one.pid, one.command_line) for one in (*shims, *inner)), *start_again(docker, container)]
        if shims:
            yield SHIM_LINGERS.found(name=container.name, pid=shims[0].pid, evidence=evidence, cure=cure)
        else:
            pids = ", ".join(str(one.pid) for one in inner)
            yield PROCESSES_LINGER.found(name=container.name, pids=pids, evidence=evidence, cure=cure)


def is_shim_of(container: Container, one: Running) -> bool:
    """By the container's full id: shims of containerd 1.0 to 1.2 have it in their work directory, later ones after -id.

    Kubernetes' shims have ids of pods, which no container of Docker's has.
    """
    if container.id not in one.command_line:
        return False
    program = one.command_line.split()[0].rpartition("/")[2]
    return program.startswith(("containerd-shim", "docker-containerd-shim"))


def start_again(docker: Engine, container: Container) -> list[Step]:
    """Where somebody tried to start it."""
    if not container.error:
        return []
    command = docker.command("start", container.name)
    return [run(*command, about=Text(f"Start container {container.name}.", f"启动容器 {container.name}。"))]


def _settled(docker: Engine) -> list[Container]:
    now = docker.system.now()
    return [one for one in ended_containers(docker) if now - one.finished_at > SETTLE_S]


def _cgroup(system: System, pid: int) -> str:
    try:
        return system.read(f"/proc/{pid}/cgroup") or ""
    except CannotSee:
        return ""


def _line(one: Running) -> Evidence:
    return Evidence(f"/proc/{one.pid}/cmdline", one.shown)
