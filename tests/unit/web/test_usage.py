"""Sums of what was used, and a job form's other forms."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hrm.config.jobs import load_job
from hrm.model.errors import InvalidInput
from hrm.model.reports import TaskAttemptReport
from hrm.model.states import TaskState
from hrm.web.pages.submit import command_line, job_file, job_of
from hrm.web.usage import By, as_csv, usage

HOUR = 3600.0


def attempt(user: str, begin: float, end: float | None, *devices: str) -> TaskAttemptReport:
    return TaskAttemptReport(
        application_id="application_1_0001",
        name="job",
        user=user,
        queue="batch",
        task_index=0,
        attempt=1,
        container_id="c",
        node_id="n",
        resources={"vcores_milli": 2000, "memory_mib": 1024, "gpus_milli": 1000 * len(devices)},
        device_ids=list(devices),
        allocated_at=begin,
        started_at=begin,
        ended_at=end,
        exit_code=0,
        state=TaskState.SUCCEEDED,
        message="",
        cpu_s=None,
        max_rss_mib=None,
    )


def test_only_what_falls_into_the_time_counts() -> None:
    attempts = [attempt("ada", 0, 10 * HOUR), attempt("ada", 9 * HOUR, None)]
    (ada,) = usage(attempts, By.USER, since=8 * HOUR, now=11 * HOUR)
    assert (ada.attempts, ada.cpu_hours, ada.memory_gib_hours) == (2, 8.0, 4.0)


def test_a_gpu_counts_for_itself_where_a_container_holds_two() -> None:
    attempts = [attempt("ada", 0, HOUR, "g0", "g1"), attempt("bob", 0, HOUR, "g0")]
    found = {one.name: one.gpu_hours for one in usage(attempts, By.GPU, since=0, now=HOUR)}
    assert found == {"g0": 2.0, "g1": 1.0}


def test_no_name_is_a_formula_for_a_spreadsheet() -> None:
    text = as_csv(usage([attempt("=cmd()", 0, HOUR)], By.USER, since=0, now=HOUR))
    assert text.splitlines()[1].startswith("'=cmd()")


FIELDS = {
    "command": "python train.py --name 'a b'",
    "name": "train",
    "queue": "research",
    "tasks": "4",
    "cpus": "0.5",
    "memory": "512M",
    "gpus": "1",
    "gpu_model": "*2080 Ti",
    "workdir": "/data",
    "timeout": "2h",
    "retries": "1",
    "env": "SEED=1\nTEXT=a=b c",
}


def test_the_job_file_that_is_shown_makes_the_same_job(tmp_path: Path) -> None:
    job = job_of(FIELDS)
    file = tmp_path / "job.yaml"
    file.write_text(job_file(job))
    assert load_job(file).job == job


def test_the_command_line_that_is_shown_says_the_same() -> None:
    words = shlex.split(command_line(job_of(FIELDS)))
    assert words[words.index("--") + 1 :] == ["python", "train.py", "--name", "a b"]
    assert words[words.index("--memory") + 1] == "512M"
    assert words[words.index("--env") + 1] == "SEED=1"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("command", "'open"),
        ("command", ""),
        ("tasks", "many"),
        ("memory", "much"),
        ("env", "NAME"),
        ("workdir", "here"),
    ],
)
def test_a_wrong_field_is_named(name: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        job_of({**FIELDS, name: text})
    assert refused.value.field == name
