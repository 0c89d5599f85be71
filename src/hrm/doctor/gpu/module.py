"""The driver's kernel module: why it is not loaded, and whether the next kernel will have one."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu import libraries
from hrm.doctor.gpu.driver import loaded
from hrm.doctor.gpu.kernels import (
    Source,
    build,
    build_errors,
    by_number,
    has_headers,
    kernels,
    load,
    module_file,
    module_says,
    running_kernel,
    sources,
)
from hrm.doctor.gpu.replacing import fits, install
from hrm.doctor.kernel_log import kernel_lines
from hrm.doctor.steps import by_hand, reboot, run, write
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

_PCI = "/sys/bus/pci/devices"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#: By these a device is kept for a virtual machine: it is not this kernel's to drive.
_PASSED_ON = ("vfio-pci", "pci-stub", "xen-pciback")
_MODPROBE_DIRS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
_FORBIDDEN = r"^\s*(?:blacklist\s+nvidia\s*$|alias\s+nvidia\s+off|install\s+nvidia\s+\S*/(?:false|true)\b)"
NOUVEAU_OFF = "/etc/modprobe.d/nvidia-disable-nouveau.conf"
#: Keys with which dkms signs modules: Debian's and Ubuntu's.
_KEYS = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
_REJECTED = (
    r"(?i)unsigned module|module with unavailable key|module verification failed|Key was rejected"
    r"|Lockdown: \S+: unsigned"
)
#: The module says itself why it did not start.
_REFUSED = r"(?i)NVRM:.*(?:not supported|fail|legacy|No NVIDIA|nouveau|conflict)|nvidia: (?:version magic|disagrees)"
_WHY_NO_GPU = (
    "Nothing that asks for a GPU works: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    "所有使用 GPU 的程序都无法工作：NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver。",
)

NOT_BUILT = Fault(
    code="HRM-DRIVER-004",
    severity=Severity.CRITICAL,
    title=Text("Kernel {kernel} has no nvidia module", "内核 {kernel} 没有 nvidia 模块"),
    why=Text(
        f"{_WHY_NO_GPU[0]} The kernel was updated, and the driver was not built for it.",
        f"{_WHY_NO_GPU[1]}内核已更新，但没有为它编译驱动模块。",
    ),
    cure=Text(
        "Install dkms and the kernel's headers where they are missing, then dkms install -m nvidia -v VERSION from the "
        "source in /usr/src, and load the module.",
        "缺少 dkms 或内核头文件时先安装，然后用 /usr/src 中的源码执行 dkms install -m nvidia -v 版本号，再加载模块。",
    ),
)

CANNOT_BE_BUILT = Fault(
    code="HRM-DRIVER-005",
    severity=Severity.CRITICAL,
    title=Text("Driver {version} could not be built for kernel {kernel}", "驱动 {version} 无法为内核 {kernel} 编译"),
    why=Text(
        f"{_WHY_NO_GPU[0]} dkms tried; this driver does not know this kernel, or the compiler is another one.",
        f"{_WHY_NO_GPU[1]}dkms 已尝试编译：该驱动不支持此内核，或编译器版本不符。",
    ),
    cure=Text(
        "Start the kernel before, for which there is a module, or install a driver that knows this kernel.",
        "启动仍有模块的旧内核，或安装支持此内核的驱动。",
    ),
)

NOUVEAU = Fault(
    code="HRM-DRIVER-006",
    severity=Severity.CRITICAL,
    title=Text("nouveau drives the GPUs instead of NVIDIA's driver", "GPU 由 nouveau 驱动，而不是 NVIDIA 驱动"),
    why=Text(
        f"{_WHY_NO_GPU[0]} A GPU has one driver at a time, and nouveau knows no CUDA.",
        f"{_WHY_NO_GPU[1]}一个 GPU 同时只能有一个驱动，而 nouveau 不支持 CUDA。",
    ),
    cure=Text(
        "Forbid nouveau in /etc/modprobe.d, make the initramfs anew, restart.",
        "在 /etc/modprobe.d 中禁用 nouveau，重建 initramfs，重启。",
    ),
)

NOT_SIGNED = Fault(
    code="HRM-DRIVER-007",
    severity=Severity.CRITICAL,
    title=Text(
        "Secure Boot keeps the nvidia module out (signed by: {signer})",
        "Secure Boot 拒绝加载 nvidia 模块（签名者：{signer}）",
    ),
    why=Text(
        f"{_WHY_NO_GPU[0]} With Secure Boot the kernel loads only modules that are signed by a key it knows.",
        f"{_WHY_NO_GPU[1]}启用 Secure Boot 后，内核只加载由已知密钥签名的模块。",
    ),
    cure=Text(
        "Enroll the key that signs the modules (mokutil --import, restart, confirm at the console), or turn Secure "
        "Boot off in the firmware.",
        "登记签名密钥（mokutil --import，重启后在控制台确认），或在固件中关闭 Secure Boot。",
    ),
)

NOT_LOADED = Fault(
    code="HRM-DRIVER-008",
    severity=Severity.CRITICAL,
    title=Text("The nvidia module is not loaded", "nvidia 模块未加载"),
    why=Text(*_WHY_NO_GPU),
    cure=Text(
        "Load it; where modprobe refuses, the kernel's log says why.", "加载模块；若 modprobe 拒绝，内核日志中有原因。"
    ),
)

NOT_INSTALLED = Fault(
    code="HRM-DRIVER-009",
    severity=Severity.ERROR,
    title=Text(
        "There is an NVIDIA GPU and no driver, and {wanted} is wanted", "有 NVIDIA GPU 但没有驱动，要求 {wanted}"
    ),
    why=Text(*_WHY_NO_GPU),
    cure=Text("Install the wanted driver.", "安装所需驱动。"),
)

NEXT_KERNEL = Fault(
    code="HRM-DRIVER-010",
    severity=Severity.WARNING,
    title=Text(
        "Kernel {kernel}, which starts next, has no nvidia module",
        "下次启动的内核 {kernel} 没有 nvidia 模块",
    ),
    why=Text(
        "After the next restart no GPU works: couldn't communicate with the NVIDIA driver.",
        "下次重启后所有 GPU 都无法工作：couldn't communicate with the NVIDIA driver。",
    ),
    cure=Text(
        "Build it now: kernel headers, then dkms install for that kernel.",
        "现在就编译：安装内核头文件，再对该内核执行 dkms install。",
    ),
)


@check(
    "gpu.driver-module",
    NOT_BUILT,
    CANNOT_BE_BUILT,
    NOUVEAU,
    NOT_SIGNED,
    NOT_LOADED,
    NOT_INSTALLED,
    quick=True,
)
def module_is_loaded(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """Where there is an NVIDIA GPU and its driver is installed, the kernel has the module loaded."""
    if loaded(system)[0]:
        return
    devices = nvidia_devices(system)
    if not devices:
        return
    kernel = running_kernel(system)
    file = module_file(system, kernel)
    source = _source(system, expected)
    library = next(iter(libraries.nvml(system)), None)
    seen = tuple(
        Evidence(f"{_PCI}/{address}", f"an NVIDIA GPU, driver: {driver or 'none'}") for address, driver in devices
    )
    if file is None and source is None and library is None:
        # Nobody has tried to run it with NVIDIA's driver: a display does as well with nouveau.
        if expected.gpu.driver is not None:
            yield NOT_INSTALLED.found(
                wanted=expected.gpu.driver, evidence=seen, cure=(install(expected), load(), reboot())
            )
        return
    if "nouveau" in (driver for _, driver in devices):
        yield NOUVEAU.found(evidence=seen, cure=_forbid_nouveau(system))
    elif file is None and kernel:
        yield _missing(system, expected, kernel, source, seen)
    elif file is not None:
        yield from _refused(system, file, seen)


@check("gpu.driver-next-kernel", NEXT_KERNEL, quick=True)
def next_kernel_has_a_module(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The kernel that starts next has a module, too."""
    version, _ = loaded(system)
    installed = kernels(system)
    running = running_kernel(system)
    if not version or not installed or by_number(installed[-1]) <= by_number(running):
        return
    newest = installed[-1]
    if module_file(system, running) is None or module_file(system, newest) is not None:
        # Where the running one's is not found either, modules lie where nobody here knows.
        return
    source = next((one for one in sources(system) if one.version == version), None)
    yield NEXT_KERNEL.found(
        kernel=newest,
        evidence=(Evidence(f"/lib/modules/{newest}", f"no nvidia.ko; {running} has driver {version}"),),
        cure=build(system, source, newest)
        if source is not None
        else (
            by_hand(
                f"Install the driver again with --dkms once kernel {newest} runs, or start {running} by default.",
                f"在内核 {newest} 上用 --dkms 重新安装驱动，或默认启动 {running}。",
            ),
        ),
    )


def nvidia_devices(system: System) -> list[tuple[str, str]]:
    """Addresses of NVIDIA's GPUs that are this kernel's to drive, each with what drives it now ("" for nothing)."""
    found = []
    for address in system.list(_PCI):
        if (system.read(f"{_PCI}/{address}/vendor") or "").strip() != "0x10de":
            continue
        # 0x0300: a display; 0x0302: computes alone.
        if (system.read(f"{_PCI}/{address}/class") or "").startswith("0x03"):
            driver = (system.link(f"{_PCI}/{address}/driver") or "").rpartition("/")[2]
            if driver not in _PASSED_ON:
                found.append((address, driver))
    return found


def secure_boot(system: System) -> bool:
    """Whether the firmware asks the kernel for signed modules. Raises CannotSee."""
    # Four bytes of attributes, then the value.
    return (system.read(SECURE_BOOT) or "")[4:5] == "\x01"


def _source(system: System, expected: Expected) -> Source | None:
    """The wanted driver's, else the newest."""
    found = sources(system)
    wanted = [source for source in found if fits(source.version, expected.gpu.driver)]
    return next(iter(reversed(wanted or found)), None)


def _missing(
    system: System, expected: Expected, kernel: str, source: Source | None, seen: tuple[Evidence, ...]
) -> Finding:
    """The module is not there for this kernel: whether it can be built, and how."""
    here = Evidence(f"/lib/modules/{kernel}", "no nvidia.ko")
    if source is None:
        return NOT_BUILT.found(kernel=kernel, evidence=(*seen, here), cure=(install(expected), load(), reboot()))
    errors = build_errors(system, source, kernel)
    if not errors:
        there = Evidence(source.path, "the module's source")
        return NOT_BUILT.found(
            kernel=kernel, evidence=(*seen, here, there), cure=(*build(system, source, kernel), load())
        )
    others = [other for other in kernels(system) if module_file(system, other) is not None]
    back_en = f"Start kernel {others[-1]}, which has a module, or install" if others else "Install"
    back_zh = f"启动仍有模块的内核 {others[-1]}，或安装" if others else "安装"
    headers = () if has_headers(system, kernel) else build(system, source, kernel)
    by_person = by_hand(
        f"{back_en} a driver that knows kernel {kernel}.",
        f"{back_zh}支持内核 {kernel} 的驱动。",
        risk=Risk.REBOOT,
    )
    return CANNOT_BE_BUILT.found(
        version=source.version, kernel=kernel, evidence=(*seen, *errors), cure=(*headers, by_person)
    )


def _refused(system: System, file: str, seen: tuple[Evidence, ...]) -> Iterator[Finding | Unseen]:
    """The module is there for this kernel, and not loaded: whether it may be."""
    said: list[Evidence] = []
    rejected: list[Evidence] = []
    try:
        rejected = [line.evidence for line, _ in kernel_lines(system, _REJECTED)]
        said = [line.evidence for line, _ in kernel_lines(system, _REFUSED)]
    except CannotSee as error:
        yield Unseen(str(error))
    on = False
    try:
        on = secure_boot(system)
    except CannotSee as error:
        yield Unseen(str(error))
    signer = module_says(system, file, "signer")
    if on and (signer == "" or rejected):
        yield NOT_SIGNED.found(
            signer=signer or "-",
            evidence=(*seen, Evidence(SECURE_BOOT, "Secure Boot is on"), *rejected[-2:]),
            cure=_enroll(system),
        )
        return
    forbidden = list(_forbidden(system))
    steps: list[Step] = []
    if forbidden:
        steps.append(
            by_hand(
                f"If nobody meant it so, take this line away: {forbidden[0]}",
                f"如果不是有意为之，删除这一行：{forbidden[0]}",
            )
        )
    yield NOT_LOADED.found(
        # Whoever forbids it in so many words may have meant it.
        severity=Severity.WARNING if forbidden else None,
        evidence=(*seen, Evidence(file, "not loaded"), *forbidden, *said[-3:]),
        cure=(*steps, load(), run("nvidia-smi", "-L")),
    )


def _forbidden(system: System) -> Iterator[Evidence]:
    """Lines by which modprobe is told not to load it."""
    for directory in _MODPROBE_DIRS:
        for name in system.list(directory):
            if name.endswith(".conf"):
                yield from (line for line, _ in matching_lines(system, f"{directory}/{name}", _FORBIDDEN))


def _forbid_nouveau(system: System) -> tuple[Step, ...]:
    initramfs = ("dracut", "--force") if system.which("dracut") is not None else ("update-initramfs", "-u")
    return (
        write(
            NOUVEAU_OFF,
            "blacklist nouveau\noptions nouveau modeset=0\n",
            about=Text("Forbid nouveau.", "禁用 nouveau。"),
        ),
        run(*initramfs, about=Text("Have the initramfs know it, too.", "更新 initramfs。")),
        reboot(),
    )


def _enroll(system: System) -> tuple[Step, ...]:
    key = next((path for path in _KEYS if system.stat(path) is not None), _KEYS[0])
    return (
        by_hand(
            f"Run mokutil --import {key}, give a password, restart, and confirm it at the console (Enroll MOK); or "
            "turn Secure Boot off in the firmware.",
            f"运行 mokutil --import {key} 并设置密码，重启后在控制台确认（Enroll MOK）；或在固件中关闭 Secure Boot。",
            risk=Risk.REBOOT,
        ),
    )
