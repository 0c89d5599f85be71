"""What YARN's clients say of an application: what fits, and whom its access lists name."""

from __future__ import annotations

import pytest

from hrm.model.errors import CallerError
from hrm.model.yarn import YarnApplication


@pytest.mark.parametrize(
    ("acl", "named"),
    [
        ("*", {"ada", "bob", "cy"}),
        ("ada", {"ada"}),
        ("ada,bob", {"ada", "bob"}),
        (" staff", {"cy"}),
        ("ada staff,others", {"ada", "cy"}),
        ("", set()),
        (" ", set()),
    ],
)
def test_an_access_list_names_users_and_after_a_blank_groups(acl: str, named: set[str]) -> None:
    groups = {"cy": frozenset({"staff"})}
    people = ("ada", "bob", "cy")
    application = YarnApplication(view_acl=acl, modify_acl=acl)
    assert {user for user in people if application.may_view(user, groups.get(user, frozenset()))} == named
    assert {user for user in people if application.may_modify(user, groups.get(user, frozenset()))} == named


@pytest.mark.parametrize(
    "wrong",
    [
        {"application_type": "x" * 21},
        {"tags": ("x" * 101,)},
        {"tags": ("x",) * 101},
        {"lifetime_s": 0.0},
        {"lifetime_s": float("inf")},
        {"log_context": b"x" * 70_000},
    ],
)
def test_what_is_too_long_or_never_ends_is_refused(wrong: dict) -> None:
    with pytest.raises(CallerError):
        YarnApplication(**wrong)
