"""Steps of cures that mount and unmount, in the way that is right for a mount point."""

from __future__ import annotations

from hrm.doctor.mounts import FSTAB, mount_units, planned, split_nfs, unit_name
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import FileContent, Risk, Step, Text

_UNITS = "/etc/systemd/system"


def mount_again(system: System, point: str, source: str = "") -> Step:
    """By the unit or the line of fstab that names the mount point; else ``source``, as it would be typed."""
    about = Text(f"Mount {point}.", f"挂载 {point}。")
    if any(unit.point == point for unit in mount_units(system)):
        return run("systemctl", "start", unit_name(point), about=about)
    plan = next((plan for plan in planned(system) if plan.point == point), None)
    if (plan is not None and plan.evidence.source == FSTAB) or not (source or plan):
        return run("mount", point, about=about, done_if=("already mounted",))
    what = plan.source if plan is not None else source
    kind = ("-t", "nfs") if split_nfs(what) is not None else ()
    return run("mount", *kind, what, point, about=about, done_if=("already mounted", "busy or already mounted"))


def unmount_lazily(point: str) -> Step:
    """Take a mount that hangs out of everybody's way; what is open stays open."""
    about = Text(
        f"Detach {point}; never rm anything there: it would go from the server.",
        f"分离 {point}；绝不要在那里执行 rm:会删除服务器上的数据。",
    )
    return run(
        "umount", "-l", point, about=about, risk=Risk.DISRUPTIVE, done_if=("not mounted", "no mount point specified")
    )


def restart_at(server: str) -> Step:
    """On the server of NFS, by whoever may."""
    return by_hand(
        f"When all clients have done so, on {server}: systemctl restart nfs-kernel-server (Red Hat: nfs-server); "
        "showmount -a there names the clients.",
        f"所有客户端都执行之后，在 {server} 上：systemctl restart nfs-kernel-server（红帽系：nfs-server）;"
        "在服务器上执行 showmount -a 可查看客户端。",
    )


def by_unit(source: str, point: str, kind: str, *, iscsi: bool = False) -> tuple[Step, ...]:
    """Have systemd mount it at boot, after the network, and without holding up the boot where it fails."""
    name = unit_name(point)
    write = Text(f"Write a mount unit for {point}.", f"为 {point} 编写 mount 单元。")
    return (
        Step(
            about=write, risk=Risk.SAFE, writes=FileContent(f"{_UNITS}/{name}", unit_text(source, point, kind, iscsi))
        ),
        run("systemctl", "daemon-reload", about=Text("Have systemd read it.", "让 systemd 重新读取。")),
        run("systemctl", "enable", name, about=Text("Mount it at boot.", "设为开机挂载。")),
    )


def unit_text(source: str, point: str, kind: str, iscsi: bool) -> str:
    """A mount unit. ``_netdev`` orders it after the network, also where systemd cannot know that it needs one."""
    nfs = split_nfs(source) is not None
    after = "network-online.target" + (" iscsid.service open-iscsi.service iscsi.service" if iscsi else "")
    options = "_netdev,hard" if nfs else "_netdev" if iscsi else "defaults"
    lines = [
        "[Unit]",
        f"Description={source} at {point}",
        *((f"Wants=network-online.target\nAfter={after}",) if nfs or iscsi else ()),
        "",
        "[Mount]",
        f"What={source}",
        f"Where={point}",
        f"Type={kind or 'auto'}",
        f"Options={options}",
        "TimeoutSec=90",
        "",
        "[Install]",
        f"WantedBy={'remote-fs.target' if nfs or iscsi else 'local-fs.target'}",
    ]
    return "\n".join(lines) + "\n"
