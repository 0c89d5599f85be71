"""What this node mounts over NFS: whether servers answer and export it, and whether what is mounted can be used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hrm.doctor.addresses import hostname, own_ips
from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mounts import evidence_of, mounts, planned, split_nfs
from hrm.doctor.steps import by_hand, run
from hrm.doctor.storage import here
from hrm.doctor.storage.mounting import mount_again, restart_at, unmount_lazily
from hrm.doctor.storage.nfs import PORT, ShownExports, admits, shown_exports
from hrm.doctor.system import CannotSee, Reached, System
from hrm.model.files import within
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

NOT_EXPORTED = Fault(
    code="HRM-NFS-020",
    severity=Severity.ERROR,
    title=Text("{server} does not export {path}, which this node mounts", "{server} 没有导出本节点要挂载的 {path}"),
    why=Text(
        "Mounting it fails: mount.nfs: access denied by server while mounting {server}:{path}",
        "挂载失败：mount.nfs: access denied by server while mounting {server}:{path}",
    ),
    cure=Text(
        "Export it on the server (/etc/exports, exportfs -ra), or correct what this node mounts.",
        "在服务器上导出它（/etc/exports,exportfs -ra），或更正本节点要挂载的路径。",
    ),
)
NOT_TO_US = Fault(
    code="HRM-NFS-021",
    severity=Severity.ERROR,
    title=Text(
        "{server} exports {path} to {clients}, not to this node", "{server} 只把 {path} 导出给 {clients}，不包括本节点"
    ),
    why=Text(
        "Mounting it fails: mount.nfs: access denied by server while mounting {server}:{path}",
        "挂载失败：mount.nfs: access denied by server while mounting {server}:{path}",
    ),
    cure=Text(
        "Add this node's address to the line in the server's /etc/exports, then exportfs -ra there.",
        "在服务器 /etc/exports 的该行加入本节点地址，然后在服务器上执行 exportfs -ra。",
    ),
)
SERVER_SILENT = Fault(
    code="HRM-NFS-022",
    severity=Severity.ERROR,
    title=Text("The NFS server {server} does not answer ({answer})", "NFS 服务器 {server} 没有响应（{answer}）"),
    why=Text(
        "What touches a directory of it hangs, and so does mounting one. refused: the machine is there, and its "
        "NFS server "
        "does not run.",
        "访问它的目录会卡住，挂载也会卡住。refused 表示机器在线，但 NFS 服务没有运行。",
    ),
    cure=Text(
        "On each client: umount -l; on the server: restart its NFS server; then mount on the clients again.",
        "在各客户端执行 umount -l；在服务器上重启 NFS 服务；然后在客户端重新挂载。",
    ),
)
SERVER_WITHOUT_RPCBIND = Fault(
    code="HRM-NFS-023",
    severity=Severity.WARNING,
    title=Text("rpcbind of the NFS server {server} does not answer", "NFS 服务器 {server} 的 rpcbind 没有响应"),
    why=Text(
        "NFS itself answers; mounts of version 3 fail (mount.nfs: requested NFS version or transport protocol is not "
        "supported), showmount says nothing.",
        "NFS 本身有响应，但 v3 挂载会失败（mount.nfs: requested NFS version or transport protocol is not supported）,"
        "showmount 没有结果。",
    ),
    cure=Text(
        "Start rpcbind on the server, then restart its NFS server; or mount with vers=4.",
        "在服务器上启动 rpcbind，然后重启 NFS 服务；或使用 vers=4 挂载。",
    ),
)
NO_CLIENT = Fault(
    code="HRM-NFS-024",
    severity=Severity.ERROR,
    title=Text("This node is to mount {source} and has no mount.nfs", "本节点要挂载 {source}，但没有 mount.nfs"),
    why=Text(
        "mount says: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper "
        "program.",
        "mount 报错：bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> "
        "helper program。",
    ),
    cure=Text("Install nfs-common.", "安装 nfs-common。"),
)

#: What showmount says where rpcbind does not answer, by the age of the libraries.
_NO_RPCBIND = re.compile(
    r"Port mapper failure|Unable to receive|Connection refused|Unable to send|portmapper", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A directory of a server that this node mounts, or is to."""

    server: str
    path: str
    point: str
    evidence: Evidence
    #: Whether it is mounted now.
    mounted: bool
    #: Whether version 3 is used, or may be.
    old: bool
    #: Where its server listens; None where that is no port of TCP (RDMA).
    port: int | None = PORT


@check("nfs.helper", NO_CLIENT, quick=True)
def mount_helper_is_there(system: System, expected: Expected) -> Iterator[Finding]:
    """Where NFS is to be mounted, mount finds its helper."""
    for one in _wanted(system, expected):
        if not one.mounted and system.which("mount.nfs") is None:
            yield NO_CLIENT.found(
                source=f"{one.server}:{one.path}",
                evidence=(one.evidence,),
                cure=(run("apt-get", "install", "-y", "nfs-common"), _mount(system, one)),
            )
            return


@check("nfs.servers", NOT_EXPORTED, NOT_TO_US, SERVER_SILENT, SERVER_WITHOUT_RPCBIND, timeout_s=12.0)
def servers_export_what_is_mounted(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Every server of NFS answers, and exports to this node what it mounts."""
    by_server: dict[str, list[_Wanted]] = {}
    for one in _wanted(system, expected):
        by_server.setdefault(one.server, []).append(one)
    for server, wanted in by_server.items():
        port = wanted[0].port
        if port is None:
            yield Unseen(f"whether {server} answers: it is reached over RDMA")
            continue
        reached = system.connect(server, port)
        if reached is not Reached.OPEN:
            evidence = (Evidence(f"connect {server}:{port}", reached), *(one.evidence for one in wanted[:3]))
            yield SERVER_SILENT.found(server=server, answer=reached, evidence=evidence, cure=_restart(system, wanted))
            continue
        yield from _of_server(system, server, wanted)


def _of_server(system: System, server: str, wanted: Sequence[_Wanted]) -> Iterator[Finding | Unseen]:
    shown = shown_exports(system, server)
    output = shown.output
    if output.missing:
        yield Unseen(f"what {server} exports: showmount is not installed (nfs-common)")
    elif output.timed_out:
        evidence = (Evidence(" ".join(output.argv), "no answer in time"), *(one.evidence for one in wanted[:3]))
        yield SERVER_SILENT.found(
            server=server, answer=Reached.TIMEOUT, evidence=evidence, cure=_restart(system, wanted)
        )
    elif not output.ok and "not registered" in output.text:
        # A server of version 4 alone has no mountd, and tells nobody what it exports.
        yield Unseen(f"what {server} exports: {shown.reason}")
    elif not output.ok and _NO_RPCBIND.search(output.text):
        if any(one.old for one in wanted):
            yield SERVER_WITHOUT_RPCBIND.found(server=server, evidence=(said(output),), cure=_start_rpcbind(server))
        else:
            yield Unseen(f"what {server} exports: {shown.reason}")
    elif not output.ok:
        yield Unseen(f"what {server} exports: {shown.reason}")
    else:
        for one in wanted:
            yield from _exported(system, shown, one)


def _exported(system: System, shown: ShownExports, one: _Wanted) -> Iterator[Finding | Unseen]:
    if one.mounted and not one.old:
        # Version 4 counts paths from the export that is the root (fsid=0), which showmount does not name.
        return
    covering = [entry for entry in shown.entries if within(one.path, entry.path)]
    if not covering:
        nearest = difflib.get_close_matches(one.path, [entry.path for entry in shown.entries], 1, 0.7)
        evidence = (
            said(shown.output)
            if shown.entries
            else Evidence(" ".join(shown.output.argv), "it exports nothing to this node")
        )
        yield NOT_EXPORTED.found(
            server=one.server,
            path=one.path,
            evidence=(one.evidence, evidence),
            cure=(_export_at(system, one, nearest), _mount(system, one)),
        )
        return
    try:
        addresses = sorted(own_ips(system))
    except CannotSee as error:
        yield Unseen(str(error))
        return
    name = hostname(system)
    if addresses and all(admits(entry.clients, addresses, name) is False for entry in covering):
        yield NOT_TO_US.found(
            server=one.server,
            path=one.path,
            clients=", ".join(client for entry in covering for client in entry.clients),
            evidence=(one.evidence, said(shown.output, re.escape(covering[0].path))),
            cure=(_export_at(system, one, []), _mount(system, one)),
        )


def _wanted(system: System, expected: Expected) -> list[_Wanted]:
    """Of fstab, units, rc.local, configuration, and what is mounted; each directory once."""
    found: dict[tuple[str, str], _Wanted] = {}
    for one in mounts(system):
        if one.nfs and (parts := split_nfs(one.source)) is not None:
            old = (one.option("vers") or "3").startswith("3")
            found[parts] = _Wanted(
                *parts, one.point, evidence_of(one), mounted=True, old=old, port=_port(one.fs_options)
            )
    for plan in planned(system):
        if plan.nfs and plan.at_boot and (parts := split_nfs(plan.source)) is not None:
            old = not any(option.startswith(("vers=4", "nfsvers=4")) for option in plan.options) and plan.kind != "nfs4"
            found.setdefault(
                parts, _Wanted(*parts, plan.point, plan.evidence, mounted=False, old=old, port=_port(plan.options))
            )
    for wanted in here.wanted_mounts(system, expected):
        if wanted.source and (parts := split_nfs(wanted.source)) is not None:
            evidence = Evidence("hrm.yaml", f"doctor.storage.mounts: {wanted.source} at {wanted.path}")
            found.setdefault(parts, _Wanted(*parts, wanted.path, evidence, mounted=False, old=True))
    return list(found.values())


def _port(options: Sequence[str]) -> int | None:
    if "rdma" in options or "proto=rdma" in options:
        return None
    given = next((option.partition("=")[2] for option in options if option.startswith("port=")), "")
    return int(given) if given.isdigit() and given != "0" else PORT


def _restart(system: System, wanted: Sequence[_Wanted]) -> tuple[Step, ...]:
    """In the order that works: clients let go, the server begins anew, clients mount again."""
    mounted = [one.point for one in wanted if one.mounted]
    again = [_mount(system, one) for one in wanted if one.point]
    return (*map(unmount_lazily, mounted), restart_at(wanted[0].server), *again)


def _mount(system: System, one: _Wanted) -> Step:
    return mount_again(system, one.point, f"{one.server}:{one.path}")


def _start_rpcbind(server: str) -> tuple[Step, ...]:
    return (
        by_hand(
            f"On {server}: systemctl enable --now rpcbind, then systemctl restart nfs-kernel-server.",
            f"在 {server} 上：systemctl enable --now rpcbind，然后 systemctl restart nfs-kernel-server。",
        ),
    )


def _export_at(system: System, one: _Wanted, nearest: Sequence[str]) -> Step:
    meant = f" If {nearest[0]} was meant, correct {one.evidence.source} here." if nearest else ""
    zh = f"若本意是 {nearest[0]}，请更正本节点的 {one.evidence.source}。" if nearest else ""
    line = f"{one.path} {hostname(system) or '172.19.0.0/24'}(rw,sync,no_subtree_check)"
    return by_hand(
        f"On {one.server}, in /etc/exports: {line}; then exportfs -ra.{meant}",
        f"在 {one.server} 的 /etc/exports 中加入：{line}；然后执行 exportfs -ra。{zh}",
    )
