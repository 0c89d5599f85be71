"""Errors say what is wrong, where, and what to do, and travel by their code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hrm.model.errors import (
    BY_CODE,
    CallerError,
    ClusterError,
    Forbidden,
    HrmError,
    InvalidInput,
    NoServer,
    Unauthenticated,
)


def all_kinds(kind: type[HrmError] = HrmError) -> Iterator[type[HrmError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == "hrm.model.errors":
            yield from all_kinds(below)


def test_every_error_travels_under_a_code_of_its_own() -> None:
    kinds = list(all_kinds())
    assert sorted(BY_CODE) == sorted(kind.code for kind in kinds)
    assert set(BY_CODE.values()) == set(kinds)


def test_an_error_ends_with_the_next_step_where_there_is_one() -> None:
    assert str(HrmError("the disk is full", next_step="free some space")) == "the disk is full\n  next: free some space"
    assert str(HrmError("the disk is full")) == "the disk is full"


@pytest.mark.parametrize(
    ("field", "prefix", "path"),
    [
        ("memory", "groups[2]", "groups[2].memory"),
        ("[0].memory", "groups", "groups[0].memory"),
        ("", "groups[2]", "groups[2]"),
    ],
)
def test_a_refusal_seen_from_further_out_names_the_whole_path(field: str, prefix: str, path: str) -> None:
    refusal = InvalidInput("not an amount", field=field, next_step="write 4G").within(prefix)
    assert refusal.field == path
    assert str(refusal) == f"{path}: not an amount\n  next: write 4G"


def test_exit_codes_tell_bad_input_no_server_and_missing_rights_apart() -> None:
    assert {CallerError.exit_code, InvalidInput.exit_code} == {2}
    assert NoServer.exit_code == 3
    assert {Unauthenticated.exit_code, Forbidden.exit_code} == {4}
    assert ClusterError.exit_code == 1


def test_statuses_follow_whose_fault_it_is() -> None:
    for kind in all_kinds():
        whose = 4 if issubclass(kind, CallerError) else 5
        assert kind.http_status // 100 == whose, kind
