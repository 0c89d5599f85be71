"""A cluster all of whose links are encrypted, by Ray's own TLS and an authority that is made for it."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing.ray_server import RayServer, ray_server

pytestmark = [pytest.mark.ray, pytest.mark.real]


def made_certificates(folder: Path, network: str) -> dict[str, str]:
    """An authority, and a certificate for the machines of a network; the settings of Ray that name them."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    names = ",".join(["IP:127.0.0.1", "DNS:localhost", *(f"IP:{network}.{number}" for number in range(1, 10))])
    (folder / "names").write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
            "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=machine", "-keyout", "key.pem", "-out", "csr.pem")
    openssl("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "cert.pem")  # fmt: skip
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(folder / "cert.pem"),
        "RAY_TLS_SERVER_KEY": str(folder / "key.pem"),
        "RAY_TLS_CA_CERT": str(folder / "ca.pem"),
    }


def hung_up_on(head: tuple[str, int], authority: str) -> bool:
    """True iff one that trusts the authority and has no certificate is refused."""
    trusting = ssl.create_default_context(cafile=authority)
    trusting.set_alpn_protocols(["h2"])
    with socket.create_connection(head, timeout=30) as plain:
        try:
            with trusting.wrap_socket(plain, server_hostname=head[0]) as stranger:
                # In TLS 1.3 the refusal comes after the handshake; who is let in is greeted.
                return stranger.recv(1000) == b""
        except (ssl.SSLError, ConnectionError):
            return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RayServer]:
    if not shutil.which("openssl"):
        pytest.skip("makes certificates by openssl, which is not installed here")
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        network = str(server.machines.head.address).rpartition(".")[0]
        server.env = made_certificates(tmp_path, network)
        yield server


def test_up_and_join_pass_on_what_ray_needs_for_tls_and_who_has_no_certificate_comes_nowhere(
    server: RayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.up()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    server.machines.add("left", "--cpus=2", "--memory-mib=1024")
    server.all_up(["left"])
    assert server.hrm("run", "--", "sh", "-c", "echo on $HRM_NODE_ID") == "on left\n"

    # Its head asks for a certificate of the same authority.
    head = str(server.machines.head.address), server.machines.port
    assert hung_up_on(head, server.env["RAY_TLS_CA_CERT"])

    # Who does not speak TLS is told what may be wrong.
    stranger_home = tmp_path / "stranger"
    done = subprocess.run(
        [Path(sys.executable).with_name("hrm"), "join", f"{head[0]}:{head[1]}", "--token", server.machines.token],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("RAY_")}, "HRM_HOME": str(stranger_home)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, "uses TLS, and this machine does not" in done.stderr) == (1, True), done.stderr
    assert "set RAY_USE_TLS=1" in done.stderr
