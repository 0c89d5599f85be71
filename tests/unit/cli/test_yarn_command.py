"""`hrm yarn env` and `hrm submit --spark`: files that Hadoop's clients read, and the way to spark-submit."""

from __future__ import annotations

import os
import pwd
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.cli.job_options import JobOptions
from hrm.cli.spark import spark_command, spark_submit
from hrm.config.yarn.client_files import client_files
from hrm.model.errors import InvalidInput, NotFound
from tests.unit.cli.cli_fakes import FakeClient
from tests.unit.cli.conftest import Run

ME = pwd.getpwuid(os.geteuid()).pw_name
FACTS = {"clients": "127.0.0.1:8032", "masters": "127.0.0.1:8030", "web": "127.0.0.1:8088", "max_attempts": "3"}


@pytest.fixture
def open_door(server: FakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A server that lets clients of YARN in; its home."""
    report = replace(server.server(), yarn=FACTS)
    monkeypatch.setattr(server, "server", lambda: report)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HRM_HOME", str(home))
    return home


def properties(path: Path) -> dict[str, str]:
    document = ElementTree.parse(path).getroot()
    return {one.findtext("name", ""): one.findtext("value", "") for one in document.iter("property")}


def test_the_files_are_written_into_the_home_and_the_variables_point_there(open_door: Path, hrm: Run) -> None:
    result = hrm("yarn", "env")
    folder = open_door / "hadoop-conf"
    assert result.out == f"export HADOOP_CONF_DIR={folder}\nexport YARN_CONF_DIR={folder}\n"
    yarn = properties(folder / "yarn-site.xml")
    assert yarn["yarn.resourcemanager.address"] == "127.0.0.1:8032"
    assert yarn["yarn.resourcemanager.scheduler.address"] == "127.0.0.1:8030"
    assert yarn["yarn.resourcemanager.webapp.address"] == "127.0.0.1:8088"
    assert yarn["yarn.resourcemanager.am.max-attempts"] == "3"
    assert yarn["yarn.nodemanager.resource.memory-mb"] == "8192"
    assert properties(folder / "resource-types.xml") == {"yarn.resource-types": "yarn.io/gpu"}
    assert properties(folder / "core-site.xml")["fs.defaultFS"] == "file:///"


def test_sparks_programs_find_the_port_of_the_shuffle_service_where_nodes_run_one() -> None:
    assert "spark.shuffle.service.port" not in client_files({**FACTS, "shuffle_port": ""})["yarn-site.xml"]
    text = client_files({**FACTS, "shuffle_port": "7444"})["yarn-site.xml"]
    assert "<name>spark.shuffle.service.port</name>\n    <value>7444</value>" in text


@pytest.mark.parametrize(("name", "told"), [(ME, True), ("elsewhere", False)])
def test_what_programs_bring_along_goes_into_the_users_own_home(
    open_door: Path, hrm: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, told: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "homes" / name))
    hrm("yarn", "env")
    homes = properties(open_door / "hadoop-conf" / "core-site.xml").get("fs.viewfs.mounttable.hrm.homedir")
    assert homes == (str(tmp_path / "homes") if told else None)


def test_another_folder_may_be_named_and_what_else_is_there_stays(open_door: Path, hrm: Run, tmp_path: Path) -> None:
    folder = tmp_path / "it's mine"
    folder.mkdir()
    (folder / "hdfs-site.xml").write_text("mine")
    result = hrm("yarn", "env", "--dir", folder, "--classpath", "/opt/hadoop/*")
    assert "export HADOOP_CONF_DIR='" in result.out
    assert properties(folder / "yarn-site.xml")["yarn.application.classpath"] == "$HADOOP_CONF_DIR,/opt/hadoop/*"
    assert (folder / "hdfs-site.xml").read_text() == "mine"
    assert sorted(os.listdir(folder)) == ["core-site.xml", "hdfs-site.xml", "resource-types.xml", "yarn-site.xml"]


@pytest.mark.usefixtures("server")
def test_a_server_whose_door_is_shut_is_said_with_how_to_open_it(hrm: Run, tmp_path: Path) -> None:
    result = hrm("yarn", "env", "--dir", tmp_path / "conf")
    assert result.code == 2
    assert "hrm up --yarn" in result.err
    assert not (tmp_path / "conf").exists()


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(open_door: Path, hrm: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = hrm("yarn", "env", "--dir", tmp_path / "file" / "conf")
    assert result.code == 1
    assert "cannot write" in result.err


# --- hrm submit --spark


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Spark that writes down how it was called."""
    home = tmp_path / "spark"
    (home / "bin").mkdir(parents=True)
    (home / "jars").mkdir()
    launcher = home / "bin" / "spark-submit"
    launcher.write_text('#!/bin/sh\nprintf "%s\\n" "$HADOOP_CONF_DIR" "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("SPARK_HOME", str(home))
    return home


def command(spark: Path, *words: str, **options: object) -> list[str]:
    launcher, home = spark_submit()
    return spark_command(launcher, home, list(words), JobOptions(**options), wait=False)  # type: ignore[arg-type]


def test_what_is_asked_for_is_what_executors_get(spark: Path) -> None:
    words = command(
        spark, "app.jar", "7", tasks=4, cpus="2", memory="1.5G", gpus="1", queue="research", name="pi", priority=3
    )
    text = " ".join(words)
    assert words[:5] == [str(spark / "bin" / "spark-submit"), "--master", "yarn", "--deploy-mode", "cluster"]
    for part in (
        "--queue research", "--name pi", "--num-executors 4", "--executor-cores 2", "--executor-memory 1536m",
        "--conf spark.executor.resource.gpu.amount=1", "--conf spark.yarn.priority=3",
        f"--conf spark.yarn.jars=local:{spark}/jars/*", "--conf spark.yarn.submit.waitAppCompletion=false",
    ):  # fmt: skip
        assert part in text
    assert words[-2:] == ["app.jar", "7"]


def test_python_and_variables_are_those_of_master_and_executors(spark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", "/opt/python")
    text = " ".join(command(spark, "app.py", env=["MODE=fast"]))
    for part in ("spark.yarn.appMasterEnv.", "spark.executorEnv."):
        assert f"--conf {part}PYSPARK_PYTHON=/opt/python" in text
        assert f"--conf {part}MODE=fast" in text


@pytest.mark.parametrize(
    "options", [{"cpus": "0.5"}, {"gpus": "0.5"}, {"gpus": "H100:1"}, {"retries": 2}, {"timeout": "1h"}]
)
def test_what_spark_has_not_is_refused(spark: Path, options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        command(spark, "app.jar", **options)


def test_a_machine_without_spark_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("hrm.cli.spark.find_spec", lambda name: None)
    with pytest.raises(NotFound, match="pip install pyspark"):
        spark_submit()


@pytest.mark.usefixtures("server")
def test_spark_submit_says_what_it_says(hrm: Run) -> None:
    result = hrm("submit", "--spark", "-o", "json", "app.py")
    assert result.code == 2
    assert "--spark" in result.err
