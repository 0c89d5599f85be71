"""Which programs are on GPUs, and whether they are where they belong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu.cards import cards
from hrm.doctor.gpu.smi import run_smi
from hrm.doctor.processes import Running, open_files, process
from hrm.doctor.steps import end_process
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Text

APPS = ("nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader")
#: What HRM gives to every program that it starts.
_OURS = "\0HRM_CONTAINER_ID="
#: Other masters of containers; what runs there is theirs to end.
_OTHERS = re.compile(r"docker|containerd|kubepods|libpod|lxc|mesos|slurm|garden")
#: They serve the programs that are there.
_SERVERS = re.compile(
    r"(^|/)(nvidia-cuda-mps-server|nvidia-cuda-mps-control|Xorg|Xwayland|gnome-shell|dcgm\S*|nv-hostengine)\b"
)

STRAY_BESIDE_A_JOB = Fault(
    code="HRM-GPU-120",
    severity=Severity.WARNING,
    title=Text(
        "Process {pid} is on GPU {card} beside a job that the GPU is lent to",
        "进程 {pid} 占用了已借给作业的 GPU {card}",
    ),
    why=Text(
        "It takes memory and time from the job, which may fail for want of memory. HRM does not know of it.",
        "它占用作业的显存和计算时间，作业可能因显存不足而失败。HRM 不知道该进程。",
    ),
    cure=Text(
        "Ask its owner to submit it as a job; end it.",
        "请其所有者通过作业提交；结束它。",
    ),
)
STRAY_ON_IDLE = Fault(
    code="HRM-GPU-121",
    severity=Severity.INFO,
    title=Text("Process {pid} is on GPU {card} outside of any job", "进程 {pid} 在作业之外占用 GPU {card}"),
    why=Text(
        "The next job that is lent this GPU finds less memory than it was promised.",
        "下一个借到该 GPU 的作业得到的显存会少于承诺。",
    ),
    cure=Text("Ask its owner to submit it as a job, or end it.", "请其所有者通过作业提交，或结束它。"),
)


@dataclass(frozen=True, slots=True)
class _App:
    gpu: str
    process: Running
    ours: bool
    line: str


@check("gpu.programs", STRAY_BESIDE_A_JOB, STRAY_ON_IDLE)
def strays(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Programs on GPUs are jobs, or belong to another master of containers."""
    known = cards(system)
    if not known.all:
        return
    output = run_smi(system, *APPS)
    apps: list[_App] = []
    hidden = 0
    for line in output.lines if output.ok else ():
        gpu, _, rest = line.partition(",")
        pid = rest.split(",")[0].strip()
        if not pid.isdecimal():
            continue
        try:
            app = _app(system, gpu.strip(), int(pid), line)
        except CannotSee:
            hidden += 1
            continue
        if app is not None:
            apps.append(app)
    if hidden:
        yield Unseen(f"whose {hidden} processes on GPUs are (needs root)")
    lent = {app.gpu for app in apps if app.ours}
    by_uuid = {card.uuid: card for card in known.all}
    for app in apps:
        if app.ours:
            continue
        card = by_uuid.get(app.gpu)
        fault = STRAY_BESIDE_A_JOB if app.gpu in lent else STRAY_ON_IDLE
        yield fault.found(
            pid=app.process.pid,
            card=card.shown if card else app.gpu,
            gpu=app.gpu,
            evidence=(
                Evidence("nvidia-smi", app.line),
                Evidence(f"/proc/{app.process.pid}/cmdline", app.process.shown),
            ),
            cure=(end_process(app.process.pid, app.process.command_line),),
        )


def _app(system: System, gpu: str, pid: int, line: str) -> _App | None:
    """None where it is another master's, a server, has ended, or is on no GPU. Raises CannotSee."""
    running = process(system, pid)
    if running is None or _SERVERS.search(running.command_line.partition(" ")[0]):
        return None
    if _OTHERS.search(system.read(f"/proc/{pid}/cgroup") or ""):
        return None
    # In a namespace of pids of its own the number may be another process's.
    if not any(place.startswith("/dev/nvidia") for place in open_files(system, pid).values()):
        return None
    ours = _OURS in "\0" + (system.read(f"/proc/{pid}/environ") or "")
    return _App(gpu, running, ours, line.strip())
