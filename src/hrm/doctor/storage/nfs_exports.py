"""What this node exports over NFS: is it written right, safe, there, and applied."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mounts import mounts, planned
from hrm.doctor.steps import by_hand, run
from hrm.doctor.storage import here
from hrm.doctor.storage.exports import ETAB, EXPORTS, Export, applied, corrected, exports, parse_exports
from hrm.doctor.storage.mounting import mount_again
from hrm.doctor.storage.nfs import ganesha_runs, kernel_serves, nfs_is_served, shown_exports
from hrm.doctor.system import System
from hrm.model.files import within
from hrm.model.findings import Evidence, FileContent, Finding, Risk, Severity, Step, Text

MISTYPED = Fault(
    code="HRM-NFS-001",
    severity=Severity.ERROR,
    title=Text("{file} has what exportfs does not know: {words}", "{file} 中有 exportfs 不认识的内容：{words}"),
    why=Text(
        "exportfs leaves the line out (unknown keyword): clients are told access denied by server while mounting.",
        "exportfs 会忽略该行（unknown keyword）:客户端挂载时报 access denied by server while mounting。",
    ),
    cure=Text("Correct the line, then exportfs -ra.", "更正该行，然后执行 exportfs -ra。"),
)
OPTIONS_APART = Fault(
    code="HRM-NFS-002",
    severity=Severity.WARNING,
    title=Text(
        "{path}: a blank before the options gives them to everybody", "{path}：选项前多了空格，选项对所有主机生效"
    ),
    why=Text(
        "exportfs reads two clients: the one that is named, with default options (read only), and everybody, with "
        "these.",
        "exportfs 会读成两个客户端：所写的主机使用默认选项（只读），而这些选项对所有主机生效。",
    ),
    cure=Text("Remove the blank, then exportfs -ra.", "删除空格，然后执行 exportfs -ra。"),
)
OPEN_TO_ALL = Fault(
    code="HRM-NFS-003",
    severity=Severity.WARNING,
    title=Text("{path} is exported to everybody with {options}", "{path} 以 {options} 导出给所有主机"),
    why=Text(
        "Whoever reaches this machine can mount it and write as root, any user of theirs with a program of their own "
        "where insecure is set. Nothing that lies there is safe from anybody in the network.",
        "任何能访问本机的人都可以挂载并以 root 身份写入；设置了 insecure 时，普通用户的程序也可以。"
        "该目录中的数据对整个网络不设防。",
    ),
    cure=Text(
        "Export to the nodes' network alone, with root_squash and secure (both are the default) where programs allow.",
        "只导出给节点所在网段；程序允许时使用 root_squash 和 secure（均为默认值）。",
    ),
)
PATH_ABSENT = Fault(
    code="HRM-NFS-004",
    severity=Severity.ERROR,
    title=Text("{path} is exported and is not there", "导出的目录 {path} 不存在"),
    why=Text("Clients cannot mount it: exportfs fails to stat it.", "客户端无法挂载：exportfs 无法访问该目录。"),
    cure=Text(
        "Mount or make the directory, or take the line out; then exportfs -ra.",
        "挂载或创建该目录，或删除该行；然后执行 exportfs -ra。",
    ),
)
NOT_MOUNTED = Fault(
    code="HRM-NFS-005",
    severity=Severity.ERROR,
    title=Text("{path} is exported, but {source} is not mounted there", "{path} 已导出，但 {source} 没有挂载在那里"),
    why=Text(
        "Clients see the empty directory beneath the mount point, and what they write lands on this machine's own "
        "disk. "
        "It does not come to the array, and is hidden when that is mounted again.",
        "客户端看到的是挂载点下面的空目录，写入的数据落在本机的系统盘上，不在阵列上；阵列重新挂载后这些数据会被遮住。",
    ),
    cure=Text(
        "Mount it, then exportfs -ra; clients unmount (umount -l) and mount again. Delete nothing at the mount point.",
        "挂载它，然后执行 exportfs -ra；客户端 umount -l 后重新挂载。不要删除挂载点下的任何内容。",
    ),
)
NOT_APPLIED = Fault(
    code="HRM-NFS-006",
    severity=Severity.ERROR,
    title=Text("{path} stands in {file} and is not exported", "{path} 写在 {file} 中，但没有被导出"),
    why=Text(
        "The file was changed after the server read it: clients are told access denied by server.",
        "文件在服务启动后改动过：客户端会得到 access denied by server。",
    ),
    cure=Text("exportfs -ra", "执行 exportfs -ra。"),
)
EXPORT_MISSING = Fault(
    code="HRM-NFS-007",
    severity=Severity.ERROR,
    title=Text("This node is to export {path} and does not", "本节点应导出 {path}，但没有导出"),
    why=Text(
        "Clients are told access denied by server while mounting.",
        "客户端挂载时报 access denied by server while mounting。",
    ),
    cure=Text("Add it to /etc/exports, then exportfs -ra.", "把它加入 /etc/exports，然后执行 exportfs -ra。"),
)


@check("nfs.exports", MISTYPED, OPTIONS_APART, OPEN_TO_ALL, PATH_ABSENT, NOT_MOUNTED, NOT_APPLIED, quick=True)
def exports_are_right(system: System, expected: Expected) -> Iterator[Finding]:
    """Every line of /etc/exports is understood, safe, and about a directory that is there and applied."""
    lines = exports(system)
    if not lines:
        return
    now = applied(system) if kernel_serves(system) and not ganesha_runs(system) else None
    mounted = {mount.point for mount in mounts(system)}
    plans = {plan.point: plan for plan in planned(system) if plan.point not in ("", "/")}
    for line in lines:
        yield from _written(system, line)
        # Beneath the innermost of what is to be mounted.
        plan = max(
            (plan for point, plan in plans.items() if within(line.path, point)),
            key=lambda plan: len(plan.point),
            default=None,
        )
        if plan is not None and mounted and plan.point not in mounted:
            yield NOT_MOUNTED.found(
                path=line.path,
                source=plan.source,
                evidence=(plan.evidence, line.evidence),
                cure=(
                    mount_again(system, plan.point, plan.source),
                    apply_exports(),
                ),
            )
        elif now is not None and line.path not in now and not line.unknown:
            yield NOT_APPLIED.found(
                path=line.path,
                file=line.evidence.source,
                evidence=(line.evidence, Evidence(ETAB, ", ".join(sorted(now)) or "nothing is exported")),
                cure=(apply_exports(),),
            )
        elif _is_absent(system, line.path):
            yield PATH_ABSENT.found(
                path=line.path, evidence=(line.evidence,), cure=(_make_or_leave(line.path), apply_exports())
            )


@check("nfs.expected-exports", EXPORT_MISSING)
def expected_exports_are_there(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """This node exports what it is to export."""
    wanted = here.exports(system, expected)
    if not wanted or not nfs_is_served(system):
        return
    shown = shown_exports(system, "127.0.0.1")
    if shown.output.timed_out or (not shown.output.ok and not shown.entries):
        yield Unseen(f"what this node exports: {shown.reason}")
        return
    for export in wanted:
        if not any(within(export.path, entry.path) for entry in shown.entries):
            yield EXPORT_MISSING.found(
                path=export.path,
                evidence=(
                    said(shown.output, "/")
                    if shown.entries
                    else Evidence("showmount -e 127.0.0.1", "nothing is exported"),
                ),
                cure=(how_to_export(export.path), apply_exports()),
            )


def apply_exports() -> Step:
    """Have the kernel's server read its files again."""
    return run("exportfs", "-ra", about=Text("Export what the files say.", "按文件重新导出。"))


def how_to_export(path: str) -> Step:
    """A line for ``/etc/exports``."""
    example = f"{path} 172.19.0.0/24(rw,sync,no_subtree_check)"
    return by_hand(
        f"Add the directory to {EXPORTS} with the network of the nodes, for example: {example}",
        f"把该目录和节点网段加入 {EXPORTS}，例如：{example}",
    )


def _written(system: System, line: Export) -> Iterator[Finding]:
    file = line.evidence.source
    if line.unknown:
        yield MISTYPED.found(
            file=file, words=" ".join(line.unknown), evidence=(line.evidence,), cure=_mend(system, line)
        )
    elif line.meant != line.written:
        yield OPTIONS_APART.found(path=line.path, evidence=(line.evidence,), cure=_mend(system, line))
    for client in line.clients:
        if client.is_world and "no_root_squash" in client.options:
            risky = [option for option in ("rw", "insecure", "no_root_squash") if option in client.options]
            meant = line.meant.replace(f"{client.name}(", "172.19.0.0/24(", 1)
            yield OPEN_TO_ALL.found(
                path=line.path,
                options=",".join(risky),
                evidence=(line.evidence,),
                cure=(
                    by_hand(
                        f"Write into {file}, with the network of your nodes: {meant.replace('insecure,', '')}",
                        f"在 {file} 中改为（使用你的节点网段）:{meant.replace('insecure,', '')}",
                    ),
                    apply_exports(),
                ),
            )


def _mend(system: System, line: Export) -> tuple[Step, ...]:
    """The corrected file where it is plain what is meant, else what to look at."""
    file = line.evidence.source
    plain = [option for client in line.clients for option in client.options]
    if line.meant != line.written and not _still_wrong(line.meant, plain):
        content = corrected(system.read(file) or "", [line])
        about = Text(f"Correct the line to: {line.meant}", f"把该行改为：{line.meant}")
        return (Step(about=about, risk=Risk.DISRUPTIVE, writes=FileContent(file, content)), apply_exports())
    words = " ".join(line.unknown)
    return (
        by_hand(
            f"Correct {words} in line {line.evidence.line} of {file}.",
            f"更正 {file} 第 {line.evidence.line} 行的 {words}。",
        ),
        apply_exports(),
    )


def _still_wrong(meant: str, options: list[str]) -> bool:
    return any(one.unknown for one in parse_exports("", meant)) or not options


def _is_absent(system: System, path: str) -> bool:
    """By a command, which has a limit: it may lie on an array that does not answer."""
    return "No such file" in system.run("stat", "-c", "%F", path, timeout_s=2.0).text


def _make_or_leave(path: str) -> Step:
    return by_hand(
        f"Mount or make {path}, or take its line out of {EXPORTS}.", f"挂载或创建 {path}，或从 {EXPORTS} 中删除该行。"
    )
