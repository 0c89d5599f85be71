"""`hrm simulate fgd`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.sim.fragmentation import FragmentationRun
from tests.unit.cli.conftest import Run

NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(f"n{i},32000,65536,{1 + i % 4},T4\n" for i in range(6))
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n" + "".join(
    f"p{i},{1000 * (1 + i % 7)},1024,1,{(1000, 500, 300)[i % 3]}\n" for i in range(20)
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "pods.csv").write_text(PODS)
    return "--nodes", str(tmp_path / "nodes.csv"), "--pods", str(tmp_path / "pods.csv")


def test_figures_come_as_json_and_the_seed_is_said_first(hrm: Run, files: tuple[str, ...]) -> None:
    result = hrm("simulate", "fgd", *files, "--placement", "fgd", "--load", "1.3", "--seed", "42", "-o", "json")

    figures = json.loads(result.out)
    assert result.code == 0
    assert result.err == "seed 42\n"
    assert (figures["placement"], figures["seed"], figures["load"], figures["partial"]) == ("fgd", 42, 1.3, False)
    assert 0 < figures["failed"] < figures["tasks"]
    assert 80 < figures["gpu_allocation_percent"] <= 100
    assert figures["gpu_allocation_percent"] + figures["fragmented_percent"] <= 100.01
    assert figures["wall_s"] >= 0


def test_people_get_lines(hrm: Run, files: tuple[str, ...]) -> None:
    lines = hrm("simulate", "fgd", *files, "--placement", "lookahead").out.splitlines()

    assert lines[0].split(maxsplit=1) == ["placement", "lookahead, seed 42"]
    assert any(line.startswith("GPUs") and "% in use" in line for line in lines)


def test_all_policies_are_a_table_with_a_line_for_each(hrm: Run, files: tuple[str, ...]) -> None:
    header, *lines = hrm("simulate", "fgd", *files, "--all-policies", "--seeds", "2").out.splitlines()

    assert header.split()[:3] == ["TASKS", "PLACEMENT", "SEEDS"]
    assert [line.split()[:3] for line in lines] == [
        ["pods", name, "2"] for name in ("pack", "spread", "best_fit", "dot_product", "fgd", "lookahead", "random")
    ]


def test_what_was_published_stands_beside_by_the_name_of_the_list(
    hrm: Run, files: tuple[str, ...], tmp_path: Path
) -> None:
    named = tmp_path / "openb_pod_list_default.csv"
    named.write_text(PODS)

    lines = json.loads(hrm("simulate", "fgd", *files, "--pods", named, "--all-policies", "-o", "json").out)

    published = {(line["pods"], line["placement"]): line["published_percent"] for line in lines}
    assert published["openb_pod_list_default", "fgd"] == 95.39
    assert published["openb_pod_list_default", "pack"] is None
    assert published["pods", "fgd"] is None


def test_ctrl_c_prints_what_there_is_marked_as_partial(
    hrm: Run, files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive = FragmentationRun._arrive

    def until_interrupted(run: FragmentationRun, pod: object, visited: str) -> None:
        arrive(run, pod, visited)  # type: ignore[arg-type]
        if run._arrived == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(FragmentationRun, "_arrive", until_interrupted)

    result = hrm("simulate", "fgd", *files, "-o", "json")

    assert result.code == 130
    assert "interrupted" in result.err
    figures = json.loads(result.out)
    assert (figures["partial"], figures["tasks"]) == (True, 7)


def test_a_bad_file_is_told_with_every_finding(hrm: Run, files: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "pods.csv").write_text(PODS + "p98,many,1024,1,500\np99,10")

    result = hrm("simulate", "fgd", *files)

    assert (result.code, result.out) == (2, "")
    assert "pods.csv:22: cpu_milli: not a whole number: 'many'" in result.err
    assert "pods.csv:23: cpu_milli: ends here: 2 cells under 5 columns" in result.err


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (("--placement", "best"), "no such placement strategy: 'best'"),
        (("--load", "0"), "--load: must be above 0"),
        (("--seeds", "3"), "add --all-policies"),
    ],
)
def test_what_cannot_be_run_is_refused(hrm: Run, files: tuple[str, ...], more: tuple[str, ...], problem: str) -> None:
    result = hrm("simulate", "fgd", *files, *more)

    assert (result.code, result.out) == (2, "")
    assert problem in result.err


def test_two_lists_of_one_name_are_refused(hrm: Run, files: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pods.csv").write_text(PODS)

    result = hrm("simulate", "fgd", *files, "--pods", tmp_path / "other" / "pods.csv", "--all-policies")

    assert "two lists of tasks have one name" in result.err
