"""Where paths lead once all links in them are followed, and versions that stand in names."""

from __future__ import annotations

import re

from hrm.doctor.system import System

_MAX_LINKS = 40


def real_path(system: System, path: str) -> str:
    """``path`` without links, as far as it is there. Raises CannotSee."""
    done = ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    links = 0
    while parts:
        part = parts.pop(0)
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        target = system.link(f"{done}/{part}")
        if target is None or links >= _MAX_LINKS:
            done = f"{done}/{part}"
            continue
        links += 1
        parts = [piece for piece in target.split("/") if piece not in ("", ".")] + parts
        if target.startswith("/"):
            done = ""
    return done or "/"


def numbers(version: str) -> tuple[int, ...]:
    """``418.39`` as (418, 39), to compare by; what is no number ends it."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
