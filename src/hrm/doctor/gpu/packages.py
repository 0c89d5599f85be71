"""The driver as packages of dpkg's or as NVIDIA's runfile installed it, and who changed it when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from hrm.doctor.evidence import matching_lines
from hrm.doctor.gpu.libraries import VERSION
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence

_Seen = TypeVar("_Seen")
DPKG_LOG = "/var/log/dpkg.log"
APT_HISTORY = "/var/log/apt/history.log"
UNATTENDED_LOG = "/var/log/unattended-upgrades/unattended-upgrades.log"
#: The runfile writes down here what it installed; its first line is the version. Only root may read it.
RUNFILE_LOG = "/var/lib/nvidia/log"
_UNINSTALLERS = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")
QUERY = (
    "dpkg-query",
    "-W",
    "-f",
    "${db:Status-Abbrev} ${Package} ${Version}\n",
    "*nvidia*",
    "libcuda1*",
    "cuda-drivers*",
)
#: Names of packages that make up a driver. What containers need of NVIDIA's is never among them, nor are toolkits.
_DRIVER = re.compile(
    r"(?:lib)?nvidia-(?:driver|dkms|kernel|utils|compute|headless|gl|cfg1?|decode|encode|extra|fbc1|ifr1|common|smi"
    r"|alternative|opencl|egl|glcore|eglcore|ml1|ptxjitcompiler|nvvm|fatbinaryloader|vdpau|firmware|persistenced"
    r"|legacy|tesla|libopencl|\d{3})|libcuda1|cuda-drivers|xserver-xorg-video-nvidia|linux-(?:modules|objects"
    r"|signatures)-nvidia|libnvcuvid"
)
_KEPT = re.compile(r"container|docker|toolkit|cudnn|nccl|nsight|profiler|-dev$|egl-wayland|egl-gbm|settings|prime")
#: Of these, one is enough to say that dpkg has a driver: they bring its module, its libraries or nvidia-smi.
_CORE = re.compile(
    r"libnvidia-(?:compute|ml1)|libcuda1|nvidia-(?:utils|smi|driver|dkms|kernel-dkms|headless|\d{3}$)"
    r"|linux-modules-nvidia"
)


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    #: With what the distribution adds: ``440.100-0ubuntu0.18.04.1``.
    full_version: str
    held: bool
    #: The line that says so.
    evidence: Evidence

    @property
    def version(self) -> str:
        """Of the driver: ``440.100``; "" of what counts otherwise."""
        found = re.match(rf"(?:\d+:)?({VERSION})(?:[-+~]|$)", self.full_version)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Runfile:
    """A driver that NVIDIA's own installer put there."""

    #: "" where only its uninstaller was seen.
    version: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Installation:
    """How the driver came onto a machine, as far as it can be seen."""

    #: What dpkg has installed of NVIDIA's, the driver or not.
    packages: tuple[Package, ...]
    runfile: Runfile | None
    #: The last changes, and who made them.
    changes: tuple[Evidence, ...]
    unseen: tuple[str, ...]

    @property
    def driver_packages(self) -> tuple[Package, ...]:
        """Those that make up the driver; none where no package brings a module, a library or nvidia-smi."""
        found = tuple(package for package in self.packages if is_of_driver(package.name))
        return found if any(_CORE.match(package.name) for package in found) else ()


def installation(system: System) -> Installation:
    """All of it; what cannot be looked at is noted."""
    unseen: list[str] = []

    def look(what: Callable[[System], Iterable[_Seen]]) -> tuple[_Seen, ...]:
        try:
            return tuple(what(system))
        except CannotSee as error:
            unseen.append(str(error))
            return ()

    return Installation(packages=look(packages), runfile=runfile(system), changes=look(changes), unseen=tuple(unseen))


def is_of_driver(name: str) -> bool:
    """Whether a package (``nvidia-utils-440``) is part of a driver; not so what containers and toolkits consist of."""
    return bool(_DRIVER.match(name)) and not _KEPT.search(name)


def packages(system: System) -> list[Package]:
    """What dpkg has installed of NVIDIA's; none where there is no dpkg. Raises CannotSee."""
    listed = system.run(*QUERY)
    if listed.timed_out:
        raise CannotSee("dpkg-query: no answer in time")
    found = []
    for line in listed.lines:
        words = line.split()
        if len(words) == 3 and re.fullmatch(r"[a-z]i", words[0]):
            evidence = Evidence("dpkg-query -W", line.strip())
            found.append(Package(words[1], words[2], words[0][0] == "h", evidence))
    return found


def runfile(system: System) -> Runfile | None:
    """The driver that the runfile installed; None where it did not."""
    try:
        log = system.read(RUNFILE_LOG)
    except CannotSee:
        log = None
    first = (log or "").partition("\n")[0].strip()
    if re.fullmatch(VERSION, first):
        return Runfile(first, Evidence(RUNFILE_LOG, first, 1))
    for path in _UNINSTALLERS:
        if system.stat(path) is not None:
            return Runfile("", Evidence(path, "installed by NVIDIA's runfile"))
    return None


def changes(system: System) -> Iterator[Evidence]:
    """The last changes of the driver's packages, with their times, and who made them. Raises CannotSee."""
    changed = [
        (line, found)
        for line, found in matching_lines(
            system, DPKG_LOG, r"^(\S+) \S+ (?:install|upgrade|remove|purge) ([^\s:]+)", tail=True
        )
        if is_of_driver(found[2])
    ]
    yield from (line for line, _ in changed[-3:])
    yield from _by_whom(system)


def was_changed_unattended(system: System) -> Evidence | None:
    """The line that shows that nobody asked for the last change of the driver. Raises CannotSee."""
    for line in _by_whom(system):
        if "unattended-upgrade" in f"{line.source} {line.text}":
            return line
    return None


def _by_whom(system: System) -> Iterator[Evidence]:
    """Of the last change of the driver's packages that apt made."""
    stanzas = (system.read(APT_HISTORY, tail=True) or "").split("\n\n")
    for stanza in reversed(stanzas):
        if any(is_of_driver(name) for name in re.findall(r"([a-z0-9][a-z0-9.+-]+):\w+ \(", stanza)):
            said = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
            words = [f"{key}: {said[key]}" for key in ("Start-Date", "Commandline", "Requested-By") if key in said]
            yield Evidence(APT_HISTORY, ", ".join(words))
            return
    lines = matching_lines(system, UNATTENDED_LOG, r"Packages that will be upgraded:.*nvidia", tail=True)
    last = [line for line, found in lines if any(is_of_driver(name) for name in found.string.split())]
    yield from last[-1:]
