"""The ``hrm`` command as people use it: real processes, a real server, a home directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HRM = Path(sys.executable).with_name("hrm")
DEADLINE_S = 180.0
CONFIGURATION = """\
node: {vcores: 4, memory: 4G, log_limit: 2M}
queues:
  research: {weight: 3}
  batch: {weight: 1}
server: {port: 0}
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Hrm:
    """The command line with a home of its own."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HRM_")}
        self.env = {**kept, "HRM_HOME": str(self.home), **env}

    def configure(self, text: str) -> None:
        (self.home / "hrm.yaml").write_text(textwrap.dedent(text))

    def __call__(self, *arguments: object, stdin: str | None = None, cwd: Path | None = None) -> Result:
        """Run ``hrm`` to its end."""
        done = subprocess.run(
            [HRM, *map(str, arguments)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=self.env,
            cwd=cwd,
            timeout=DEADLINE_S,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run ``hrm`` beside the test; killed at the end if it is still there."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [HRM, *map(str, arguments)], text=True, env=self.env, **{**pipes, **options}
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=DEADLINE_S)

    def apps(self, *arguments: str) -> list[dict[str, Any]]:
        """What `hrm ps` lists."""
        return self("ps", "-o", "json", *(arguments or ("--all",))).json

    def state(self, app: str) -> str:
        return self.apps(app)[0]["state"]

    @property
    def pid(self) -> int | None:
        try:
            return json.loads((self.home / "server.json").read_text())["pid"]
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Stop all that runs, and delete the home."""
        if self.pid is not None and self("down", "--kill").code not in (0, 3):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)


@contextlib.contextmanager
def hrm_home() -> Iterator[Hrm]:
    # Not pytest's own: its paths are too long for a Unix socket.
    hrm = Hrm(Path(tempfile.mkdtemp(prefix="hrm-")))
    hrm.configure(CONFIGURATION)
    try:
        yield hrm
    finally:
        hrm.remove()


@contextlib.contextmanager
def server_up(configuration: str = CONFIGURATION, *options: str) -> Iterator[Hrm]:
    """A server of its own with this ``hrm.yaml``; ``options`` are those of `hrm up`."""
    with hrm_home() as hrm:
        hrm.configure(configuration)
        result = hrm("up", "--detach", *options)
        assert result.code == 0, result.err
        yield hrm


@pytest.fixture(scope="module")
def up() -> Iterator[Hrm]:
    """A server that all tests of a module share."""
    with server_up() as hrm:
        yield hrm


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    """A home of its own, without a server."""
    with hrm_home() as hrm:
        yield hrm
