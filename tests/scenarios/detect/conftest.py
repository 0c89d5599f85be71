"""The real model, for tests that need it."""

from __future__ import annotations

import pytest

from hrm.detect.models import ModelFiles, find_model, list_models
from hrm.detect.pull import pull_model
from hrm.model.errors import HrmError


@pytest.fixture(scope="session")
def real_model(request: pytest.FixtureRequest) -> ModelFiles:
    """yolov3-tiny: the user's own copy if there is a whole one, else pulled once into pytest's cache."""
    if any(report.name == "yolov3-tiny" and report.state == "ready" for report in list_models()):
        return find_model("yolov3-tiny")
    try:
        return pull_model("yolov3-tiny", home=request.config.cache.mkdir("hrm-home"))
    except HrmError as error:
        pytest.skip(f"yolov3-tiny cannot be pulled: {error}")
