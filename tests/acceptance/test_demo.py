"""`hrm demo`, whole: a cluster of its own, fair shares measured, objects found in real photographs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.conftest import Hrm


@pytest.mark.real
def test_the_demonstration_finds_what_is_in_the_photographs_and_gives_each_queue_its_share(
    hrm: Hrm, tmp_path: Path
) -> None:
    hrm.env.pop("HRM_HOME")  # the models that were pulled before are used
    result = hrm("demo", "--out", tmp_path / "pictures", "-o", "json")
    assert result.code == 0, result.err
    demo = result.json
    found = {(box["photo"], box["label"]): box["score"] for box in demo["boxes"]}
    assert found["coffee.png", "cup"] == pytest.approx(0.64, abs=0.02)
    assert found["motorcycle_left.png", "motorbike"] == pytest.approx(0.66, abs=0.02)
    assert all(os.path.getsize(picture) for picture in demo["pictures"])
    assert demo["tasks_failed"] == 0
    assert demo["tasks_succeeded"] > 0
    assert demo["window_s"] >= 20
    for queue, fair in (("research", 75), ("batch", 25)):
        assert demo["shares"][queue]["fair_percent"] == pytest.approx(fair, abs=0.1)
        assert demo["shares"][queue]["measured_percent"] == pytest.approx(fair, abs=5)
