"""A client raises what the server raised."""

from __future__ import annotations

import pytest

from hrm.model.error_codec import error_from_dict, error_to_dict
from hrm.model.errors import BY_CODE, HrmError, InvalidInput


@pytest.mark.parametrize("kind", BY_CODE.values())
def test_each_kind_of_error_arrives_as_what_it_was(kind: type[HrmError]) -> None:
    error = kind("it went wrong", next_step="try again")

    arrived = error_from_dict(error_to_dict(error))

    assert type(arrived) is kind
    assert str(arrived) == str(error)


def test_an_error_of_a_field_keeps_field_and_words() -> None:
    arrived = error_from_dict(error_to_dict(InvalidInput("is empty", field="groups[0].command")))

    assert isinstance(arrived, InvalidInput)
    assert (arrived.field, arrived.problem) == ("groups[0].command", "is empty")
    assert arrived.message == "groups[0].command: is empty"


def test_a_code_of_a_later_version_is_still_an_error_with_its_words() -> None:
    arrived = error_from_dict({"error": {"code": "quota", "message": "no more today", "next_step": "wait"}})

    assert type(arrived) is HrmError
    assert str(arrived) == "no more today\n  next: wait"


@pytest.mark.parametrize("data", [None, [], {}, {"error": "x"}, {"error": {}}, {"error": {"code": 3}}, {"detail": "x"}])
def test_the_answer_of_something_else_is_no_error_of_ours(data: object) -> None:
    assert error_from_dict(data) is None
