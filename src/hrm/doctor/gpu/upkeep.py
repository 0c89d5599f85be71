"""What will break the driver some day: two ways to install it at once, updates nobody asked for, missing tools."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu.driver import loaded
from hrm.doctor.gpu.kernels import load, module_file, running_kernel, sources
from hrm.doctor.gpu.packages import Installation, installation, runfile, was_changed_unattended
from hrm.doctor.gpu.replacing import fits, install, purge, readable, uninstall_runfile
from hrm.doctor.gpu.unloading import unloading
from hrm.doctor.steps import by_hand, install_package, reboot, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

APT_CONFIG = "/etc/apt/apt.conf.d"

TWO_INSTALLATIONS = Fault(
    code="HRM-DRIVER-011",
    severity=Severity.WARNING,
    title=Text(
        "A driver from NVIDIA's runfile ({runfile}) and one from packages ({packages}) are installed at once",
        "同时安装了 NVIDIA runfile 驱动（{runfile}）和软件包驱动（{packages}）",
    ),
    why=Text(
        "Each overwrites the other's files: the next update of the packages brings Driver/library version mismatch.",
        "两者会互相覆盖文件：下次软件包更新后会出现 Driver/library version mismatch。",
    ),
    cure=Text(
        "Keep the one of the wanted version and remove the other: packages by apt-get purge (never those that "
        "containers need), the runfile's by nvidia-uninstall.",
        "保留所需版本，删除另一个：软件包用 apt-get purge（不删除容器所需的包），runfile 驱动用 nvidia-uninstall。",
    ),
)

NOT_HELD = Fault(
    code="HRM-DRIVER-012",
    severity=Severity.INFO,
    title=Text(
        "Unattended upgrades may replace the driver under running jobs ({packages})",
        "自动更新可能在作业运行时替换驱动（{packages}）",
    ),
    why=Text(
        "An update changes the libraries while the old module stays loaded: from then on every new GPU program fails "
        "with Driver/library version mismatch.",
        "更新会替换库文件，而旧模块仍在运行：此后所有新的 GPU 程序都会因 Driver/library version mismatch 失败。",
    ),
    cure=Text(
        "apt-mark hold the driver's packages; let go of them when you mean to update, with the node drained.",
        "用 apt-mark hold 锁定驱动软件包；需要更新时先排空节点再解锁。",
    ),
)

KMOD_MISSING = Fault(
    code="HRM-DRIVER-013",
    severity=Severity.WARNING,
    title=Text("rmmod and modprobe are not installed", "未安装 rmmod 和 modprobe"),
    why=Text("Without them no driver is loaded or unloaded.", "没有它们就无法加载或卸载驱动。"),
    cure=Text("Install kmod.", "安装 kmod。"),
)

DKMS_MISSING = Fault(
    code="HRM-DRIVER-026",
    severity=Severity.WARNING,
    title=Text("dkms is not installed, and the driver's source is there", "有驱动源码，但未安装 dkms"),
    why=Text(
        "After the next update of the kernel nobody builds the driver's module: couldn't communicate with the NVIDIA "
        "driver.",
        "下次内核更新后没有人编译驱动模块：couldn't communicate with the NVIDIA driver。",
    ),
    cure=Text("Install dkms.", "安装 dkms。"),
)

LSOF_MISSING = Fault(
    code="HRM-DRIVER-027",
    severity=Severity.INFO,
    title=Text("lsof is not installed", "未安装 lsof"),
    why=Text(
        "The doctor does without it; people look with it who holds /dev/nvidia*.",
        "doctor 不需要它；人工查看谁占用 /dev/nvidia* 时需要。",
    ),
    cure=Text("Install lsof.", "安装 lsof。"),
)

NOT_WITH_DKMS = Fault(
    code="HRM-DRIVER-014",
    severity=Severity.WARNING,
    title=Text(
        "The runfile's driver {version} is not known to dkms",
        "runfile 驱动 {version} 没有在 dkms 中登记",
    ),
    why=Text(
        "After the next update of the kernel no GPU works: nobody builds the module for the new one.",
        "下次内核更新后 GPU 将无法工作：没有人为新内核编译模块。",
    ),
    cure=Text(
        "dkms install -m nvidia -v VERSION where its source is in /usr/src; else install it again with --dkms.",
        "若 /usr/src 中有源码，执行 dkms install -m nvidia -v 版本号；否则用 --dkms 重新安装。",
    ),
)


@check("gpu.driver-mixed", TWO_INSTALLATIONS)
def driver_was_installed_one_way(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The driver is the runfile's or the packages', not both."""
    if runfile(system) is None:
        return
    how = installation(system)
    yield from (Unseen(what) for what in how.unseen)
    if how.runfile is None or not how.driver_packages:
        return
    versions = sorted({package.version for package in how.driver_packages if package.version})
    yield TWO_INSTALLATIONS.found(
        runfile=how.runfile.version or "?",
        packages=", ".join(versions) or how.driver_packages[0].full_version,
        evidence=(how.runfile.evidence, *(package.evidence for package in how.driver_packages[:3])),
        cure=_one_way(system, expected, how, versions),
    )


@check("gpu.driver-held", NOT_HELD)
def driver_stays_until_somebody_changes_it(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Packages of the driver are held where updates come by themselves."""
    on = _unattended(system)
    if on is None or _spared(system):
        return
    how = installation(system)
    yield from (Unseen(what) for what in how.unseen)
    free = [package for package in how.driver_packages if not package.held]
    if not free or _is_to_go(system, expected, how):
        return
    before = None
    try:
        before = was_changed_unattended(system)
    except CannotSee as error:
        yield Unseen(str(error))
    names = [package.name for package in free]
    yield NOT_HELD.found(
        packages=", ".join(names[:3]) + (" …" if len(names) > 3 else ""),
        severity=Severity.WARNING if expected.gpu.driver is not None or before is not None else None,
        evidence=(on, *((before,) if before is not None else ()), free[0].evidence),
        cure=(run("apt-mark", "hold", *names, about=Text("Keep them as they are.", "锁定这些软件包。")),),
    )


@check("gpu.driver-tools", KMOD_MISSING, DKMS_MISSING, LSOF_MISSING, NOT_WITH_DKMS, quick=True)
def tools_are_there(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """What drivers are built, unloaded and looked at with is installed."""
    version, _ = loaded(system)
    kernel = running_kernel(system)
    if not version and not (kernel and module_file(system, kernel)) and not sources(system):
        return
    if system.which("rmmod") is None or system.which("modprobe") is None:
        yield KMOD_MISSING.found(evidence=(_not_there("rmmod"),), cure=(install_package("kmod"),))
    if system.which("lsof") is None:
        yield LSOF_MISSING.found(evidence=(_not_there("lsof"),), cure=(install_package("lsof"),))
    if sources(system) and system.which("dkms") is None:
        there = Evidence(sources(system)[-1].path, "the driver's source")
        yield DKMS_MISSING.found(evidence=(there, _not_there("dkms")), cure=(install_package("dkms"),))
    elif version:
        yield from _not_with_dkms(system, version, kernel)


def _not_with_dkms(system: System, version: str, kernel: str) -> Iterator[Finding]:
    file = module_file(system, kernel)
    # Of a distribution's own build, of dkms' or of one that lies elsewhere, nothing need be known.
    if file is None or not file.startswith(f"/lib/modules/{kernel}/kernel/drivers/video/"):
        return
    if any(system.list(f"/var/lib/dkms/{name}") for name in system.list("/var/lib/dkms") if name.startswith("nvidia")):
        return
    source = next((one for one in sources(system) if one.version == version), None)
    steps: tuple[Step, ...] = (
        by_hand(
            f"Install driver {version} again with --dkms, with the node drained.",
            f"排空节点后，用 --dkms 重新安装驱动 {version}。",
        ),
    )
    if source is not None:
        command = ("dkms", "install", "-m", source.name, "-v", version, "-k", kernel, "--force")
        about = Text("Make the driver known to dkms.", "在 dkms 中登记驱动。")
        steps = (run(*command, about=about, done_if=("already installed",)),)
    yield NOT_WITH_DKMS.found(version=version, evidence=(Evidence(file, "built by hand"),), cure=steps)


def _not_there(program: str) -> Evidence:
    return Evidence(program, "not found")


def _one_way(system: System, expected: Expected, how: Installation, versions: list[str]) -> tuple[Step, ...]:
    """Keep the wanted one. Removing one takes files that the other had put there: that is installed again."""
    wanted = expected.gpu.driver
    way = unloading(system)
    of_packages = any(fits(version, wanted) for version in versions)
    of_runfile = how.runfile is not None and fits(how.runfile.version, wanted)
    if way.stuck and (of_packages or of_runfile):
        return (*way.steps, reboot())
    if of_packages:
        names = [package.name for package in how.driver_packages]
        again = run(
            "apt-get", "install", "--reinstall", "-y", *names, about=Text("Put its files back.", "恢复其文件。")
        )
        return (*way.steps, uninstall_runfile(), again, run("ldconfig"), load(), *way.afterwards)
    if of_runfile:
        removed = purge(how, how.driver_packages)
        return (*readable(expected), *way.steps, *removed, install(expected), run("ldconfig"), *way.afterwards)
    return (
        by_hand(
            "Decide which version nodes are to have and set doctor.gpu.driver in hrm.yaml; the cure is exact then.",
            "决定节点所需的版本并在 hrm.yaml 中设置 doctor.gpu.driver，之后即可给出确切的处理步骤。",
        ),
    )


def _is_to_go(system: System, expected: Expected, how: Installation) -> bool:
    """Whether the driver of the packages is the wrong one: holding it would keep what is to be removed."""
    wanted = expected.gpu.driver
    versions = {package.version for package in how.driver_packages if package.version}
    if wanted is not None and not any(fits(version, wanted) for version in versions):
        return True
    module = loaded(system)[0]
    return bool(module) and module not in versions


def _unattended(system: System) -> Evidence | None:
    """The line that turns unattended upgrades on; None where they are off. The last file that says it counts."""
    said = None
    for name in system.list(APT_CONFIG):
        pattern = r"^\s*APT::Periodic::Unattended-Upgrade\s+\"?([^\";]+)\"?\s*;"
        for line, found in matching_lines(system, f"{APT_CONFIG}/{name}", pattern):
            said = None if found[1].strip() in ("0", "false", "no") else line
    return said


def _spared(system: System) -> bool:
    """Whether unattended upgrades leave NVIDIA's packages alone."""
    for name in system.list(APT_CONFIG):
        text = re.sub(r"^\s*(?://|#).*$", "", system.read(f"{APT_CONFIG}/{name}") or "", flags=re.MULTILINE)
        block = re.search(r"Unattended-Upgrade::Package-Blacklist\s*\{([^}]*)\}", text)
        if block and "nvidia" in block[1]:
            return True
    return False
