"""Hadoop's own `yarn logs` and `yarn rmadmin`, unmodified, as people type them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from tests.acceptance.conftest import Hrm, server_up

pytestmark = [pytest.mark.real, pytest.mark.yarn]

CONFIGURATION = """\
node: {vcores: 4, memory: 6G}
server: {port: 0}
yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, max_attempts: 1}
"""
#: Prints, writes a log of its own beside that, and goes on until it is killed.
PROGRAM = """\
import os, time
from pyspark.sql import SparkSession

with open(os.path.join(os.environ["LOG_DIRS"], "own.log"), "w") as log:
    log.write("written beside\\n")
spark = SparkSession.builder.appName("talker").getOrCreate()
print("counted", spark.range(1000).count(), flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def hrm() -> Iterator[Hrm]:
    with server_up(CONFIGURATION) as hrm:
        yield hrm


@pytest.fixture(scope="module")
def hadoop(hrm: Hrm) -> Hadoop:
    result = hrm("yarn", "env")
    assert result.code == 0, result.err
    return Hadoop(hrm.home / "hadoop-conf", env=hrm.env)


@pytest.fixture(scope="module")
def talker(hrm: Hrm, hadoop: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An application that has printed and goes on."""
    program = tmp_path_factory.mktemp("talker") / "talker.py"
    program.write_text(PROGRAM)
    conf = {"spark.yarn.submit.waitAppCompletion": "false"}
    submitted = hadoop.spark_submit(program, mode="cluster", conf=conf)
    assert submitted.code == 0, submitted.text
    found = re.search(r"application_\d+_\d+", submitted.text)
    assert found is not None
    eventually(lambda: "counted" in hrm("logs", found.group()).out, DEADLINE_S)
    return found.group()


def test_logs_of_what_runs_and_of_the_same_when_it_is_over(
    hrm: Hrm, hadoop: Hadoop, talker: str, tmp_path: Path
) -> None:
    master = f"{talker.replace('application', 'container_e01')}_01_000001"

    def shown_alike() -> None:
        everything = hadoop.logs("-applicationId", talker)
        assert "counted 1000" in everything.text and "written beside" in everything.text, everything.text
        of_master = hadoop.logs("-applicationId", talker, "-am", "1", "-log_files", "own.log")
        assert "written beside" in of_master.text and "counted" not in of_master.text, of_master.text
        of_container = hadoop.logs("-containerId", master, "-log_files_pattern", "own.*")
        assert "written beside" in of_container.text, of_container.text
        listed = hadoop.logs("-applicationId", talker, "-show_container_log_info").text
        assert {"stdout", "stderr", "own.log"} <= set(listed.split()), listed
        assert master in hadoop.logs("-applicationId", talker, "-show_application_log_info").text

    shown_alike()
    assert hrm("kill", talker).code == 0
    eventually(lambda: hrm.apps(talker)[0]["state"] == "KILLED", DEADLINE_S)
    shown_alike()
    node = hadoop.cli("NodeCLI", "-list").text
    host_and_port = re.search(r"127\.0\.0\.1:\d+", node)
    assert host_and_port is not None, node
    listed = hadoop.logs("-applicationId", talker, "-list_nodes").text
    assert host_and_port.group().replace(":", "_") in listed, listed
    kept = hadoop.logs("-applicationId", talker, "-out", tmp_path)
    copies = [path.read_text(errors="replace") for path in tmp_path.rglob(master)]
    assert any("counted 1000" in copy for copy in copies), kept.text


def test_an_administrator_reads_the_queues_anew_and_is_told_at_once_what_there_is_instead(
    hrm: Hrm, hadoop: Hadoop
) -> None:
    with (hrm.home / "hrm.yaml").open("a") as file:
        file.write("queues: {fresh: {weight: 2}}\n")
    done = hadoop.cli("RMAdminCLI", "-refreshQueues")
    assert done.code == 0, done.text
    assert "fresh" in hadoop.cli("QueueCLI", "-status", "fresh").text
    refused = hadoop.cli("RMAdminCLI", "-refreshNodes")
    assert "`hrm nodes drain`" in refused.text, refused.text
