"""How the driver's modules are unloaded: who holds the GPUs, and in which order modules let go of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.doctor.gpu.kernels import load
from hrm.doctor.processes import Holder, Holders, Running, holders, process
from hrm.doctor.steps import by_hand, end_process, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Risk, Step, Text

#: In the order in which they let go of each other. What they use themselves (ipmi_msghandler) stays.
MODULES = ("nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")
DISPLAY_MANAGER = "/etc/systemd/system/display-manager.service"
_DISPLAY_MANAGERS = ("gdm", "gdm3", "lightdm", "sddm", "lxdm", "xdm", "slim", "kdm")
_SHELLS = ("gnome-shell", "Xorg", "X", "Xwayland", "kwin_x11", "kwin_wayland", "mutter", "plasmashell")
#: By the first 15 characters of the program's name: services that start again what is ended.
_SERVICES = {
    "nvidia-persiste": "nvidia-persistenced",
    "nv-fabricmanage": "nvidia-fabricmanager",
    "nv-hostengine": "nvidia-dcgm",
}
#: Programs that users start stand in units of these, which are left alone.
_OF_MANY = re.compile(r"(?:user@|session-|docker|containerd|crio|podman|kubelet|ssh|cron|atd|hrm|slurm|mesos|gdm|init)")


@dataclass(frozen=True, slots=True)
class Unloading:
    """How the modules are unloaded on one machine."""

    steps: tuple[Step, ...]
    #: Starts again what was stopped for it, once a module is loaded.
    afterwards: tuple[Step, ...]
    #: Who holds the GPUs.
    evidence: tuple[Evidence, ...] = ()
    #: What could not be seen; "" where all was.
    unseen: str = ""
    #: A process holds a GPU that no signal reaches: only a restart helps, and the steps say so.
    stuck: bool = False

    @property
    def reload(self) -> tuple[Step, ...]:
        """Steps that unload the modules and load those on disk; none where only a restart helps."""
        return () if self.stuck else (*self.steps, load(), *self.afterwards)


def unloading(system: System) -> Unloading:
    """How to unload the driver's modules here."""
    held = holders_of_gpus(system)
    evidence = tuple(evidence_of(holder) for holder in held.found)
    stuck = tuple(_left(holder) for holder in held.found if holder.process.hangs)
    if stuck:
        return Unloading(stuck, (), evidence, held.what_is_unseen, stuck=True)
    before: list[Step] = []
    afterwards: list[Step] = []
    if system.which("rmmod") is None:
        about = Text("rmmod and modprobe are missing: install them.", "缺少 rmmod 和 modprobe:先安装。")
        before.append(run("apt-get", "install", "-y", "kmod", about=about))
    stopped: dict[str, None] = {}
    for holder in held.found:
        service = _service(system, holder.process)
        if service is None:
            before.append(_end(system, holder))
        elif service not in stopped:
            stopped[service] = None
    # Services first: they would start again what is ended.
    before[:0] = [_stop(service) for service in stopped]
    afterwards += [_start(service) for service in stopped]
    return Unloading(
        steps=(*before, *(_rmmod(module) for module in loaded_modules(system))),
        afterwards=tuple(afterwards),
        evidence=evidence,
        unseen=held.what_is_unseen,
    )


def holders_of_gpus(system: System) -> Holders:
    """Who has a device of NVIDIA's open or mapped, as ``lsof /dev/nvidia*`` tells it."""
    cards = [
        card
        for card in system.list("/sys/class/drm")
        if re.fullmatch(r"card\d+|renderD\d+", card) and _ours(system, card)
    ]
    return holders(system, "|".join(["/dev/nvidia", *(f"/dev/dri/{card}$" for card in cards)]), mapped=True)


def loaded_modules(system: System) -> list[str]:
    """The driver's modules that are loaded, those that use others first; all there may be where it cannot be seen."""
    lines = (system.read("/proc/modules") or "").splitlines()
    if not lines:
        return list(MODULES)
    users = {
        words[0]: [name for name in words[3].split(",") if name not in ("", "-")] for words in map(str.split, lines)
    }
    order: list[str] = []

    def visit(module: str) -> None:
        for user in users.get(module, ()):
            visit(user)
        if module in users and module not in order:
            order.append(module)

    for module in MODULES:
        visit(module)
    return order


def evidence_of(holder: Holder) -> Evidence:
    """As lsof has it: the files that a process holds, and what it is."""
    one = holder.process
    state = ", state D" if one.hangs else ""
    return Evidence(f"/proc/{one.pid}/fd", f"{one.shown} holds {' '.join(holder.paths)}{state}")


def _ours(system: System, card: str) -> bool:
    return (system.link(f"/sys/class/drm/{card}/device/driver") or "").endswith("/nvidia")


def _service(system: System, one: Running) -> str | None:
    """The service that a process belongs to, and that would start it again; None of what users started."""
    if one.name[:15] in _SERVICES:
        return _SERVICES[one.name[:15]]
    link = system.link(DISPLAY_MANAGER)
    if one.name in _SHELLS and link is not None:
        return link.rpartition("/")[2].removesuffix(".service")
    manager = _ancestor(system, one, _DISPLAY_MANAGERS)
    if manager is not None:
        return link.rpartition("/")[2].removesuffix(".service") if link else manager
    unit = re.search(r"/system\.slice/([\w@.:-]+)\.service$", _cgroup(system, one.pid), re.MULTILINE)
    return unit[1] if unit and not _OF_MANY.match(unit[1]) else None


def _ancestor(system: System, one: Running, names: tuple[str, ...]) -> str | None:
    seen = 0
    while one.parent_pid > 1 and seen < 50:
        parent = process(system, one.parent_pid)
        if parent is None:
            return None
        if parent.name in names:
            return parent.name
        one, seen = parent, seen + 1
    return None


def _cgroup(system: System, pid: int) -> str:
    try:
        return system.read(f"/proc/{pid}/cgroup") or ""
    except CannotSee:
        return ""


def _left(holder: Holder) -> Step:
    one = holder.process
    return by_hand(
        f"Process {one.pid} ({one.shown}) waits in the kernel and cannot be ended: only a restart helps.",
        f"进程 {one.pid}({one.shown})卡在内核中，无法结束：只能重启节点。",
        risk=Risk.REBOOT,
    )


def _end(system: System, holder: Holder) -> Step:
    one = holder.process
    container = re.search(r"docker[-/]([0-9a-f]{64})", _cgroup(system, one.pid))
    if container:
        name = container[1][:12]
        about = Text(f"Stop the container that holds GPUs ({one.shown}).", f"停止占用 GPU 的容器（{one.shown}）。")
        return run("docker", "stop", name, about=about, risk=Risk.DISRUPTIVE, done_if=("No such container",))
    return end_process(one.pid, one.command_line)


def _stop(service: str) -> Step:
    about = Text(
        f"Stop {service}: it would start again what is ended.", f"停止 {service}：否则被结束的进程会重新启动。"
    )
    return run("systemctl", "stop", service, about=about, risk=Risk.DISRUPTIVE, done_if=("not loaded",))


def _start(service: str) -> Step:
    about = Text(f"Start {service} again.", f"重新启动 {service}。")
    # It may have gone with the packages of the wrong driver.
    return run("systemctl", "start", service, about=about, done_if=("not found",))


def _rmmod(module: str) -> Step:
    about = Text(f"Unload {module}.", f"卸载 {module}。")
    return run("rmmod", module, about=about, risk=Risk.DISRUPTIVE, done_if=("not currently loaded",))
