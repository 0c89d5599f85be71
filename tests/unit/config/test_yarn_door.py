"""The section `yarn` of ``hrm.yaml``."""

from __future__ import annotations

import pytest

from hrm.config.documents import BadDocument, Document
from hrm.config.loader import parse_config
from hrm.config.yarn_door import YarnShape, plain_yarn, yarn_config
from hrm.config.yarn_values import YarnConfig
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.resources import Resources
from hrm.model.units import LARGEST


def yarn(text: str) -> YarnConfig:
    return parse_config(Document(f"yarn: {text}", "hrm.yaml")).yarn


def findings(text: str) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        yarn(text)
    return [str(finding) for finding in caught.value.findings]


def test_without_a_word_the_door_is_shut_and_where_clients_look_for_it() -> None:
    found = parse_config(Document("", "hrm.yaml")).yarn
    assert (found.enabled, found.host, found.client_port, found.master_port, found.web_port) == (
        False, "127.0.0.1", 8032, 8030, 8088,
    )  # fmt: skip


def test_amounts_are_read_and_what_is_not_named_is_as_by_default() -> None:
    found = yarn("{enabled: true, minimum: 1G, increment: {memory: 512M, cpus: 2}, maximum: 16G}")
    assert found.minimum == Resources(1024, 1000)
    assert found.increment == Resources(512, 2000)
    assert found.maximum == Resources(16384, LARGEST, LARGEST)


def test_profiles_are_amounts_by_names_of_their_own_and_none_of_them_is_by_default() -> None:
    assert yarn("{}").resource_profiles == {}
    found = yarn('{resource_profiles: {small: "1 cpu, 2G", trainer: "4 cpus, 16G, 1 gpu"}}')
    assert found.resource_profiles == {"small": Resources(2048, 1000), "trainer": Resources(16384, 4000, 1000)}


def test_profiles_of_parts_of_a_cpu_and_by_names_that_are_taken_are_found() -> None:
    told = findings('{resource_profiles: {half: {cpus: 0.5}, maximum: "1 cpu, 2G"}}')
    assert len(told) == 2
    assert any("resource_profiles.half: YARN has whole CPUs and GPUs only" in one for one in told)
    assert any("resource_profiles.maximum: 'maximum' is what yarn.maximum says" in one for one in told)


def test_parts_of_a_cpu_and_a_maximum_below_the_minimum_are_found() -> None:
    assert sorted(findings("{minimum: {cpus: 0.5}, maximum: 64M}")) == [
        "hrm.yaml:1: yarn.maximum: below minimum in memory_mib (raise it)",
        "hrm.yaml:1: yarn.minimum: YARN has whole CPUs and GPUs only (write for example 1 cpu, 128M)",
    ]


def test_other_machines_come_in_only_where_it_is_said_who_is_believed_from_where() -> None:
    (finding,) = findings("{host: 0.0.0.0, users: [ada]}")
    assert "yarn.host: '0.0.0.0' is not a loopback address: there nothing proves who calls" in finding
    assert yarn("{host: 0.0.0.0, users: [ada], hosts: [10.0.0.0/24]}").is_open_to_others


def test_a_service_of_nodes_is_read_as_it_is_written_and_runs_only_where_the_door_is_open() -> None:
    text = "auxiliary_services: {spark_shuffle: {command: [serve, now], port: 7337, env: {A: b}, user: spark}}"
    wanted = AuxiliaryService(name="spark_shuffle", command=("serve", "now"), port=7337, env={"A": "b"}, user="spark")
    assert yarn(f"{{enabled: true, {text}}}").node_services == (wanted,)
    shut = yarn(f"{{{text}}}")
    assert (shut.auxiliary_services, shut.node_services) == ((wanted,), ())
    assert yarn_config(YarnShape.model_validate(plain_yarn(shut))).auxiliary_services == (wanted,)


@pytest.mark.parametrize(
    ("services", "found"),
    [
        ("{spark-shuffle: {command: [a]}}", "spark-shuffle: not a name of a service"),
        ("{a: {command: []}}", "a.command: is empty"),
        ("{a: {command: [x], env: {'b=c': d}}}", "a.env: not a variable: 'b=c'"),
        ("{a: {command: [x], port: 1}, b: {command: [x], port: 1}}", "b.port: a listens on 1"),
        ("{a: {command: [x], user: u}, b: {command: [x], user: v}}", "b.user: services run as u and v"),
        ("{a: {port: 1}}", "a.command"),
    ],
)
def test_what_is_wrong_with_a_service_is_found_where_it_stands(services: str, found: str) -> None:
    (finding,) = findings(f"{{auxiliary_services: {services}}}")
    assert f"yarn.auxiliary_services.{found}" in finding


def test_what_is_no_address_is_found() -> None:
    (finding,) = findings("{hosts: [gateway]}")
    assert "yarn.hosts[0]: not an address: 'gateway'" in finding
