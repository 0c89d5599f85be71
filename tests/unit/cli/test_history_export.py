"""`hrm history export`: attempts of tasks as files that `hrm simulate trace` reads."""

from __future__ import annotations

import json
from pathlib import Path

from hrm.sim.traces.formats import Format, detect, read_trace
from tests.unit.cli.cli_fakes import FakeClient, application, attempt
from tests.unit.cli.conftest import Run


def test_what_is_exported_can_be_simulated(hrm: Run, server: FakeClient, tmp_path: Path) -> None:
    server.apps = [application(1)]
    server.attempts = [attempt(1, 0), attempt(1, 1)]
    file = tmp_path / "week.csv"
    assert hrm("history", "export", "--file", file).code == 0
    assert detect(file) is Format.HISTORY
    (job,) = read_trace(file)
    assert (job.tasks, job.queue) == (2, "default")


def test_lines_of_json_go_to_stdout(hrm: Run, server: FakeClient) -> None:
    server.apps, server.attempts = [application(1)], [attempt(1, 0)]
    lines = [json.loads(line) for line in hrm("history", "export", "--format", "jsonl").out.splitlines()]
    assert [line["task_index"] for line in lines] == [0]


def test_an_unknown_form_is_refused(hrm: Run, server: FakeClient) -> None:
    result = hrm("history", "export", "--format", "xml")
    assert (result.code, result.out) == (2, "")
    assert "csv or jsonl" in result.err
