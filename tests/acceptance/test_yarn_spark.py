"""Spark and Hadoop's command line as they come, against a server with YARN's door open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from hrm.testing.pyspark import VERSIONS
from tests.acceptance.conftest import Hrm, server_up

pytestmark = [pytest.mark.real, pytest.mark.yarn]

CONFIGURATION = """\
node: {vcores: 4, memory: 6G}
queues: {research: {weight: 3}, batch: {weight: 1}}
scheduler: {default_queue: batch}
server: {port: 0}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0, max_attempts: 1}
"""
DATA_FRAME = """\
from pyspark.sql import SparkSession
from pyspark.sql.functions import col

spark = SparkSession.builder.appName("frame").getOrCreate()
frame = spark.range(1000).withColumn("bucket", col("id") % 7).groupBy("bucket").count().orderBy("bucket")
print("counted", [row["count"] for row in frame.collect()])
"""
BROKEN = """\
from pyspark.sql import SparkSession

SparkSession.builder.appName("broken").getOrCreate()
raise ValueError("the data is not there")
"""


@pytest.fixture(scope="module")
def hrm() -> Iterator[Hrm]:
    with server_up(CONFIGURATION) as hrm:
        yield hrm


@pytest.fixture(scope="module", params=VERSIONS)
def hadoop(hrm: Hrm, request: pytest.FixtureRequest) -> Hadoop:
    result = hrm("yarn", "env")
    assert result.code == 0, result.err
    return Hadoop(hrm.home / "hadoop-conf", env=hrm.env, version=request.param)


def application_in(text: str) -> str:
    """The id that Spark says first."""
    found = re.search(r"application_\d+_\d+", text)
    assert found is not None, text
    return found.group()


def test_pi_in_client_mode(hrm: Hrm, hadoop: Hadoop) -> None:
    ended = hadoop.spark_submit(hadoop.example("pi.py"), 2, mode="client")
    assert ended.code == 0, ended.text
    assert "Pi is roughly 3." in ended.text
    (app,) = hrm.apps(application_in(ended.text))
    assert (app["state"], app["queue"]) == ("FINISHED", "batch")


def test_pi_in_cluster_mode_by_one_command(hrm: Hrm, hadoop: Hadoop) -> None:
    submitted = Hrm(hrm.home, **{**hadoop.env, "HRM_HOME": str(hrm.home)})
    result = submitted(
        "submit", "--spark", "--wait", "--queue", "research", "--tasks", 1, "--memory", "512M",
        "--", hadoop.example("pi.py"), 2,
    )  # fmt: skip
    assert result.code == 0, result.err
    app = application_in(result.err)
    (report,) = hrm.apps(app)
    assert (report["state"], report["queue"]) == ("FINISHED", "research")
    assert "Pi is roughly 3." in hrm("logs", app).out


@pytest.mark.parametrize("mode", ["client", "cluster"])
def test_a_data_frame_is_counted(hrm: Hrm, hadoop: Hadoop, mode: str, tmp_path: Path) -> None:
    program = tmp_path / "frame.py"
    program.write_text(DATA_FRAME)
    ended = hadoop.spark_submit(program, mode=mode, conf={"spark.sql.shuffle.partitions": 2})
    assert ended.code == 0, ended.text
    said = ended.text if mode == "client" else hrm("logs", application_in(ended.text)).out
    assert "counted [143, 143, 143, 143, 143, 143, 142]" in said, ended.text


def test_a_driver_that_fails_fails_the_application_with_its_words(hrm: Hrm, hadoop: Hadoop, tmp_path: Path) -> None:
    program = tmp_path / "broken.py"
    program.write_text(BROKEN)
    ended = hadoop.spark_submit(program, mode="cluster")
    app = application_in(ended.text)
    assert ended.code != 0
    assert "final status: FAILED" in ended.text
    status = hadoop.cli("ApplicationCLI", "application", "-status", app).text
    assert "Final-State : FAILED" in status
    assert "User application exited with status 1" in status
    assert "the data is not there" in hrm("logs", app).out + hrm("logs", "--stderr", app).out


def test_hadoops_own_commands_list_move_and_kill(hrm: Hrm, hadoop: Hadoop) -> None:
    # Spark's wait for its end is not waited for here.
    ended = hadoop.spark_submit(
        hadoop.example("pi.py"), 100_000, mode="cluster", conf={"spark.yarn.submit.waitAppCompletion": "false"}
    )
    app = application_in(ended.text)
    eventually(lambda: "RUNNING" in hadoop.cli("ApplicationCLI", "application", "-list").text, DEADLINE_S)
    listed = hadoop.cli("ApplicationCLI", "application", "-list", "-appTypes", "SPARK").text
    assert app in listed
    assert "root.batch" in listed

    assert "Successfully completed move" in hadoop.cli(
        "ApplicationCLI", "application", "-movetoqueue", app, "-queue", "research"
    ).text  # fmt: skip
    assert hrm.apps(app)[0]["queue"] == "research"
    attempts = hadoop.cli("ApplicationCLI", "applicationattempt", "-list", app).text
    attempt = re.search(r"appattempt_\w+", attempts)
    assert attempt is not None, attempts
    assert "container_e" in hadoop.cli("ApplicationCLI", "container", "-list", attempt.group()).text
    nodes = hadoop.cli("NodeCLI", "-list").text
    assert "Total Nodes:1" in nodes
    assert "RUNNING" in nodes
    assert "State : RUNNING" in hadoop.cli("QueueCLI", "-status", "research").text

    hadoop.cli("ApplicationCLI", "application", "-kill", app)
    eventually(lambda: hrm.state(app) == "KILLED", DEADLINE_S)
    assert "Final-State : KILLED" in hadoop.cli("ApplicationCLI", "application", "-status", app).text


def test_an_application_that_is_not_there_is_said_at_once(hadoop: Hadoop) -> None:
    ended = hadoop.cli("ApplicationCLI", "application", "-status", "application_1_0001")
    assert "doesn't exist in RM" in ended.text
    assert ended.code != 0


def test_what_never_fits_is_refused_at_once(hadoop: Hadoop) -> None:
    ended = hadoop.spark_submit(hadoop.example("pi.py"), mode="cluster", conf={"spark.driver.memory": "64g"})
    assert ended.code != 0
    assert re.search("above the max(imum)? (threshold|allocation)|Invalid resource request", ended.text), ended.text
