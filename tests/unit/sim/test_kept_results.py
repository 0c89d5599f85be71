"""What the documents claim of placement strategies is what the kept results of the bench say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.model.scheduling import Strategy
from hrm.sim.published import PUBLISHED_LOAD, published_allocation

HOUSE = Path(__file__).parents[3]
KEPT = json.loads((HOUSE / "benches" / "results" / "fgd.json").read_text(encoding="utf-8"))
LINES = {(line["pods"], line["placement"]): line for line in KEPT["lines"]}
LISTS = ("openb_pod_list_default", "openb_pod_list_gpushare100", "openb_pod_list_multigpu50")


def test_each_strategy_was_run_on_each_list_with_ten_seeds_to_the_end() -> None:
    assert set(LINES) == {(name, str(strategy)) for name in LISTS for strategy in Strategy}
    assert {(line["seeds"], line["partial"], line["load"]) for line in LINES.values()} == {(10, False, PUBLISHED_LOAD)}
    assert KEPT["machine"]["cpu"]


def test_what_was_published_is_met_within_half_a_point() -> None:
    published = {key: published_allocation(*key, PUBLISHED_LOAD) for key in LINES}
    met = {key: LINES[key]["gpu_allocation_percent"] for key, figure in published.items() if figure is not None}

    assert len(met) == 12
    assert met == pytest.approx({key: figure for key, figure in published.items() if figure is not None}, abs=0.5)


@pytest.mark.parametrize("name", LISTS)
def test_looking_ahead_fills_more_than_fgd_as_published_and_as_run_here(name: str) -> None:
    filled = LINES[name, "lookahead"]["gpu_allocation_percent"]

    assert filled > LINES[name, "fgd"]["gpu_allocation_percent"]
    assert filled > (published_allocation(name, "fgd", PUBLISHED_LOAD) or 100)


def test_a_run_costs_less_than_ten_seconds_of_one_core() -> None:
    assert max(line["cpu_s"] for line in LINES.values()) < 10


def test_the_documents_show_these_figures() -> None:
    shown = (HOUSE / "docs" / "performance.md").read_text(encoding="utf-8")

    for strategy in Strategy:
        row = next(line for line in shown.splitlines() if line.startswith(f"| `{strategy}` |"))
        assert [cell.split()[0] for cell in row.split("|")[2:5]] == [
            f"{LINES[name, strategy]['gpu_allocation_percent']:.2f}" for name in LISTS
        ]
