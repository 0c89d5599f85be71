"""Certificates against the clock: one that is not valid yet shows a clock that is behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, restart, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

PKI = "/etc/kubernetes/pki"
FILES = (
    f"{PKI}/apiserver.crt",
    f"{PKI}/apiserver-kubelet-client.crt",
    f"{PKI}/apiserver-etcd-client.crt",
    f"{PKI}/front-proxy-client.crt",
    f"{PKI}/etcd/server.crt",
    f"{PKI}/etcd/peer.crt",
    f"{PKI}/ca.crt",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/var/lib/kubelet/pki/kubelet.crt",
)
#: Warned of before; kubeadm's are good for a year.
SOON_S = 30 * 24 * 3600.0

CLOCK_BEHIND = Fault(
    code="HRM-K8S-012",
    severity=Severity.ERROR,
    title=Text(
        "The clock is behind by at least {behind}: {file} is not valid yet", "时钟至少慢了 {behind}:{file} 尚未生效"
    ),
    why=Text(
        "Parts of the cluster do not talk to each other: x509: certificate has expired or is not yet valid. Leases and "
        "etcd go wrong with clocks that differ, too.",
        "集群组件之间无法通信：x509: certificate has expired or is not yet valid。时钟不一致还会影响租约和 etcd。",
    ),
    cure=Text(
        "Set the clock by NTP, as on all nodes; then restart kubelet.",
        "用 NTP 校准时钟（所有节点一致），再重启 kubelet。",
    ),
)
EXPIRED = Fault(
    code="HRM-K8S-013",
    severity=Severity.ERROR,
    title=Text("Certificate {file} is valid until {until} only", "证书 {file} 的有效期只到 {until}"),
    why=Text(
        "From then on nothing talks to the API server: x509: certificate has expired. A fast clock looks so, too.",
        "此后所有组件都无法与 API server 通信：x509: certificate has expired。时钟过快也有同样的现象。",
    ),
    cure=Text(
        "If the clock is right: kubeadm certs renew all, then restart the control plane and kubelet.",
        "若时钟正确：执行 kubeadm certs renew all，再重启控制平面和 kubelet。",
    ),
)


@check("kubernetes.certificates", CLOCK_BEHIND, EXPIRED)
def certificates_are_valid_now(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The clock is within the time for which certificates are valid."""
    now = system.now()
    for path in FILES:
        try:
            if system.stat(path) is None:
                continue
            times = _validity(system, path)
        except CannotSee as error:
            yield Unseen(str(error))
            continue
        if times is None:
            continue
        begins, ends = times
        evidence = [
            Evidence(path, f"notBefore={_shown(begins)}, notAfter={_shown(ends)}"),
            Evidence("the clock", _shown(now)),
        ]
        if now < begins:
            yield CLOCK_BEHIND.found(behind=_span(begins - now), file=path, evidence=evidence, cure=_set_clock())
        elif now > ends - SOON_S:
            severity = None if now > ends else Severity.WARNING
            yield EXPIRED.found(file=path, until=_shown(ends), severity=severity, evidence=evidence, cure=_renew(path))


def _validity(system: System, path: str) -> tuple[float, float] | None:
    """From when until when. Raises CannotSee where it cannot be read."""
    output = system.run("openssl", "x509", "-noout", "-dates", "-in", path)
    if output.missing:
        raise CannotSee(f"{path}: there is no openssl to read it with")
    if "Permission denied" in output.text:
        raise CannotSee(f"{path}: Permission denied (needs root)")
    begins = re.search(r"notBefore=(.+)", output.stdout)
    ends = re.search(r"notAfter=(.+)", output.stdout)
    return (_time(begins[1]), _time(ends[1])) if begins and ends else None


def _time(text: str) -> float:
    """Of openssl's form: ``Sep 11 08:20:00 2021 GMT``."""
    return datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()


def _shown(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _span(time_s: float) -> str:
    return f"{time_s / 60:.0f} min" if time_s < 7200 else f"{time_s / 3600:.0f} h"


def _set_clock() -> list[Step]:
    about = Text("Let the clock be set by NTP.", "启用 NTP 自动校时。")
    return [
        run("timedatectl", "set-ntp", "true", about=about),
        by_hand(
            "See that it is right now (timedatectl), on all nodes; where no time server is reached: date --set.",
            "确认所有节点时间正确（timedatectl）；无法访问时间服务器时：date --set。",
        ),
        restart("kubelet"),
    ]


def _renew(path: str) -> list[Step]:
    first = by_hand("See that the clock is right: timedatectl.", "先确认时钟正确：timedatectl。")
    if not path.startswith(PKI):
        return [
            first,
            by_hand(
                "kubelet renews its own while the API server answers; else join the node anew with kubeadm join.",
                "API server 正常时 kubelet 会自动续期；否则用 kubeadm join 重新加入。",
            ),
            restart("kubelet"),
        ]
    renew = Text("Renew all but those of the authorities.", "续期所有证书（CA 除外）。")
    return [
        first,
        run("kubeadm", "certs", "renew", "all", about=renew),
        by_hand(
            "Restart the control plane: move its manifests out of /etc/kubernetes/manifests for 20 s, and back.",
            "重启控制平面：将清单移出 /etc/kubernetes/manifests 20 秒后再移回。",
        ),
        restart("kubelet"),
    ]
