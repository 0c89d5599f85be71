"""What kubelet needs of its node: no swap, and a runtime for containers that works as kubelet does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.evidence import line_of, matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import CONFIG, FLAGS, kubelet
from hrm.doctor.steps import by_hand, restart, run
from hrm.doctor.system import System
from hrm.model.findings import FileContent, Finding, Risk, Severity, Step, Text

SWAPS = "/proc/swaps"
FSTAB = "/etc/fstab"
CONTAINERD = "/etc/containerd/config.toml"

SWAP_IS_ON = Fault(
    code="HRM-K8S-001",
    severity=Severity.WARNING,
    title=Text(
        "Swap is on ({devices}), and kubelet does not start with it", "swap 已启用（{devices}），kubelet 无法启动"
    ),
    why=Text(
        "kubelet ends as it starts: running with swap on is not supported, please disable swap. Where it runs already "
        "it will not after the next restart.",
        "kubelet 启动即退出：running with swap on is not supported, please disable swap。"
        "正在运行的 kubelet 下次重启后将无法启动。",
    ),
    cure=Text(
        "Turn swap off, now and in fstab; or allow it with failSwapOn: false.",
        "立即并在 fstab 中关闭 swap；或设置 failSwapOn: false。",
    ),
)
RUNTIME_DRIVER_DIFFERS = Fault(
    code="HRM-K8S-002",
    severity=Severity.ERROR,
    title=Text(
        "containerd's cgroup driver is {containerd}, kubelet's is {kubelet}",
        "containerd 的 cgroup 驱动是 {containerd},kubelet 的是 {kubelet}",
    ),
    why=Text(
        "Two programs make cgroups in two ways: pods end and restart without a reason, and limits do not hold.",
        "两个程序以不同方式管理 cgroup:Pod 会无故退出并重启，资源限制失效。",
    ),
    cure=Text(
        "Set SystemdCgroup in containerd's configuration as kubelet has it.",
        "按 kubelet 的设置修改 containerd 的 SystemdCgroup。",
    ),
)
CRI_DISABLED = Fault(
    code="HRM-K8S-003",
    severity=Severity.ERROR,
    title=Text(
        "containerd does not serve Kubernetes: its plugin cri is turned off",
        "containerd 未启用 cri 插件，无法为 Kubernetes 服务",
    ),
    why=Text(
        "kubelet and kubeadm fail: unknown service runtime.v1.RuntimeService. Docker's package of containerd comes "
        "with it turned off.",
        "kubelet 和 kubeadm 失败：unknown service runtime.v1.RuntimeService。"
        "Docker 软件源的 containerd 默认关闭该插件。",
    ),
    cure=Text(
        "Take cri out of disabled_plugins and restart containerd.",
        "从 disabled_plugins 中去掉 cri，并重启 containerd。",
    ),
)


@fact("kubernetes.version")
def version(system: System) -> str | None:
    """Of kubelet."""
    output = system.run("kubelet", "--version")
    return output.stdout.strip().removeprefix("Kubernetes ") or None if output.ok else None


@fact("kubernetes.cgroups")
def cgroup_driver(system: System) -> str | None:
    """Of kubelet."""
    found = kubelet(system)
    return None if found is None else found.cgroup_driver


@check("kubernetes.swap", SWAP_IS_ON, quick=True)
def swap_is_off(system: System, expected: Expected) -> Iterator[Finding]:
    """No swap where kubelet takes none."""
    found = kubelet(system)
    lines = (system.read(SWAPS) or "").splitlines()[1:]
    if found is None or not found.fails_with_swap or not lines:
        return
    yield SWAP_IS_ON.found(
        devices=", ".join(line.split()[0] for line in lines),
        severity=Severity.ERROR if found.configured and not found.running else None,
        evidence=[line_of(SWAPS, number, line.strip()) for number, line in enumerate(lines, 2)],
        cure=[
            run("swapoff", "--all", about=Text("Turn swap off.", "关闭 swap。"), risk=Risk.DISRUPTIVE),
            _for_good(system),
            restart("kubelet"),
        ],
    )


@check("kubernetes.containerd", RUNTIME_DRIVER_DIFFERS, CRI_DISABLED)
def containerd_serves_kubelet(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """containerd, where kubelet uses it, serves Kubernetes and makes cgroups as kubelet does."""
    found = kubelet(system)
    if found is None or "containerd" not in found.runtime_endpoint:
        return
    content = system.read(CONTAINERD) or ""
    disabled = re.search(r"^\s*disabled_plugins\s*=\s*\[([^\]]*)\]", content, re.MULTILINE)
    if disabled and re.search(r"[\"'](io\.containerd\.grpc\.v1\.)?cri[\"']", disabled[1]):
        kept = [name for name in re.findall(r"[\"']([^\"']+)[\"']", disabled[1]) if name.rpartition(".")[2] != "cri"]
        changed = "disabled_plugins = [" + ", ".join(f'"{name}"' for name in kept) + "]"
        yield CRI_DISABLED.found(
            evidence=[line for line, _ in matching_lines(system, CONTAINERD, "disabled_plugins")],
            cure=[_write(content.replace(disabled[0].strip(), changed)), restart("containerd"), restart("kubelet")],
        )
    said = re.search(r"^\s*SystemdCgroup\s*=\s*(true|false)", content, re.MULTILINE)
    if said is None or found.cgroup_driver is None:
        return
    driver = "systemd" if said[1] == "true" else "cgroupfs"
    if driver != found.cgroup_driver:
        wanted = "true" if found.cgroup_driver == "systemd" else "false"
        right = re.sub(r"(SystemdCgroup\s*=\s*)(true|false)", rf"\g<1>{wanted}", content)
        places = ((CONTAINERD, "SystemdCgroup"), (CONFIG, "cgroupDriver"), (FLAGS, "--cgroup-driver"))
        yield RUNTIME_DRIVER_DIFFERS.found(
            containerd=driver,
            kubelet=found.cgroup_driver,
            evidence=[line for path, pattern in places for line, _ in matching_lines(system, path, pattern)],
            cure=[_write(right), restart("containerd"), restart("kubelet")],
        )


def _write(content: str) -> Step:
    about = Text("Change containerd's configuration.", "修改 containerd 配置。")
    return Step(about=about, risk=Risk.SAFE, writes=FileContent(CONTAINERD, content))


def _for_good(system: System) -> Step:
    """So that it stays off after a restart."""
    content = system.read(FSTAB) or ""
    lines = content.splitlines()
    changed = [
        f"#{line}" if line.split()[2:3] == ["swap"] and not line.lstrip().startswith("#") else line for line in lines
    ]
    if changed == lines:
        return by_hand(
            "Find what turns swap on at boot (systemctl list-units --type swap) and mask it: systemctl mask NAME.",
            "查明开机启用 swap 的单元（systemctl list-units --type swap）并屏蔽：systemctl mask NAME。",
        )
    about = Text(f"Comment swap out in {FSTAB}.", f"在 {FSTAB} 中注释掉 swap。")
    return Step(about=about, risk=Risk.SAFE, writes=FileContent(FSTAB, "\n".join(changed) + "\n"))
