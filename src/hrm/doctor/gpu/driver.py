"""The NVIDIA driver: the module that the kernel has loaded, the libraries that programs load, the version wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu import libraries
from hrm.doctor.gpu.kernels import build, dkms_knows, module_file, module_says, running_kernel, sources
from hrm.doctor.gpu.packages import Installation, installation
from hrm.doctor.gpu.replacing import fits, removal, replacement
from hrm.doctor.gpu.unloading import Unloading, unloading
from hrm.doctor.kernel_log import kernel_lines
from hrm.doctor.steps import by_hand, reboot, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

VERSION = "/proc/driver/nvidia/version"

DRIVER_AND_LIBRARY_DIFFER = Fault(
    code="HRM-GPU-001",
    severity=Severity.CRITICAL,
    title=Text(
        "The kernel has driver {loaded} loaded, but libnvidia-ml is {library}",
        "内核加载的驱动是 {loaded}，而 libnvidia-ml 是 {library}",
    ),
    why=Text(
        "Every program that asks for a GPU fails: Failed to initialize NVML: Driver/library version mismatch. The "
        "packages were changed while the old module stayed loaded.",
        "所有请求 GPU 的程序都会失败：Failed to initialize NVML: Driver/library version mismatch。"
        "软件包已更新，但旧内核模块仍在运行。",
    ),
    cure=Text(
        "Stop what holds the GPUs, unload the old modules in their order (or restart), so that the module that fits "
        "the library is loaded. Where the library is not of the wanted version: remove its packages (never those that "
        "containers need) and install the wanted driver.",
        "停止占用 GPU 的进程，按顺序卸载旧模块（或重启），使内核加载与库一致的模块。"
        "若库不是所需版本：删除其软件包（不删除容器所需的包），再安装所需驱动。",
    ),
)

NOT_THE_WANTED_DRIVER = Fault(
    code="HRM-DRIVER-001",
    severity=Severity.ERROR,
    title=Text("The driver is {version}, and {wanted} is wanted", "驱动版本是 {version}，而要求的是 {wanted}"),
    why=Text(
        "Programs that were built for this cluster may ask for more than it has, and nodes that differ give different "
        "results. The wanted version is doctor.gpu.driver in hrm.yaml.",
        "为本集群编译的程序可能需要该驱动不具备的功能，节点之间的结果也可能不同。"
        "所需版本由 hrm.yaml 的 doctor.gpu.driver 指定。",
    ),
    cure=Text(
        "Remove the wrong driver by the way it was installed, unload its modules, install the wanted one.",
        "按原安装方式删除错误的驱动，卸载其模块，再安装所需驱动。",
    ),
)

LIBRARIES_DIFFER = Fault(
    code="HRM-DRIVER-002",
    severity=Severity.ERROR,
    title=Text(
        "Programs load {name} of driver {version}, and the kernel has {loaded}",
        "程序加载的 {name} 属于驱动 {version}，而内核加载的是 {loaded}",
    ),
    why=Text(
        "CUDA programs fail to begin (error 803, or no device), though nvidia-smi works: the update of the driver "
        "ended halfway, or an older one left its library behind.",
        "即使 nvidia-smi 正常，CUDA 程序也无法启动（错误 803 或找不到设备）：驱动更新只完成了一半，或旧驱动的库残留。",
    ),
    cure=Text(
        "Remove what is not of the driver that is loaded, and have the loader's cache made anew (ldconfig).",
        "删除不属于当前驱动的库，并重建加载器缓存（ldconfig）。",
    ),
)

SEVERAL_LIBRARIES = Fault(
    code="HRM-DRIVER-003",
    severity=Severity.WARNING,
    title=Text("Libraries of several drivers are installed: {versions}", "安装了多个版本的驱动库：{versions}"),
    why=Text(
        "Which one a program gets depends on the order in which the loader looks. The next ldconfig, or a program with "
        "its own LD_LIBRARY_PATH, gets the wrong one: Driver/library version mismatch.",
        "程序使用哪一个取决于加载器的查找顺序。下次 ldconfig 或设置了 LD_LIBRARY_PATH 的程序可能得到错误版本："
        "Driver/library version mismatch。",
    ),
    cure=Text(
        "Remove the driver that is not in use by the way it was installed.",
        "按原安装方式删除未使用的驱动。",
    ),
)


OTHERS_LIBRARY = Fault(
    code="HRM-DRIVER-028",
    severity=Severity.WARNING,
    title=Text(
        "A program brought libraries of driver {client}, and the kernel has {loaded}",
        "有程序使用驱动 {client} 的库，而内核加载的是 {loaded}",
    ),
    why=Text(
        "The libraries of the system are right: it is a container that began before the driver was changed, an image "
        "with a driver of its own, or LD_LIBRARY_PATH. That program finds no GPU.",
        "系统库本身正确：可能是更换驱动之前启动的容器、自带驱动的镜像或 LD_LIBRARY_PATH。该程序找不到 GPU。",
    ),
    cure=Text(
        "Start the container again; take the driver's libraries out of the image or LD_LIBRARY_PATH.",
        "重新启动容器；从镜像或 LD_LIBRARY_PATH 中删除驱动库。",
    ),
)
_A_DAY_S = 86400.0


@fact("gpu.driver")
def loaded_driver(system: System) -> str | None:
    """Version of the driver that is loaded."""
    return loaded(system)[0] or None


@fact("gpu.driver-library")
def driver_library(system: System) -> str | None:
    """Version of the NVML that programs load."""
    return next((library.version for library in libraries.nvml(system)), None)


@check("gpu.driver-version", DRIVER_AND_LIBRARY_DIFFER, quick=True)
def driver_and_library_agree(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The module that is loaded and the library that programs load are of one version."""
    version, line = loaded(system)
    library = next(iter(libraries.nvml(system)), None) if version else None
    if library is None or library.version == version:
        return
    evidence = [Evidence(VERSION, line, 1), library.evidence]
    kernel = running_kernel(system)
    file = module_file(system, kernel) if kernel else None
    on_disk = module_says(system, file, "version") if file else None
    if file and on_disk:
        evidence.append(Evidence(file, f"the module on disk is of {on_disk}"))
    evidence += dkms_knows(system)
    how, way = installation(system), unloading(system)
    yield from (Unseen(what) for what in (*how.unseen, way.unseen) if what)
    yield DRIVER_AND_LIBRARY_DIFFER.found(
        loaded=version,
        library=library.version,
        evidence=(*evidence, *how.changes, *way.evidence),
        cure=_agreement(system, expected, library.version, on_disk, how, way),
    )


@check("gpu.driver-wanted", NOT_THE_WANTED_DRIVER, quick=True)
def driver_is_the_wanted_one(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The driver is of the version that hrm.yaml asks for."""
    wanted = expected.gpu.driver
    version, line = loaded(system)
    library = next(iter(libraries.nvml(system)), None) if version else None
    # Where module and library differ, that is the fault, and its cure heeds what is wanted.
    if wanted is None or not version or fits(version, wanted) or (library and library.version != version):
        return
    how, way = installation(system), unloading(system)
    yield from (Unseen(what) for what in (*how.unseen, way.unseen) if what)
    yield NOT_THE_WANTED_DRIVER.found(
        version=version,
        wanted=wanted,
        evidence=(Evidence(VERSION, line, 1), *how.changes, *way.evidence),
        cure=replacement(expected, version, how, way),
    )


@check("gpu.driver-libraries", LIBRARIES_DIFFER, SEVERAL_LIBRARIES, quick=True)
def libraries_are_of_one_driver(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """All libraries of the driver are of the version that is loaded."""
    version, line = loaded(system)
    if not version:
        return
    nvml, cuda = libraries.nvml(system), libraries.cuda(system)
    if cuda and nvml and nvml[0].version == version != cuda[0].version:
        how = installation(system)
        yield from (Unseen(what) for what in how.unseen)
        yield LIBRARIES_DIFFER.found(
            name="libcuda",
            version=cuda[0].version,
            loaded=version,
            evidence=(Evidence(VERSION, line, 1), cuda[0].evidence, nvml[0].evidence),
            cure=(run("ldconfig"), *removal(how, cuda[0].version)),
        )
        return
    others = [library for library in (*nvml[1:], *cuda[1:]) if library.version != (nvml or cuda)[0].version]
    if others:
        how = installation(system)
        yield from (Unseen(what) for what in how.unseen)
        versions = sorted({library.version for library in (*nvml, *cuda)})
        yield SEVERAL_LIBRARIES.found(
            versions=", ".join(versions),
            evidence=tuple(library.evidence for library in (*nvml[:1], *others)),
            cure=(*removal(how, others[0].version), run("ldconfig")),
        )


@check("gpu.driver-clients", OTHERS_LIBRARY)
def programs_use_the_systems_libraries(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """No program of the last day came with libraries of another driver."""
    version, _ = loaded(system)
    library = next(iter(libraries.nvml(system)), None) if version else None
    if library is None or library.version != version:
        return
    # "API mismatch: the client has the version 440.100, but", or since 5xx on the line after the program's name.
    pattern = rf"NVRM:.* has the version ({libraries.VERSION}),? but"
    others = [(line, found) for line, found in kernel_lines(system, pattern, within_s=_A_DAY_S) if found[1] != version]
    if others:
        line, found = others[-1]
        yield OTHERS_LIBRARY.found(
            client=found[1],
            loaded=version,
            evidence=(line.evidence, library.evidence),
            cure=(
                by_hand(
                    "Find it (its owner saw the error, docker ps shows when containers began) and start it again; an "
                    "image must not bring libcuda or libnvidia-ml itself.",
                    "找到该程序（其用户会看到错误，docker ps 可查看容器启动时间）并重新启动；"
                    "镜像不应自带 libcuda 或 libnvidia-ml。",
                ),
            ),
        )


def loaded(system: System) -> tuple[str, str]:
    """Version of the module that is loaded, and the line that says so; "" and "" where none is."""
    line = (system.read(VERSION) or "").partition("\n")[0]
    found = re.search(rf"\s({libraries.VERSION})\s", line)
    return (found[1], line) if found else ("", "")


def _agreement(
    system: System, expected: Expected, library: str, on_disk: str | None, how: Installation, way: Unloading
) -> tuple[Step, ...]:
    """Make module and library agree: on the wanted version, or else on that of which there are both."""
    if way.stuck:
        return (*way.steps, reboot())
    wanted = expected.gpu.driver
    if wanted is not None and not fits(library, wanted):
        return replacement(expected, library, how, way)
    # Only what is on disk comes back after the modules are unloaded, or after a restart.
    if on_disk is None or on_disk == library:
        return (*way.reload, reboot())
    source = next((one for one in sources(system) if one.version == library), None)
    if source is not None:
        return (*build(system, source, running_kernel(system)), *way.reload, reboot())
    # Nobody has a module for the library, and one for what is loaded is there; so that goes only if it was asked for.
    return replacement(expected, library if wanted is None else on_disk, how, way, target=on_disk)
