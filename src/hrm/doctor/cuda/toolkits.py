"""CUDA toolkits that are installed, and what they need of the driver."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from hrm.doctor.places import numbers, real_path
from hrm.doctor.system import System
from hrm.model.findings import Evidence

ROOT = "/usr/local"
#: The one that programs are built with unless they say otherwise.
DEFAULT = f"{ROOT}/cuda"
_FIRST_DAY = 20000101
_NAME = re.compile(r"cuda-(\d+\.\d+)")

#: From which release on which driver comes with it on Linux, which it needs unless `FAMILY` says less. NVIDIA's CUDA
#: release notes, table 3, https://docs.nvidia.com/cuda/archive/13.2.2/cuda-toolkit-release-notes/index.html. For 13.0
#: and the like "13.0.1" means update 1; up to 11.0 the third number is the build.
_DRIVERS = (
    ("7.0.28", "346.46"),
    ("7.5.16", "352.31"),
    ("8.0.44", "367.48"),
    ("8.0.61", "375.26"),
    ("9.0.76", "384.81"),
    ("9.1.85", "390.46"),
    ("9.2.88", "396.26"),
    ("9.2.148", "396.37"),
    ("10.0.130", "410.48"),
    ("10.1.105", "418.39"),
    ("10.2.89", "440.33"),
    ("11.0.1", "450.36.06"),
    ("11.0.2", "450.51.05"),
    ("11.0.3", "450.51.06"),
    ("11.1.0", "455.23"),
    ("11.1.1", "455.32"),
    ("11.2.0", "460.27.03"),
    ("11.2.1", "460.32.03"),
    ("11.3.0", "465.19.01"),
    ("11.4.0", "470.42.01"),
    ("11.4.1", "470.57.02"),
    ("11.4.3", "470.82.01"),
    ("11.5.0", "495.29.05"),
    ("11.6.0", "510.39.01"),
    ("11.6.1", "510.47.03"),
    ("11.7.0", "515.43.04"),
    ("11.7.1", "515.48.07"),
    ("11.8.0", "520.61.05"),
    ("12.0.0", "525.60.13"),
    ("12.0.1", "525.85.12"),
    ("12.1.0", "530.30.02"),
    ("12.2.0", "535.54.03"),
    ("12.2.1", "535.86.09"),
    ("12.2.2", "535.104.05"),
    ("12.3.0", "545.23.06"),
    ("12.3.1", "545.23.08"),
    ("12.4.0", "550.54.14"),
    ("12.4.1", "550.54.15"),
    ("12.5.0", "555.42.02"),
    ("12.5.1", "555.42.06"),
    ("12.6.0", "560.28.03"),
    ("12.6.1", "560.35.03"),
    ("12.6.3", "560.35.05"),
    ("12.8.0", "570.26"),
    ("12.8.1", "570.124.06"),
    ("12.9.0", "575.51.03"),
    ("12.9.1", "575.57.08"),
    ("13.0.0", "580.65.06"),
    ("13.0.1", "580.82.07"),
    ("13.0.2", "580.95.05"),
    ("13.1.0", "590.44.01"),
    ("13.1.1", "590.48.01"),
    ("13.2.0", "595.45.04"),
    ("13.2.1", "595.58.03"),
    ("13.2.2", "595.71.05"),
)
#: Since 11 all releases of one major number run on the driver of the first, but for what is new in them ("minor version
#: compatibility": table 2 there, and https://docs.nvidia.com/deploy/cuda-compatibility/).
_FAMILY = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}


@dataclass(frozen=True, slots=True)
class Toolkit:
    """One toolkit."""

    #: Without links: ``/usr/local/cuda-10.1``.
    path: str
    #: As far as it says: ``10.1.105``.
    version: str
    #: What says so.
    evidence: Evidence

    @property
    def release(self) -> str:
        """``10.1``."""
        return ".".join(self.version.split(".")[:2])


def toolkits(system: System) -> list[Toolkit]:
    """Those in ``/usr/local``, the oldest first. Raises CannotSee."""
    paths = {
        real_path(system, f"{ROOT}/{name}")
        for name in system.list(ROOT)
        if name == "cuda" or _NAME.fullmatch(name) or re.fullmatch(r"cuda-\d+", name)
    }
    found = [toolkit for path in paths if (toolkit := toolkit_at(system, path)) is not None]
    return sorted(found, key=lambda toolkit: (numbers(toolkit.version), toolkit.path))


def default_toolkit(system: System) -> Toolkit | None:
    """The one that ``/usr/local/cuda`` leads to; None where it leads to none. Raises CannotSee."""
    return toolkit_at(system, real_path(system, DEFAULT))


def toolkit_at(system: System, path: str) -> Toolkit | None:
    """The toolkit in a directory, by what it says of itself, else by its name."""
    about = system.stat(path)
    if about is None or not about.is_dir:
        return None
    if (text := system.read(f"{path}/version.json")) is not None and (version := _of_json(text)):
        return Toolkit(path, version, Evidence(f"{path}/version.json", f"cuda: {version}"))
    for number, line in enumerate((system.read(f"{path}/version.txt") or "").splitlines(), 1):
        if found := re.match(r"CUDA Version (\d+\.\d+(?:\.\d+)?)", line):
            return Toolkit(path, found[1], Evidence(f"{path}/version.txt", line, number))
    named = _NAME.search(path)
    # What an uninstaller left behind has the name, and neither libraries nor programs.
    if named and (system.stat(f"{path}/bin/nvcc") is not None or library_dir(system, path) is not None):
        return Toolkit(path, named[1], Evidence(path, "a toolkit by its name"))
    return None


def library_dir(system: System, path: str) -> str | None:
    """Where the libraries of a toolkit lie, without links; None where there are none."""
    for name in ("lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "lib"):
        directory = real_path(system, f"{path}/{name}")
        if any(file.startswith("libcudart.so") for file in system.list(directory)):
            return directory
    return None


def own_driver(version: str) -> str | None:
    """The oldest driver that a release is made for; None of a release that the table does not have."""
    asked = numbers(version)
    of_release = [(numbers(first), driver) for first, driver in _DRIVERS if numbers(first)[:2] == asked[:2]]
    return next(
        (driver for first, driver in reversed(of_release) if asked >= first), of_release[0][1] if of_release else None
    )


def least_driver(version: str) -> str | None:
    """The oldest driver on which programs of a release start at all; None where that is not known."""
    asked = numbers(version)
    return _FAMILY.get(asked[0]) if asked and asked[0] in _FAMILY else own_driver(version)


def _of_json(text: str) -> str:
    try:
        version = json.loads(text)["cuda"]["version"]
    except (ValueError, KeyError, TypeError):
        return ""
    if not isinstance(version, str):
        return ""
    parts = numbers(version)
    # Some have a day for the third number, which says nothing of updates: 11.8.20220929.
    return ".".join(str(part) for part in (parts[:2] if parts[2:3] >= (_FIRST_DAY,) else parts))
