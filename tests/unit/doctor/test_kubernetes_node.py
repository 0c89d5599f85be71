"""kubelet, and what it needs of its node: swap, containerd, its health, GPUs, curl, a clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.doctor.kubelet import CONFIG, FLAGS, kubelet
from hrm.doctor.kubernetes import certificates, gpus, health, node, tools
from hrm.model.findings import Severity
from hrm.testing.machines import Machine

SWAPS = "Filename\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda3       partition\t8388604\t0\t-2\n"
HEALTHZ = "http://127.0.0.1:10248/healthz"
KUBELET = "/usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml"
ONE_GPU = "/proc/driver/nvidia/gpus/0000:3d:00.0/information"
OTHER_GPU = "/proc/driver/nvidia/gpus/0000:41:00.0/information"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path).file("/usr/bin/kubelet", mode=0o755)


def set_up(machine: Machine, more: str = "") -> Machine:
    return machine.file(CONFIG, f"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{more}")


def test_swap_is_turned_off_now_and_in_fstab(machine: Machine) -> None:
    fstab = "# /etc/fstab\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n"
    set_up(machine).file(node.SWAPS, SWAPS).file(node.FSTAB, fstab)

    (found,) = machine.findings(node.swap_is_off)

    assert (found.code, found.severity) == ("HRM-K8S-001", Severity.ERROR)
    assert found.evidence[0].line == 2
    assert found.cure[0].command == "swapoff --all"
    assert found.cure[1].writes is not None
    assert found.cure[1].writes.content == fstab.replace("UUID=2", "#UUID=2")


def test_swap_that_fstab_does_not_name_is_left_to_a_person(machine: Machine) -> None:
    machine.file(node.SWAPS, SWAPS.replace("/dev/sda3", "/dev/zram0")).process(700, KUBELET)

    (found,) = machine.findings(node.swap_is_off)

    assert found.severity is Severity.WARNING
    assert found.cure[1].by_hand


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (CONFIG, "failSwapOn: false\n"),
        (FLAGS, 'KUBELET_KUBEADM_ARGS="--cgroup-driver=systemd --fail-swap-on=false"\n'),
        ("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--fail-swap-on=false\n"),
    ],
)
def test_swap_that_kubelet_may_have_is_well(machine: Machine, path: str, content: str) -> None:
    machine.file(node.SWAPS, SWAPS).file(path, content)

    assert machine.findings(node.swap_is_off) == []


def test_no_swap_is_well(machine: Machine) -> None:
    machine.file(node.SWAPS, SWAPS.splitlines()[0] + "\n")

    assert machine.findings(node.swap_is_off) == []


def test_swap_without_kubelet_is_nobodys_concern(tmp_path: Path) -> None:
    assert Machine(tmp_path).file(node.SWAPS, SWAPS).findings(node.swap_is_off) == []


def test_arguments_count_before_the_file(machine: Machine) -> None:
    set_up(machine, "cgroupDriver: systemd\nhealthzPort: 10248\n").process(700, f"{KUBELET} --healthz-port=0")

    found = kubelet(machine.system())

    assert found is not None
    assert (found.cgroup_driver, found.healthz_port) == ("systemd", 0)


CONTAINERD = "version = 2\n[plugins]\n  [plugins.options]\n    SystemdCgroup = {}\n"
AT_CONTAINERD = "cgroupDriver: {}\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n"


@pytest.mark.parametrize(("systemd", "driver", "right"), [("false", "systemd", "true"), ("true", "cgroupfs", "false")])
def test_containerd_is_given_kubelets_cgroup_driver(machine: Machine, systemd: str, driver: str, right: str) -> None:
    set_up(machine, AT_CONTAINERD.format(driver)).file(node.CONTAINERD, CONTAINERD.format(systemd))

    (found,) = machine.findings(node.containerd_serves_kubelet)

    assert found.code == "HRM-K8S-002"
    assert [evidence.source for evidence in found.evidence] == [node.CONTAINERD, CONFIG]
    assert found.cure[0].writes is not None
    assert found.cure[0].writes.content == CONTAINERD.format(right)


@pytest.mark.parametrize("disabled", ['["cri"]', "['cri']", '["io.containerd.grpc.v1.cri"]'])
def test_containerd_without_its_plugin_for_kubernetes_is_found(machine: Machine, disabled: str) -> None:
    set_up(machine, AT_CONTAINERD.format("systemd")).file(
        node.CONTAINERD, f"#root = x\ndisabled_plugins = {disabled}\n"
    )

    (found,) = machine.findings(node.containerd_serves_kubelet)

    assert (found.code, found.evidence[0].line) == ("HRM-K8S-003", 2)
    assert found.cure[0].writes is not None
    assert found.cure[0].writes.content == "#root = x\ndisabled_plugins = []\n"


def test_other_plugins_stay_turned_off(machine: Machine) -> None:
    set_up(machine, AT_CONTAINERD.format("systemd")).file(node.CONTAINERD, 'disabled_plugins = ["cri", "aufs"]\n')

    (found,) = machine.findings(node.containerd_serves_kubelet)

    assert found.cure[0].writes is not None
    assert found.cure[0].writes.content == 'disabled_plugins = ["aufs"]\n'


def test_containerd_as_kubelet_is_well(machine: Machine) -> None:
    content = "disabled_plugins = []\n" + CONTAINERD.format("true")
    set_up(machine, AT_CONTAINERD.format("systemd")).file(node.CONTAINERD, content)

    assert machine.findings(node.containerd_serves_kubelet) == []


def test_containerd_for_docker_alone_may_have_it_turned_off(machine: Machine) -> None:
    set_up(machine).file(node.CONTAINERD, 'disabled_plugins = ["cri"]\n')

    assert machine.findings(node.containerd_serves_kubelet) == []


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            'E0911 "Failed to run kubelet" err="failed to run Kubelet: running with swap on is not supported, please '
            'disable swap! or set --fail-swap-on flag to false. /proc/swaps contained: [Filename]"',
            "swap is on",
        ),
        (
            'server.go:294] "Failed to run kubelet" err="failed to run Kubelet: misconfiguration: kubelet cgroup '
            'driver: \\"systemd\\" is different from docker cgroup driver: \\"cgroupfs\\""',
            "its cgroup driver is not Docker's",
        ),
        (
            "part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: client "
            "certificate /var/lib/kubelet/pki/kubelet-client-current.pem is expired",
            "a certificate is not valid now, or the clock is wrong",
        ),
        (
            'err="failed to parse kubelet flag: unknown flag: --network-plugin"',
            "it does not know an argument, often one of an older version",
        ),
        (
            "E0911 failed to load kubelet config file, path: /var/lib/kubelet/config.yaml",
            "its configuration cannot be read",
        ),
        (
            'err="failed to run Kubelet: CRI v1 runtime API is not implemented for endpoint"',
            "it does not reach what runs its containers",
        ),
        ("listen tcp 127.0.0.1:10248: bind: address already in use", "another program has its port"),
    ],
)
def test_a_kubelet_whose_port_refuses_is_found_with_what_its_journal_says(
    machine: Machine, line: str, cause: str
) -> None:
    set_up(machine).service("kubelet", "activating", sub="auto-restart", Result="exit-code", ExecMainStatus="1")
    machine.command(
        *health.JOURNAL, stdout=f"Started kubelet.\n{line}\nkubelet.service: Failed with result 'exit-code'.\n"
    )

    (found,) = machine.findings(health.kubelet_is_well)

    assert (found.code, found.severity) == ("HRM-K8S-004", Severity.ERROR)
    assert found.title.en == "kubelet does not work: port 10248 connection refused"
    assert found.evidence[-1].text == line
    assert found.why.en.endswith(f"Its journal says why: {cause}.")
    assert [step.command for step in found.cure] == ["systemctl daemon-reload", "systemctl restart kubelet"]


def test_a_unit_that_kubeadm_changed_is_read_again(machine: Machine) -> None:
    set_up(machine).service("kubelet", "failed", NeedDaemonReload="yes")
    machine.file("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "[Service]\n")

    (found,) = machine.findings(health.kubelet_is_well)

    assert found.evidence[-1].text == "NeedDaemonReload=yes (/etc/systemd/system/kubelet.service.d/10-kubeadm.conf)"
    assert "kubeadm writes arguments" in found.cure[0].about.en


def test_a_kubelet_that_says_it_is_not_well_is_found(machine: Machine) -> None:
    set_up(machine).service("kubelet").page(
        HEALTHZ, "[-]syncloop failed: reason withheld\nhealthz check failed", status=500
    )

    (found,) = machine.findings(health.kubelet_is_well)

    assert found.title.en == "kubelet does not work: port 10248 HTTP 500"
    assert "[-]syncloop failed" in found.evidence[0].text


def test_a_kubelet_that_is_well_is_well_also_at_another_port(machine: Machine) -> None:
    set_up(machine, "healthzPort: 20248\n").service("kubelet").page("http://127.0.0.1:20248/healthz", "ok")

    assert machine.findings(health.kubelet_is_well) == []


def test_a_kubelet_that_tells_nobody_of_its_health_is_not_asked(machine: Machine) -> None:
    set_up(machine, "healthzPort: 0\n").service("kubelet")

    assert machine.findings(health.kubelet_is_well) == []


def test_a_kubelet_that_somebody_turned_off_is_worth_knowing_only(machine: Machine) -> None:
    set_up(machine).service("kubelet", "inactive", enabled=False)

    (found,) = machine.findings(health.kubelet_is_well)

    assert found.severity is Severity.INFO
    assert "systemctl enable kubelet" in [step.command for step in found.cure]


def test_a_kubelet_that_starts_with_the_machine_and_is_stopped_is_an_error(machine: Machine) -> None:
    set_up(machine).service("kubelet", "inactive")

    assert [found.severity for found in machine.findings(health.kubelet_is_well)] == [Severity.ERROR]


def test_before_kubeadm_init_kubelet_may_end_again_and_again(machine: Machine) -> None:
    machine.service("kubelet", "activating", sub="auto-restart", Result="exit-code", ExecMainStatus="1")

    assert [(found.code, found.severity) for found in machine.findings(health.kubelet_is_well)] == [
        ("HRM-K8S-005", Severity.INFO)
    ]


def test_without_kubelet_nothing_is_asked(tmp_path: Path) -> None:
    checks = [
        node.swap_is_off,
        node.containerd_serves_kubelet,
        health.kubelet_is_well,
        gpus.pods_get_gpus,
        tools.curl_knows_https,
        certificates.certificates_are_valid_now,
    ]

    report = Machine(tmp_path).report(checks)

    assert report.findings == ()
    assert [run.unseen for run in report.checks_run] == [()] * len(checks)


def test_gpus_without_a_device_plugin_are_found(machine: Machine) -> None:
    machine.process(700, KUBELET).file(ONE_GPU).file(OTHER_GPU).file(f"{gpus.PLUGINS}/kubelet.sock")

    (found,) = machine.findings(gpus.pods_get_gpus)

    assert (found.code, found.severity) == ("HRM-K8S-015", Severity.WARNING)
    assert "(2)" in found.title.en


@pytest.mark.parametrize(("registered", "codes"), [(1, ["HRM-K8S-016"]), (2, []), (8, [])])
def test_a_gpu_that_the_plugin_left_out_is_found(machine: Machine, registered: int, codes: list[str]) -> None:
    devices = [f"GPU-{number}" for number in range(registered)]
    said = {"Data": {"PodDeviceEntries": None, "RegisteredDevices": {"nvidia.com/gpu": devices}}, "Checksum": 1}
    machine.process(700, KUBELET).file(ONE_GPU).file(OTHER_GPU).file(gpus.CHECKPOINT, json.dumps(said))

    assert [found.code for found in machine.findings(gpus.pods_get_gpus)] == codes


def test_a_plugin_that_has_its_socket_and_has_not_told_yet_is_well(machine: Machine) -> None:
    machine.process(700, KUBELET).file(ONE_GPU).file(f"{gpus.PLUGINS}/nvidia-gpu.sock")

    assert machine.findings(gpus.pods_get_gpus) == []


CURL = "curl 7.58.0 (x86_64-pc-linux-gnu) libcurl/7.58.0 zlib/1.2.11\nProtocols: {}\nFeatures: IPv6\n"


def test_a_curl_that_was_built_without_tls_is_found(machine: Machine) -> None:
    machine.file("/usr/local/bin/curl", mode=0o755)
    machine.command(
        "curl", "--version", stdout=CURL.format("dict file ftp gopher http imap pop3 rtsp smtp telnet tftp")
    )

    (found,) = machine.findings(tools.curl_knows_https)

    assert found.title.en == "curl (/usr/local/bin/curl) knows no https"
    assert found.evidence[0].text.startswith("Protocols: dict")
    assert found.cure[0].command == "apt-get install --yes --reinstall curl"
    assert "/usr/local/bin/curl" in found.cure[1].about.en


def test_a_curl_that_knows_https_is_well(machine: Machine) -> None:
    machine.file("/usr/bin/curl", mode=0o755).command("curl", "--version", stdout=CURL.format("ftp ftps http https"))

    assert machine.findings(tools.curl_knows_https) == []


API = f"{certificates.PKI}/apiserver.crt"
OPENSSL = ("openssl", "x509", "-noout", "-dates", "-in", API)
#: Sep 11 2021 08:20:00 UTC.
ISSUED = 1_631_348_400.0
DATES = "notBefore=Sep 11 08:20:00 2021 GMT\nnotAfter=Sep 11 08:20:00 2022 GMT\n"
YEAR_S = 365 * 24 * 3600.0


@pytest.mark.parametrize(
    ("now", "code", "severity"),
    [
        (ISSUED - 8 * 3600, "HRM-K8S-012", Severity.ERROR),
        (ISSUED + YEAR_S - 7 * 24 * 3600, "HRM-K8S-013", Severity.WARNING),
        (ISSUED + YEAR_S + 60, "HRM-K8S-013", Severity.ERROR),
    ],
)
def test_a_clock_outside_of_a_certificates_time_is_found(
    machine: Machine, now: float, code: str, severity: Severity
) -> None:
    machine.file(API).command(*OPENSSL, stdout=DATES).at(now)

    (found,) = machine.findings(certificates.certificates_are_valid_now)

    assert (found.code, found.severity) == (code, severity)
    assert found.evidence[0].text == "notBefore=2021-09-11 08:20:00 UTC, notAfter=2022-09-11 08:20:00 UTC"


def test_a_clock_that_is_behind_is_set_before_kubelet_is_restarted(machine: Machine) -> None:
    machine.file(API).command(*OPENSSL, stdout=DATES).at(ISSUED - 8 * 3600)

    (found,) = machine.findings(certificates.certificates_are_valid_now)

    assert found.title.en == f"The clock is behind by at least 8 h: {API} is not valid yet"
    commands = [step.command for step in found.cure]
    assert commands == ["timedatectl set-ntp true", "", "systemctl restart kubelet"]


def test_a_certificate_that_is_valid_for_long_is_well(machine: Machine) -> None:
    machine.file(API).command(*OPENSSL, stdout=DATES).at(ISSUED + 3600)

    assert machine.findings(certificates.certificates_are_valid_now) == []


def test_a_certificate_that_only_root_may_read_is_said_to_be_unseen(machine: Machine) -> None:
    machine.file(API).command(*OPENSSL, stderr=f"Can't open {API} for reading, Permission denied\n", status=1)

    (run,) = machine.report([certificates.certificates_are_valid_now]).checks_run

    assert run.unseen == (f"{API}: Permission denied (needs root)",)
