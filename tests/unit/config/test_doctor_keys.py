"""The section `doctor` of hrm.yaml, made of what the doctor's checks expect."""

from __future__ import annotations

import pytest

from hrm.config.documents import BadDocument, Document
from hrm.config.loader import parse_config
from hrm.config.plain import plain_config
from hrm.doctor.expected import Expected


def doctor(text: str) -> Expected:
    return parse_config(Document(text, "hrm.yaml")).doctor


def test_a_key_goes_without_the_unit_of_its_field_and_is_written_with_one() -> None:
    rounds = doctor("doctor: {rounds: {every: 5m, max_drained: 10%, sick: 4}}").rounds

    assert (rounds.every_s, rounds.max_drained_part, rounds.sick, rounds.well) == (300, 0.1, 4, 3)


def test_what_is_said_is_shown_in_the_keys_of_the_file_and_nothing_else() -> None:
    text = "doctor: {rounds: {every: 5m, max_drained: 10%}, gpu: {driver: '418.39'}}"

    plain = plain_config(parse_config(Document(text, "hrm.yaml")))["doctor"]

    assert plain == {"rounds": {"every": "300s", "max_drained": "10%"}, "gpu": {"driver": "418.39"}}


def test_a_key_that_there_is_not_is_found_at_its_line() -> None:
    with pytest.raises(BadDocument) as caught:
        doctor("doctor:\n  gpu:\n    drivers: 418.39\n")

    assert "hrm.yaml:3" in str(caught.value)
    assert "drivers" in str(caught.value)
