"""`hrm simulate generate`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.model.reports import WaitingReport, WorkReport
from hrm.sim.simulation import Simulation
from tests.unit.cli.cli_fakes import FakeClient, node_report, queue_report
from tests.unit.cli.conftest import Run

SMALL = ("simulate", "generate", "--nodes", "5", "--queues", "3", "--apps", "10", "--containers", "40")


def test_the_seed_is_said_first(hrm: Run) -> None:
    result = hrm(*SMALL, "--seed", "7")
    assert result.err.startswith("seed 7\n")
    assert result.out.splitlines()[0].split() == ["seed", "7"]


def test_figures_come_as_json(hrm: Run) -> None:
    result = hrm(*SMALL, "-o", "json", "--calibrate")
    figures = json.loads(result.out)
    assert next(iter(figures)) == "seed"
    assert figures["allocations"] == 40
    assert figures["allocations_per_s"] > 0
    assert figures["wall_s"] >= 0
    assert figures["peak_rss_mib"] > 10
    assert figures["of_bare_heap"] > 0


def test_without_timing_equal_seeds_print_equal_bytes(hrm: Run) -> None:
    arguments = (*SMALL, "--run-time", "exponential:60s", "--no-timing", "-o", "json")
    assert hrm(*arguments).out == hrm(*arguments).out


def test_times_that_make_no_sense_are_refused(hrm: Run) -> None:
    result = hrm(*SMALL, "--run-time", "sometimes")
    assert (result.code, result.out) == (2, "")
    assert "--run-time" in result.err


def test_fewer_containers_than_applications_are_refused(hrm: Run) -> None:
    assert "each has at least one" in hrm("simulate", "generate", "--apps", "10", "--containers", "9").err


JOBS = "job,submit_s,run_s,queue,cpus,memory\na,0,10,x,1,1G\nb,2,10,y,99,1G\n"


def test_a_trace_is_run_and_what_never_fits_is_told(hrm: Run, tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text(JOBS)
    result = hrm("simulate", "trace", file, "--nodes", "1", "-o", "json")
    figures = json.loads(result.out)
    assert (figures["finished"], figures["refused"], figures["problems"][0]["job"]) == (1, 1, "b")


def test_a_trace_for_queues_that_are_not_configured_is_refused(hrm: Run, tmp_path: Path) -> None:
    file, config = tmp_path / "jobs.csv", tmp_path / "hrm.yaml"
    file.write_text(JOBS)
    config.write_text("queues: {x: {weight: 2}}\n")
    result = hrm("simulate", "trace", file, "--config", config)
    assert result.code == 2
    assert "b goes to 'y', which is no leaf queue" in result.err
    assert hrm("simulate", "trace", file, "--config", config, "--queue", "x").code == 0


def live(server: FakeClient) -> None:
    """One node of two vcores; a job with five tasks of ten minutes waits."""
    amounts = {"memory_mib": 4096, "vcores_milli": 2000, "gpus_milli": 0}
    ask = {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 0}
    server.node_reports = [node_report(total=amounts)]
    server.queue_reports = [queue_report("root"), queue_report("a"), queue_report("b")]
    waits = WaitingReport(containers=5, resources=ask, gpu_model=None, priority=0, timeout_s=600.0)
    server.work_reports = [
        WorkReport(
            application_id="application_1_0001",
            name="train",
            user="me",
            queue="a",
            priority=0,
            submitted_at=0.0,
            waiting=[waits],
            holding=[],
        )
    ]


def test_more_nodes_are_put_beside_what_there_is(hrm: Run, server: FakeClient) -> None:
    live(server)
    figures = json.loads(hrm("simulate", "--from-live", "--add-nodes", "1", "-o", "json").out)
    assert figures["estimates"] == {"time_limit": 5}
    assert figures["today"]["makespan_s"] == 1800
    assert figures["changed"]["makespan_s"] == 1200
    table = hrm("simulate", "--from-live", "--add-nodes", "1").out
    assert ["makespan", "30m00s", "20m00s"] in [line.split() for line in table.splitlines()]


def test_today_is_what_is_in_force_on_the_server(hrm: Run, server: FakeClient) -> None:
    live(server)
    server.configuration = {"scheduler": {"policy": "drf"}, "queues": {"a": {"max_share": {"cpus": 1}}, "b": {}}}
    told = hrm("simulate", "--from-live", "-o", "json")
    # One after another, of five tasks of ten minutes.
    assert json.loads(told.out)["today"]["makespan_s"] == 3000
    assert told.err == ""


def test_a_queue_that_is_in_no_file_and_has_work_is_played_too(hrm: Run, server: FakeClient) -> None:
    live(server)
    server.configuration = {"queues": {"b": {}}}
    assert json.loads(hrm("simulate", "--from-live", "-o", "json").out)["today"]["makespan_s"] == 1800


def test_a_file_that_is_named_comes_before_what_is_in_force(hrm: Run, server: FakeClient, tmp_path: Path) -> None:
    live(server)
    server.configuration = {"queues": {"a": {"max_share": {"cpus": 1}}}}
    file = tmp_path / "today.yaml"
    file.write_text("queues: {a: {}}\n")
    assert json.loads(hrm("simulate", "--from-live", "--today", file, "-o", "json").out)["today"]["makespan_s"] == 1800


def test_who_is_no_admin_is_told_what_is_not_known_of_the_queues(hrm: Run, server: FakeClient) -> None:
    live(server)
    told = hrm("simulate", "--from-live", "-o", "json")
    assert json.loads(told.out)["today"]["makespan_s"] == 1800
    assert "without timeouts of preemption" in told.err


def test_a_configuration_without_a_queue_that_is_in_use_is_refused(
    hrm: Run, server: FakeClient, tmp_path: Path
) -> None:
    live(server)
    config = tmp_path / "new.yaml"
    config.write_text("queues: {b: {weight: 2}}\n")
    result = hrm("simulate", "--from-live", "--config", config)
    assert result.code == 2
    assert "application_1_0001 goes to 'a', which is no leaf queue" in result.err


def test_an_idle_cluster_has_nothing_to_play_on_from(hrm: Run, server: FakeClient) -> None:
    live(server)
    server.work_reports = []
    assert "nothing runs or waits now" in hrm("simulate", "--from-live").err


def test_without_a_server_there_is_nothing_live(hrm: Run, no_server: None) -> None:
    assert hrm("simulate", "--from-live").code == 3


def test_alone_it_says_what_it_can_do(hrm: Run) -> None:
    assert "--from-live" in hrm("simulate").out


def test_a_plan_may_stand_in_a_file_and_options_come_before_it(hrm: Run, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "nodes: 2\nnode: {cpus: 4, memory: 8G}\napps: 3\ncontainers: 9\nrun_time: 60s\n"
        "shapes: [{cpus: 2, memory: 1G}]\n"
    )
    figures = json.loads(hrm("simulate", "generate", "--plan", file, "--apps", "1", "-o", "json").out)
    assert (figures["nodes"], figures["jobs"], figures["allocations"]) == (2, 1, 9)
    # Four at a time.
    assert figures["makespan_s"] == 180


def test_everything_that_is_wrong_in_a_plan_is_told_with_its_line(hrm: Run, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("node: {cpus: many}\nrun_time: sometimes\nqeues: 3\n")
    result = hrm("simulate", "generate", "--plan", file)
    assert result.code == 2
    assert f"{file}:1: node.cpus" in result.err
    assert f"{file}:2: run_time" in result.err
    assert f"{file}:3: qeues: unknown key (did you mean 'queues'?)" in result.err


def test_a_placement_strategy_may_be_chosen_by_option_or_in_the_plan(hrm: Run, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("placement: spread\n")
    drawn = ("simulate", "generate", "--nodes", "4", "--apps", "4", "--containers", "40", "--no-timing", "-o", "json")
    digests = {
        name: json.loads(hrm(*drawn, *more).out)["digest"]
        for name, more in {
            "none": (),
            "pack": ("--placement", "pack"),
            "spread": ("--placement", "spread"),
            "plan": ("--plan", str(plan)),
            "both": ("--plan", str(plan), "--placement", "pack"),
        }.items()
    }
    assert digests["plan"] == digests["spread"] != digests["pack"] == digests["both"]
    assert digests["none"] != digests["spread"]


def test_ctrl_c_prints_and_draws_what_there_is_marked_as_partial(
    hrm: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    steps, original = [], Simulation._step

    def interrupted(simulation: Simulation) -> bool:
        steps.append(simulation.now)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return original(simulation)

    monkeypatch.setattr(Simulation, "_step", interrupted)
    page = tmp_path / "page.html"
    result = hrm(*SMALL, "--arrivals", "60s", "--run-time", "5m", "-o", "json", "--html", page)
    figures = json.loads(result.out)
    assert (result.code, figures["partial"]) == (130, True)
    assert 0 < figures["allocations"] < 40
    assert page.stat().st_size > 0


def test_a_search_that_is_broken_off_says_so(hrm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seed: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hrm.sim.swarm.run_one", interrupted)
    result = hrm("simulate", "swarm", "--seeds", "3", "-o", "json")
    figures = json.loads(result.out)
    assert (result.code, figures["partial"], figures["runs"]) == (130, True, 0)


def test_an_unknown_placement_strategy_is_refused(hrm: Run) -> None:
    told = hrm("simulate", "generate", "--placement", "spred")
    assert told.code == 2
    assert "no such placement strategy: 'spred'" in told.err
