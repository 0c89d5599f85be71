"""Identities in YARN's forms, and what is refused as one."""

from __future__ import annotations

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId, ContainerId, parse_node_id

APPLICATION = ApplicationId(1763900000000, 17)


def test_the_forms_are_yarn_s() -> None:
    attempt = AttemptId(APPLICATION, 2)
    assert str(APPLICATION) == "application_1763900000000_0017"
    assert str(attempt) == "appattempt_1763900000000_0017_000002"
    assert str(ContainerId(attempt, 3, 5)) == "container_e03_1763900000000_0017_02_000005"


def test_numbers_longer_than_their_padding_keep_all_their_digits() -> None:
    application = ApplicationId(1763900000000, 123_456)
    assert str(application) == "application_1763900000000_123456"
    assert ApplicationId.parse("application_1763900000000_123456") == application


@pytest.mark.parametrize(
    "text",
    [
        "",
        "application_1763900000000_17",  # not padded
        "application_1763900000000_00017",  # padded too far: a second text for one id
        "application_01763900000000_0017",
        "application_1763900000000_0017\n",
        " application_1763900000000_0017",
        "application_1763900000000_0017/../../etc",
        "application_١٧_0017",  # digits, but not ASCII
        "application_-1_0017",
        "appattempt_1763900000000_0017_000002",
        "Application_1763900000000_0017",
        "x" * 10_000,
    ],
)
def test_what_is_no_application_id_is_refused_with_a_way_to_find_one(text: str) -> None:
    with pytest.raises(InvalidInput, match="not an application id") as refusal:
        ApplicationId.parse(text)
    assert "hrm ps" in refusal.value.next_step
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("text", ["", "appattempt_1_0001_1", "appattempt_1_0001_000001\n", "application_1_0001"])
def test_what_is_no_attempt_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not an application attempt id"):
        AttemptId.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "container_1_0001_01_000001",  # without an epoch
        "container_e1_1_0001_01_000001",
        "container_e01_1_0001_01_000001\n",
        "container_e01_1_0001_01_0000001",
        "../container_e01_1_0001_01_000001",
    ],
)
def test_what_is_no_container_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a container id"):
        ContainerId.parse(text)


@pytest.mark.parametrize("text", ["slave01", "slave01.example.org", "10.0.0.5", "gpu-node_7", "a" * 255, "fe80:1"])
def test_host_names_and_addresses_are_node_ids(text: str) -> None:
    assert parse_node_id(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", "-rf", "a/b", "a b", "a\n", "knoten\u00e4", "a" * 256])
def test_what_is_no_node_id_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^node_id: not a node id"):
        parse_node_id(text)
