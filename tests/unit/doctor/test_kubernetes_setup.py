"""Setting a node up with kubeadm: leftovers, ports, networks, images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.kubernetes import KubernetesExpected
from hrm.doctor.kubelet import CONFIG
from hrm.doctor.kubernetes import images, networks, setup
from hrm.model.findings import Severity
from hrm.testing.machines import Machine

ETCD = f"{setup.MANIFESTS}/etcd.yaml"
API_SERVER = f"{setup.MANIFESTS}/kube-apiserver.yaml"
MANAGER = f"{setup.MANIFESTS}/kube-controller-manager.yaml"
MIRROR = "registry.cn-hangzhou.aliyuncs.com/google_containers"
OTHER_MIRROR = "registry.aliyuncs.com/google_containers"
TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/usr/bin/kubeadm", mode=0o755)


def listening(machine: Machine, port: int, pid: int, command_line: str) -> Machine:
    row = f"   0: 00000000:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {port} 1\n"
    return machine.file("/proc/net/tcp", TCP + row).process(pid, command_line, holds=[f"socket:[{port}]"])


def test_what_an_earlier_init_left_is_reset_only_after_a_person_said_so(machine: Machine) -> None:
    machine.file(ETCD).file(API_SERVER).directory("/var/lib/etcd/member")

    (found,) = machine.findings(setup.nothing_is_left_of_an_earlier_setup)

    assert (found.code, found.severity) == ("HRM-K8S-006", Severity.WARNING)
    assert found.title.en == f"An earlier kubeadm init left {ETCD} (+2), and no control plane runs"
    assert found.evidence[-1].text == "refused"
    assert found.cure[0].by_hand
    assert found.cure[1].command == "kubeadm reset --force"


def test_data_of_etcd_alone_is_left_over_too(machine: Machine) -> None:
    machine.directory("/var/lib/etcd/member")

    (found,) = machine.findings(setup.nothing_is_left_of_an_earlier_setup)

    assert "/var/lib/etcd" in found.title.en


def test_a_control_plane_that_runs_is_well(machine: Machine) -> None:
    machine.file(ETCD).file(API_SERVER, "    - --secure-port=6444\n").port("127.0.0.1:6444")

    assert machine.findings(setup.nothing_is_left_of_an_earlier_setup) == []


@pytest.mark.parametrize("path", ["/var/lib/etcd/default/member", f"{setup.MANIFESTS}/kube-vip.yaml"])
def test_what_is_not_kubeadms_is_no_leftover(machine: Machine, path: str) -> None:
    machine.file(path)

    assert machine.findings(setup.nothing_is_left_of_an_earlier_setup) == []


def test_an_etcd_of_its_own_that_runs_is_no_leftover(machine: Machine) -> None:
    machine.directory("/var/lib/etcd/member").port("127.0.0.1:2379")

    assert machine.findings(setup.nothing_is_left_of_an_earlier_setup) == []


@pytest.mark.parametrize(
    ("port", "program"), [(10250, "/usr/bin/kubelet --config=x"), (6443, "kube-apiserver --x"), (2379, "etcd --name a")]
)
def test_a_part_of_an_earlier_cluster_that_has_a_port_goes_with_a_reset(
    machine: Machine, port: int, program: str
) -> None:
    listening(machine, port, 900, program)

    (found,) = machine.findings(setup.ports_are_free)

    assert (found.code, found.severity) == ("HRM-K8S-007", Severity.WARNING)
    assert str(port) in found.title.en
    assert found.evidence[0].text == program
    assert [step.command for step in found.cure] == ["", "kubeadm reset --force"]


def test_a_port_that_another_program_has_is_left_to_a_person(machine: Machine) -> None:
    listening(machine, 10250, 900, "/opt/exporter/bin/exporter --port 10250")

    (found,) = machine.findings(setup.ports_are_free)

    assert found.title.en == "Port 10250, which kubelet needs, is taken by exporter (pid 900)"
    assert [step.by_hand for step in found.cure] == [True]


def test_where_a_control_plane_is_set_up_a_port_of_another_is_an_error(machine: Machine) -> None:
    listening(machine.file(API_SERVER), 6443, 900, "nginx: master process")

    assert [found.severity for found in machine.findings(setup.ports_are_free)] == [Severity.ERROR]


def test_ports_that_their_own_programs_have_are_well(machine: Machine) -> None:
    listening(machine.file(API_SERVER), 6443, 900, "kube-apiserver --secure-port=6443")

    assert machine.findings(setup.ports_are_free) == []


def test_on_a_worker_ports_of_a_control_plane_are_anybodys(machine: Machine) -> None:
    machine.file("/etc/kubernetes/kubelet.conf").file(CONFIG, "kind: KubeletConfiguration\n")
    listening(machine, 2379, 900, "etcd --name another")

    assert machine.findings(setup.ports_are_free) == []


def test_a_node_that_something_else_than_kubeadm_set_up_is_left_alone(tmp_path: Path) -> None:
    machine = listening(Machine(tmp_path), 10250, 900, "/usr/bin/kubelet --config /etc/eks/kubelet.json")

    assert machine.directory(setup.MANIFESTS).findings(setup.ports_are_free) == []


def test_a_machine_without_kubeadm_is_well(tmp_path: Path) -> None:
    machine = listening(Machine(tmp_path), 6443, 900, "nginx")

    assert machine.findings(setup.ports_are_free) == []
    assert machine.findings(setup.nothing_is_left_of_an_earlier_setup) == []


def with_addresses(machine: Machine, *addresses: str) -> Machine:
    said = []
    for address in addresses:
        name, at = address.split(" ")
        ip, prefix = at.split("/")
        said.append({"ifname": name, "addr_info": [{"local": ip, "prefixlen": int(prefix)}]})
    return machine.command("ip", "-j", "address", stdout=json.dumps(said))


def cluster_of(cidr: str) -> str:
    return f"spec:\n  containers:\n  - command:\n    - --cluster-cidr={cidr}\n"


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        (("eno1 172.19.0.200/12",), "the hosts' network 172.16.0.0/12"),
        (("eno1 10.0.0.5/24", "docker0 172.16.8.1/24"), "Docker's network 172.16.8.0/24"),
        (("br-5f00aa 172.16.0.1/16",), "Docker's network 172.16.0.0/16"),
    ],
)
def test_pods_with_addresses_of_hosts_or_docker_are_found(
    machine: Machine, addresses: tuple[str, ...], other: str
) -> None:
    with_addresses(machine.file(MANAGER, cluster_of("172.16.0.0/16")), *addresses)

    (found,) = machine.findings(networks.networks_are_apart)

    assert (found.code, found.severity) == ("HRM-K8S-008", Severity.ERROR)
    assert found.title.en == f"Addresses of pods (172.16.0.0/16) overlap {other}"
    assert found.evidence[0].source == MANAGER
    assert "--pod-network-cidr 10.244.0.0/16" in found.cure[0].about.en


def test_pods_with_addresses_of_hosts_that_the_hosts_file_names_are_found(machine: Machine) -> None:
    machine.file("/etc/hosts", "127.0.0.1 localhost\n172.19.0.200 master00\n172.19.0.206 slave06\n")
    with_addresses(machine.file(networks.FLANNEL, "FLANNEL_NETWORK=172.16.0.0/12\n"), "eno1 10.0.0.5/24")

    (found,) = machine.findings(networks.networks_are_apart)

    assert found.title.en == "Addresses of pods (172.16.0.0/12) overlap host master00 (172.19.0.200) (+1)"
    assert found.evidence[1].line == 2


def test_what_a_cluster_is_to_be_set_up_with_is_looked_at_before(machine: Machine) -> None:
    with_addresses(machine, "eno1 172.16.3.4/24")
    expected = Expected(kubernetes=KubernetesExpected(pod_cidr="172.16.0.0/16"))

    (found,) = machine.findings(networks.networks_are_apart, expected)

    assert found.severity is Severity.WARNING


@pytest.mark.parametrize(
    "addresses",
    [
        # What the notebook sets up, on hosts with the netmask that they should have.
        ("lo 127.0.0.1/8", "eno1 172.19.0.200/24", "docker0 172.17.0.1/16"),
        ("eno1 10.0.0.5/24", "cni0 172.16.0.1/24", "flannel.1 172.16.0.0/32", "cali12ab 172.16.0.7/32"),
    ],
)
def test_networks_that_are_apart_and_those_of_pods_themselves_are_well(
    machine: Machine, addresses: tuple[str, ...]
) -> None:
    machine.file("/etc/hosts", "172.19.0.200 master00\n")
    with_addresses(machine.file(MANAGER, cluster_of("172.16.0.0/16")), *addresses)

    assert machine.findings(networks.networks_are_apart) == []


def test_services_with_addresses_of_hosts_are_found(machine: Machine) -> None:
    machine.file(API_SERVER, "    - --service-cluster-ip-range=10.96.0.0/12\n")
    with_addresses(machine, "eno1 10.100.0.4/16")

    (found,) = machine.findings(networks.networks_are_apart)

    assert found.title.en == "Addresses of services (10.96.0.0/12) overlap the hosts' network 10.100.0.0/16"


DOCKER_IMAGES = ("docker", "images", "--format", "{{.Repository}}:{{.Tag}}")
COREDNS = f"{MIRROR}/coredns:v1.8.4"
EXPECTED = Expected(kubernetes=KubernetesExpected(images=(COREDNS,)))


def inspect(image: str) -> tuple[str, ...]:
    return ("docker", "manifest", "inspect", "--insecure", image)


@pytest.mark.parametrize(
    "said",
    [
        f"no such manifest: {COREDNS}\n",
        f"manifest for {COREDNS} not found: manifest unknown: manifest unknown\n",
        'errors:\nmanifest unknown: map[Name:google_containers/coredns Revision:sha256:ab] "manifest unknown"\n',
    ],
)
def test_a_tag_that_the_mirror_lacks_is_pulled_from_its_makers_and_named_as_asked_for(
    machine: Machine, said: str
) -> None:
    machine.command(*DOCKER_IMAGES, stdout=f"{MIRROR}/pause:3.5\n").command(*inspect(COREDNS), stderr=said, status=1)

    (found,) = machine.findings(images.images_are_to_be_had, EXPECTED)

    assert (found.code, found.severity) == ("HRM-K8S-010", Severity.ERROR)
    assert [step.command for step in found.cure] == [
        "docker pull coredns/coredns:1.8.4",
        f"docker tag coredns/coredns:1.8.4 {COREDNS}",
        "docker rmi coredns/coredns:1.8.4",
    ]


def test_the_mirrors_own_other_tag_is_taken_where_it_has_it(machine: Machine) -> None:
    machine.command(*DOCKER_IMAGES).command(*inspect(COREDNS), stderr=f"no such manifest: {COREDNS}\n", status=1)
    machine.command(*inspect(f"{MIRROR}/coredns:1.8.4"), stdout='{"schemaVersion": 2}')

    (found,) = machine.findings(images.images_are_to_be_had, EXPECTED)

    assert found.cure[0].command == f"docker pull {MIRROR}/coredns:1.8.4"


@pytest.mark.parametrize("have", [f"{OTHER_MIRROR}/coredns:v1.8.4", "coredns/coredns:1.8.4"])
def test_an_image_that_was_tagged_for_another_registry_is_given_the_right_name(machine: Machine, have: str) -> None:
    machine.command(*DOCKER_IMAGES, stdout=f"{have}\n<none>:<none>\n")

    (found,) = machine.findings(images.images_are_to_be_had, EXPECTED)

    assert (found.code, found.title.en) == ("HRM-K8S-009", f"Image {COREDNS} is here only as {have}")
    assert [step.command for step in found.cure] == [f"docker tag {have} {COREDNS}"]


@pytest.mark.parametrize(
    "said",
    [
        'failed to configure transport: error pinging registry: Get "https://registry/v2/": dial tcp: no such host\n',
        'Get "https://k8s.gcr.io/v2/": net/http: request canceled while waiting for connection\n',
    ],
)
def test_a_registry_that_is_not_reached_is_asked_once(machine: Machine, said: str) -> None:
    expected = Expected(kubernetes=KubernetesExpected(images=(COREDNS, f"{MIRROR}/pause:3.5")))
    machine.command(*DOCKER_IMAGES).command(*inspect(COREDNS), stderr=said, status=1)

    (found,) = machine.findings(images.images_are_to_be_had, expected)

    assert (found.code, found.severity) == ("HRM-K8S-011", Severity.WARNING)


def test_another_version_of_an_image_is_not_taken_for_it(machine: Machine) -> None:
    machine.command(*DOCKER_IMAGES, stdout=f"{OTHER_MIRROR}/coredns:v1.8.6\n")
    machine.command(*inspect(COREDNS), stderr=f"no such manifest: {COREDNS}\n", status=1)

    assert [found.code for found in machine.findings(images.images_are_to_be_had, EXPECTED)] == ["HRM-K8S-010"]


def test_images_that_are_here_or_can_be_pulled_are_well(machine: Machine) -> None:
    expected = Expected(kubernetes=KubernetesExpected(images=(COREDNS, f"{MIRROR}/pause:3.5")))
    machine.command(*DOCKER_IMAGES, stdout=f"{COREDNS}\n")
    machine.command(*inspect(f"{MIRROR}/pause:3.5"), stdout='{"schemaVersion": 2}')

    assert machine.findings(images.images_are_to_be_had, expected) == []


def test_kubeadm_says_what_it_would_pull_from_the_repository_that_is_expected(machine: Machine) -> None:
    expected = Expected(kubernetes=KubernetesExpected(image_repository=MIRROR))
    machine.command("kubeadm", "version", "--output", "short", stdout="v1.22.1\n")
    machine.command(
        *("kubeadm", "config", "images", "list", "--image-repository", MIRROR, "--kubernetes-version", "v1.22.1"),
        stdout=f"{MIRROR}/kube-apiserver:v1.22.1\n{COREDNS}\n",
    )
    machine.command(*DOCKER_IMAGES, stdout=f"{MIRROR}/kube-apiserver:v1.22.1\n")
    machine.command(*inspect(COREDNS), stderr=f"no such manifest: {COREDNS}\n", status=1)

    assert [found.code for found in machine.findings(images.images_are_to_be_had, expected)] == ["HRM-K8S-010"]


def test_images_of_a_control_plane_are_looked_for_where_kubelet_has_them(machine: Machine) -> None:
    machine.file("/usr/bin/kubelet", mode=0o755).file(CONFIG, "containerRuntimeEndpoint: unix:///run/containerd.sock\n")
    machine.file(ETCD, f"spec:\n  containers:\n  - image: {OTHER_MIRROR}/etcd:3.5.0-0\n    name: etcd\n")
    listed = {"images": [{"id": "sha256:1", "repoTags": [f"{MIRROR}/etcd:3.5.0-0"], "repoDigests": []}]}
    machine.command("crictl", "images", "--output", "json", stdout=json.dumps(listed))

    assert [found.code for found in machine.findings(images.images_are_to_be_had)] == ["HRM-K8S-009"]


def test_where_nothing_is_asked_for_nothing_is_looked_for(tmp_path: Path) -> None:
    system = Machine(tmp_path).system()

    assert list(images.images_are_to_be_had.look(system, Expected())) == []
    assert system.ran == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("busybox:1", ("docker.io", "busybox", "1")),
        ("coredns/coredns:1.8.4", ("docker.io", "coredns/coredns", "1.8.4")),
        ("127.0.0.1:5000/a/b/c:v2", ("127.0.0.1:5000", "a/b/c", "v2")),
        ("localhost/x:y", ("localhost", "x", "y")),
        ("docker.io/library/nginx:1.25", ("docker.io", "nginx", "1.25")),
    ],
)
def test_a_name_of_an_image_is_taken_apart(text: str, parts: tuple[str, str, str]) -> None:
    image = images.parse_image(text)

    assert image is not None
    assert (image.registry, image.path, image.tag) == parts


@pytest.mark.parametrize("text", ["<none>:<none>", "busybox", "a@sha256:00ff"])
def test_a_name_without_a_tag_is_none(text: str) -> None:
    assert images.parse_image(text) is None
