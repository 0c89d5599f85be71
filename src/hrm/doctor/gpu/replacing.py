"""How one driver is taken away and another one put in its place, by packages and by runfile."""

from __future__ import annotations

from collections.abc import Sequence

from hrm.doctor.expected import Expected
from hrm.doctor.gpu.packages import Installation, Package, is_of_driver
from hrm.doctor.gpu.unloading import Unloading
from hrm.doctor.steps import by_hand, reboot, run
from hrm.model.findings import Risk, Step, Text


def fits(version: str, wanted: str | None) -> bool:
    """Whether a version is the wanted one; ``535`` is said of all 535.x. False where none is wanted."""
    return wanted is not None and (version == wanted or version.startswith(f"{wanted}."))


def removal(how: Installation, wrong: str) -> tuple[Step, ...]:
    """Take the driver of version ``wrong`` away by the way it came; nothing where that is not known."""
    steps = purge(how, [package for package in how.driver_packages if package.version == wrong])
    if how.runfile is not None and (how.runfile.version == wrong or (not how.runfile.version and not steps)):
        steps = (*steps, uninstall_runfile())
    return steps


def replacement(
    expected: Expected, wrong: str, how: Installation, way: Unloading, *, target: str | None = None
) -> tuple[Step, ...]:
    """Unload driver ``wrong``, take it away, and install the wanted one; ``target`` where none is said to be wanted."""
    if way.stuck:
        return (*way.steps, reboot())
    # Nothing is taken away before it is known that the modules let go, and that something can take its place.
    return (
        *readable(expected),
        *way.steps,
        *removal(how, wrong),
        install(expected, target),
        *way.afterwards,
        *last_resort(),
    )


def readable(expected: Expected) -> tuple[Step, ...]:
    """See that the installer is there, if one is named."""
    if expected.gpu.installer is None:
        return ()
    about = Text("See that the installer is there.", "确认安装程序存在。")
    return (run("test", "-r", expected.gpu.installer, about=about),)


def purge(how: Installation, wrong: Sequence[Package]) -> tuple[Step, ...]:
    """Take packages of the driver away, and nothing that containers need.

    Those are held meanwhile: apt gives up rather than remove what is held.
    """
    names = [package.name for package in wrong if is_of_driver(package.name)]
    if not names:
        return ()
    guarded = [
        package.name
        for package in how.packages
        if ("container" in package.name or "docker" in package.name) and not package.held
    ]
    remove = run(
        "apt-get",
        "purge",
        "-y",
        *names,
        about=Text("Remove the packages of the wrong driver.", "删除错误版本驱动的软件包。"),
        risk=Risk.DISRUPTIVE,
        # What no repository has is unknown once it is gone.
        done_if=("is not installed, so not removed", "Unable to locate package"),
    )
    held = [package.name for package in wrong if package.held]
    about = Text("Let go of the wrong driver's packages.", "解除错误驱动软件包的锁定。")
    first = (run("apt-mark", "unhold", *held, about=about),) if held else ()
    if not guarded:
        return (*first, remove)
    hold = run(
        "apt-mark",
        "hold",
        *guarded,
        about=Text("Keep what containers need of NVIDIA's.", "保留容器所需的 NVIDIA 软件包。"),
    )
    let_go = run("apt-mark", "unhold", *guarded, about=Text("Let it be updated again.", "恢复其更新。"))
    return (*first, hold, remove, let_go)


def uninstall_runfile() -> Step:
    """Take the driver away that the runfile installed."""
    return run(
        "nvidia-uninstall",
        "--silent",
        about=Text("Remove the driver that the runfile installed.", "卸载 runfile 安装的驱动。"),
        risk=Risk.DISRUPTIVE,
        done_if=("no NVIDIA driver",),
    )


def install(expected: Expected, target: str | None = None) -> Step:
    """Put the wanted driver there (else ``target``), by its runfile where ``doctor.gpu.installer`` names one."""
    wanted, installer = expected.gpu.driver or target, expected.gpu.installer
    if installer is None:
        version = Text(wanted, wanted) if wanted else Text("that nodes are to have", "所需版本")
        return by_hand(
            f"Install the driver {version.en}, all of it from one place: its runfile (a toolkit's with --silent "
            "--driver), or its packages. With doctor.gpu.installer in hrm.yaml this step is done for you.",
            f"安装驱动 {version.zh}，只用一种方式：runfile（toolkit 的 runfile 用 --silent --driver）或软件包。"
            "在 hrm.yaml 中设置 doctor.gpu.installer 后可自动执行此步。",
        )
    name = installer.rpartition("/")[2]
    # A toolkit's runfile installs the toolkit, too, unless it is told otherwise; the driver's own knows no --driver.
    options = ("--silent", "--driver") if name.startswith("cuda") else ("--silent", "--dkms")
    about = Text("Install the wanted driver, and nothing else.", "仅安装所需驱动。")
    return run("sh", installer, *options, about=about, risk=Risk.DISRUPTIVE)


def last_resort() -> tuple[Step, ...]:
    """What is left where a driver cannot be unloaded or removed."""
    return (
        reboot(),
        by_hand(
            "If it is still there: run cuda-uninstaller (in /usr/local/cuda-*/bin) and nvidia-uninstall, restart, and "
            "install the wanted driver again.",
            "如果仍未解决：运行 cuda-uninstaller（在 /usr/local/cuda-*/bin 中）和 nvidia-uninstall,"
            "重启后重新安装所需驱动。",
            risk=Risk.REBOOT,
        ),
    )
