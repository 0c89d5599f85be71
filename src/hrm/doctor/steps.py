"""Steps that many cures have, said in one place."""

from __future__ import annotations

from hrm.model.findings import FileContent, Process, Risk, Step, Text

_RUN = Text("Run it.", "执行该命令。")


def run(*argv: str, about: Text = _RUN, risk: Risk = Risk.SAFE, done_if: tuple[str, ...] = ()) -> Step:
    """A command; ``done_if`` as in `Step`."""
    return Step(about=about, risk=risk, argv=argv, done_if=done_if)


def by_hand(en: str, zh: str, *, risk: Risk = Risk.SAFE) -> Step:
    """Something that only a person can do."""
    return Step(about=Text(en, zh), risk=risk)


def write(path: str, content: str, *, about: Text, risk: Risk = Risk.SAFE, mode: int = 0o644) -> Step:
    """Write a file whole."""
    return Step(about=about, risk=risk, writes=FileContent(path, content, mode))


def install_package(package: str) -> Step:
    """Install a package of the distribution's."""
    return run("apt-get", "install", "-y", package, about=Text(f"Install {package}.", f"安装 {package}。"))


def restart(service: str) -> Step:
    """Restart a service of systemd's."""
    return run(
        "systemctl", "restart", service, about=Text(f"Restart {service}.", f"重启 {service}。"), risk=Risk.DISRUPTIVE
    )


def end_process(pid: int, command_line: str) -> Step:
    """End a process, if it is still that one."""
    about = Text(f"End process {pid} ({command_line}).", f"结束进程 {pid}({command_line})。")
    return Step(about=about, risk=Risk.DISRUPTIVE, ends=Process(pid, command_line))


def reboot() -> Step:
    """Restart the node."""
    return run("systemctl", "reboot", about=Text("Restart the node.", "重启节点。"), risk=Risk.REBOOT)
