"""How long Spark takes to its first result: on executors of its own, and on HRM's by YARN's door.

    python benches/spark_start.py [--rounds 3] [--version 3.5]

The same program, one executor, from the start of spark-submit to the result of its first task. The peer is Spark's own
cluster on one machine (`local-cluster`): a JVM with the driver, and one for the executor, as on YARN, where Spark
itself adds a third JVM, its master. So what HRM adds is told by itself: from the submission until the
master's command begins, and from the start of the executor's container until its command begins. The
target, on two cores: 1 s together. Rounds are paired: each runs every case once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from _server import BenchServer, bench_server
from hrm.cli.yarn import write_files
from hrm.testing.hadoop import Hadoop
from hrm.testing.pyspark import INSTALLED

CONFIGURATION = """
node: {vcores: 4, memory: 6G}
scheduler: {master_timeout: 10m}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0}
"""
PROGRAM = """\
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
assert spark.sparkContext.parallelize([1], 1).map(lambda one: one + 1).collect() == [2]
print("first result at", time.time(), flush=True)
spark.stop()
"""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    master: str
    conf: Mapping[str, str | None] = field(default_factory=dict)
    #: Else only in the first.
    every_round: bool = True


PEER = Case("Spark's own executors", "local-cluster[1,1,512]")
OURS = Case("by HRM", "yarn")
#: What Spark does where nobody says where its jars are on the nodes.
UPLOADING = Case("by HRM, Spark's jars uploaded", "yarn", {"spark.yarn.jars": None}, every_round=False)
CASES = (PEER, OURS, UPLOADING)


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one run on HRM, in seconds."""

    master_begins_s: float
    master_works_s: float
    executor_begins_s: float

    @property
    def hrm_s(self) -> float:
        return self.master_begins_s + self.executor_begins_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--version", default=INSTALLED)
    options = parser.parse_args()
    times_s: dict[str, list[float]] = {case.name: [] for case in CASES}
    parts: list[Parts] = []
    with bench_server(CONFIGURATION) as server, tempfile.TemporaryDirectory(prefix="hrm-bench-") as directory:
        program = Path(directory) / "first.py"
        program.write_text(PROGRAM)
        conf_dir = write_files(server.client, Path(directory) / "conf")
        hadoop = Hadoop(conf_dir, version=options.version)
        for number in range(options.rounds):
            for case in CASES:
                if number and not case.every_round:
                    continue
                took_s = first_result_s(hadoop, program, case)
                times_s[case.name].append(took_s)
                told = ""
                if case is OURS:
                    parts.append(parts_of_newest(server))
                    told = f"; of these HRM {parts[-1].hrm_s:.2f} s, Spark's master {parts[-1].master_works_s:.1f} s"
                print(f"round {number + 1}: {case.name}: {took_s:.1f} s{told} (load {os.getloadavg()[0]:.1f})")
    pairs = [ours - peer for ours, peer in zip(times_s[OURS.name], times_s[PEER.name], strict=True)]
    without_master = [more_s - one.master_works_s for more_s, one in zip(pairs, parts, strict=True)]
    print(f"more than Spark's own executors, median: {statistics.median(pairs):.1f} s")
    print(f"the same without what Spark's master took: {statistics.median(without_master):.1f} s")
    for what, values in {
        "submission to the master's command": [one.master_begins_s for one in parts],
        "start of the executor's container to its command": [one.executor_begins_s for one in parts],
        "HRM in all": [one.hrm_s for one in parts],
    }.items():
        print(f"{what}: median {statistics.median(values):.2f} s, longest {max(values):.2f} s")


def first_result_s(hadoop: Hadoop, program: Path, case: Case) -> float:
    """Seconds from the start of spark-submit. Raises SystemExit where it fails."""
    begin = time.time()
    ended = hadoop.spark_submit(program, mode="client", master=case.master, conf=case.conf)
    said = [line for line in ended.text.splitlines() if line.startswith("first result at")]
    if not said:
        raise SystemExit(f"{case.name} gave no result:\n{ended.text}")
    return float(said[0].rsplit(" ", 1)[1]) - begin


def parts_of_newest(server: BenchServer) -> Parts:
    app = max(server.client.applications(), key=lambda one: one.submitted_at)
    attempts = server.client.history(app.application_id)
    master, executor = sorted(attempts, key=lambda one: one.task_index)
    assert executor.started_at is not None
    master_began, executor_began = (command_began(server.home, one.container_id) for one in (master, executor))
    return Parts(
        master_begins_s=master_began - app.submitted_at,
        master_works_s=executor.started_at - master_began,
        executor_begins_s=executor_began - executor.started_at,
    )


def command_began(home: Path, container_id: str) -> float:
    """The script that runs it is written last."""
    return (home / "node" / "containers" / container_id / "launch_container.sh").stat().st_mtime


if __name__ == "__main__":
    main()
