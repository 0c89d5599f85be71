"""A server of HRM's over machines that are network namespaces, as its users start it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hrm.sdk.client import Client
from hrm.testing.conditions import eventually
from hrm.testing.ray_machines import RayMachines, ray_machines

_HRM = str(Path(sys.executable).with_name("hrm"))
_DEADLINE_S = 90.0


class RayServer:
    """``machines`` without a head: the server starts it, in its home. Use `ray_server`."""

    def __init__(self, machines: RayMachines) -> None:
        self.machines = machines
        self.home = machines.head.folder
        self.home.mkdir(mode=0o700)
        #: Added to the environment of commands.
        self.env: dict[str, str] = {}

    def up(self, *, engine: Mapping[str, str] | None = None, more: str = "") -> None:
        """Start it, again too. ``engine`` are keys of that section, ``more`` further sections."""
        head = {"host": self.machines.head.address} if self.machines.head.address else {}
        keys = {"kind": "ray", **head, "port": str(self.machines.port), **(engine or {})}
        section = ", ".join(f"{key}: {value}" for key, value in keys.items())
        (self.home / "hrm.yaml").write_text(f"engine: {{{section}}}\nserver: {{port: 0}}\n{more}")
        self.hrm("up", "--detach")
        self.machines.took_over_head()

    def hrm(self, *arguments: object, timeout_s: float = _DEADLINE_S) -> str:
        """What a command prints. Raises AssertionError where it fails."""
        done = self.tried(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tried(self, *arguments: object, timeout_s: float = _DEADLINE_S) -> subprocess.CompletedProcess[str]:
        """What becomes of a command."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("HRM_", "RAY_"))}
        return subprocess.run(
            [_HRM, *map(str, arguments)],
            env={**environ, **self.env, "HRM_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def json(self, *arguments: object) -> Any:
        return json.loads(self.hrm(*arguments, "-o", "json"))

    def client(self) -> Client:
        """To be closed."""
        return Client(home=self.home)

    def kill(self) -> None:
        os.kill(json.loads((self.home / "server.json").read_text())["pid"], signal.SIGKILL)

    def nodes(self) -> dict[str, str]:
        """State by name."""
        return {node["node_id"]: node["state"] for node in self.json("nodes")}

    def all_up(self, names: Sequence[str]) -> None:
        """Wait until these are the nodes, and all run."""
        eventually(lambda: self.nodes() == dict.fromkeys(names, "RUNNING"), _DEADLINE_S, describe=f"{names} are up")


@contextlib.contextmanager
def ray_server() -> Iterator[RayServer]:
    """Not started yet. Gone in the end with all that it ran."""
    with ray_machines() as machines:
        server = RayServer(machines)
        try:
            yield server
        finally:
            if (server.home / "server.json").exists():
                server.hrm("down", "--kill")
