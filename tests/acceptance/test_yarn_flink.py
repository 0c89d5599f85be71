"""Flink as it comes, in application mode: its master asks for workers as its job needs them, and they find Hadoop."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from tests.acceptance.conftest import Hrm, hrm_home

pytestmark = [pytest.mark.real, pytest.mark.yarn]

JOB = """\
import org.apache.flink.api.common.functions.MapFunction
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment

class Twice extends MapFunction[java.lang.Long, java.lang.Long] {
  override def map(value: java.lang.Long): java.lang.Long = java.lang.Long.valueOf(value.longValue * 2)
}

object Job {
  def main(arguments: Array[String]): Unit = {
    val env = StreamExecutionEnvironment.getExecutionEnvironment()
    env.fromSequence(1, 100).map(new Twice()).returns(classOf[java.lang.Long]).print()
    env.execute("twice")
  }
}
"""


def flink_home() -> Path:
    package = find_spec("pyflink")
    assert package is not None and package.origin is not None, (
        "pyflink is missing: pip install --no-deps 'apache-flink==1.20.*' 'apache-flink-libraries==1.20.*'"
    )
    return Path(package.origin).parent


def hadoop_classes(spark: Path) -> str:
    """Of Hadoop's clients, which Spark brings and Flink does not."""
    names = ("hadoop-client-api", "hadoop-client-runtime", "commons-logging")
    return ",".join(str(next((spark / "jars").glob(f"{name}-*.jar"))) for name in names)


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    with hrm_home() as hrm:
        classes = hadoop_classes(Hadoop(hrm.home).spark)
        hrm.configure(
            "node: {vcores: 4, memory: 6G}\n"
            "server: {port: 0}\n"
            "scheduler: {master_timeout: 10m}\n"
            "yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0, "
            f"classpath: '{classes}'}}\n"
        )
        assert hrm("up", "--detach").code == 0
        yield hrm


@pytest.fixture
def hadoop(hrm: Hrm) -> Hadoop:
    assert hrm("yarn", "env").code == 0
    return Hadoop(hrm.home / "hadoop-conf", env=hrm.env)


@pytest.fixture
def job(hadoop: Hadoop, tmp_path: Path) -> Path:
    """A jar with the job, made by the compiler that Spark brings."""
    (tmp_path / "Job.scala").write_text(JOB)
    jars = hadoop.spark / "jars"
    scala = ":".join(str(path) for path in jars.glob("scala-*.jar"))
    java = Path(hadoop.env["JAVA_HOME"]) / "bin" / "java"
    flink = next((flink_home() / "lib").glob("flink-dist-*.jar"))
    made = subprocess.run(
        [java, "-cp", scala, "scala.tools.nsc.Main", "-cp", f"{scala}:{flink}", "-d", tmp_path, tmp_path / "Job.scala"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with zipfile.ZipFile(tmp_path / "job.jar", "w") as jar:
        for path in tmp_path.glob("*.class"):
            jar.write(path, path.name)
    return tmp_path / "job.jar"


def test_a_job_runs_in_workers_of_its_own_and_its_application_ends_with_it(
    hrm: Hrm, hadoop: Hadoop, job: Path, tmp_path: Path
) -> None:
    home = flink_home()
    (tmp_path / "log").mkdir()
    options = {
        "jobmanager.memory.process.size": "1024m",
        "taskmanager.memory.process.size": "1280m",
        "yarn.application.name": "twice",
    }
    submitted = subprocess.run(
        [
            "bash", home / "bin" / "flink", "run-application", "-t", "yarn-application",
            *(f"-D{key}={value}" for key, value in options.items()), "-c", "Job", job,
        ],
        env={
            **hadoop.env,
            "HADOOP_CLASSPATH": hadoop_classes(hadoop.spark).replace(",", ":"),
            "FLINK_CONF_DIR": str(home / "conf"),
            "FLINK_LOG_DIR": str(tmp_path / "log"),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )  # fmt: skip
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    (app,) = [row["application_id"] for row in hrm.apps("--all")]
    eventually(lambda: hrm.state(app) == "FINISHED", DEADLINE_S)
    worker = next(row for row in json.loads(hrm("history", app, "-o", "json").out) if row["task_index"] == 1)
    logs = hrm.home / "node" / "containers" / worker["container_id"] / "logs"
    said = (logs / "taskmanager.out").read_text().splitlines()
    # A JVM says there, too, what it is not content with.
    assert sorted(int(line) for line in said if line.isdigit()) == list(range(2, 201, 2)), said
