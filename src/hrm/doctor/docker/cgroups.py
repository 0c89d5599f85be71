"""The cgroup driver of Docker, which has to be kubelet's where both run."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.docker.engine import DAEMON_JSON, Engine, configuration, engine, installed
from hrm.doctor.docker.flags import arguments
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import CONFIG, FLAGS, Kubelet, kubelet
from hrm.doctor.steps import by_hand, restart
from hrm.doctor.system import System
from hrm.model.findings import Evidence, FileContent, Finding, Risk, Severity, Step, Text

CGROUP_DRIVERS_DIFFER = Fault(
    code="HRM-DOCKER-050",
    severity=Severity.ERROR,
    title=Text(
        "Docker's cgroup driver is {docker}, kubelet's is {kubelet}",
        "Docker 的 cgroup 驱动是 {docker},kubelet 的是 {kubelet}",
    ),
    why=Text(
        "kubelet does not start: misconfiguration: kubelet cgroup driver is different from docker cgroup driver. "
        "Its port 10248 refuses then, and kubeadm init fails.",
        "kubelet 无法启动：kubelet cgroup driver is different from docker cgroup driver。此时端口 10248 拒绝连接，"
        "kubeadm init 失败。",
    ),
    cure=Text(
        "Give Docker kubelet's driver, systemd on machines that systemd runs, and restart both.",
        "让 Docker 使用与 kubelet 相同的驱动（systemd 管理的机器用 systemd），然后重启两者。",
    ),
)


@fact("docker.cgroups")
def cgroup_driver(system: System) -> str | None:
    """Of the daemon."""
    driver = Engine(system).info().get("CgroupDriver")
    return str(driver) if driver else None


@check("docker.cgroup-driver", CGROUP_DRIVERS_DIFFER)
def cgroup_drivers_agree(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Docker and kubelet make cgroups in the same way, where kubelet uses Docker."""
    if not installed(system, expected):
        return
    wants = kubelet(system)
    if wants is None or wants.cgroup_driver is None or not wants.uses_docker:
        return
    docker = engine(system, expected)
    driver = str(docker.info().get("CgroupDriver") or "")
    if not driver or driver == wants.cgroup_driver:
        return
    yield CGROUP_DRIVERS_DIFFER.found(
        docker=driver,
        kubelet=wants.cgroup_driver,
        evidence=[Evidence("docker info", f"Cgroup Driver: {driver}"), *_lines(system, wants)],
        cure=[_set_driver(system, wants.cgroup_driver), *docker.restart(), restart("kubelet")],
    )


def _lines(system: System, wants: Kubelet) -> list[Evidence]:
    lines = [
        line for path in (CONFIG, FLAGS) for line, _ in matching_lines(system, path, "cgroupDriver|--cgroup-driver")
    ]
    return lines or [Evidence("kubelet", f"cgroup driver {wants.cgroup_driver}")]


def _set_driver(system: System, driver: str) -> Step:
    said = configuration(system)
    flags = arguments(system).get("exec-opts")
    if flags is not None:
        # In both places the daemon would not start.
        return by_hand(
            f"Change native.cgroupdriver to {driver} where the daemon's arguments have it: {flags.source}.",
            f"在守护进程参数所在的 {flags.source} 中将 native.cgroupdriver 改为 {driver}。",
        )
    if not said and (system.read(DAEMON_JSON) or "").strip() not in ("", "{}"):
        return by_hand(
            f"Mend {DAEMON_JSON} (HRM-DOCKER-005), and add native.cgroupdriver={driver} to its exec-opts.",
            f"先修正 {DAEMON_JSON}(HRM-DOCKER-005)，再在 exec-opts 中加入 native.cgroupdriver={driver}。",
        )
    options = [option for option in said.get("exec-opts", []) if not str(option).startswith("native.cgroupdriver=")]
    changed = {**said, "exec-opts": [*options, f"native.cgroupdriver={driver}"]}
    return Step(
        about=Text(f"Set Docker's cgroup driver to {driver}.", f"将 Docker 的 cgroup 驱动设为 {driver}。"),
        risk=Risk.SAFE,
        writes=FileContent(DAEMON_JSON, json.dumps(changed, indent=2) + "\n"),
    )
