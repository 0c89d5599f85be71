"""`hrm token create`: whom it is for, and what its bearer may do with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hrm.api.tokens import Identity, TokenAuthority
from hrm.cli.token import app
from hrm.config.home import Home
from hrm.model.errors import Forbidden


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HRM_HOME", str(tmp_path / "home"))
    found = Home.locate()
    found.create()
    found.ensure_secret()
    return found


def create(home: Home, user: str) -> tuple[Identity, str]:
    """Whose the token is, and what was said beside it."""
    result = CliRunner().invoke(app, ["create", user], catch_exceptions=False)
    return TokenAuthority(home.ensure_secret()).verify(result.stdout.strip()), result.stderr


@pytest.mark.parametrize("user", ["ada", "nobody"])
def test_it_names_the_user_and_no_admin(home: Home, user: str) -> None:
    identity, _ = create(home, user)

    assert (identity.user, identity.admin) == (user, False)


@pytest.mark.parametrize(
    ("own_uid", "user", "said"),
    [
        (0, "nobody", ""),
        (0, "root", ""),
        (0, "no-such-user", "no such user to run jobs as"),
        (4711, "nobody", "not root's runs jobs of its own user alone"),
        (4711, "no-such-user", "not root's runs jobs of its own user alone"),
    ],
)
def test_who_will_not_be_able_to_submit_is_told_when_it_is_made(
    home: Home, monkeypatch: pytest.MonkeyPatch, own_uid: int, user: str, said: str
) -> None:
    secret = home.ensure_secret()
    monkeypatch.setattr(os, "geteuid", lambda: own_uid)
    # The file stays the tester's, whoever he is taken for.
    monkeypatch.setattr(Home, "ensure_secret", lambda self: secret)
    monkeypatch.setattr(Home, "is_anothers", False)

    _, err = create(home, user)

    assert said in err
    assert bool(said) == bool(err)


def test_in_a_home_of_another_users_none_is_made(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Home, "is_anothers", True)

    with pytest.raises(Forbidden, match="made by its owner\n  next: ask them; on this machine you need none"):
        create(home, "ada")
