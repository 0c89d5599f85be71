"""The clock: whether something keeps it right, and how far it is off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.checks import check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, restart
from hrm.doctor.system import System
from hrm.doctor.units import systemd_runs, unit
from hrm.model.findings import Evidence, Finding, Severity, Text

_CHRONY = ("chronyc", "-n", "tracking")
_NTPQ = ("ntpq", "-pn")
_TIMEDATECTL = ("timedatectl", "show")
_SERVICES = ("chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "systemd-timesyncd")
_OFF_S = 0.5
#: Kerberos, TLS and Kubernetes' certificates begin to refuse at a few minutes; logs are in the wrong order before.
_FAR_OFF_S = 30.0

NOT_SYNCHRONISED = Fault(
    code="HRM-CLOCK-001",
    severity=Severity.WARNING,
    title=Text("{service} does not keep the clock right: it has no source", "{service} 没有可用的时间源，时钟未同步"),
    why=Text(
        "The clock drifts by seconds a day. Certificates, Kerberos and files on a server are judged by it, and logs of "
        "several nodes cannot be put in order.",
        "时钟每天会偏差数秒。证书、Kerberos 和服务器上的文件都依赖时间，多个节点的日志也无法对齐。",
    ),
    cure=Text("Name a time server that can be reached, and restart the service.", "配置可达的时间服务器，并重启服务。"),
)
OFF = Fault(
    code="HRM-CLOCK-002",
    severity=Severity.WARNING,
    title=Text("The clock is off by {offset} s", "时钟偏差 {offset} 秒"),
    why=Text(
        "Nodes are to agree within a fraction of a second; tokens and certificates seem over, or not valid yet.",
        "集群各节点的时间应相差不到一秒；否则令牌和证书会显得过期或尚未生效。",
    ),
    cure=Text(
        "Set it at once (chronyc makestep), then find out why it drifted.", "立即校准（chronyc makestep），再查明原因。"
    ),
)
STOPPED = Fault(
    code="HRM-CLOCK-003",
    severity=Severity.WARNING,
    title=Text("{service} is installed and enabled, and does not run", "{service} 已安装并启用，但没有运行"),
    why=Text("Nothing keeps the clock right.", "没有任何服务在校准时钟。"),
    cure=Text("Start the service.", "启动该服务。"),
)


@dataclass(frozen=True, slots=True)
class _Clock:
    service: str
    synchronised: bool
    #: Seconds; None where it is not told.
    offset_s: float | None
    evidence: Evidence


@check("clock.synchronised", NOT_SYNCHRONISED, OFF)
def the_clock_is_kept_right(system: System, expected: Expected) -> Iterator[Finding]:
    """Whatever keeps the clock right has a source, and the clock is right. A machine without any is left alone."""
    for clock in (_of_chrony(system), _of_ntp(system), _of_systemd(system)):
        if clock is None:
            continue
        service = clock.service
        if not clock.synchronised:
            yield NOT_SYNCHRONISED.found(
                service=service,
                evidence=[clock.evidence],
                cure=[
                    by_hand(
                        "Name a server that can be reached in the service's configuration (chrony.conf, ntp.conf, "
                        "timesyncd.conf); UDP port 123 has to be open.",
                        "在服务的配置（chrony.conf、ntp.conf、timesyncd.conf）中写上可达的服务器；UDP 123 端口须放行。",
                    ),
                    restart(service),
                ],
            )
        elif clock.offset_s is not None and abs(clock.offset_s) > _OFF_S:
            yield OFF.found(
                offset=f"{abs(clock.offset_s):.1f}",
                evidence=[clock.evidence],
                severity=Severity.ERROR if abs(clock.offset_s) > _FAR_OFF_S else None,
                cure=[
                    restart(service),
                    by_hand(
                        "chronyc makestep, or ntpd -gq while ntpd is stopped.",
                        "执行 chronyc makestep，或在停止 ntpd 后执行 ntpd -gq。",
                    ),
                ],
            )
        return


@check("clock.service", STOPPED)
def the_time_service_runs(system: System, expected: Expected) -> Iterator[Finding]:
    """A time service that is to start with the machine runs, unless another one does."""
    if not systemd_runs(system):
        return
    found = [one for name in _SERVICES if (one := unit(system, name)).installed]
    if any(one.runs for one in found):
        return
    for one in found:
        # In containers and on many virtual machines it does not start by its own condition: their host keeps the clock.
        if one.enabled and one.fails:
            yield STOPPED.found(service=one.name, evidence=[one.evidence], cure=[restart(one.name)])


def _of_chrony(system: System) -> _Clock | None:
    output = system.run(*_CHRONY)
    if output.missing or not output.ok:
        return None
    status = re.search(r"^Leap status\s*: (.*)$", output.stdout, re.MULTILINE)
    offset = re.search(r"^System time\s*: ([0-9.]+) seconds (fast|slow)", output.stdout, re.MULTILINE)
    if status is None:
        return None
    synchronised = "Not synchronised" not in status[1]
    return _Clock(
        "chrony",
        synchronised,
        float(offset[1]) if offset else None,
        said(output, "^System time" if synchronised else "^Leap status"),
    )


def _of_ntp(system: System) -> _Clock | None:
    output = system.run(*_NTPQ)
    if output.missing or not output.ok or not output.stdout.strip():
        return None
    for line in output.lines:
        if line.startswith("*"):
            words = line.split()
            offset = float(words[8]) / 1000 if len(words) > 8 and re.fullmatch(r"[-+0-9.]+", words[8]) else None
            return _Clock("ntp", True, offset, Evidence(" ".join(_NTPQ), line))
    return _Clock("ntp", False, None, said(output, r"\d+\.\d+"))


def _of_systemd(system: System) -> _Clock | None:
    """timesyncd; older ones (Ubuntu 18.04) have only the table for people."""
    if not systemd_runs(system):
        return None
    output = system.run(*_TIMEDATECTL)
    if output.ok:
        values = dict(line.split("=", 1) for line in output.lines if "=" in line)
        on, right = values.get("NTP") == "yes", values.get("NTPSynchronized") == "yes"
    else:
        output = system.run("timedatectl", "status")
        if not output.ok:
            return None
        on = bool(
            re.search(
                r"(systemd-timesyncd.service active|NTP enabled|Network time on|NTP service): (yes|active)",
                output.stdout,
            )
        )
        right = bool(re.search(r"(System clock|NTP) synchronized: yes", output.stdout))
    # Where it is not on, something else keeps the clock, or nobody wanted it.
    return _Clock("systemd-timesyncd", right, None, said(output, "(?i)synchronized")) if on else None
