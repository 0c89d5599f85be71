"""How many `true` a second the shepherd starts and buries, against a bare posix_spawn loop in the same run.

    python benches/shepherd_spawn.py [--count 1000] [--rounds 3] [--state-dir DIR]

Each line: how many were in flight, spawns a second of both (the best of the rounds, which alternate, so that what
else the machine does hits both), their ratio, and the shepherd's own CPU time for one container. The client is this
process: it launches, hears of the end and acknowledges, as a NodeManager does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hrm.nm.shepherd import processes
from hrm.nm.shepherd_client import ShepherdClient

_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def bare(count: int, in_flight: int) -> float:
    """Seconds to spawn and wait for ``count`` times `true`."""
    begin = time.perf_counter()
    live = started = 0
    while started < count or live:
        while live < in_flight and started < count:
            os.posix_spawn("/usr/bin/true", ["true"], _ENV, setsid=True)
            started += 1
            live += 1
        os.wait4(-1, 0)
        live -= 1
    return time.perf_counter() - begin


class Herding:
    """Keeps so many in flight under the shepherd."""

    def __init__(self, client: ShepherdClient) -> None:
        self._client = client
        self._left = 0
        self._running = 0
        self._done = asyncio.Event()
        self._serial = 0

    async def run(self, count: int, in_flight: int) -> float:
        begin = time.perf_counter()
        self._left, self._running = count, 0
        self._done.clear()
        for _ in range(in_flight):
            self._launch()
        await self._done.wait()
        return time.perf_counter() - begin

    def _launch(self) -> None:
        if self._left:
            self._left -= 1
            self._running += 1
            self._serial += 1
            self._client.launch(
                {
                    "id": f"container_e01_{os.getpid()}_0001_01_{self._serial:06d}",
                    "argv": ["true"],
                    "env": _ENV,
                    "workdir": None,
                    "stdin": False,
                    "terminal": None,
                    "log_limit_bytes": 1 << 20,
                }
            )

    def on_news(self, news: dict[str, Any]) -> None:
        if ended := news.get("ended"):
            for _ in ended:
                self._running -= 1
                self._launch()
            self._client.send({"op": "ack", "ids": [record["id"] for record in ended]})
            if not self._left and not self._running:
                self._done.set()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--state-dir", type=Path, help="on the file system to be measured; default: a temporary one")
    arguments = parser.parse_args()
    state_dir = Path(tempfile.mkdtemp(prefix="hrm-bench-", dir=arguments.state_dir))
    client = ShepherdClient(state_dir)
    herding = Herding(client)
    greetings: list[dict[str, Any]] = []
    await client.connect(greetings.append, herding.on_news, _died)
    pid = greetings[0]["hello"]["pid"]
    try:
        print(f"{'in flight':>9} {'bare/s':>8} {'shepherd/s':>11} {'ratio':>6} {'shepherd CPU us':>16}")
        for in_flight in (1, 2, 8):
            bare_s, herd_s, cpu_s = [], [], []
            for _ in range(arguments.rounds):
                bare_s.append(bare(arguments.count, in_flight))
                before = _cpu_s(pid)
                herd_s.append(await herding.run(arguments.count, in_flight))
                cpu_s.append(_cpu_s(pid) - before)
            per_s: Callable[[list[float]], float] = lambda seconds: arguments.count / min(seconds)  # noqa: E731
            print(
                f"{in_flight:>9} {per_s(bare_s):>8.0f} {per_s(herd_s):>11.0f} {min(bare_s) / min(herd_s):>6.2f}"
                f" {min(cpu_s) / arguments.count * 1e6:>16.0f}"
            )
    finally:
        client.send({"op": "leave"})
        client.close()
        shutil.rmtree(state_dir, ignore_errors=True)


def _died() -> None:
    raise SystemExit("the shepherd died: see its shepherd.log")


def _cpu_s(pid: int) -> float:
    process = processes.look_up(pid)
    assert process is not None
    return process.cpu_ticks / _TICKS_PER_S


if __name__ == "__main__":
    asyncio.run(main())
