"""Logs of NVIDIA's installers: real errors told from harmless ones, and drivers that went backwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu import libraries
from hrm.doctor.gpu.driver import loaded
from hrm.doctor.gpu.kernels import by_number, running_kernel
from hrm.doctor.gpu.libraries import VERSION
from hrm.doctor.gpu.packages import installation
from hrm.doctor.gpu.replacing import fits, install, replacement
from hrm.doctor.gpu.unloading import unloading
from hrm.doctor.steps import by_hand, install_package, reboot, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

CUDA_LOG = "/var/log/cuda-installer.log"
DRIVER_LOG = "/var/log/nvidia-installer.log"
#: With these a run begins: the toolkit's installer adds to its log, the driver's begins it anew.
_BEGINS = re.compile(r"\[INFO\]: (?:Driver not installed|Driver installation detected)|^nvidia-installer log file ")
#: Told as errors, and nothing is amiss after ``ldconfig``.
_HARMLESS = re.compile(r"\[ERROR\]: \S+\.conf wasn't handled correctly during upgrade")
_ERROR = re.compile(r"\[ERROR\]:|^ERROR:")
#: These only say that there was an error before.
_ECHOES = re.compile(r"Installation has failed|Install of .* failed, quitting|Install of driver component failed")
_EXISTING = re.compile(
    rf"already be a driver installed on your system \(version:\s*({VERSION})\)"
    rf".*?installing this driver \(version:\s*({VERSION})\)"
)

DRIVER_NOT_INSTALLED = Fault(
    code="HRM-DRIVER-021",
    severity=Severity.ERROR,
    title=Text("The driver's installation failed: {reason}", "驱动安装失败：{reason}"),
    why=Text(
        "The driver is not there, or is the one of before; its library may be of another version than its module.",
        "驱动没有安装成功，或仍是旧版本；库与模块的版本可能不一致。",
    ),
    cure=Text(
        "Do away with the reason, then run the installer again, for the driver alone.",
        "消除原因后，再次仅为驱动运行安装程序。",
    ),
)

TOOLKIT_NOT_INSTALLED = Fault(
    code="HRM-DRIVER-022",
    severity=Severity.WARNING,
    title=Text("The CUDA installer ended with errors: {error}", "CUDA 安装程序报错：{error}"),
    why=Text("Parts of the toolkit may be missing.", "toolkit 可能缺少部分文件。"),
    cure=Text(
        "Do away with the reason, then run it again with --silent --toolkit.",
        "消除原因后，用 --silent --toolkit 再次运行。",
    ),
)

ONLY_HARMLESS = Fault(
    code="HRM-DRIVER-023",
    severity=Severity.INFO,
    title=Text(
        "The CUDA installer's error is a harmless one: {error}",
        "CUDA 安装程序的报错无害：{error}",
    ),
    why=Text(
        "`Completed with errors` means no more than that the loader's cache may be old: all was installed.",
        "Completed with errors 只表示加载器缓存可能未更新：所有文件均已安装。",
    ),
    cure=Text("ldconfig.", "执行 ldconfig。"),
)

DOWNGRADED = Fault(
    code="HRM-DRIVER-024",
    severity=Severity.WARNING,
    title=Text(
        "An installer replaced driver {before} by the older {version}",
        "安装程序用较旧的 {version} 替换了驱动 {before}",
    ),
    why=Text(
        "A toolkit's runfile brings a driver of its time and installs it unless told otherwise: CUDA 10.0 brings "
        "410.48, with which programs of CUDA 10.1 (418.39 or newer) do not run.",
        "toolkit 的 runfile 自带当时的驱动，默认会一并安装：CUDA 10.0 自带 410.48,"
        "而 CUDA 10.1 的程序需要 418.39 或更高版本。",
    ),
    cure=Text(
        "Install the newer driver again. Next time install the toolkit alone: --silent --toolkit.",
        "重新安装较新的驱动。以后只安装 toolkit:--silent --toolkit。",
    ),
)

WRONG_INSTALLER = Fault(
    code="HRM-DRIVER-025",
    severity=Severity.WARNING,
    title=Text(
        "doctor.gpu.installer brings driver {version}, and doctor.gpu.driver says {wanted}",
        "doctor.gpu.installer 自带驱动 {version}，而 doctor.gpu.driver 要求 {wanted}",
    ),
    why=Text("Whoever runs it gets the wrong driver.", "运行它会得到错误的驱动。"),
    cure=Text("Name the runfile of the wanted driver in hrm.yaml.", "在 hrm.yaml 中指定所需驱动的 runfile。"),
)


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why an installation of the driver failed, by what the installer says."""

    pattern: str
    told: Text


_IN_USE = _Reason(
    r"appears to already be loaded|[Mm]odule nvidia\S* is in use", Text("the old module is in use", "旧模块正在使用中")
)
_DISPLAY = _Reason(r"running an X server|X server running", Text("an X server runs", "X 服务器正在运行"))
_NO_HEADERS = _Reason(
    r"Unable to find the kernel source tree|kernel header file .* does not exist|kernel source path",
    Text("the kernel's headers are missing", "缺少内核头文件"),
)
_NO_COMPILER = _Reason(
    r"Unable to find the development tool|Unable to find .*`(?:cc|gcc|make|ld)`",
    Text("there is no compiler", "没有编译器"),
)
_REASONS = (
    _IN_USE,
    _DISPLAY,
    _Reason(r"Nouveau kernel driver is currently in use", Text("nouveau is in use", "nouveau 正在使用中")),
    _Reason(
        r"[Ss]ecure [Bb]oot|not signed by a key|module signature|Required key not available",
        Text("Secure Boot does not let the module in", "Secure Boot 拒绝该模块"),
    ),
    _NO_HEADERS,
    _NO_COMPILER,
    _Reason(r"No space left", Text("the disk is full", "磁盘已满")),
    _Reason(
        r"dkms|Bad return status|performing the step: \"Building|kernel module was not created",
        Text("the module could not be built", "模块编译失败"),
    ),
    _Reason(r"pre-install script failed", Text("the distribution forbids it", "发行版禁止安装")),
    _Reason(
        r"Unable to load the .*kernel module|failed to load", Text("the module could not be loaded", "模块无法加载")
    ),
)


@check(
    "gpu.installer-log",
    DRIVER_NOT_INSTALLED,
    TOOLKIT_NOT_INSTALLED,
    ONLY_HARMLESS,
    DOWNGRADED,
    WRONG_INSTALLER,
)
def installers_ended_well(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """NVIDIA's installers ended without real errors, and with no older driver than before."""
    yield from _named_installer(expected)
    driver, toolkit = _last_run(system, DRIVER_LOG), _last_run(system, CUDA_LOG)
    yield from _downgrade(system, expected, driver)
    errors = [line for line in (*driver, *toolkit) if _ERROR.search(line.text) and not _HARMLESS.search(line.text)]
    of_driver = [line for line in errors if line.source == DRIVER_LOG or "driver" in line.text.lower()]
    of_toolkit = [line for line in errors if line not in of_driver and not _ECHOES.search(line.text)]
    # What failed once and works now is the past.
    if of_driver and not _works(system):
        yield from _failed(system, expected, of_driver)
    if of_toolkit:
        again = by_hand(
            "Do away with the reason and run the toolkit's runfile again with --silent --toolkit: without --driver it "
            "leaves the driver alone.",
            "消除原因后，用 --silent --toolkit 再次运行 toolkit 的 runfile:不带 --driver 就不会改动驱动。",
        )
        error = of_toolkit[0].text.partition("[ERROR]:")[2].strip() or of_toolkit[0].text
        yield TOOLKIT_NOT_INSTALLED.found(error=error, evidence=tuple(of_toolkit[:3]), cure=(again,))
    elif harmless := [line for line in toolkit if _HARMLESS.search(line.text)]:
        error = harmless[0].text.partition("[ERROR]:")[2].strip()
        yield ONLY_HARMLESS.found(
            error=error,
            evidence=tuple(harmless[:2]),
            cure=(run("ldconfig", about=Text("Make the loader's cache anew.", "重建加载器缓存。")),),
        )


def _last_run(system: System, path: str) -> list[Evidence]:
    """The lines of the last run that a log tells of."""
    content = system.read(path, tail=True)
    if content is None:
        return []
    about = system.stat(path)
    # Numbers only where the log was read from its beginning.
    whole = about is not None and about.size_bytes == len(content.encode(errors="replace"))
    lines = content.splitlines()
    begins = [number for number, line in enumerate(lines) if _BEGINS.search(line)]
    first = begins[-1] if begins else 0
    return [
        Evidence(path, line.strip()[:300], number + 1 if whole else None)
        for number, line in enumerate(lines[first:], first)
        if line.strip()
    ]


def _works(system: System) -> bool:
    version = loaded(system)[0]
    library = next(iter(libraries.nvml(system)), None)
    return bool(version) and library is not None and library.version == version


def _failed(system: System, expected: Expected, errors: list[Evidence]) -> Iterator[Finding | Unseen]:
    cause, line = None, errors[0]
    for error in errors:
        cause = next((reason for reason in _REASONS if re.search(reason.pattern, error.text)), None)
        if cause is not None:
            line = error
            break
    told = (line, *(error for error in errors if error is not line))[:4]
    words = re.sub(r"^.*?ERROR\]?:\s*", "", line.text)
    steps: tuple[Step, ...]
    if cause in (_IN_USE, _DISPLAY):
        way = unloading(system)
        if way.unseen:
            yield Unseen(way.unseen)
        told = (*told, *way.evidence)
        steps = (*way.steps, install(expected), *way.afterwards)
    elif cause is _NO_HEADERS:
        steps = (install_package(f"linux-headers-{running_kernel(system)}"), install(expected))
    elif cause is _NO_COMPILER:
        steps = (install_package("build-essential"), install(expected))
    else:
        steps = (by_hand(f"Do away with the reason: {words}", f"消除原因：{words}"), install(expected))
    yield DRIVER_NOT_INSTALLED.found(
        reason=cause.told if cause else words,
        evidence=told,
        cure=(*steps, reboot()),
    )


def _downgrade(system: System, expected: Expected, log: list[Evidence]) -> Iterator[Finding | Unseen]:
    version = loaded(system)[0]
    for line in log:
        found = _EXISTING.search(line.text)
        if found is None or found[2] != version or by_number(found[2]) >= by_number(found[1]):
            continue
        # Where an older one is wanted, it was meant so.
        if fits(version, expected.gpu.driver):
            return
        how, way = installation(system), unloading(system)
        yield from (Unseen(what) for what in (*how.unseen, way.unseen) if what)
        yield DOWNGRADED.found(
            before=found[1],
            version=version,
            # Without a word of what is wanted, an older one may have been meant.
            severity=None if expected.gpu.driver is not None else Severity.INFO,
            evidence=(line, *way.evidence),
            cure=replacement(expected, version, how, way),
        )
        return


def _named_installer(expected: Expected) -> Iterator[Finding]:
    wanted, installer = expected.gpu.driver, expected.gpu.installer
    # cuda_10.1.105_418.39_linux.run, NVIDIA-Linux-x86_64-418.39.run
    found = re.search(rf"(?:_|x86_64-|aarch64-)({VERSION})(?:_linux\S*)?\.run$", installer or "")
    if wanted is not None and found is not None and not fits(found[1], wanted):
        yield WRONG_INSTALLER.found(
            version=found[1],
            wanted=wanted,
            evidence=(Evidence("hrm.yaml", f"doctor.gpu.installer: {installer}"),),
            cure=(by_hand("Mend hrm.yaml.", "修改 hrm.yaml。"),),
        )
