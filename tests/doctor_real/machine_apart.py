"""A machine within this one: network, mounts and host name of its own, which are gone with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hrm.testing.conditions import eventually

NAME = "master00"
_SET_UP = f"ip link set lo up && hostname {NAME} && mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity"


class MachineApart:
    """What is started by it sees only itself on the network. `close` ends what was started, and nothing else."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._started: list[subprocess.Popen[bytes]] = []
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "sh", "-c", _SET_UP], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End all that was started here, also what is stopped."""
        for process in (*reversed(self._started), self._holder):
            process.kill()
            process.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()

    def run(self, *argv: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
        """Run a command there to its end; what it printed."""
        done = subprocess.run(
            [*self._within(), *argv], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a server there, which `close` ends."""
        with open(self.place / f"{Path(argv[0]).name}.out", "ab") as output:
            process = subprocess.Popen(
                [*self._within(), *argv], env={**os.environ, **(env or {})}, stdout=output, stderr=output
            )
        self._started.append(process)
        return process

    def says(self, *argv: str, containing: str, env: Mapping[str, str] | None = None) -> None:
        """Wait until a command prints something."""
        eventually(
            lambda: containing in self.run(*argv, env=env, check=False), 60.0, describe=f"{argv} says {containing}"
        )

    def doctor(self, only: str, storage: Mapping[str, Any], env: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """What the doctor tells there, with ``storage`` as the section of hrm.yaml."""
        home = self.place / "home"
        home.mkdir(exist_ok=True)
        # JSON is YAML.
        (home / "hrm.yaml").write_text(json.dumps({"doctor": {"storage": storage}}))
        command = (sys.executable, "-m", "hrm.cli", "doctor", "--only", only, "-o", "json")
        report: Mapping[str, Any] = json.loads(
            self.run(*command, env={"HRM_HOME": str(home), **(env or {})}, check=False)
        )
        return report

    def _within(self) -> tuple[str, ...]:
        return ("nsenter", "-t", str(self._holder.pid), "--net", "--mount", "--uts", "--")


def codes(report: Mapping[str, Any]) -> list[str]:
    """Of the findings of a report."""
    return [finding["code"] for finding in report["findings"]]
