"""Job files: `hrm.config.jobs`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hrm.config.documents import BadDocument, Document, walk_keys
from hrm.config.jobs import JobShape, load_job, parse_job
from hrm.model.jobs import DEFAULT_RESOURCES, GangSpec, JobSpec, MasterSpec
from hrm.model.resources import Resources

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"


def job(text: str) -> JobSpec:
    return parse_job(Document(text, "job.yaml"), Path("/here"))


def findings(text: str) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        job(text)
    return [str(finding) for finding in caught.value.findings]


def test_a_command_is_all_that_a_job_needs() -> None:
    found = job("command: [sleep, 10]")

    assert found.groups[0].command == ("sleep", "10")
    assert found.groups[0].resources == DEFAULT_RESOURCES
    assert found.task_count == 1


def test_every_key_reaches_the_job() -> None:
    found = job("""\
name: train
queue: research
command: [python, train.py, --lr, 1.50, --amp, true]
tasks: 8
cpus: 0.5
memory: 4G
gpus: 1
gpu_model: '*2080*'
env: {A: 1, B: on}
workdir: run
retries: 2
timeout: 1:30:00
max_failures: 3
priority: 7
""")
    (group,) = found.groups

    assert (found.name, found.queue, found.max_failures, found.priority) == ("train", "research", 3, 7)
    assert group.command == ("python", "train.py", "--lr", "1.50", "--amp", "true")
    assert group.resources == Resources(memory_mib=4096, vcores_milli=500, gpus_milli=1000)
    assert (group.tasks, group.gpu_model, group.env) == (8, "*2080*", {"A": "1", "B": "on"})
    assert (group.workdir, group.retries, group.timeout_s) == ("/here/run", 2, 5400.0)


def test_groups_take_what_they_do_not_say_from_outside() -> None:
    found = job("""\
memory: 2G
env: {A: 1, B: 2}
groups:
  - {command: [one], tasks: 3}
  - {name: second, command: [two], memory: 4G, env: {B: 3}, priority: 1}
""")

    assert [group.name for group in found.groups] == ["group0", "second"]
    assert [group.resources.memory_mib for group in found.groups] == [2048, 4096]
    assert [group.env for group in found.groups] == [{"A": "1", "B": "2"}, {"A": "1", "B": "3"}]
    assert (found.task_count, found.groups[1].priority) == (4, 1)


def test_a_wrong_key_is_found_with_its_line_and_the_nearest_right_one() -> None:
    assert findings("name: x\ncomand: [true]\ncommand: [true]\n") == [
        "job.yaml:2: comand: unknown key (did you mean 'command'?)"
    ]


def test_every_finding_comes_at_once() -> None:
    text = """\
cpu: 3
memory: 12Q
timeout: soon
groups:
  - {tasks: 0, command: [a]}
  - {taks: 3, command: [b]}
  - {command: sleep 5}
"""

    assert findings(text) == [
        "job.yaml:1: cpu: unknown key (did you mean 'cpus'?)",
        "job.yaml:2: memory: not an amount of memory: '12Q' (write for example 512M or 4G)",
        "job.yaml:3: timeout: not a duration: 'soon' "
        "(write for example 90s, 2h, 10:30 (minutes:seconds) or 1-12)",
        "job.yaml:5: groups[0].tasks: must be from 1 to 100000: 0",
        "job.yaml:6: groups[1].taks: unknown key (did you mean 'tasks'?)",
        "job.yaml:7: groups[2].command: must be a list, not one string "
        "(write [program, argument, …], or [sh, -c, '…'] for a shell)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: x", "has no command"),
        ("", "has no command"),
        ("command: []", "command: must be a list of the program and its arguments"),
        ("command: [a, [b]]", "command: argument 1 is no text"),
        ("command: [a]\nenv: {B: }", "env.B: must be a single value"),
        ("command: [a]\nenv: {1B: x}", "env: not a variable: '1B'"),
        ("command: [a]\nmemory: -1", "memory: not an amount of memory: '-1'"),
        ("command: [a]\ncpus: 0", "cpus: must be above zero"),
        ("command: [a]\ngpus: 1.5", "gpus: a fraction of a GPU lies on one device"),
        ("command: [a]\nretries: 1.5", "retries: must be a whole number"),
        ('command: [a]\nname: "a\\nb"', "name: "),
        ("groups: []", "groups: has no task group"),
        ("command: [a]\ngroups: [{name: x}, {name: x}]", "groups: two groups have one name"),
        ("command: [a]\nkind: mater", "kind: not known: 'mater' (did you mean 'master'?)"),
        ("command: [a]\nkind: master\ntasks: 2", "tasks: a master is one task"),
        ("command: [a]\nkind: master\nmax_attempts: 0", "max_attempts: must be from 1"),
        ("command: [a]\nmax_attempts: 3", "max_attempts: is said of a master"),
        ("command: [a]\ngang: 3", "gang: must be a mapping"),
        ("command: [a]\ngang: {tasks_per_nod: 1}", "gang.tasks_per_nod: unknown key (did you mean 'tasks_per_node'?)"),
        ("command: [a]\ngang: {tasks_per_node: 0}", "gang.tasks_per_node: must be from 1 to 4096"),
        ("command: [a]\ngang: {timeout: 0}", "gang.timeout: must be above zero"),
        ("command: [a]\ntasks: 5000\ngang: true", "tasks: more than 4096 tasks at once"),
        ("command: [a]\nkind: master\ngang: true", "gang: a master asks for its containers itself"),
        (
            "command: [a]\ngang: true\ngroups: [{name: x}, {name: y, depends_on: [x]}]",
            "depends_on: the tasks of a gang begin together",
        ),
        ("- a", "must be a mapping of keys to values, not a list"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_wanted(text: str, problem: str) -> None:
    (finding,) = findings(text)

    assert problem in finding


@pytest.mark.parametrize(
    ("text", "gang"),
    [
        ("gang: true", GangSpec()),
        ("gang: {}", GangSpec()),
        ("gang: {tasks_per_node: 2, timeout: 1h}", GangSpec(tasks_per_node=2, timeout_s=3600.0)),
        ("gang: false", None),
        ("", None),
    ],
)
def test_a_gang_is_said_by_a_word_or_with_its_limits(text: str, gang: GangSpec | None) -> None:
    assert job(f"command: [a]\ntasks: 4\n{text}").gang == gang


def test_a_dependency_that_is_no_group_is_found_with_its_line_and_the_nearest_right_name() -> None:
    text = """\
command: [true]
groups:
  - {name: train}
  - name: report
    depends_on:
      - trian
"""

    assert findings(text) == [
        "job.yaml:6: groups[1].depends_on[0]: no group is called 'trian' (did you mean train?)"
    ]  # fmt: skip


def test_groups_that_wait_for_each_other_in_a_circle_are_found_with_their_line() -> None:
    text = """\
command: [true]
groups:
  - {name: a, depends_on: [b]}
  - {name: b, depends_on: [a]}
"""

    assert findings(text) == [
        "job.yaml:3: groups[0].depends_on: groups wait for each other in a circle: a → b → a (take one of them out)"
    ]  # fmt: skip


def test_a_master_of_its_own_is_a_kind_of_job() -> None:
    assert job("{command: [a], kind: master}").master == MasterSpec()
    told = job("{command: [a], kind: master, max_attempts: 3, keep_containers: true}").master
    assert told == MasterSpec(max_attempts=3, keep_containers=True)
    assert job("{command: [a], kind: tasks}").master is None


def test_a_name_with_shell_characters_is_just_a_name() -> None:
    assert job("{name: '$(rm -rf /); `x` | y', command: [a]}").name == "$(rm -rf /); `x` | y"


def test_a_relative_working_directory_starts_at_the_files(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("{command: [a], workdir: sub}")

    assert load_job(path).job.groups[0].workdir == str(tmp_path / "sub")


def test_every_key_is_in_the_documentation() -> None:
    docs = DOCS.read_text(encoding="utf-8").partition("## Job files")[2]
    keys = {str(path[-1]) for path, _ in walk_keys(JobShape)}

    assert set(re.findall(r"^\| `([a-z_]+)`", docs, re.M)) == keys


def test_a_directory_to_upload_is_named_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("command: [true]\nupload: src\n")

    file = load_job(path)

    assert file.upload == tmp_path / "src"
    # Nothing is uploaded by reading the file.
    assert file.job.upload is None
