"""What tests have Spark do, and what they tell it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from hrm.nm.ports import Lender
from hrm.testing.hadoop import VECTORS, java_home
from hrm.testing.pyspark import INSTALLED, spark_of

SPARK = """\
import json, os, sys, time
from pathlib import Path
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
"""
#: The first task ends the JVM that it runs in.
LOSES_ONE = f"""{SPARK}
def work(number, mark=sys.argv[1]):
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return number
    parent = int(Path(f"/proc/{{os.getppid()}}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, 9)
    time.sleep(60)

print("the sum is", sc.parallelize(range(10), 10).map(work).sum())
"""
#: What its driver and each executor see, on which node.
SAYS_ITS_GPUS = f"""{SPARK}
def work(_):
    return [[os.environ.get("HRM_NODE_ID"), os.environ.get("HRM_GPUS"), os.environ.get("CUDA_VISIBLE_DEVICES")]]

# All tasks run at once, and so one on each executor.
count = int(sc.getConf().get("spark.executor.instances"))
print("gpus", json.dumps([*work(0), *sc.parallelize(range(count), count).barrier().mapPartitions(work).collect()]))
"""
GROWS_AND_SHRINKS = f"""{SPARK}
import threading

def executors():
    return sc._jsc.sc().getExecutorMemoryStatus().size() - 1

def work(number, mark=sys.argv[1]):
    while not os.path.exists(mark):
        time.sleep(0.1)
    return number

def wait_for(count):
    for _ in range(1800):
        if executors() == count:
            return count
        time.sleep(0.1)

# A job that goes on in the background keeps tasks waiting until there are as many as may be.
job = threading.Thread(target=lambda: print("the sum is", sc.parallelize(range(8), 8).map(work).sum(), flush=True))
job.start()
print("up to", wait_for(3), flush=True)
Path(sys.argv[1]).touch()
job.join()
print("down to", wait_for(0), flush=True)
pairs = sc.parallelize(range(4), 4).map(work).keyBy(lambda number: number % 2)
print("again", sorted(pairs.reduceByKey(lambda one, other: one + other).collect()), flush=True)
"""
#: What executors wrote in a first job a second one reads, which begins when the file is there and they are not.
READS_AGAIN = f"""{SPARK}
def nodes():
    # The driver is one of them.
    return {{f"{{one.host()}}:{{one.port()}}" for one in sc._jsc.sc().statusTracker().getExecutorInfos()}}

pairs = sc.parallelize(range(1000), 4).map(lambda n: (n % 7, n)).reduceByKey(lambda one, other: one + other, 3)
print("first", sum(value for _, value in pairs.collect()), flush=True)
wrote = nodes()
Path(f"{{sys.argv[1]}}.first").touch()
while not os.path.exists(sys.argv[1]) or len(wrote & nodes()) > 1:
    time.sleep(0.1)
print("left", len(wrote) - 1, flush=True)
print("again", sum(value for _, value in pairs.mapValues(lambda value: value + 1).collect()), flush=True)
"""
#: It goes on until somebody makes the file.
GOES_ON = f"""{SPARK}
def work(number, mark=sys.argv[1]):
    while not os.path.exists(mark):
        time.sleep(0.2)
    return number

print("the sum is", sc.parallelize(range(6), 6).map(work).sum())
"""
#: With it executors are asked for as tasks wait, and let go when none do.
DYNAMIC = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": 0,
    "spark.dynamicAllocation.initialExecutors": 0,
    "spark.dynamicAllocation.maxExecutors": 3,
    "spark.dynamicAllocation.executorIdleTimeout": "2s",
    "spark.executor.instances": 0,
}


#: With it executors may go at any time: the driver keeps none for what it wrote, and notes in a log what is worked out.
BY_SERVICE = {
    "spark.shuffle.service.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "false",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.eventLog.rolling.enabled": "false",
}


def shuffle_service(version: str) -> dict[str, object]:
    """In the keys of ``yarn.auxiliary_services.spark_shuffle``: the one that comes with a Spark of this version."""
    spark = spark_of(version).home
    return {
        "command": [str(spark / "bin" / "spark-class"), "org.apache.spark.deploy.ExternalShuffleService"],
        "port": Lender().lend(),
        "env": {
            "JAVA_HOME": str(java_home() if version == INSTALLED else java_home(VECTORS)),
            "SPARK_HOME": str(spark),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_DIRS": "{{LOCAL_DIRS}}",
            "SPARK_SHUFFLE_OPTS": "-Dspark.shuffle.service.port={{PORT}} -Dspark.local.dir={{PWD}}",
        },
    }


def tasks_by_stage(folder: Path) -> Counter[int]:
    """How many tasks of each stage ended, in all of its attempts, as Spark's log of events in ``folder`` tells it."""
    (log,) = [path for path in folder.iterdir() if path.name.startswith("application_")]
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return Counter(event["Stage ID"] for event in events if event["Event"] == "SparkListenerTaskEnd")


def program(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(text)
    return path


def a_gpu_each(folder: Path, executors: int) -> dict[str, object]:
    """What asks for so many executors with a GPU, by a script that tells Spark which."""
    find = folder / "find-gpus"
    find.write_text('#!/bin/sh\necho "{\\"name\\": \\"gpu\\", \\"addresses\\": [\\"${HRM_GPUS%%:*}\\"]}"\n')
    find.chmod(0o755)
    return {
        "spark.executor.instances": executors,
        "spark.executor.resource.gpu.amount": 1,
        "spark.executor.resource.gpu.discoveryScript": find,
        "spark.task.resource.gpu.amount": 1,
    }


def yarn_ports() -> dict[str, int]:
    """All ports of YARN's door, free ones, for a server that is to have the same when it is started again."""
    names = ("client_port", "master_port", "web_port", "node_port", "node_web_port")
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
