"""Machines of their own as far as the network goes: network namespaces, and the doctor within them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm.doctor.system import LocalSystem

HRM = Path(sys.executable).with_name("hrm")
NUMBERS = itertools.count()


def need(*programs: str) -> None:
    missing = [program for program in programs if LocalSystem().which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def do(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def wired_namespaces() -> Iterator[tuple[str, str]]:
    """Two machines on one wire: each has one interface, eth0."""
    need("ip", "arping")
    mark = f"{os.getpid()}x{next(NUMBERS)}"
    names = (f"hrmd{mark}a", f"hrmd{mark}b")
    made = []
    try:
        for name in names:
            do("ip", "netns", "add", name)
            made.append(name)
            do("ip", "-n", name, "link", "set", "lo", "up")
        do("ip", "link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name in names:
            do("ip", "-n", name, "link", "set", "eth0", "up")
        yield names
    finally:
        for name in made:
            do("ip", "netns", "del", name)


def doctor_in(namespace: str, home: Path, *only: str, config: str = "") -> list[dict[str, Any]]:
    """What the doctor finds there, as one types it."""
    home.mkdir(exist_ok=True)
    if config:
        (home / "hrm.yaml").write_text(config)
    argv = ["ip", "netns", "exec", namespace, str(HRM), "doctor", "-o", "json", "--only", ",".join(only)]
    environment = {**os.environ, "HRM_HOME": str(home)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)["findings"]
