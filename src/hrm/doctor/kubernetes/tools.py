"""Tools that setting a node up needs: a curl that knows https."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.kubelet import kubelet
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

CURL_WITHOUT_HTTPS = Fault(
    code="HRM-K8S-014",
    severity=Severity.WARNING,
    title=Text("curl ({path}) knows no https", "curl({path})不支持 https"),
    why=Text(
        'Keys and packages of Kubernetes come over https: curl: (1) Protocol "https" not supported or disabled in '
        "libcurl. It was built without TLS.",
        'Kubernetes 的密钥和软件包通过 https 下载：curl: (1) Protocol "https" not supported or disabled in libcurl。'
        "该 curl 编译时未启用 TLS。",
    ),
    cure=Text(
        "Use the distribution's curl, or build it with TLS: ./configure --with-openssl.",
        "使用发行版自带的 curl，或启用 TLS 重新编译：./configure --with-openssl。",
    ),
)


@check("kubernetes.curl", CURL_WITHOUT_HTTPS)
def curl_knows_https(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The curl that is found first can do https."""
    if kubelet(system) is None and system.which("kubeadm") is None:
        return
    path = system.which("curl")
    if path is None:
        return
    output = system.run("curl", "--version")
    protocols = next((line for line in output.lines if line.startswith("Protocols:")), "")
    if not protocols or "https" in protocols.split():
        return
    yield CURL_WITHOUT_HTTPS.found(
        path=path, evidence=[said(output, "^Protocols:"), *_linked(system, path)], cure=_cure(system, path)
    )


def _linked(system: System, path: str) -> list[Evidence]:
    """Which library it loads: often one that was built by hand, too."""
    output = system.run("ldd", path)
    return [said(output, "libcurl")] if output.ok and "libcurl" in output.stdout else []


def _cure(system: System, path: str) -> list[Step]:
    build = by_hand(
        "Or build it with TLS: ./configure --with-openssl (until curl 7.76: --with-ssl), make, make install, ldconfig.",
        "或启用 TLS 重新编译：./configure --with-openssl（curl 7.76 及更早：--with-ssl）、"
        "make、make install、ldconfig。",
    )
    install = run(
        "apt-get",
        "install",
        "--yes",
        "--reinstall",
        "curl",
        about=Text("Install the distribution's.", "安装发行版自带的 curl。"),
    )
    if path.startswith("/usr/local/"):
        move = by_hand(
            f"Move {path}, which comes before /usr/bin/curl, and libcurl in /usr/local/lib out of the way; ldconfig.",
            f"移走优先于 /usr/bin/curl 的 {path} 以及 /usr/local/lib 中的 libcurl，然后执行 ldconfig。",
        )
        return [install, move, build]
    return [install, build]
