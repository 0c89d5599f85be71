"""The programs that NFS needs on this node: rpcbind, nfsd, mountd."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mounts import mounts
from hrm.doctor.steps import restart, run
from hrm.doctor.storage import here
from hrm.doctor.storage.exports import exports
from hrm.doctor.storage.nfs import PORT, THREADS, ganesha_runs, nfs_is_served, parse_showmount
from hrm.doctor.system import System
from hrm.doctor.units import Unit, systemd_runs, unit
from hrm.model.files import within
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

#: Debian's name first, then that of Red Hat's family.
_SERVICES = ("nfs-kernel-server", "nfs-server", "nfs-ganesha")
_PORTMAPPER, _NFS, _MOUNTD, _STATUS = 100000, 100003, 100005, 100024

NOT_SERVING = Fault(
    code="HRM-NFS-010",
    severity=Severity.ERROR,
    title=Text(
        "This node is to export {paths}, and its NFS server does not run", "本节点应导出 {paths}，但 NFS 服务没有运行"
    ),
    why=Text(
        "Clients cannot mount, and programs on those that have it mounted hang until it is back.",
        "客户端无法挂载；已挂载的客户端上，程序会一直卡住直到服务恢复。",
    ),
    cure=Text("Start the NFS server, and have it start with the machine.", "启动 NFS 服务，并设为开机启动。"),
)
NOT_AT_BOOT = Fault(
    code="HRM-NFS-011",
    severity=Severity.WARNING,
    title=Text("{service} runs and does not start with the machine", "{service} 正在运行，但不会随系统启动"),
    why=Text("After the next restart of this node all clients hang.", "本节点下次重启后，所有客户端都会卡住。"),
    cure=Text("Enable it.", "设为开机启动。"),
)
NO_RPCBIND = Fault(
    code="HRM-NFS-012",
    severity=Severity.ERROR,
    title=Text("rpcbind does not answer on this node", "本节点的 rpcbind 没有响应"),
    why=Text(
        "NFS of version 3 finds its server's parts, and locks, by rpcbind: mounting fails, showmount says nothing.",
        "NFS v3 通过 rpcbind 查找服务各部分和文件锁：挂载失败，showmount 没有结果。",
    ),
    cure=Text(
        "Start rpcbind, then restart the NFS server so that it registers again.",
        "启动 rpcbind，然后重启 NFS 服务使其重新注册。",
    ),
)
NOT_REGISTERED = Fault(
    code="HRM-NFS-013",
    severity=Severity.ERROR,
    title=Text("rpcbind does not know {program} of this NFS server", "rpcbind 中没有本机 NFS 服务的 {program}"),
    why=Text(
        "rpcbind was restarted after the server, or that part does not run: clients of version 3 cannot mount "
        "(Program not "
        "registered).",
        "rpcbind 在 NFS 服务之后重启过，或该部分没有运行：v3 客户端无法挂载（Program not registered）。",
    ),
    cure=Text("Restart the NFS server: it registers again.", "重启 NFS 服务，使其重新注册。"),
)
NO_STATUS = Fault(
    code="HRM-NFS-014",
    severity=Severity.INFO,
    title=Text("rpcinfo does not list program 100024 (status)", "rpcinfo 列表中没有 100024(status)"),
    why=Text(
        "Harmless: rpc.statd only tells about locks after a restart. Mounting and using NFS works without it.",
        "无害：rpc.statd 只在重启后通知文件锁。没有它也能正常挂载和使用 NFS。",
    ),
    cure=Text("Nothing has to be done.", "无需处理。"),
)
CLIENT_ON_ABSENT = Fault(
    code="HRM-NFS-015",
    severity=Severity.WARNING,
    title=Text(
        "{client} has {path} mounted, which this node no longer exports", "{client} 挂载着 {path}，而本节点已不再导出它"
    ),
    why=Text(
        "Programs there get Stale file handle or Permission denied; after its restart the client cannot mount it.",
        "该客户端上的程序会得到 Stale file handle 或 Permission denied；客户端重启后将无法挂载。",
    ),
    cure=Text("Export it again, or unmount it on the client (umount -l).", "重新导出，或在客户端上卸载（umount -l）。"),
)


@check("nfs.server", NOT_SERVING, NOT_AT_BOOT, quick=True)
def server_runs(system: System, expected: Expected) -> Iterator[Finding]:
    """The NFS server runs where something is to be exported, and starts with the machine."""
    lines = exports(system)
    paths = sorted({line.path for line in lines} | {export.path for export in here.exports(system, expected)})
    if not paths or system.read("/proc/net/tcp") is None:
        return
    units = [one for name in _SERVICES if (one := unit(system, name)).installed]
    if not nfs_is_served(system):
        evidence = [lines[0].evidence] if lines else []
        evidence += [one.evidence for one in units if one.active]
        evidence.append(Evidence("/proc/net/tcp", f"nobody listens on port {PORT}"))
        yield NOT_SERVING.found(paths=", ".join(paths), evidence=evidence, cure=_start(units))
    elif (
        systemd_runs(system) and (running := [one for one in units if one.runs]) and not any(o.enabled for o in running)
    ):
        name = running[0].name.removesuffix(".service")
        yield NOT_AT_BOOT.found(service=name, evidence=(running[0].evidence,), cure=(run("systemctl", "enable", name),))


@check("nfs.rpc", NO_RPCBIND, NOT_REGISTERED, NO_STATUS)
def rpcbind_knows_the_server(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """rpcbind answers where NFS of version 3 is used, and knows all parts of the server."""
    serves = bool(exports(system) or here.exports(system, expected)) and nfs_is_served(system)
    old = [mount for mount in mounts(system) if mount.nfs and (mount.option("vers") or "3").startswith("3")]
    if not serves and not old:
        return
    output = system.run("rpcinfo", "-p", "127.0.0.1", timeout_s=3.0)
    if output.missing:
        yield Unseen("what rpcbind knows: rpcinfo is not installed (rpcbind)")
        return
    programs = {int(found[1]) for found in re.finditer(r"^\s*(\d{6})\s", output.stdout, re.MULTILINE)}
    if _PORTMAPPER not in programs:
        if old or _version_3_is_served(system):
            yield NO_RPCBIND.found(evidence=(said(output),), cure=_start_rpcbind(system, serves))
        return
    if serves and _version_3_is_served(system):
        for number, name in ((_NFS, "nfs"), (_MOUNTD, "mountd")):
            if number not in programs:
                yield NOT_REGISTERED.found(
                    program=f"{number} ({name})", evidence=(said(output, "portmapper"),), cure=_restart_server(system)
                )
    if _STATUS not in programs:
        yield NO_STATUS.found(evidence=(said(output, "portmapper"),))


@check("nfs.clients", CLIENT_ON_ABSENT)
def clients_have_what_is_exported(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """What clients have mounted is exported still."""
    if not exports(system) or not nfs_is_served(system):
        return
    exported = system.run("showmount", "-e", "--no-headers", "127.0.0.1", timeout_s=3.0)
    mounted = system.run("showmount", "-a", "--no-headers", "127.0.0.1", timeout_s=3.0)
    if not exported.ok or not mounted.ok:
        failed = mounted if exported.ok else exported
        reason = "no answer in time" if failed.timed_out else failed.text.strip() or f"exit status {failed.status}"
        yield Unseen(f"who has mounted what: {reason}")
        return
    paths = [entry.path for entry in parse_showmount(exported.stdout)]
    for line in mounted.lines:
        client, colon, path = line.rpartition(":/")
        if colon and not any(within(f"/{path}", one) for one in paths):
            yield CLIENT_ON_ABSENT.found(
                client=client,
                path=f"/{path}",
                evidence=(said(mounted, re.escape(line)), said(exported)),
            )


def _version_3_is_served(system: System) -> bool:
    """nfsd says which versions it has (``-2 +3 +4``); others have it unless it is switched off."""
    versions = system.read("/proc/fs/nfsd/versions")
    if versions is not None and system.read(THREADS) is not None and not ganesha_runs(system):
        return "+3" in versions.split()
    return True


def _start(units: list[Unit]) -> tuple[Step, ...]:
    if not units:
        return (run("apt-get", "install", "-y", "nfs-kernel-server"),)
    name = units[0].name.removesuffix(".service")
    return (run("systemctl", "enable", "--now", name, about=Text(f"Start {name}.", f"启动 {name}。")),)


def _start_rpcbind(system: System, serves: bool) -> tuple[Step, ...]:
    first = () if system.which("rpcbind") else (run("apt-get", "install", "-y", "rpcbind"),)
    start = run("systemctl", "enable", "--now", "rpcbind", about=Text("Start rpcbind.", "启动 rpcbind。"))
    return (*first, start, *(_restart_server(system) if serves else ()))


def _restart_server(system: System) -> tuple[Step, ...]:
    units = [one for name in _SERVICES if (one := unit(system, name)).installed]
    return (restart(units[0].name.removesuffix(".service") if units else "nfs-server"),)
