"""Looks at one path: ``python -I -S shared_probe.py KIND PATH MARKER SOURCE READ_ONLY``; says "" or what is wrong.

A process of its own, because whoever touches a mount whose server hangs may hang with it, and cannot even be killed. It
needs nothing but the standard library, and little of that.
"""

from __future__ import annotations

import os
import sys

_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def mounted(path: str, mountinfo: str) -> tuple[str, str]:
    """(where it is mounted, what is mounted there) for ``path``, by text in the form of ``/proc/self/mountinfo``."""
    found = ("", "")
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if "-" not in fields:
            continue
        point, source = _plain(fields[4]), _plain(fields[fields.index("-") + 2])
        inside = point == "/" or path == point or path.startswith(f"{point}/")
        # Of two at one point the later is on top.
        if inside and len(point) >= len(found[0]):
            found = (point, source)
    return found


def problem(path: str, marker: str, source: str, read_only: bool, mountinfo: str) -> str:
    """In words; "" iff nothing is wrong."""
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except FileNotFoundError:
        return "is not there"
    except NotADirectoryError:
        return "is no directory"
    except PermissionError as error:
        # An export may show root less than its users.
        if os.geteuid() != 0 or marker:
            return f"cannot be read: {error.strerror}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    point, there = mounted(os.path.realpath(path), mountinfo)
    if source and there != source:
        return f"is {there or 'something else'}, not {source}"
    if not marker and not source and point == "/":
        return "is not mounted: it is on the machine's own disk"
    if marker and not os.path.exists(os.path.join(path, marker)):
        return f"has no {marker}: something else is mounted there, or nothing"
    if not read_only and os.statvfs(path).f_flag & os.ST_RDONLY:
        return "can only be read"
    return ""


def _plain(text: str) -> str:
    for escaped, plain in _ESCAPES.items():
        text = text.replace(escaped, plain)
    return text


def main(kind: str, path: str, marker: str, source: str, read_only: str) -> None:
    """Print what is wrong. Of a ``local`` path nothing matters but that it is there; else it is ``shared``."""
    if kind == "local":
        sys.stdout.write("" if os.path.exists(path) else "is not there")
        return
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        mountinfo = file.read()
    sys.stdout.write(problem(path, marker, source, read_only == "yes", mountinfo))


if __name__ == "__main__":
    main(*sys.argv[1:])
