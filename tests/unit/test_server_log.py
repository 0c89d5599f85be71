"""The server's log in its two forms."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from hrm.config.values import LogFormat
from hrm.server import configure_log


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_line_of_json_is_one_object_with_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    configure_log(LogFormat.JSON)
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception("it went wrong", node="n1")

    line = json.loads(capsys.readouterr().err)

    assert (line["event"], line["level"], line["node"]) == ("it went wrong", "error", "n1")
    assert line["timestamp"].endswith("Z")
    assert "ValueError: no" in line["exception"]


def test_a_line_of_text_is_keys_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_log(LogFormat.TEXT)

    structlog.get_logger().info("ready", port=1)

    assert "level='info' event='ready' port=1" in capsys.readouterr().err
