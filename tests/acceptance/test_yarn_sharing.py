"""Spark and the detector in two queues of one cluster: each gets its share, and Spark goes on with what it keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm.detect.photos import sample_photos
from hrm.testing import eventually
from hrm.testing.hadoop import DEADLINE_S, Hadoop
from tests.acceptance.conftest import Hrm, hrm_home
from tests.acceptance.spark_programs import GOES_ON, program

pytestmark = [pytest.mark.real, pytest.mark.yarn]

PHOTOS = 60


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    with hrm_home() as hrm:
        hrm.configure(
            "node: {vcores: 6, memory: 12G}\n"
            "queues:\n"
            "  spark: {policy: drf}\n"
            "  photos: {policy: drf, fair_share_preemption_timeout: 1s, fair_share_preemption_threshold: 1.0}\n"
            "scheduler: {wait_before_kill: 2s, master_timeout: 10m}\n"
            "server: {port: 0}\n"
            "yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0}\n"
        )
        pulled = hrm("models", "pull", "yolov3-tiny")
        assert pulled.code == 0, pulled.err
        assert hrm("up", "--detach").code == 0
        yield hrm


def containers(hrm: Hrm, app: str) -> list[dict[str, Any]]:
    """All that it had, those that are not over too."""
    return [row for row in json.loads(hrm("history", app, "-o", "json").out) if row["started_at"] is not None]


def held(rows: list[dict[str, Any]], at: float) -> int:
    return sum(row["started_at"] <= at and (row["ended_at"] is None or at < row["ended_at"]) for row in rows)


def test_a_spark_job_and_a_detection_job_get_the_shares_of_their_queues(hrm: Hrm, tmp_path: Path) -> None:
    assert hrm("yarn", "env").code == 0
    hadoop = Hadoop(hrm.home / "hadoop-conf", env=hrm.env)
    photos = tmp_path / "photos"
    photos.mkdir()
    (coffee,) = [path for path in sample_photos() if path.stem == "coffee"]
    for number in range(PHOTOS):
        shutil.copy(coffee, photos / f"coffee-{number}.png")
    mark = tmp_path / "mark"
    # With its master all of the cluster; it would like to have that as long as the job goes on.
    conf = {"spark.executor.instances": 5, "spark.yarn.queue": "spark"}
    with hadoop.started(program(tmp_path, GOES_ON), mark, mode="client", conf=conf) as spark:
        (job,) = eventually(lambda: hrm.apps(), DEADLINE_S)
        eventually(lambda: held(containers(hrm, job["application_id"]), float("inf")) == 6, DEADLINE_S)
        words = ("detect", photos, "--out", tmp_path / "out", "--tasks", 6, "--queue", "photos", "-o", "json")
        with hrm.started(*words) as detecting:
            said, trouble = detecting.communicate(timeout=DEADLINE_S)
        assert detecting.returncode == 0, trouble
        mark.touch()
        ended = spark.ended()
    found = json.loads(said)
    assert found["boxes"] == PHOTOS
    assert "the sum is 15" in ended.text, ended.text
    assert "was preempted" in ended.text

    theirs, ours = containers(hrm, job["application_id"]), containers(hrm, found["application_id"])
    begins = [row["started_at"] for row in ours]
    assert max(held(ours, at) for at in begins) == 3
    full = min(at for at in begins if held(ours, at) == 3)
    assert held(theirs, full) == 3
    assert [row["state"] for row in theirs].count("PREEMPTED") == 3
