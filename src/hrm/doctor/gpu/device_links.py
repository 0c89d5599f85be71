"""The links in ``/dev/char`` without which containers lose their GPUs when systemd reloads its units."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import run
from hrm.doctor.system import System
from hrm.doctor.units import systemd_runs
from hrm.model.findings import Evidence, FileContent, Finding, Risk, Severity, Step, Text

DOCKER = "/etc/docker/daemon.json"
CONTAINERD = "/etc/containerd/config.toml"
UDEV_RULE = "/etc/udev/rules.d/71-nvidia-dev-char.rules"
_VERSION_2 = "/sys/fs/cgroup/cgroup.controllers"
_CTK = "nvidia-ctk"
_CREATE = (_CTK, "system", "create-dev-char-symlinks", "--create-all")
_NODE = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)")

#: NVIDIA's notice on it: https://github.com/NVIDIA/nvidia-container-toolkit/issues/48.
LINKS_MISSING = Fault(
    code="HRM-GPU-130",
    severity=Severity.WARNING,
    title=Text("/dev/char has no links for {nodes}", "/dev/char 中缺少 {nodes} 的链接"),
    why=Text(
        "systemd finds devices of containers by these links. At its next daemon-reload containers lose their GPUs: "
        "Failed to initialize NVML: Unknown Error.",
        "systemd 通过这些链接查找容器的设备。下次 daemon-reload 时容器会失去 GPU:"
        "Failed to initialize NVML: Unknown Error。",
    ),
    cure=Text(
        "Make the links (nvidia-ctk system create-dev-char-symlinks --create-all), and a udev rule that makes them at "
        "boot. Containers that lost their GPUs have to be restarted.",
        "创建链接（nvidia-ctk system create-dev-char-symlinks --create-all），并添加开机时创建它们的 udev 规则。"
        "已失去 GPU 的容器需要重启。",
    ),
)


@check("gpu.char-links", LINKS_MISSING, quick=True)
def links(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Where systemd keeps containers' cgroups, every device node of NVIDIA's has its link in /dev/char."""
    said_by = _systemd_keeps_cgroups(system)
    if said_by is None:
        return
    missing = []
    for name in system.list("/dev"):
        node = system.stat(f"/dev/{name}") if _NODE.fullmatch(name) else None
        if node is None or not node.is_device:
            continue
        link = f"/dev/char/{node.major}:{node.minor}"
        if system.link(link) is None and system.stat(link) is None:
            missing.append((name, link))
    if missing:
        yield LINKS_MISSING.found(
            nodes=", ".join(name for name, _ in missing),
            evidence=(Evidence("/dev/char", f"no {missing[0][1]} for /dev/{missing[0][0]}"), said_by),
            cure=_cure(system, missing),
        )


def _systemd_keeps_cgroups(system: System) -> Evidence | None:
    """What says so; None where nothing does."""
    docker = system.read(DOCKER)
    if docker is not None or system.which("dockerd"):
        said = re.search(r"native\.cgroupdriver=(\w+)", docker or "")
        if said is None and systemd_runs(system) and system.stat(_VERSION_2) is not None:
            return Evidence(_VERSION_2, "cgroups of version 2: Docker leaves them to systemd")
        if said is not None and said[1] == "systemd":
            return Evidence(DOCKER, said[0])
    found = re.search(r"^\s*SystemdCgroup\s*=\s*true", system.read(CONTAINERD) or "", re.M)
    return Evidence(CONTAINERD, found[0].strip()) if found else None


def _cure(system: System, missing: list[tuple[str, str]]) -> tuple[Step, ...]:
    if ctk := system.which(_CTK):
        rule = f'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="{ctk} {" ".join(_CREATE[1:])}"\n'
        return (
            run(*_CREATE, about=Text("Make the links.", "创建链接。")),
            Step(
                about=Text("Have them made at every boot.", "使每次开机都创建它们。"),
                risk=Risk.SAFE,
                writes=FileContent(UDEV_RULE, rule),
            ),
        )
    return tuple(
        run(
            "ln", "-sfn", f"../{name}", link, about=Text(f"Make the link of /dev/{name}.", f"创建 /dev/{name} 的链接。")
        )
        for name, link in missing
    )
