"""What a machine can say of itself for who chooses nodes by attributes: host, arch, os, kernel, gpu_driver."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from hrm.model.attributes import as_value
from hrm.nm.gpus.probe import kernel_module_version

_LINE = re.compile(r"""^(ID|VERSION_ID)=["']?([^"'\n]*)""", re.MULTILINE)


def machine_attributes(os_release: Path = Path("/etc/os-release")) -> dict[str, str]:
    """By name; what is not to be found out is left out. ``os`` is what os-release calls it, ``debian12``."""
    machine = os.uname()
    found = {
        "host": socket.gethostname(),
        "arch": machine.machine,
        "kernel": machine.release,
        "os": _system(os_release),
        "gpu_driver": kernel_module_version(),
    }
    return {name: value for name, words in found.items() if (value := as_value(words))}


def _system(os_release: Path) -> str:
    try:
        words: dict[str, str] = dict(_LINE.findall(os_release.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return ""
    return words.get("ID", "") + words.get("VERSION_ID", "")
