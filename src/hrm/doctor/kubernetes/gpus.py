"""GPUs for pods: NVIDIA's device plugin tells kubelet of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import kubelet
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

PLUGINS = "/var/lib/kubelet/device-plugins"
CHECKPOINT = f"{PLUGINS}/kubelet_internal_checkpoint"
GPUS = "/proc/driver/nvidia/gpus"
RESOURCE = "nvidia.com/gpu"

NO_PLUGIN = Fault(
    code="HRM-K8S-015",
    severity=Severity.WARNING,
    title=Text(
        "This node has GPUs ({gpus}), and no device plugin tells kubelet of them",
        "本节点有 GPU（{gpus} 个），但没有设备插件上报给 kubelet",
    ),
    why=Text(
        "Pods that ask for nvidia.com/gpu stay pending: Insufficient nvidia.com/gpu.",
        "请求 nvidia.com/gpu 的 Pod 一直处于 Pending:Insufficient nvidia.com/gpu。",
    ),
    cure=Text(
        "Run NVIDIA's device plugin as a DaemonSet, with NVIDIA's runtime in the node's container runtime.",
        "以 DaemonSet 部署 NVIDIA 设备插件，并在容器运行时中配置 NVIDIA 运行时。",
    ),
)
FEWER_GPUS = Fault(
    code="HRM-K8S-016",
    severity=Severity.WARNING,
    title=Text(
        "kubelet knows of {known} GPUs, and the driver of {gpus}", "kubelet 只登记了 {known} 个 GPU，而驱动有 {gpus} 个"
    ),
    why=Text(
        "Pods get fewer than there are. The plugin left out those that failed since it started (Xid), or looked before "
        "the driver was ready.",
        "Pod 可用的 GPU 少于实际数量。插件剔除了启动后出错（Xid）的 GPU，或在驱动就绪之前就已启动。",
    ),
    cure=Text(
        "Look for Xid messages; then start the plugin's pod on this node anew.",
        "检查 Xid 信息，然后重启本节点的插件 Pod。",
    ),
)


@check("kubernetes.gpus", NO_PLUGIN, FEWER_GPUS, quick=True)
def pods_get_gpus(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """kubelet knows of the GPUs that the driver has."""
    found = kubelet(system)
    gpus = system.list(GPUS)
    if found is None or found.running is None or not gpus:
        return
    known = _registered(system)
    if known is None:
        sockets = [name for name in system.list(PLUGINS) if "nvidia" in name]
        if sockets:
            return
        pci = Evidence(GPUS, ", ".join(gpus))
        yield NO_PLUGIN.found(
            gpus=len(gpus), evidence=[pci, Evidence(PLUGINS, "no socket of NVIDIA's plugin")], cure=list(_deploy())
        )
    elif known < len(gpus):
        yield FEWER_GPUS.found(
            known=known,
            gpus=len(gpus),
            evidence=[Evidence(CHECKPOINT, f"{RESOURCE}: {known}"), Evidence(GPUS, ", ".join(gpus))],
            cure=[
                by_hand(
                    "Cure what hrm doctor --only gpu finds first; then delete the plugin's pod on this node: "
                    "kubectl --namespace kube-system delete pod NAME. Its DaemonSet starts another.",
                    "先处理 hrm doctor --only gpu 的结果，再删除本节点的插件 Pod:"
                    "kubectl --namespace kube-system delete pod 名称，DaemonSet 会自动重建。",
                )
            ],
        )


def _registered(system: System) -> int | None:
    """How many kubelet was told of; None where it was told of none. Raises CannotSee."""
    content = system.read(CHECKPOINT)
    try:
        devices = json.loads(content or "{}")["Data"]["RegisteredDevices"].get(RESOURCE)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return len(devices) if devices else None


def _deploy() -> Iterator[Step]:
    about = Text("Add NVIDIA's runtime to containerd.", "将 NVIDIA 运行时加入 containerd。")
    yield run("nvidia-ctk", "runtime", "configure", "--runtime=containerd", about=about)
    yield by_hand(
        "From where kubectl works, apply NVIDIA's k8s-device-plugin (its DaemonSet), and see that its pod runs here: "
        "kubectl --namespace kube-system get pods --output wide.",
        "在可用 kubectl 的机器上部署 NVIDIA k8s-device-plugin(DaemonSet)，并确认其 Pod 在本节点运行："
        "kubectl --namespace kube-system get pods --output wide。",
    )
