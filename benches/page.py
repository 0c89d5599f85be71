"""The web page over a large cluster: how long pages take, how large they are, and what fifty open ones cost.

    python benches/page.py [--nodes 500] [--finished 100000] [--rounds 40] [--open 50]

The cluster is played, all over it is real: scheduler, store, API, page. The targets: every page in 300 ms (p95), first
load below 2 MB, later pages below 100 kB, fifty open pages below 10 % of a core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

PAGES = (
    "/ui",
    "/ui/gpus",
    "/ui/queues",
    "/ui/queues/research",
    "/ui/applications",
    "/ui/applications?state=all",
    "/ui/applications?state=all&search=train-9&order=name&page=20",
    "/ui/applications/{app}",
    "/ui/nodes",
    "/ui/history",
    "/metrics",
)
FIRST_LOAD = ("/ui", "/ui/static/hrm.css", "/ui/static/hrm.js", "/ui/static/icon.svg")
_SETTLE_S, _MEASURE_S = 5.0, 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--finished", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--open", type=int, default=50)
    options = parser.parse_args()
    with large_site(options.nodes, options.finished) as (client, pid):
        print(f"{options.nodes} nodes, {options.finished} applications that are over")
        app = client.get("/api/v1/applications", params={"limit": 1, "state": "RUNNING"}).json()[0]["application_id"]
        for path in PAGES:
            report(client, path.format(app=app), options.rounds)
        loaded = sum(size_of(client, path) for path in FIRST_LOAD)
        print(f"first load: {loaded / 1000:.1f} kB")
        alone = cpu_percent(pid)
        with opened(client, options.open):
            together = cpu_percent(pid)
        print(
            f"{options.open} open pages: {together - alone:.1f} % of a core "
            f"({together:.1f} % with them, {alone:.1f} % without: {options.nodes} heartbeats a second)"
        )


def report(client: httpx.Client, path: str, rounds: int) -> None:
    took_ms = []
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        took_ms.append(1000 * (time.perf_counter() - began))
    p95 = statistics.quantiles(took_ms, n=20)[-1]
    print(f"{path}: p50 {statistics.median(took_ms):.1f} ms, p95 {p95:.1f} ms, {size_of(client, path) / 1000:.1f} kB")


def size_of(client: httpx.Client, path: str) -> int:
    """Bytes on the wire."""
    with client.stream("GET", path) as answer:
        return sum(len(piece) for piece in answer.iter_raw())


def cpu_percent(pid: int) -> float:
    process = psutil.Process(pid)
    time.sleep(_SETTLE_S)
    before = sum(process.cpu_times()[:2])
    time.sleep(_MEASURE_S)
    return 100 * (sum(process.cpu_times()[:2]) - before) / _MEASURE_S


@contextmanager
def opened(client: httpx.Client, count: int) -> Iterator[None]:
    """So many browsers look at the pages that change, most of them at the first."""
    paths = ("/ui", "/ui", "/ui", "/ui/queues", "/ui/applications")
    over = threading.Event()

    def look(path: str) -> None:
        with client.stream("GET", "/ui/live", params={"url": path}, timeout=None) as answer:
            for _ in answer.iter_raw():
                if over.is_set():
                    return

    threads = [threading.Thread(target=look, args=(paths[n % len(paths)],), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    yield
    over.set()


@contextmanager
def large_site(nodes: int, finished: int) -> Iterator[tuple[httpx.Client, int]]:
    """A client of the site, and the server's process."""
    words = [sys.executable, "-m", "hrm.testing.large_site", "--nodes", str(nodes), "--finished", str(finished)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            site = json.loads(process.stdout.readline())
            headers = {"Authorization": f"Bearer {site['token']}"}
            limits = httpx.Limits(max_connections=200)
            with httpx.Client(base_url=site["address"], headers=headers, timeout=60, limits=limits) as client:
                yield client, site["pid"]
        finally:
            process.stdin.close()
            process.wait(timeout=60)


if __name__ == "__main__":
    main()
