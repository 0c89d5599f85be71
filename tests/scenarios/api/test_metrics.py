"""What Prometheus collects: names, units, and that a dashboard asks for nothing that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hrm.testing.facade import FakeFacade

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
async def text(http: httpx.AsyncClient) -> str:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def value(text: str, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    raise AssertionError(f"no {name} {labels}")


async def test_amounts_are_in_base_units(text: str) -> None:
    assert value(text, "hrm_node_capacity", node="node-1", resource="cpus") == 4
    assert value(text, "hrm_node_capacity", node="node-1", resource="memory_bytes") == 4 << 30
    assert value(text, "hrm_queue_fair_share", queue="default", resource="cpus") == 4


async def test_durations_are_a_histogram_that_adds_up(text: str) -> None:
    name = "hrm_scheduler_turn_seconds"
    assert [value(text, f"{name}_bucket", le=bound) for bound in ("0.001", "0.005", "+Inf")] == [5, 7, 8]
    assert value(text, f"{name}_count") == 8


async def test_events_are_counted_by_kind(text: str) -> None:
    assert value(text, "hrm_events_total", kind="container_allocated") == 7


async def test_a_node_is_in_one_state(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    await facade.drain_node("node-1", by="ada")
    text = (await http.get("/metrics")).text
    assert value(text, "hrm_node_state", state="draining") == 1
    assert value(text, "hrm_node_state", state="running") == 0


async def test_every_metric_is_in_the_documentation_and_the_dashboard_asks_for_no_other(text: str) -> None:
    names = {family.name for family in text_string_to_metric_families(text)}
    documented = set(re.findall(r"^\| `(hrm_\w+?)(?:_total)?`", (DOCS / "metrics.md").read_text(), re.MULTILINE))
    assert names <= documented
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    asked = set(re.findall(r"hrm_\w+", json.dumps(dashboard["panels"])))
    assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked} <= documented
