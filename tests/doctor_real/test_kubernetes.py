"""Faults of Kubernetes with real sockets, processes, certificates, and a real registry.

kubelet and kubeadm themselves are in no package of Debian 12: what they leave in files is added to this machine's own.
"""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.cures import Result
from hrm.doctor.docker import cgroups
from hrm.doctor.expected import Expected
from hrm.doctor.expected.docker import DockerExpected
from hrm.doctor.expected.kubernetes import KubernetesExpected
from hrm.doctor.kubelet import CONFIG
from hrm.doctor.kubernetes import certificates, health, images, setup, tools
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem, System
from hrm.model.findings import Finding, Severity
from hrm.testing.conditions import eventually
from tests.doctor_real.docker_engine import IMAGE, PROGRAMS, RealDocker, cured
from tests.doctor_real.live import WithFiles

pytestmark = [pytest.mark.real, pytest.mark.doctor_real]

HOUR_S = 3600.0


def found_by(check: Check, system: System, expected: Expected | None = None) -> list[Finding]:
    report = examine("here", system, expected or Expected(), [check])
    assert not [what for run in report.checks_run for what in run.unseen if what.startswith("the check failed")]
    return list(report.findings)


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def healthz(port: int, status: int, text: str) -> Iterator[None]:
    """A server that says of its health what kubelet would."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nothing is to be printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_port_of_kubelets_that_refuses_is_found_and_one_that_answers_is_well() -> None:
    port = free_port()
    system = WithFiles({CONFIG: f"kind: KubeletConfiguration\nhealthzPort: {port}\n"}, programs=["kubelet"])

    (refused,) = found_by(health.kubelet_is_well, system)
    with healthz(port, 500, "[-]syncloop failed"):
        (unwell,) = found_by(health.kubelet_is_well, system)
    with healthz(port, 200, "ok"):
        well = found_by(health.kubelet_is_well, system)

    assert (refused.code, refused.severity) == ("HRM-K8S-004", Severity.ERROR)
    assert refused.title.en == f"kubelet does not work: port {port} connection refused"
    assert unwell.title.en == f"kubelet does not work: port {port} HTTP 500"
    assert well == []


def test_what_an_earlier_init_left_is_found_until_a_control_plane_runs() -> None:
    port = free_port()
    manifests = {
        f"{setup.MANIFESTS}/etcd.yaml": "kind: Pod\n",
        f"{setup.MANIFESTS}/kube-apiserver.yaml": f"    - --secure-port={port}\n",
    }
    system = WithFiles(manifests, programs=["kubeadm"])

    (left,) = found_by(setup.nothing_is_left_of_an_earlier_setup, system)
    with closing(socket.create_server(("127.0.0.1", port))):
        well = found_by(setup.nothing_is_left_of_an_earlier_setup, system)

    assert left.code == "HRM-K8S-006"
    assert f"{setup.MANIFESTS}/etcd.yaml" in left.title.en
    assert well == []


def test_a_port_in_use_is_found_with_the_process_that_has_it() -> None:
    port = free_port()
    # The control plane would have its server there.
    system = WithFiles({f"{setup.MANIFESTS}/kube-apiserver.yaml": f"--secure-port={port}\n"}, programs=["kubeadm"])

    with closing(socket.create_server(("127.0.0.1", port))):
        taken = [found for found in found_by(setup.ports_are_free, system) if f"Port {port}," in found.title.en]
    free = [found for found in found_by(setup.ports_are_free, system) if f"Port {port}," in found.title.en]

    (found,) = taken
    assert (found.code, found.severity) == ("HRM-K8S-007", Severity.ERROR)
    assert f"(pid {os.getpid()})" in found.title.en
    assert free == []


def test_a_clock_outside_of_a_real_certificates_time_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "apiserver.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "365",
                "-subj",
                "/CN=kube-apiserver",
            ),
            *("-keyout", str(tmp_path / "key"), "-out", str(made)),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setattr(certificates, "FILES", (str(made),))

    def at(ahead_s: float) -> list[str]:
        return [
            found.code for found in found_by(certificates.certificates_are_valid_now, WithFiles({}, ahead_s=ahead_s))
        ]

    assert at(0) == []
    assert at(-8 * HOUR_S) == ["HRM-K8S-012"]
    assert at(360 * 24 * HOUR_S) == ["HRM-K8S-013"]
    assert at(400 * 24 * HOUR_S) == ["HRM-K8S-013"]


def test_the_curl_of_this_machine_knows_https() -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl: apt-get install curl")

    assert found_by(tools.curl_knows_https, WithFiles({}, programs=["kubeadm"])) == []


@pytest.fixture(scope="module")
def docker() -> Iterator[RealDocker]:
    missing = [program for program in (*PROGRAMS, "docker-registry") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(missing)}: apt-get install docker.io docker-registry busybox-static")
    engine = RealDocker()
    try:
        engine.start()
        engine.make_image()
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def registry(docker: RealDocker) -> Iterator[str]:
    """The address of a real one, that has coredns by its old tag alone."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    configuration = docker.place / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {docker.place}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (docker.place / "registry.log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", str(configuration)], stdout=log, stderr=log)
    try:
        eventually(lambda: answers(f"http://{address}/v2/"), 60, describe="the registry answers")
        docker.docker("tag", IMAGE, f"{address}/google_containers/coredns:1.8.4")
        docker.docker("push", f"{address}/google_containers/coredns:1.8.4")
        docker.docker("rmi", f"{address}/google_containers/coredns:1.8.4")
        yield address
    finally:
        server.terminate()
        server.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


@pytest.mark.root
def test_a_tag_that_a_real_registry_lacks_is_pulled_by_its_other_tag_and_named_as_asked_for(
    docker: RealDocker, registry: str
) -> None:
    wanted = f"{registry}/google_containers/coredns:v1.8.4"
    refused = docker.docker("pull", wanted, check=False)
    assert f"manifest for {wanted} not found: manifest unknown" in refused.stderr
    expected = Expected(docker=DockerExpected(host=docker.host), kubernetes=KubernetesExpected(images=(wanted,)))

    (found,) = found_by(images.images_are_to_be_had, LocalSystem(), expected)

    assert (found.code, found.severity) == ("HRM-K8S-010", Severity.ERROR)
    assert "no such manifest" in found.evidence[0].text
    assert cured(found) == [Result.DONE] * 3
    assert wanted in docker.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    assert found_by(images.images_are_to_be_had, LocalSystem(), expected) == []


@pytest.mark.root
def test_an_image_that_was_tagged_for_another_registry_is_found_and_named_as_asked_for(
    docker: RealDocker, registry: str
) -> None:
    docker.docker("tag", IMAGE, "registry.aliyuncs.com/google_containers/pause:3.5")
    wanted = f"{registry}/google_containers/pause:3.5"
    expected = Expected(docker=DockerExpected(host=docker.host), kubernetes=KubernetesExpected(images=(wanted,)))

    (found,) = found_by(images.images_are_to_be_had, LocalSystem(), expected)

    assert found.code == "HRM-K8S-009"
    assert cured(found) == [Result.DONE]
    assert found_by(images.images_are_to_be_had, LocalSystem(), expected) == []


@pytest.mark.root
@pytest.mark.parametrize(("driver", "codes"), [("systemd", ["HRM-DOCKER-050"]), ("cgroupfs", [])])
def test_dockers_cgroup_driver_is_compared_with_kubelets(docker: RealDocker, driver: str, codes: list[str]) -> None:
    system = WithFiles({CONFIG: f"cgroupDriver: {driver}\n"}, programs=["kubelet"])

    found = found_by(cgroups.cgroup_drivers_agree, system, docker.expected)

    assert [one.code for one in found] == codes


@pytest.mark.root
def test_a_registry_that_does_not_answer_is_told_from_one_without_the_tag(docker: RealDocker) -> None:
    wanted = f"127.0.0.1:{free_port()}/google_containers/etcd:3.5.0-0"
    expected = Expected(docker=DockerExpected(host=docker.host), kubernetes=KubernetesExpected(images=(wanted,)))

    (found,) = found_by(images.images_are_to_be_had, LocalSystem(), expected)

    assert found.code == "HRM-K8S-011"
