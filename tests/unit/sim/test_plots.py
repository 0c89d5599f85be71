"""Pictures of a simulation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hrm.model.errors import ClusterError
from hrm.sim.plots import draw, write_page, write_pngs
from hrm.sim.report import make_report
from hrm.sim.simulation import Simulation
from tests.scenarios.sim.stories import job, workload

pytest.importorskip("matplotlib")


def played(**more: float) -> Simulation:
    jobs = [job(f"x{number}", at=number * 3, gpus=0.5 if number % 2 else 1, **more) for number in range(6)]  # type: ignore[arg-type]
    simulation = Simulation(workload(*jobs, gpus=2, cpus=8, memory="8G"), fragmentation=True)
    simulation.run()
    return simulation


def test_each_picture_is_a_file(tmp_path: Path) -> None:
    written = write_pngs(played(), tmp_path / "new")
    assert [file.name for file in written] == [
        "allocation.png",
        "queues.png",
        "waits.png",
        "fragmentation.png",
        "gpus.png",
    ]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in written)


def test_a_page_needs_nothing_else_and_equal_runs_make_equal_pages(tmp_path: Path) -> None:
    texts = []
    for name in ("one.html", "two.html"):
        simulation = played()
        write_page(simulation, make_report(simulation), tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert texts[0].count("<svg") == 5
    assert not re.search(r'(src|href)="(?!#)', texts[0])
    assert "://" not in texts[0]


def test_what_took_no_time_has_waits_alone(tmp_path: Path) -> None:
    assert [file.name for file in write_pngs(_at_once(), tmp_path)] == ["waits.png"]


def _at_once() -> Simulation:
    simulation = Simulation(workload(job("x", run_s=float("inf"))))
    simulation.run()
    return simulation


def test_where_nothing_can_be_written_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="cannot be written"):
        write_pngs(played(), tmp_path / "file")


def test_fragmentation_is_sampled_where_it_is_wanted() -> None:
    # 0.5 of a device is free at times, which is of no use to the half of the tasks that need a whole one.
    assert max(sample.fragmented for sample in played().recorder.samples) > 0


def test_a_queue_has_one_colour_in_all_pictures() -> None:
    jobs = [job(f"x{number}", gpus=1, in_queue="b" if number else "a", run_s=10.0 + number) for number in range(2)]
    simulation = Simulation(workload(*jobs, gpus=2, cpus=8, memory="8G"))
    simulation.run()
    drawn = draw(simulation)

    legends = []
    for name in ("queues", "gpus"):
        legend = drawn[name].axes[0].get_legend()
        names = [text.get_text() for text in legend.get_texts()]
        legends.append(dict(zip(names, (patch.get_facecolor() for patch in legend.get_patches()), strict=True)))
    assert legends[0] == legends[1]
    assert set(legends[0]) == {"a", "b"}
