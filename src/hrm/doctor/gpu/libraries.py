"""Where the driver's libraries lie, and which of them programs load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence

#: The loader looks here also for what is not in its cache.
DEFAULT_DIRS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
)
#: Here distributions and installers put libraries that the cache, or an alternative, leads to.
OTHER_DIRS = ("/usr/lib/x86_64-linux-gnu/nvidia/current", "/usr/lib/nvidia/current", "/usr/lib64/nvidia")
VERSION = r"\d{2,3}\.\d+(?:\.\d+)*"
_MAX_LINKS = 8


@dataclass(frozen=True, slots=True)
class Library:
    """One library of the driver."""

    #: As programs ask for it: ``/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1``.
    path: str
    version: str

    @property
    def evidence(self) -> Evidence:
        """Where it lies, and of which version it is."""
        name = self.path.rpartition("/")[2]
        return Evidence(self.path, f"{name} -> {name.removesuffix('.1')}.{self.version}")


def nvml(system: System) -> list[Library]:
    """All of NVML, that which programs load first."""
    return _found(system, "libnvidia-ml.so.1")


def cuda(system: System) -> list[Library]:
    """All of the driver's part of CUDA, that which programs load first."""
    return _found(system, "libcuda.so.1")


def _found(system: System, name: str) -> list[Library]:
    seen: dict[str, Library] = {}
    for path in (*_cached(system, name), *_lying_about(system, name)):
        # /lib is /usr/lib on most machines: the same file by two names.
        key = path.removeprefix("/usr")
        version = _version(system, path) if key not in seen else None
        if version is not None:
            seen[key] = Library(path, version)
    return list(seen.values())


def _cached(system: System, name: str) -> Iterator[str]:
    """In the loader's cache, in its order."""
    try:
        listed = system.run("ldconfig", "-p")
    except CannotSee:
        return
    for line in listed.lines:
        # "\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1"; without 64 it is for 32 bits.
        found = re.match(r"\s*(\S+) \(([^)]*)\) => (\S+)", line)
        # A library for forward compatibility (cuda-compat) is meant to be newer than the driver.
        if found and found[1] == name and "64" in found[2] and "/compat/" not in found[3]:
            yield found[3]


def _lying_about(system: System, name: str) -> Iterator[str]:
    for directory in (*DEFAULT_DIRS, *OTHER_DIRS):
        yield f"{directory}/{name}"
    # Ubuntu before 18.04 has a directory for each driver.
    for entry in system.list("/usr/lib"):
        if re.fullmatch(r"nvidia-\d{3}", entry):
            yield f"/usr/lib/{entry}/{name}"


def _version(system: System, path: str) -> str | None:
    """By the name of the file that the links end in; None where there is no such file, or its name has no version."""
    if system.stat(path) is None:
        return None
    for _ in range(_MAX_LINKS):
        target = system.link(path)
        if target is None:
            break
        path = target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
    found = re.search(rf"\.so\.({VERSION})$", path)
    return found[1] if found else None
