"""Java installations of a machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.doctor.places import real_path
from hrm.doctor.system import System
from hrm.model.findings import Evidence

#: Where packages, vendors and people put them.
_DIRS = ("/usr/lib/jvm", "/usr/java", "/opt", "/opt/jvm", "/opt/java", "/usr/local", "/usr/local/java", "/soft")
_NAME = re.compile(r"(java|jdk|jre|openjdk|temurin|zulu|corretto|graalvm|sapmachine|bellsoft)[-_.]?\w*", re.I)
#: What /usr/bin/java leads to through the alternatives.
JAVA = "/usr/bin/java"


@dataclass(frozen=True, slots=True)
class Jdk:
    """One of them."""

    #: Its home, without links.
    home: str
    #: ``1.8.0_201``, ``17.0.9``; "" where nothing tells it.
    version: str
    evidence: Evidence
    #: Whether it has a compiler.
    full: bool

    @property
    def major(self) -> int | None:
        """8, 11, 17."""
        return major_of(self.version)

    @property
    def java(self) -> str:
        """Its program."""
        return f"{self.home}/bin/java"


def major_of(version: str) -> int | None:
    """8 of ``1.8.0_201`` and of ``8``, 17 of ``17.0.9``; None of what is no version."""
    found = re.match(r"(?:1\.)?(\d+)", version.strip())
    return int(found[1]) if found else None


def jdks(system: System) -> list[Jdk]:
    """All that lie where they usually do, and the one of ``/usr/bin/java``; the oldest first. Raises CannotSee."""
    homes = {
        home for place in _DIRS for name in system.list(place) if _NAME.match(name) and (home := f"{place}/{name}")
    }
    found = {one.home: one for home in homes if (one := jdk_at(system, home)) is not None}
    default = default_jdk(system)
    if default is not None:
        found.setdefault(default.home, default)
    return sorted(found.values(), key=lambda one: (one.major or 0, one.home))


def jdk_at(system: System, home: str) -> Jdk | None:
    """The one whose home a directory is; None where it has no program java. Raises CannotSee."""
    home = real_path(system, home)
    if system.stat(f"{home}/bin/java") is None:
        return None
    # Up to 8 a runtime lies within its development kit, and the file that tells is the kit's.
    kit = home.removesuffix("/jre")
    for place in dict.fromkeys((home, kit)):
        text = system.read(f"{place}/release") or ""
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.match(r'JAVA_VERSION="?([\w.+-]+)"?', line):
                return Jdk(home, found[1], Evidence(f"{place}/release", line, number), _has_compiler(system, kit))
    named = re.search(r"(?:java|jdk|jre|temurin|zulu|corretto)[-_]?(1\.\d+\.\d+_?\d*|1\.\d+|\d+(?:\.\d+)*)", kit, re.I)
    return Jdk(home, named[1] if named else "", Evidence(home, "a Java by its name"), _has_compiler(system, kit))


def default_jdk(system: System) -> Jdk | None:
    """The one that ``java`` is for all users; None where there is none. Raises CannotSee."""
    return _of_program(system, JAVA, "java")


def default_compiler(system: System) -> Jdk | None:
    """The one that ``javac`` is of. Raises CannotSee."""
    return _of_program(system, "/usr/bin/javac", "javac")


def _of_program(system: System, path: str, name: str) -> Jdk | None:
    place = real_path(system, path)
    if place == path or not place.endswith(f"/bin/{name}"):
        return None
    return jdk_at(system, place.removesuffix(f"/bin/{name}"))


def _has_compiler(system: System, kit: str) -> bool:
    return system.stat(f"{kit}/bin/javac") is not None
