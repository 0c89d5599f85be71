"""Four "machines" on this one, photographs to look at, and a machine that dies in the middle.

    sudo python examples/four_machines.py [--copies 40] [--out found]

Each machine is a network namespace with a raylet of its own, as `hrm join` starts it; so it needs root, and
`pip install 'hrm[ray,detect]'`. The detection job spreads over all four; when some of its tasks are done, Ray on one of
the machines is killed. What ran there is run again on the others, and each picture is in the result once.
"""

from __future__ import annotations

import argparse
import collections
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from hrm.detect.photos import sample_photos
from hrm.testing.ray_server import RayServer, ray_server

NODES = ("one", "two", "three", "four")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=40, help="of each sample photograph")
    parser.add_argument("--out", type=Path, help="where results go [default: a temporary directory]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hrm-four-") as folder, ray_server() as server:
        if not server.machines.in_namespaces:
            print("this needs network namespaces, and so root")
            return 2
        photos = make_photos(Path(folder) / "photos", options.copies)
        out = options.out or Path(folder) / "found"
        server.up(more="scheduler: {placement_strategy: spread}\n")
        for name in NODES:
            server.machines.add(name, "--cpus=2", "--memory-mib=3072")
        server.all_up(NODES)
        print(server.hrm("nodes"))
        return look(server, photos, out)


def make_photos(folder: Path, copies: int) -> list[Path]:
    """So many of each of the photographs that came with scikit-image."""
    folder.mkdir()
    made = []
    for number in range(copies):
        for photo in sample_photos():
            made.append(folder / f"{photo.stem}-{number:03d}{photo.suffix}")
            shutil.copyfile(photo, made[-1])
    return made


def look(server: RayServer, photos: list[Path], out: Path) -> int:
    killer = threading.Thread(target=kill_one, args=(server, len(photos)))
    killer.start()
    began = time.monotonic()
    try:
        server.hrm("detect", photos[0].parent, "--out", out, "--tasks", 16, timeout_s=600)
    except subprocess.TimeoutExpired:
        print("it did not end in ten minutes")
        return 1
    finally:
        killer.join()
    print(f"{len(photos)} pictures in {time.monotonic() - began:.1f} s\n")
    print(server.hrm("nodes"))
    attempts = server.json("history")
    states = collections.Counter(attempt["state"] for attempt in attempts)
    print("attempts:", ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    lines = [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]
    done = collections.Counter(line["path"] for line in lines)
    missing = {str(photo) for photo in photos} - done.keys()
    repeated = [path for path, count in done.items() if count != 1]
    failed = [line["path"] for line in lines if line.get("error")]
    print(f"in the result: {len(lines)}; missing {len(missing)}, more than once {len(repeated)}, failed {len(failed)}")
    return 1 if missing or repeated or failed or not states["LOST"] else 0


def kill_one(server: RayServer, photos: int) -> None:
    """The first machine that runs something, once the job is under way."""
    while True:
        running = [attempt for attempt in server.json("history") if attempt["state"] == "RUNNING"]
        done = [attempt for attempt in server.json("history") if attempt["state"] == "SUCCEEDED"]
        if running and len(done) >= 4:
            break
        time.sleep(0.2)
    name = running[0]["node_id"]
    began = time.monotonic()
    server.machines.workers[name].kill()
    while server.nodes()[name] != "LOST":
        time.sleep(0.1)
    print(f"{name} was killed while it ran tasks; the server knew after {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
