"""What may be submitted, and what is refused before anything is kept of it."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.model.errors import InvalidInput, TooLarge
from hrm.model.jobs import (
    DEFAULT_RESOURCES,
    MAX_COMMAND_BYTES,
    MAX_ENV_BYTES,
    MAX_NAME_CHARS,
    MAX_TASKS,
    JobSpec,
    MasterSpec,
    TaskGroupSpec,
    TerminalSize,
)
from hrm.model.resources import Resources


def group(**changes: Any) -> TaskGroupSpec:
    return TaskGroupSpec(**{"command": ("true",)} | changes)


def job(*groups: TaskGroupSpec, **changes: Any) -> JobSpec:
    return JobSpec(groups=groups or (group(),), **changes)


def test_a_task_asks_for_one_vcore_and_one_gib_unless_it_says_otherwise() -> None:
    assert group().resources == DEFAULT_RESOURCES == Resources.parse(cpus=1, memory="1G")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"command": ()}, "command"),
        ({"command": ("",)}, "command"),
        ({"command": ("cat", "a\0b")}, "command"),
        ({"command": ("cat", "\ud800")}, "command"),
        ({"tasks": 0}, "tasks"),
        ({"tasks": MAX_TASKS + 1}, "tasks"),
        ({"env": {"A=B": "1"}}, "env"),
        ({"env": {"A\n": "1"}}, "env"),
        ({"env": {"": "1"}}, "env"),
        ({"env": {"A": "b\0c"}}, "env"),
        ({"env": {"A": "\ud800"}}, "env"),
        ({"resources": Resources(memory_mib=-1, vcores_milli=1000)}, "memory_mib"),
        ({"resources": Resources(memory_mib=1024, vcores_milli=1000, others=(("fpga", -1),))}, "fpga"),
        ({"resources": Resources(vcores_milli=1000)}, "memory"),
        ({"resources": Resources(memory_mib=1024)}, "cpus"),
        ({"resources": DEFAULT_RESOURCES + Resources(gpus_milli=1500)}, "gpus"),
        ({"gpu_model": "RTX*"}, "gpu_model"),
        ({"workdir": "relative/path"}, "workdir"),
        ({"workdir": "/a\0b"}, "workdir"),
        ({"retries": -1}, "retries"),
        ({"retries": MAX_TASKS + 1}, "retries"),
        ({"timeout_s": 0}, "timeout"),
        ({"timeout_s": float("nan")}, "timeout"),
        ({"timeout_s": float("inf")}, "timeout"),
        ({"priority": -1}, "priority"),
        ({"priority": 10**30}, "priority"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "\x1b[2J"}, "name"),
        ({"name": "\x9b2J"}, "name"),
        ({"name": "a\u2028b"}, "name"),
        ({"name": "n" * (MAX_NAME_CHARS + 1)}, "name"),
    ],
)
def test_a_group_that_cannot_run_is_refused_with_its_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        group(**changes)
    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"command": ("echo", "x" * MAX_COMMAND_BYTES)},
        {"command": ("echo", "ä" * (MAX_COMMAND_BYTES // 2))},  # few characters, many bytes
        {"env": {"A": "x" * MAX_ENV_BYTES}},
        {"env": {"A": "ä" * (MAX_ENV_BYTES // 2)}},
    ],
)
def test_a_command_or_environment_over_its_limit_in_bytes_is_too_large(changes: dict[str, object]) -> None:
    with pytest.raises(TooLarge, match="bytes") as refusal:
        group(**changes)
    assert "file" in refusal.value.next_step


@pytest.mark.parametrize("name", ["train; rm -rf /", "$(reboot)", "../../etc/passwd", "数据", "a'b\"c"])
def test_shell_characters_in_a_name_are_just_characters(name: str) -> None:
    assert job(name=name).display_name == name


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"groups": ()}, "groups"),
        ({"groups": (group(), group())}, "groups"),
        ({"groups": (group(tasks=MAX_TASKS), group(name="more"))}, "tasks"),
        ({"groups": (group(tasks=2),), "stdin": True}, "stdin"),
        ({"groups": (group(tasks=2),), "terminal": TerminalSize(rows=24, columns=80)}, "stdin"),
        ({"groups": (group(),), "max_failures": -1}, "max_failures"),
        ({"groups": (group(tasks=2),), "master": MasterSpec()}, "tasks"),
        ({"groups": (group(retries=1),), "master": MasterSpec()}, "retries"),
        ({"groups": (group(),), "priority": 10**30}, "priority"),
        ({"groups": (group(),), "name": "two\nlines"}, "name"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_with_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        JobSpec(**changes)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("depends_on", "field", "words"),
    [
        ((("trian",), ()), "groups[0].depends_on[0]", "no group is called 'trian'\n  next: did you mean train?"),
        ((("else",), ()), "groups[0].depends_on[0]", "name other groups of this job"),
        ((("train", "train"), ()), "groups[0].depends_on[1]", "names 'train' twice"),
        ((("report",), ()), "groups[0].depends_on", "in a circle: report → report"),
        ((("train",), ("report",)), "groups[0].depends_on", "in a circle: report → train → report"),
    ],
)
def test_groups_depend_on_groups_that_are_there_and_not_in_a_circle(
    depends_on: tuple[tuple[str, ...], tuple[str, ...]], field: str, words: str
) -> None:
    report, train = depends_on
    with pytest.raises(InvalidInput) as refusal:
        job(group(name="report", depends_on=report), group(name="train", depends_on=train))
    assert refusal.value.field == field
    assert words in f"{refusal.value}"


@pytest.mark.parametrize("max_attempts", [0, -1, 101])
def test_a_master_has_a_number_of_attempts_that_can_be(max_attempts: int) -> None:
    with pytest.raises(InvalidInput, match=r"^max_attempts: "):
        MasterSpec(max_attempts=max_attempts)


def test_all_that_a_master_launches_counts_as_one_group_with_it() -> None:
    mastered = JobSpec(groups=(group(),), master=MasterSpec())
    assert mastered.group_of(0) == mastered.group_of(7) == (0, mastered.groups[0])


def test_a_chain_of_very_many_groups_is_no_circle() -> None:
    chain = [group(name="0"), *(group(name=str(one), depends_on=(str(one - 1),)) for one in range(1, 5000))]
    assert job(*chain).task_count == 5000


@pytest.mark.parametrize(("rows", "columns"), [(0, 80), (24, 0), (-1, 80), (24, 10_001)])
def test_a_terminal_has_a_size_that_can_be(rows: int, columns: int) -> None:
    with pytest.raises(InvalidInput, match=r"^terminal: "):
        TerminalSize(rows=rows, columns=columns)


def test_a_job_without_a_name_is_called_after_its_first_program() -> None:
    assert job(group(command=("/usr/bin/python3", "train.py"))).display_name == "python3"
    assert len(job(group(command=("x" * 1000,))).display_name) == MAX_NAME_CHARS


def test_tasks_are_numbered_through_all_groups() -> None:
    first, second = group(name="map", tasks=3), group(name="reduce", tasks=2)
    both = job(first, second)
    assert both.task_count == 5
    assert [both.group_of(index) for index in range(5)] == [(0, first)] * 3 + [(1, second)] * 2
    with pytest.raises(IndexError):
        both.group_of(5)


def test_a_job_put_into_a_queue_is_else_the_same_job() -> None:
    asked = job(name="train", priority=3)
    assert asked.in_queue("research") == job(name="train", priority=3, queue="research")
    assert asked.queue is None
