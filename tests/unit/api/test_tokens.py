"""Tokens say who somebody is, and nobody but the server can make one."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.api.tokens import Identity, TokenAuthority
from hrm.model.errors import InvalidInput, Unauthenticated

SECRET = bytes(range(32))


class Clock:
    def __init__(self) -> None:
        self.now = 1_763_900_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_says_who_its_bearer_is() -> None:
    tokens = TokenAuthority(SECRET)

    assert tokens.verify(tokens.mint("ada")) == Identity(user="ada")
    assert tokens.verify(tokens.mint("root", admin=True)) == Identity(user="root", admin=True)


def test_a_restarted_server_knows_the_tokens_made_before() -> None:
    token = TokenAuthority(SECRET).mint("ada")

    assert TokenAuthority(SECRET).verify(token).user == "ada"


def test_a_token_lasts_as_long_as_was_said_and_no_longer() -> None:
    clock = Clock()
    tokens = TokenAuthority(SECRET, clock=clock)
    token = tokens.mint("ada", ttl_s=60)

    clock.now += 59.9
    assert tokens.verify(token).expires_at == 1_763_900_060.0

    clock.now += 0.1
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.verify(token)


def test_a_token_of_another_server_is_refused() -> None:
    token = TokenAuthority(bytes(32)).mint("ada")

    with pytest.raises(Unauthenticated, match="not a token of this server"):
        TokenAuthority(SECRET).verify(token)


def test_an_expired_token_of_another_server_does_not_tell_that_it_expired() -> None:
    clock = Clock()
    token = TokenAuthority(bytes(32), clock=clock).mint("ada", ttl_s=1)
    clock.now += 10

    with pytest.raises(Unauthenticated, match="not a token of this server"):
        TokenAuthority(SECRET, clock=clock).verify(token)


def test_a_payload_changed_by_its_bearer_is_refused() -> None:
    tokens = TokenAuthority(SECRET)
    version, _, signature = tokens.mint("ada").split(".")
    payload = base64.urlsafe_b64encode(json.dumps({"u": "ada", "a": 1}).encode()).decode().rstrip("=")

    with pytest.raises(Unauthenticated):
        tokens.verify(f"{version}.{payload}.{signature}")


@given(position=st.integers(min_value=0), replacement=st.characters())
def test_a_token_with_any_character_changed_is_refused(position: int, replacement: str) -> None:
    tokens = TokenAuthority(SECRET)
    token = tokens.mint("ada", admin=True)
    position %= len(token)
    changed = token[:position] + replacement + token[position + 1 :]

    if changed != token:
        with pytest.raises(Unauthenticated):
            tokens.verify(changed)


@given(st.text())
def test_whatever_is_sent_instead_of_a_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        TokenAuthority(SECRET).verify(text)


@pytest.mark.parametrize("user", ["", "two words", "new\nline", "x" * 257])
def test_a_name_that_is_no_users_gets_no_token(user: str) -> None:
    with pytest.raises(InvalidInput):
        TokenAuthority(SECRET).mint(user)


def test_a_short_secret_signs_nothing() -> None:
    with pytest.raises(InvalidInput, match="31 bytes"):
        TokenAuthority(SECRET[:31])
