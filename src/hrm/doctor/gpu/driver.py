"""The NVIDIA driver: the module that the kernel has loaded, and the library that programs load."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check, fact
from hrm.doctor.evidence import matching_lines
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import reboot, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

VERSION = "/proc/driver/nvidia/version"
DPKG_LOG = "/var/log/dpkg.log"
_LIBRARY_DIRS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/lib/nvidia/current")
#: In the order in which they let go of each other.
MODULES = ("nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")

DRIVER_AND_LIBRARY_DIFFER = Fault(
    code="HRM-GPU-001",
    severity=Severity.CRITICAL,
    title=Text(
        "The kernel has driver {loaded} loaded, but libnvidia-ml is {library}",
        "内核加载的驱动是 {loaded},而 libnvidia-ml 是 {library}",
    ),
    why=Text(
        "Every program that asks for a GPU fails: Failed to initialize NVML: Driver/library version mismatch. The "
        "packages were changed while the old module stayed loaded.",
        "所有请求 GPU 的程序都会失败:Failed to initialize NVML: Driver/library version mismatch。"
        "软件包已更新,但旧内核模块仍在运行。",
    ),
    cure=Text(
        "Unload the old modules in their order (or restart), so that the module that fits the library is loaded.",
        "按顺序卸载旧模块(或重启),使内核加载与库一致的模块。",
    ),
)


@fact("gpu.driver")
def loaded_driver(system: System) -> str | None:
    """Version of the driver that is loaded."""
    return _loaded(system)[0] or None


@check("gpu.driver-version", DRIVER_AND_LIBRARY_DIFFER, quick=True)
def driver_and_library_agree(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The module that is loaded and the library that programs load are of one version."""
    loaded, line = _loaded(system)
    library, file = _library(system)
    if not loaded or not library or loaded == library:
        return
    changes: list[Evidence] = []
    try:
        changes += (line for line, _ in matching_lines(system, DPKG_LOG, r"\b(install|upgrade|remove) \S*nvidia"))
    except CannotSee as error:
        yield Unseen(str(error))
    yield DRIVER_AND_LIBRARY_DIFFER.found(
        loaded=loaded,
        library=library,
        evidence=(Evidence(VERSION, line, 1), Evidence(file, f"libnvidia-ml of {library}"), *changes[-3:]),
        cure=(*_unload(), run("modprobe", "nvidia"), reboot()),
    )


def _unload() -> tuple[Step, ...]:
    return tuple(
        run(
            "rmmod",
            module,
            about=Text(f"Unload {module}.", f"卸载 {module}。"),
            risk=Risk.DISRUPTIVE,
            done_if=("not currently loaded",),
        )
        for module in MODULES
    )


def _loaded(system: System) -> tuple[str, str]:
    """Version of the module that is loaded, and the line that says so; "" and "" where none is."""
    line = (system.read(VERSION) or "").partition("\n")[0]
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", line)
    return (found[1], line) if found else ("", "")


def _library(system: System) -> tuple[str, str]:
    """Version of the library that programs load, and its file."""
    for directory in _LIBRARY_DIRS:
        for name in ("libnvidia-ml.so.1",):
            target = system.link(f"{directory}/{name}")
            if target and (found := re.search(r"\.so\.(\d+\.\d+(?:\.\d+)?)$", target)):
                return found[1], f"{directory}/{name}"
    return "", ""
