"""`hrm config import`: where it writes, what it says, and when it does not write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hrm.config import load_config


@pytest.fixture
def allocations(tmp_path: Path) -> Path:
    path = tmp_path / "fair-scheduler.xml"
    path.write_text('<allocations>\n<queue name="a"><weight>2</weight><reservation/></queue>\n</allocations>')
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.xml"
    path.write_text('<allocations>\n<queue name="a"><weight>-2</weight>\n<wait/></queue>\n</allocations>')
    return path


def test_the_result_goes_to_stdout_and_the_report_to_stderr(hrm, allocations: Path, tmp_path: Path) -> None:
    result = hrm("config", "import", allocations)

    made = tmp_path / "made.yaml"
    made.write_text(result.out)
    assert [queue.weight for queue in load_config(made).queues.children if queue.name == "a"] == [2.0]
    assert result.code == 0
    assert result.err.splitlines() == [
        f"{allocations}:2: a: weight -> queues.a.weight: 2",
        f"{allocations}:2: a: reservation: not applicable: HRM has no reservation system (time slots booked ahead)",
        "1 honoured, 1 not applicable, 0 warnings",
    ]


def test_the_report_may_be_json(hrm, allocations: Path) -> None:
    result = hrm("config", "import", allocations, "--report", "json")

    assert json.loads(result.err) == {
        "honoured": [
            {
                "source": str(allocations), "line": 2, "property": "weight", "of": "a",
                "key": "queues.a.weight", "value": "2",
            }
        ],
        "not_applicable": [
            {
                "source": str(allocations), "line": 2, "property": "reservation", "of": "a",
                "why": "HRM has no reservation system (time slots booked ahead)",
            }
        ],
        "warnings": [],
    }  # fmt: skip


def test_a_file_is_written_but_not_over_another_unless_told_to(hrm, allocations: Path, tmp_path: Path) -> None:
    out = tmp_path / "hrm.yaml"
    written = hrm("config", "import", allocations, "-o", out)
    out.write_text("queues: {mine: }\n")

    refused = hrm("config", "import", allocations, "-o", out)
    kept = out.read_text()
    forced = hrm("config", "import", allocations, "-o", out, "--force")

    assert (written.code, written.out, refused.code, kept) == (0, "", 2, "queues: {mine: }\n")
    assert "--force" in refused.err
    assert (forced.code, "weight: 2" in out.read_text()) == (0, True)


def test_a_bad_file_writes_nothing_and_tells_every_finding(hrm, broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "hrm.yaml"

    result = hrm("config", "import", broken, "-o", out)

    assert (result.code, result.out, out.exists()) == (2, "", False)
    assert result.err.splitlines() == [
        f"hrm: {broken}:2: a: weight: cannot be negative: -2",
        f"{broken}:3: a: wait: unknown element (did you mean 'weight'?)",
    ]


def test_what_cannot_be_written_says_so(hrm, allocations: Path, tmp_path: Path) -> None:
    result = hrm("config", "import", allocations, "-o", tmp_path / "no" / "hrm.yaml")

    assert result.code == 1
    assert "cannot be written: No such file or directory" in result.err
