"""Setting a node up with kubeadm: what an earlier try left, and ports that others have."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import kubelet
from hrm.doctor.listening import listeners, owner
from hrm.doctor.processes import Running
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import CannotSee, Reached, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

MANIFESTS = "/etc/kubernetes/manifests"
ETCD_DATA = "/var/lib/etcd"
_NODES_OWN = "/etc/kubernetes/kubelet.conf"
API_PORT = 6443
#: Who listens where, on a node with a control plane (kubernetes.io, "Ports and Protocols").
PORTS = {
    API_PORT: "kube-apiserver",
    2379: "etcd",
    2380: "etcd",
    10250: "kubelet",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
}

LEFTOVERS = Fault(
    code="HRM-K8S-006",
    severity=Severity.WARNING,
    title=Text(
        "An earlier kubeadm init left {what}, and no control plane runs",
        "此前的 kubeadm init 遗留了 {what}，但控制平面没有运行",
    ),
    why=Text(
        "kubeadm init refuses to start over it: [ERROR FileAvailable--etc-kubernetes-manifests-etcd.yaml]: "
        "/etc/kubernetes/manifests/etcd.yaml already exists; [ERROR DirAvailable--var-lib-etcd]: /var/lib/etcd is not "
        "empty.",
        "kubeadm init 会拒绝执行：/etc/kubernetes/manifests/etcd.yaml already exists;/var/lib/etcd is not empty。",
    ),
    cure=Text(
        "If no cluster here is to be kept: kubeadm reset, then kubeadm init. It deletes the cluster's data here.",
        "如果本节点没有需要保留的集群：先 kubeadm reset，再 kubeadm init。它会删除本节点上的集群数据。",
    ),
)
PORT_IN_USE = Fault(
    code="HRM-K8S-007",
    severity=Severity.WARNING,
    title=Text(
        "Port {port}, which {wants} needs, is taken by {program} (pid {pid})",
        "{wants} 所需的端口 {port} 被 {program}(pid {pid})占用",
    ),
    why=Text(
        "kubeadm init fails: [ERROR Port-{port}]: Port {port} is in use. Of a control plane that is set up this part "
        "does not start.",
        "kubeadm init 失败：[ERROR Port-{port}]: Port {port} is in use。对已部署的控制平面，该组件无法启动。",
    ),
    cure=Text(
        "What is left of Kubernetes goes with kubeadm reset; move any other program to another port.",
        "Kubernetes 的残留进程用 kubeadm reset 清除；其他程序改用别的端口。",
    ),
)


@check("kubernetes.leftovers", LEFTOVERS)
def nothing_is_left_of_an_earlier_setup(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Where a control plane was set up one runs."""
    if not has_kubeadm(system):
        return
    # What else lies there others may have put, before kubeadm: kube-vip, a balancer.
    manifests = [name for name in system.list(MANIFESTS) if name.removesuffix(".yaml") in PORTS.values()]
    data = "member" in system.list(ETCD_DATA)
    if not (manifests or data):
        return
    port = api_port(system)
    reached = system.connect("127.0.0.1", port)
    # Of a data directory alone nothing says that it is kubeadm's, while some etcd may use it.
    if reached is Reached.OPEN or (not manifests and system.connect("127.0.0.1", 2379) is Reached.OPEN):
        return
    left = [f"{MANIFESTS}/{name}" for name in manifests] + ([ETCD_DATA] if data else [])
    yield LEFTOVERS.found(
        what=left[0] if len(left) == 1 else f"{left[0]} (+{len(left) - 1})",
        evidence=[
            *(Evidence(path, "there is such a file" if path != ETCD_DATA else "it is not empty") for path in left),
            Evidence(f"127.0.0.1:{port}", reached),
        ],
        cure=[_look_first(), _reset()],
    )


@check("kubernetes.ports", PORT_IN_USE)
def ports_are_free(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Ports of the control plane are its own, or free until one is set up."""
    if not has_kubeadm(system):
        return
    manifests = system.list(MANIFESTS)
    joined = system.stat(_NODES_OWN) is not None
    found = kubelet(system)
    for port, wants in {**PORTS, api_port(system): PORTS[API_PORT]}.items():
        if wants == "kubelet":
            set_up = joined or (found is not None and found.configured)
        else:
            set_up = f"{wants}.yaml" in manifests
        if not set_up and (joined or system.which("kubeadm") is None):
            # A worker, where no part of the control plane is to run; or set up by something else than kubeadm.
            continue
        holder = _holder(system, port)
        if isinstance(holder, Unseen):
            yield holder
        elif holder is not None and not (set_up and _program(holder) == wants):
            yield _taken(port, wants, holder, set_up)


def has_kubeadm(system: System) -> bool:
    """Whether nodes are set up from here, or were."""
    return system.which("kubeadm") is not None or system.stat(MANIFESTS) is not None


def api_port(system: System) -> int:
    """Where the API server listens, or would."""
    for _, found in matching_lines(system, f"{MANIFESTS}/kube-apiserver.yaml", r"--secure-port=(\d+)"):
        return int(found[1])
    return API_PORT


def _holder(system: System, port: int) -> Running | Unseen | None:
    for listener in listeners(system, port):
        try:
            return owner(system, listener)
        except CannotSee as error:
            return Unseen(str(error))
    return None


def _taken(port: int, wants: str, holder: Running, set_up: bool) -> Finding:
    program = _program(holder)
    of_kubernetes = program in PORTS.values() or program.startswith("kube")
    move = by_hand(
        f"Give {program} another port, or stop its service; then set the node up.",
        f"为 {program} 改用其他端口或停止其服务，然后再部署节点。",
        risk=Risk.DISRUPTIVE,
    )
    return PORT_IN_USE.found(
        port=port,
        wants=wants,
        program=program,
        pid=holder.pid,
        severity=Severity.ERROR if set_up else None,
        evidence=[Evidence(f"/proc/{holder.pid}/cmdline", holder.shown), Evidence("/proc/net/tcp", f"port {port}")],
        cure=[_look_first(), _reset()] if of_kubernetes and not set_up else [move],
    )


def _program(one: Running) -> str:
    return one.command_line.split(" ", 1)[0].rpartition("/")[2] or one.name


def _reset() -> Step:
    about = Text("Take down what is left of it.", "清除遗留的组件。")
    return run("kubeadm", "reset", "--force", about=about, risk=Risk.DISRUPTIVE)


def _look_first() -> Step:
    return by_hand(
        "Look at kubelet first (HRM-K8S-004): without it no control plane runs, and nothing is to be thrown away. Make "
        f"sure that nobody needs a cluster of this node; keep a copy of {ETCD_DATA} and /etc/kubernetes.",
        "先检查 kubelet(HRM-K8S-004):它不工作时控制平面也不会运行，不必清除任何数据。"
        f"确认无人需要本节点上的集群，并备份 {ETCD_DATA} 和 /etc/kubernetes。",
    )
