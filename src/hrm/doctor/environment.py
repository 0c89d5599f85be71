"""What files of a machine put into everybody's environment: ``JAVA_HOME``, ``LD_LIBRARY_PATH``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hrm.doctor.evidence import line_of
from hrm.doctor.system import System
from hrm.model.findings import Evidence

FILES = ("/etc/environment", "/etc/profile", "/etc/bash.bashrc")
DROP_INS = "/etc/profile.d"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line that sets a variable."""

    file: str
    #: Without quotes; it may name other variables.
    value: str
    evidence: Evidence


def settings(system: System, name: str, more: Sequence[str] = ()) -> list[Setting]:
    """Lines that set a variable, in the order in which they are read; ``more``: other files. Raises CannotSee."""
    pattern = re.compile(rf"^\s*(?:export\s+|declare\s+-x\s+)?{re.escape(name)}=(.*)$")
    files = [*FILES, *(f"{DROP_INS}/{file}" for file in system.list(DROP_INS) if file.endswith(".sh")), *more]
    found = []
    for file in files:
        for number, line in enumerate((system.read(file) or "").splitlines(), 1):
            if said := pattern.match(line):
                found.append(Setting(file, _value(said[1]), line_of(file, number, line.strip())))
    return found


def _value(text: str) -> str:
    """Up to its end: the closing quote, a space, a semicolon, a comment."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        return text[1:].partition(text[0])[0]
    return re.split(r"[\s;#]", text, maxsplit=1)[0]
