"""kubelet's health: its own port says whether it works, its journal why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import kubelet
from hrm.doctor.steps import restart, run
from hrm.doctor.system import HttpAnswer, Reached, System
from hrm.doctor.units import Unit, drop_ins, unit
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

JOURNAL = ("journalctl", "--unit", "kubelet.service", "--lines", "200", "--no-pager", "--output", "cat")

#: What its journal says, by what it comes from. The first that is found counts.
CAUSES: tuple[tuple[str, Text], ...] = (
    ("running with swap on is not supported", Text("swap is on", "swap 已启用")),
    (
        r"cgroup driver: .* is different from docker cgroup driver",
        Text("its cgroup driver is not Docker's", "cgroup 驱动与 Docker 不一致"),
    ),
    (
        r"(certificate has expired|client certificate .*is expired|x509: certificate .*not yet valid)",
        Text("a certificate is not valid now, or the clock is wrong", "证书当前无效，或时钟有误"),
    ),
    (
        r"(unknown flag|failed to parse kubelet flag|unrecognized feature gate)",
        Text("it does not know an argument, often one of an older version", "无法识别某个参数，通常来自旧版本"),
    ),
    (
        r"(failed to load kubelet config|failed to load Kubelet config|no such file or directory.*config\.yaml)",
        Text("its configuration cannot be read", "无法读取配置文件"),
    ),
    (
        r"(runtime API is not implemented|unknown service runtime\.v1|container runtime is down|"
        r"failed to run Kubelet: .*(containerd|docker|crio)\S*\.sock)",
        Text("it does not reach what runs its containers", "无法连接容器运行时"),
    ),
    (r"(bind: address already in use)", Text("another program has its port", "端口被其他程序占用")),
)

KUBELET_DOWN = Fault(
    code="HRM-K8S-004",
    severity=Severity.ERROR,
    title=Text("kubelet does not work: port {port} {answer}", "kubelet 工作不正常：端口 {port} {answer}"),
    why=Text(
        "Pods on this node are not started, and kubeadm init fails: The HTTP call equal to 'curl -sSL "
        "http://localhost:{port}/healthz' failed.",
        "本节点无法启动 Pod,kubeadm init 失败：The HTTP call equal to 'curl -sSL "
        "http://localhost:{port}/healthz' failed。",
    ),
    cure=Text(
        "Mend what its journal says; let systemd read its unit again, which kubeadm changes, and restart it.",
        "先修复日志中的问题；再让 systemd 重新读取被 kubeadm 改动的单元并重启 kubelet。",
    ),
)
NOT_SET_UP = Fault(
    code="HRM-K8S-005",
    severity=Severity.INFO,
    title=Text("kubelet is installed, and this node is in no cluster", "已安装 kubelet，但本节点未加入任何集群"),
    why=Text(
        "Until kubeadm init or join writes its configuration kubelet starts and ends every few seconds, as is meant.",
        "在 kubeadm init 或 join 写入配置之前，kubelet 每隔几秒启动并退出一次，这是正常现象。",
    ),
    cure=Text("kubeadm init, kubeadm join, or nothing.", "执行 kubeadm init 或 kubeadm join，或不作处理。"),
)


@check("kubernetes.kubelet", KUBELET_DOWN, NOT_SET_UP, quick=True)
def kubelet_is_well(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """kubelet says that it is well, where it is set up."""
    found = kubelet(system)
    if found is None:
        return
    service = unit(system, "kubelet")
    if not found.configured:
        if found.running is None:
            yield NOT_SET_UP.found(evidence=[service.evidence] if service.active else [])
        return
    if found.healthz_port == 0:
        return
    answer = system.get(f"http://127.0.0.1:{found.healthz_port}/healthz")
    if answer.status == 200:
        return
    # Whoever stopped it and lets it not start with the machine wants it so.
    left = service.active == "inactive" and not service.enabled and found.running is None
    words = _last_words(system)
    finding = KUBELET_DOWN.found(
        port=found.healthz_port,
        answer=_said(answer),
        severity=Severity.INFO if left else None,
        evidence=[*_evidence(system, service, found.healthz_port, answer), *([words] if words else [])],
        cure=_cure(service),
    )
    cause = cause_of(words.text) if words else None
    if cause is not None:
        why = Text(
            f"{finding.why.en} Its journal says why: {cause.en}.", f"{finding.why.zh}日志给出的原因：{cause.zh}。"
        )
        finding = replace(finding, why=why)
    yield finding


def _said(answer: HttpAnswer) -> str:
    if answer.reached is Reached.OPEN and answer.status:
        return f"HTTP {answer.status}"
    return "connection refused" if answer.reached is Reached.REFUSED else "no answer"


def _evidence(system: System, service: Unit, port: int, answer: HttpAnswer) -> Iterator[Evidence]:
    text = answer.text.strip().partition("\n")[0]
    yield Evidence(f"http://127.0.0.1:{port}/healthz", f"{_said(answer)} {text}".strip())
    if service.active:
        yield service.evidence
    if service.needs_reload:
        changed = ", ".join(drop_ins(system, "kubelet")) or "its unit file"
        yield Evidence("systemctl show kubelet.service", f"NeedDaemonReload=yes ({changed})")


def _last_words(system: System) -> Evidence | None:
    """The line of its journal that says why it ended."""
    output = system.run(*JOURNAL)
    lines = output.lines if output.ok else []
    for pattern, _ in CAUSES:
        # The last of them is of its last start.
        line = next((line for line in reversed(lines) if re.search(pattern, line)), None)
        if line is not None:
            return said(replace(output, stdout=line))
    return None


def cause_of(line: str) -> Text | None:
    """What a line of the journal comes from; None for one that says nothing of that."""
    return next((cause for pattern, cause in CAUSES if re.search(pattern, line)), None)


def _cure(service: Unit) -> list[Step]:
    why = Text(
        "Let systemd read its unit again: kubeadm writes arguments into it, and until then systemd starts it with the "
        "old ones.",
        "让 systemd 重新读取单元：kubeadm 会写入新的启动参数，在此之前 systemd 仍使用旧参数启动。",
    )
    steps = [run("systemctl", "daemon-reload", about=why)]
    if service.masked:
        steps.append(run("systemctl", "unmask", "kubelet", about=Text("Allow it to start.", "解除启动屏蔽。")))
    if service.installed and not service.enabled:
        steps.append(run("systemctl", "enable", "kubelet", about=Text("Start it with the machine.", "设置开机自启。")))
    return [*steps, restart("kubelet")]
