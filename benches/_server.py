"""A server of the bench's own: its home is temporary, its port any free one. Gone afterwards with all it ran."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hrm.sdk.client import Client
from hrm.testing.conditions import eventually


@dataclass(frozen=True, slots=True)
class BenchServer:
    home: Path
    pid: int
    client: Client


@contextmanager
def bench_server(configuration: str = "") -> Iterator[BenchServer]:
    """Ready when the block begins."""
    with tempfile.TemporaryDirectory(prefix="hrm-bench-") as directory:
        home = Path(directory) / "home"
        home.mkdir(mode=0o700)
        (home / "hrm.yaml").write_text(configuration)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hrm.server", "--home", str(home), "--port", "0"],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            eventually(lambda: (home / "server.json").exists() or process.poll() is not None, timeout_s=30)
            pid = json.loads((home / "server.json").read_bytes())["pid"]
            with Client(home=home) as client:
                yield BenchServer(home, pid, client)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
