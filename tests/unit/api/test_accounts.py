"""Who a user id is, whose token a process may bear, and as whom jobs may run."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.api.accounts import Accounts, name_in_system, uid_in_system
from hrm.api.tokens import Identity
from hrm.model.errors import Forbidden
from hrm.testing import ManualClock
from hrm.testing.accounts import made_up_accounts

MACHINE = {"root": 0, "toor": 0, "ada": 1001, "bob": 1002}
NAMES = {0: "root", 1001: "ada", 1002: "bob"}


def machine(own_uid: int) -> Accounts:
    """Of two names for root, as some systems have it."""
    return Accounts(own_uid=own_uid, name_of=lambda uid: NAMES.get(uid, f"uid:{uid}"), uid_of=MACHINE.get)


@pytest.mark.parametrize(
    ("own_uid", "uid", "identity"),
    [
        (0, 0, Identity(user="root", admin=True)),
        (0, 1001, Identity(user="ada")),
        (0, 4711, Identity(user="uid:4711")),
        (1001, 1001, Identity(user="ada", admin=True)),
        (1001, 0, Identity(user="root", admin=True)),
        (1001, 1002, Identity(user="bob")),
    ],
)
async def test_root_and_the_servers_own_user_are_admins_and_nobody_else(
    own_uid: int, uid: int, identity: Identity
) -> None:
    assert await machine(own_uid).identity(uid) == identity


@pytest.mark.parametrize(
    ("own_uid", "user", "bearer", "may"),
    [
        (0, "ada", 1001, True),
        (0, "ada", 1002, False),
        (0, "ada", 0, True),
        (0, "root", 1001, False),
        (0, "nobody-here", 1001, False),
        (1001, "bob", 1001, True),
        (1001, "ada", 1002, False),
        (1001, "ada", 0, True),
    ],
)
async def test_a_token_is_for_its_user_for_root_and_for_the_servers_user(
    own_uid: int, user: str, bearer: int, may: bool
) -> None:
    assert await machine(own_uid).may_bear_token_of(user, bearer) is may


@pytest.mark.parametrize("user", ["root", "ada", "bob"])
async def test_at_roots_server_every_user_of_the_machine_may_submit(user: str) -> None:
    await machine(0).check_submitter(user)


@pytest.mark.parametrize("user", ["ci", "uid:4711", "ADA", ""])
async def test_who_is_no_user_of_the_machine_may_not_and_is_told_why(user: str) -> None:
    with pytest.raises(Forbidden, match=f"no user '{user}'") as refused:
        await machine(0).check_submitter(user)

    assert "account" in refused.value.next_step


async def test_roots_second_name_gets_no_jobs_of_root() -> None:
    with pytest.raises(Forbidden, match="another name of root"):
        await machine(0).check_submitter("toor")


@given(user=st.text(max_size=20) | st.sampled_from(sorted(MACHINE)))
async def test_at_a_users_server_nobody_but_that_user_may_submit(user: str) -> None:
    accounts = machine(1001)
    if user == "ada":
        await accounts.check_submitter(user)
        return
    with pytest.raises(Forbidden, match="only ada may submit") as refused:
        await accounts.check_submitter(user)
    assert "hrm up" in refused.value.next_step


async def test_a_server_whose_own_user_has_no_name_serves_that_user() -> None:
    accounts = made_up_accounts({}, own_uid=4711)

    assert await accounts.identity(4711) == Identity(user="uid:4711", admin=True)
    await accounts.check_submitter("uid:4711")


async def test_the_system_is_asked_again_after_a_while_and_not_before() -> None:
    clock, known = ManualClock(), {"bob": 1002}
    asked: list[str] = []

    def uid_of(name: str) -> int | None:
        asked.append(name)
        return known.get(name)

    accounts = Accounts(own_uid=0, name_of=str, uid_of=uid_of, clock=clock.now)
    for _ in range(5):
        await accounts.check_submitter("bob")
    del known["bob"]
    clock.advance(60)

    with pytest.raises(Forbidden):
        await accounts.check_submitter("bob")
    assert asked == ["bob", "bob"]


def test_the_systems_own_names_are_known() -> None:
    assert name_in_system(0) == "root"
    assert uid_in_system("root") == 0
    assert uid_in_system(name_in_system(os.geteuid())) in (os.geteuid(), None)


@pytest.mark.parametrize("name", ["", "no such user", "root\0", "ROOT", "\udcff"])
def test_what_is_no_name_is_no_user(name: str) -> None:
    assert uid_in_system(name) is None


@pytest.mark.parametrize("uid", [4_000_000_001, 2**32, -5])
def test_an_id_without_an_account_gets_a_name_that_none_can_have(uid: int) -> None:
    assert name_in_system(uid) == f"uid:{uid}"
