"""A job as JSON: nothing is lost, nothing unknown is let in, and an error names the place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.model.errors import HrmError, InvalidInput, TooLarge
from hrm.model.job_codec import job_from_dict, job_to_dict
from hrm.model.jobs import DEFAULT_RESOURCES, GangSpec, JobSpec, MasterSpec, TaskGroupSpec, TerminalSize
from hrm.model.resources import Resources
from hrm.model.yarn import YarnApplication

unicode_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
amounts = st.integers(min_value=1, max_value=1 << 40)
task_groups = st.builds(
    lambda *, gpu_model, **fields: TaskGroupSpec(
        gpu_model=gpu_model if fields["resources"].gpus_milli else None, **fields
    ),
    command=st.lists(unicode_text.filter(bool), min_size=1, max_size=4).map(tuple),
    name=unicode_text,
    tasks=st.integers(1, 1000),
    env=st.dictionaries(st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z"), unicode_text, max_size=3),
    resources=st.builds(
        Resources,
        memory_mib=amounts,
        vcores_milli=amounts,
        gpus_milli=st.integers(0, 1000) | st.integers(1, 16).map(lambda whole: whole * 1000),
        others=st.dictionaries(st.sampled_from(["fpga", "licence.matlab", "example.com/nic"]), amounts).map(
            lambda others: tuple(sorted(others.items()))
        ),
    ),
    workdir=st.none() | unicode_text.map(lambda text: f"/{text}"),
    retries=st.integers(0, 100),
    timeout_s=st.none() | st.floats(min_value=0.001, max_value=1e9),
    priority=st.integers(0, 1_000_000),
    gpu_model=st.none() | unicode_text,
)
several_groups = st.builds(
    JobSpec,
    groups=st.lists(task_groups, min_size=1, max_size=3, unique_by=lambda group: group.name).map(tuple),
    name=unicode_text,
    queue=st.none() | unicode_text,
    max_failures=st.none() | st.integers(0, 10_000),
    priority=st.integers(-1000, 1000),
    attached=st.booleans(),
)
single_tasks = st.builds(
    JobSpec,
    groups=st.tuples(st.builds(TaskGroupSpec, command=st.just(("cat",)))),
    stdin=st.booleans(),
    terminal=st.none() | st.builds(TerminalSize, rows=st.integers(1, 10_000), columns=st.integers(1, 10_000)),
)

of_yarn = st.builds(
    JobSpec,
    groups=st.tuples(st.builds(TaskGroupSpec, command=st.just(("master",)))),
    master=st.builds(MasterSpec, keep_containers=st.booleans(), validity_interval_s=st.none() | st.floats(1, 1e9)),
    yarn=st.builds(
        YarnApplication,
        application_type=unicode_text,
        tags=st.lists(unicode_text, max_size=3).map(tuple),
        unmanaged=st.booleans(),
        log_context=st.binary(max_size=20),
        lifetime_s=st.none() | st.floats(1, 1e9),
        view_acl=unicode_text,
        modify_acl=unicode_text,
    ),
)


@given(several_groups | single_tasks | of_yarn)
def test_a_job_survives_the_way_through_json(job: JobSpec) -> None:
    assert job_from_dict(json.loads(json.dumps(job_to_dict(job)))) == job


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {
            "groups": st.lists(
                st.fixed_dictionaries(
                    {"command": json_values | st.just(["true"])},
                    optional={
                        name: json_values
                        for name in job_to_dict(JobSpec(groups=(TaskGroupSpec(command=("true",)),)))["groups"][0]
                        if name != "command"
                    },
                )
            )
        },
        optional={"name": json_values, "priority": json_values, "terminal": json_values, "max_failures": json_values},
    )
    | json_values
)
def test_whatever_comes_in_is_a_job_or_an_error_meant_for_people(data: Any) -> None:
    try:
        assert isinstance(job_from_dict(data), JobSpec)
    except HrmError as error:
        assert error.message


def test_what_is_left_out_has_its_default() -> None:
    job = job_from_dict({"groups": [{"command": ["true"], "resources": {"gpus_milli": 500}}]})

    assert job == JobSpec(
        groups=(TaskGroupSpec(command=("true",), resources=DEFAULT_RESOURCES + Resources(gpus_milli=500)),)
    )


def test_a_job_with_a_master_of_its_own_reads_back_as_written() -> None:
    job = JobSpec(groups=(TaskGroupSpec(command=("m",)),), master=MasterSpec(max_attempts=3, keep_containers=True))

    assert job_from_dict(job_to_dict(job)) == job
    assert job_from_dict({"groups": [{"command": ["m"]}], "master": {}}).master == MasterSpec()


def test_a_gang_reads_back_as_written() -> None:
    job = JobSpec(groups=(TaskGroupSpec(command=("m",), tasks=3),), gang=GangSpec(timeout_s=60.0, tasks_per_node=1))

    assert job_from_dict(job_to_dict(job)) == job
    assert job_from_dict({"groups": [{"command": ["m"]}], "gang": {}}).gang == GangSpec()


def group(**fields: Any) -> dict[str, Any]:
    return {"groups": [{"command": ["true"]}, {"command": ["true"], "name": "second"} | fields]}


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        (None, "", "must be an object, not null"),
        ([], "", "must be an object, not a list"),
        ({}, "groups", "is missing"),
        ({"groups": []}, "groups", "no task group"),
        ({"groups": {}}, "groups", "must be a list"),
        ({"groups": [{}]}, "groups[0].command", "is missing"),
        ({"groups": ["true"]}, "groups[0]", "must be an object, not text"),
        (group() | {"qeue": "a"}, "", "did you mean queue?"),
        (group() | {"wholly-else": 1}, "", "known: name, queue"),
        (group() | {"priority": 1.0}, "priority", "must be a whole number, not a fraction"),
        (group() | {"priority": 10**30}, "priority", "out of range"),
        (group() | {"stdin": 1}, "stdin", "must be true or false"),
        (group() | {"terminal": {"rows": 3}}, "terminal", "is missing columns"),
        (group(comand=["x"]), "groups[1]", "did you mean command?"),
        (group(command="rm -rf /"), "groups[1].command", "must be a list, not text"),
        (group(command=["echo", 1]), "groups[1].command[1]", "must be text, not a number"),
        (group(command=["caf\udce9"]), "groups[1].command[0]", "not valid Unicode"),
        (group(command=[]), "groups[1].command", "is empty"),
        (group(tasks=True), "groups[1].tasks", "must be a whole number"),
        (group(tasks=0), "groups[1].tasks", "must be from 1"),
        (group(env={"A": 1}), "groups[1].env.A", "must be text"),
        (group(env={"A=B": "x"}), "groups[1].env", "not a variable"),
        (group(resources={"memory_mib": "4G"}), "groups[1].resources.memory_mib", "must be a whole number, not text"),
        (group(resources={"memory_mib": 0}), "groups[1].resources.memory_mib", "must be above zero"),
        (group(resources={"vcores_milli": -1}), "groups[1].resources.vcores_milli", "cannot be negative"),
        (group(resources={"gpus_milli": 1500}), "groups[1].resources.gpus_milli", "lies on one device"),
        (group(resources={"cpus": 2}), "groups[1].resources.cpus", "did you mean vcores_milli?"),
        (group(timeout_s=float("nan")), "groups[1].timeout_s", "out of range"),
        (group(timeout_s=10**400), "groups[1].timeout_s", "out of range"),
        (group(timeout_s=0), "groups[1].timeout_s", "must be above zero"),
        (group(workdir="here"), "groups[1].workdir", "absolute path"),
        ({"groups": [{"command": ["a"]}], "master": True}, "master", "must be an object"),
        ({"groups": [{"command": ["a"]}], "master": {"max_atempts": 3}}, "master", "did you mean max_attempts?"),
        ({"groups": [{"command": ["a"]}], "master": {"max_attempts": 0}}, "master.max_attempts", "must be from 1"),
        (group() | {"master": {}}, "tasks", "a master is one task"),
        (group() | {"gang": True}, "gang", "must be an object"),
        (group() | {"gang": {"timeout": 3}}, "gang", "did you mean timeout_s?"),
        (group() | {"gang": {"timeout_s": 0}}, "gang.timeout_s", "must be above zero"),
        (group() | {"gang": {"tasks_per_node": 0}}, "gang.tasks_per_node", "must be from 1"),
        (group(depends_on=["main"]) | {"gang": {}}, "depends_on", "begin together"),
        (group(depends_on="main"), "groups[1].depends_on", "must be a list"),
        (group(depends_on=[1]), "groups[1].depends_on[0]", "must be text"),
        (group(depends_on=["mian"]), "groups[1].depends_on[0]", "did you mean main?"),
        (group(depends_on=["second"]), "groups[1].depends_on", "circle"),
    ],
)
def test_an_error_names_the_field_and_what_is_wrong_with_it(data: object, field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        job_from_dict(data)

    assert caught.value.field == field
    assert words in str(caught.value)


def test_a_command_over_its_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        job_from_dict({"groups": [{"command": ["echo", "x" * (2 << 20)]}]})


def test_what_yarns_clients_say_users_cannot() -> None:
    job = {"groups": [{"command": ["true"]}], "master": {}, "yarn": {"lifetime_s": 60}}
    assert job_from_dict(job).yarn == YarnApplication(lifetime_s=60)
    with pytest.raises(InvalidInput, match="unknown field 'yarn'"):
        job_from_dict(job, kept=False)
