"""Addresses of pods and services, which are to be nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from hrm.doctor.addresses import HOSTS, hosts_lines, own_addresses
from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubernetes.setup import MANIFESTS
from hrm.doctor.steps import by_hand
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Text

FLANNEL = "/run/flannel/subnet.env"
#: Interfaces that network plugins make for pods.
_PODS_OWN = (
    "cni",
    "flannel",
    "cali",
    "vxlan.calico",
    "tunl",
    "kube-",
    "weave",
    "cilium",
    "lxc",
    "veth",
    "nodelocaldns",
)
_DOCKERS = ("docker", "br-")
#: In private space, and seldom used by anybody.
_OFTEN_FREE = ("10.244.0.0/16", "10.233.64.0/18", "10.200.0.0/16", "192.168.128.0/17", "100.64.0.0/16")

NETWORKS_OVERLAP = Fault(
    code="HRM-K8S-008",
    severity=Severity.ERROR,
    title=Text("Addresses of {whose} ({cidr}) overlap {other}", "{whose} 的地址段（{cidr}）与 {other} 重叠"),
    why=Text(
        "What is sent to one goes to the other: pods do not reach these hosts, and hosts not these pods.",
        "发往一方的数据会送到另一方：Pod 无法访问这些主机，主机也无法访问这些 Pod。",
    ),
    cure=Text(
        "Set the cluster up with addresses that nobody has. Those of one that runs cannot be changed.",
        "用无人使用的地址段重新部署集群；运行中的集群无法更改地址段。",
    ),
)


@dataclass(frozen=True, slots=True)
class _Range:
    """Addresses that the cluster takes for itself."""

    whose: str
    network: IPv4Network
    evidence: Evidence
    #: Whether a cluster has them already.
    taken: bool = True


@check("kubernetes.networks", NETWORKS_OVERLAP)
def networks_are_apart(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Pods and services have addresses that hosts and Docker have not."""
    ranges = list(_ranges(system, expected))
    if not ranges:
        return
    others = list(_others(system))
    for one in ranges:
        clashes = [
            (name, evidence)
            for name, network, evidence in others
            # Hosts files name services of the cluster, too.
            if network.overlaps(one.network) and not (one.whose == "services" and evidence.source == HOSTS)
        ]
        if not clashes:
            continue
        free = _free([network for _, network, _ in others] + [other.network for other in ranges])
        name = clashes[0][0] if len(clashes) == 1 else f"{clashes[0][0]} (+{len(clashes) - 1})"
        yield NETWORKS_OVERLAP.found(
            whose=one.whose,
            cidr=one.network,
            other=name,
            severity=None if one.taken else Severity.WARNING,
            evidence=[one.evidence, *(evidence for _, evidence in clashes[:5])],
            cure=[
                by_hand(
                    f"Use addresses that are free, for example kubeadm init --pod-network-cidr {free}, and the same in "
                    "the network plugin's configuration. A cluster that runs has to be set up anew (kubeadm reset); "
                    "where only Docker's overlap, give Docker others: bip and default-address-pools in daemon.json.",
                    f"改用空闲的地址段，例如 kubeadm init --pod-network-cidr {free}，网络插件的配置也要一致。"
                    "运行中的集群需要重新部署（kubeadm reset）；如果只与 Docker 网络重叠，"
                    "可在 daemon.json 中修改 bip 和 default-address-pools。",
                    risk=Risk.DISRUPTIVE,
                )
            ],
        )


def _ranges(system: System, expected: Expected) -> Iterator[_Range]:
    manager = f"{MANIFESTS}/kube-controller-manager.yaml"
    places = (
        ("pods", manager, r"--cluster-cidr=(\S+)"),
        ("pods", FLANNEL, r"^FLANNEL_NETWORK=(\S+)"),
        ("services", f"{MANIFESTS}/kube-apiserver.yaml", r"--service-cluster-ip-range=(\S+)"),
    )
    seen = set()
    for whose, path, pattern in places:
        for evidence, found in matching_lines(system, path, pattern):
            for network in _networks(found[1]):
                if network not in seen:
                    seen.add(network)
                    yield _Range(whose, network, evidence)
    for network in _networks(expected.kubernetes.pod_cidr or ""):
        if network not in seen:
            yield _Range("pods", network, Evidence("hrm.yaml", f"doctor.kubernetes.pod_cidr: {network}"), taken=False)


def _others(system: System) -> Iterator[tuple[str, IPv4Network, Evidence]]:
    """Networks that this machine is in, and hosts that it knows."""
    for address in own_addresses(system):
        network = address.at.network
        if address.interface.startswith(("lo", *_PODS_OWN)) or not isinstance(network, IPv4Network):
            continue
        whose = "Docker's network" if address.interface.startswith(_DOCKERS) else "the hosts' network"
        yield f"{whose} {network}", network, Evidence("ip address", f"{address.at} on {address.interface}")
    for line in hosts_lines(system):
        if line.address.version == 4 and not line.address.is_loopback:
            yield f"host {line.names[0]} ({line.address})", IPv4Network(f"{line.address}/32"), line.evidence


def _networks(text: str) -> Iterator[IPv4Network]:
    """Of a list with commas, as clusters with both families have; what is none is left out."""
    for word in text.strip("\"'").split(","):
        try:
            network = ip_network(word.strip(), strict=False)
        except ValueError:
            continue
        if isinstance(network, IPv4Network):
            yield network


def _free(taken: list[IPv4Network]) -> str:
    return next((one for one in _OFTEN_FREE if not any(IPv4Network(one).overlaps(other) for other in taken)), "…")
