"""Placement strategies of one's own, found by entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hrm.config.extensions import own_placement_strategy, placement_strategies
from hrm.core.strategies import BUILT_IN
from hrm.model.errors import InvalidInput
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, queue, queues

CODE = """
from hrm.core.strategies import PlacementStrategy

class LastNameFirst(PlacementStrategy):
    def score(self, node, shape):
        return -int(node.node_id[1:])

class Broken:
    def __init__(self):
        raise RuntimeError("no sensor")

class NoStrategy:
    def score(self, node, shape):
        return 0
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings strategies."""
    (tmp_path / "house_rules.py").write_text(CODE)
    info = tmp_path / "house_rules-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-rules\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[hrm.placement_strategies]\n"
        "last_name = house_rules:LastNameFirst\n"
        "broken = house_rules:Broken\n"
        "none = house_rules:NoStrategy\n"
        "gone = house_rules:Gone\n"
        "pack = house_rules:LastNameFirst\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "house_rules", raising=False)


def test_a_strategy_of_ones_own_places() -> None:
    make = own_placement_strategy("last_name")
    assert make is not None
    s = Scenario(
        queues(queue("all")), options=SchedulerOptions(placement_strategy="last_name"), strategies={"last_name": make}
    )
    for name in ("n1", "n3", "n2"):
        s.add_node(name, cpus=1)
    s.ask(s.submit("all"), 3)

    assert [one.node_id for one in s.visit("n1")] == ["n3", "n2", "n1"]


def test_names_come_after_the_built_in_ones_which_nobody_replaces() -> None:
    assert placement_strategies() == (*BUILT_IN, "last_name", "broken", "none", "gone")
    assert own_placement_strategy("pack") is None
    assert "house_rules" not in sys.modules


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("broken", "cannot load the placement strategy 'broken' from 'house_rules:Broken': no sensor"),
        ("gone", "cannot load the placement strategy 'gone'"),
        ("none", "lacks epoch, pick, changed, asked, resized"),
    ],
)
def test_what_does_not_work_is_refused_before_it_decides_anything(name: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        own_placement_strategy(name)
