"""Kernels of a machine, and the driver's module for each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.doctor.gpu.libraries import VERSION
from hrm.doctor.steps import install_package, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Step, Text

#: Where distributions, dkms and the runfile put modules, within ``/lib/modules/KERNEL``.
_PLACES = (
    "updates/dkms",
    "updates",
    "extra",
    "extra/nvidia",
    "kernel/drivers/video",
    "weak-updates",
    "weak-updates/nvidia",
)
_MODULE = re.compile(r"nvidia(?:[-_](?:current|legacy|tesla|open|srv|\d{3})\S*)?\.ko(?:\.\w+)?")
_SOURCE = re.compile(rf"(nvidia(?:-\w+)*?)-({VERSION})")


@dataclass(frozen=True, slots=True)
class Source:
    """The module's source, from which dkms builds it: ``/usr/src/nvidia-418.39``."""

    #: As dkms calls it: nvidia, nvidia-current …
    name: str
    version: str

    @property
    def path(self) -> str:
        return f"/usr/src/{self.name}-{self.version}"


def running_kernel(system: System) -> str:
    """Its release (``4.15.0-122-generic``); "" where nothing says."""
    return (system.read("/proc/sys/kernel/osrelease") or "").strip()


def kernels(system: System) -> list[str]:
    """Those that are installed and can be started, the newest last."""
    releases = [
        name
        for name in system.list("/lib/modules")
        if system.stat(f"/boot/vmlinuz-{name}") is not None or system.stat(f"/lib/modules/{name}/vmlinuz") is not None
    ]
    return sorted(releases, key=by_number)


def module_file(system: System, kernel: str) -> str | None:
    """The driver's module for a kernel; None where there is none."""
    root = f"/lib/modules/{kernel}"
    own = [f"kernel/{name}" for name in system.list(f"{root}/kernel") if name.startswith("nvidia")]
    for place in (*_PLACES, *own):
        for name in system.list(f"{root}/{place}"):
            if _MODULE.fullmatch(name):
                return f"{root}/{place}/{name}"
    return None


def module_says(system: System, path: str, field: str) -> str | None:
    """One field of a module (``version``, ``signer``); None where it cannot be asked."""
    try:
        told = system.run("modinfo", "-F", field, path)
    except CannotSee:
        return None
    return told.stdout.strip() if told.ok else None


def sources(system: System) -> list[Source]:
    """All that lie in ``/usr/src``, the newest last."""
    found = [
        Source(match[1], match[2]) for name in system.list("/usr/src") if (match := _SOURCE.fullmatch(name)) is not None
    ]
    return sorted(found, key=lambda source: by_number(source.version))


def has_headers(system: System, kernel: str) -> bool:
    """Whether modules can be built for it."""
    return system.stat(f"/lib/modules/{kernel}/build") is not None


def build_errors(system: System, source: Source, kernel: str) -> list[Evidence]:
    """Lines of the log in which dkms says why it could not build the module for this kernel; none where it could."""
    path = f"/var/lib/dkms/{source.name}/{source.version}/build/make.log"
    lines = (system.read(path) or "").splitlines()
    if not any(kernel in line for line in lines[:5]):
        return []
    return [
        Evidence(path, line.strip()[:300], number)
        for number, line in enumerate(lines, 1)
        if re.search(r"\berror:|\*\*\*|No such file", line)
    ][:3]


def dkms_knows(system: System) -> list[Evidence]:
    """Of each version of the driver that dkms has: for which kernels it is built, as ``dkms status`` tells it."""
    found = []
    for name in system.list("/var/lib/dkms"):
        for version in system.list(f"/var/lib/dkms/{name}") if name.startswith("nvidia") else ():
            if re.fullmatch(VERSION, version):
                place = f"/var/lib/dkms/{name}/{version}"
                # KERNEL/ARCHITECTURE/module; beside them stand its source and what is being built.
                built = [
                    kernel
                    for kernel in system.list(place)
                    if any(system.list(f"{place}/{kernel}/{part}/module") for part in system.list(f"{place}/{kernel}"))
                ]
                state = f"built for {', '.join(built)}" if built else "added"
                found.append(Evidence(place, f"{name}, {version}: {state}"))
    return found


def build(system: System, source: Source, kernel: str) -> tuple[Step, ...]:
    """Steps by which dkms builds and installs the module for a kernel, with what it needs for that."""
    steps: list[Step] = []
    if system.which("dkms") is None:
        steps.append(install_package("dkms"))
    if not has_headers(system, kernel):
        steps.append(install_package(f"linux-headers-{kernel}"))
    command = ("dkms", "install", "-m", source.name, "-v", source.version, "-k", kernel)
    about = Text(f"Build the module for kernel {kernel}.", f"为内核 {kernel} 编译模块。")
    return (*steps, run(*command, about=about, done_if=("already installed",)))


def load() -> Step:
    """Load the module."""
    return run("modprobe", "nvidia", about=Text("Load the module.", "加载模块。"))


def by_number(version: str) -> list[int]:
    """To sort by: 418.39 before 440.100, kernel 4.15.0-99 before 4.15.0-122."""
    return [int(number) for number in re.findall(r"\d+", version)]
