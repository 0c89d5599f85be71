"""`.ci/run` in a checkout of stand-ins: what it runs, in which order, and what it answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
TOOLS = ("ruff", "mypy", "lint-imports", "pytest", "pip")
README = """# HRM

Not this one:

```bash
exit 9
```

<!-- test-command -->
```bash
echo "the README's command" && \\
  .venv/bin/pytest
```

Nor this one:

```bash
exit 9
```
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A tree in which every tool passes and says its name."""
    shutil.copytree(HOUSE / ".ci", tmp_path / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tested.md").write_text("# What was tested where\n\nWords.\n")
    (tmp_path / "benches").mkdir()
    bin_dir = tmp_path / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    for tool in TOOLS:
        stand_in(tmp_path, tool, f"echo {tool} $*")
    stand_in(tmp_path, "pytest", 'echo "== 12 passed, 1 skipped in 3.21s =="')
    stand_in(tmp_path, "python", f'exec {sys.executable} "$@"')
    return tmp_path


def stand_in(checkout: Path, tool: str, does: str) -> None:
    program = checkout / ".venv" / "bin" / tool
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)


def run(checkout: Path, *options: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [".ci/run", *options], cwd=checkout, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_the_command_of_the_readme_is_what_runs(checkout: Path) -> None:
    status, output = run(checkout)
    assert status == 0
    assert "the README's command" in output


def test_the_last_line_is_pytest_s_own_verdict(checkout: Path) -> None:
    _, output = run(checkout)
    assert output[-1] == "== 12 passed, 1 skipped in 3.21s =="


@pytest.mark.parametrize(("tool", "stage"), [("pytest", "test"), ("ruff", "lint"), ("mypy", "types")])
def test_a_stage_that_fails_is_told_and_keeps_no_other_from_running(checkout: Path, tool: str, stage: str) -> None:
    stand_in(checkout, tool, 'echo "== 1 failed, 2 passed in 0.10s =="; exit 1')
    status, output = run(checkout)
    assert status == 1
    assert any(line.split()[:1] == [stage] and "FAILED (1)" in line for line in output)
    assert "lint-imports" in output


RACE = """== 1 failed, 9 passed in 0.10s ==
FAILED tests/test_x.py::test_race[a b] - AssertionError: not within 10 s"""


def test_a_test_that_fails_beside_others_and_passes_alone_is_named_as_unsteady(checkout: Path) -> None:
    alone = "tests/test_x.py::test_race[a b]"
    stand_in(checkout, "pytest", f'case "$*" in *"{alone}") echo "1 passed in 0.1s";; *) echo "{RACE}"; exit 1;; esac')
    status, output = run(checkout)
    assert status == 0
    assert f"unsteady: {alone}" in output


def test_a_test_that_fails_alone_too_has_failed(checkout: Path) -> None:
    stand_in(checkout, "pytest", f'echo "{RACE}"; exit 1')
    status, output = run(checkout)
    assert status == 1
    assert not [line for line in output if line.startswith("unsteady")]


def test_four_tests_that_fail_have_no_second_try(checkout: Path) -> None:
    stand_in(checkout, "pytest", f'case "$*" in *test_x*) exit 0;; esac; {f"echo {RACE!r};" * 4} exit 1')
    assert run(checkout)[0] == 1


def test_a_run_without_a_verdict_of_pytest_has_failed(checkout: Path) -> None:
    stand_in(checkout, "pytest", "exit 0")
    assert run(checkout)[0] == 1


def test_a_readme_without_a_marked_command_is_an_error_that_says_so(checkout: Path) -> None:
    (checkout / "README.md").write_text("# HRM\n\n```bash\npytest\n```\n")
    status, output = run(checkout)
    assert status == 2
    assert "<!-- test-command -->" in output[-1]


def test_an_unknown_option_is_refused_with_the_usage(checkout: Path) -> None:
    assert run(checkout, "--fast") == (2, ["usage: .ci/run [--real]"])


def test_the_real_run_writes_down_when_where_and_what_came_out(checkout: Path) -> None:
    (checkout / "benches" / "tasks.py").write_text("print('612 tasks/s')\n")
    (checkout / "benches" / "_helper.py").write_text("raise SystemExit('no bench')\n")
    status, _ = run(checkout, "--real")
    page = (checkout / "docs" / "tested.md").read_text()
    assert status == 0
    assert page.startswith("# What was tested where\n\nWords.\n\n## 20")
    for word in (
        "- CPU: ",
        "- cores: ",
        "- memory: ",
        "- kernel: ",
        "- Python: ",
        "612 tasks/s",
        "12 passed, 1 skipped",
    ):
        assert word in page
    assert "no bench" not in page


def test_only_the_last_five_real_runs_are_kept_newest_first(checkout: Path) -> None:
    page = checkout / "docs" / "tested.md"
    old = "".join(f"## 2020-01-0{day} 12:00 UTC\n\nold {day}\n\n" for day in range(6, 0, -1))
    page.write_text(f"# What was tested where\n\n{old}")
    run(checkout, "--real")
    kept = [line for line in page.read_text().splitlines() if line.startswith(("## ", "old"))]
    assert kept[1:] == [text for day in (6, 5, 4, 3) for text in (f"## 2020-01-0{day} 12:00 UTC", f"old {day}")]
