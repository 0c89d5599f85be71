"""Delegation tokens that submissions bring along: renewed while their applications live, cancelled after them."""

from __future__ import annotations

import json

import pytest

from hrm.yarn.errors import InvalidToken
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.brought import BroughtTokens
from hrm.yarn.tokens.credentials import Credentials
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import TokenState
from tests.scenarios.yarn.client_door import Door

DAY_S = 86_400.0
NOW = 1_763_900_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class House:
    """Applications that are over when they are told to be, before a server that can start anew."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.over: set[str] = set()
        self.kept = b""
        self.begin(TokenState.new(NOW))

    def begin(self, state: TokenState) -> None:
        self.secrets = TokenSecrets(state, self._save, clock=self.clock)
        self.brought = BroughtTokens(self.secrets, self._is_over, self.clock)

    def restart(self) -> None:
        self.begin(TokenState.decode(self.kept, where="keys"))

    def _save(self, data: bytes) -> None:
        self.kept = data

    async def _is_over(self, name: str) -> bool:
        return name in self.over

    def is_good(self, token: TokenProto) -> bool:
        try:
            self.secrets.delegation(token)
        except InvalidToken:
            return False
        return True


@pytest.fixture
def house() -> House:
    return House()


async def test_a_token_is_renewed_while_its_application_lives_for_seven_days_at_most(house: House) -> None:
    token = await house.secrets.issue_delegation("ada", "oozie")
    await house.brought.take([token], "a1", owner="ada", cancel=True)
    for hours in range(1, 7 * 24):
        house.clock.now = NOW + hours * 3600
        await house.brought.look()
        assert house.is_good(token)
    house.clock.now = NOW + 7 * DAY_S
    await house.brought.look()
    assert not house.is_good(token)


async def test_it_is_cancelled_with_the_last_application_that_brought_it_also_after_a_restart(house: House) -> None:
    token = await house.secrets.issue_delegation("ada", "oozie")
    for name in ("a1", "a2"):
        await house.brought.take([token], name, owner="ada", cancel=True)
    house.over = {"a1"}
    await house.brought.look()
    assert house.is_good(token)
    house.restart()
    await house.brought.look()
    assert house.is_good(token)
    house.over = {"a1", "a2"}
    await house.brought.look()
    assert not house.is_good(token)


async def test_it_stays_until_its_day_is_over_where_one_of_its_applications_wants_that(house: House) -> None:
    token = await house.secrets.issue_delegation("ada", "oozie")
    await house.brought.take([token], "a1", owner="ada", cancel=False)
    await house.brought.take([token], "a2", owner="ada", cancel=True)
    house.over = {"a1", "a2"}
    await house.brought.look()
    assert house.is_good(token)
    house.clock.now = NOW + DAY_S
    await house.brought.look()
    assert not house.is_good(token)


async def test_anothers_token_and_one_that_is_not_of_this_cluster_are_not_looked_after(house: House) -> None:
    bobs = await house.secrets.issue_delegation("bob", "oozie")
    elsewhere = await House().secrets.issue_delegation("ada", "oozie")
    await house.brought.take([bobs, elsewhere], "a1", owner="ada", cancel=True)
    house.over = {"a1"}
    await house.brought.look()
    assert house.is_good(bobs)


async def test_what_a_server_of_before_kept_of_tokens_is_still_read(house: House) -> None:
    token = await house.secrets.issue_delegation("ada", "oozie")
    assert len(json.loads(house.kept)["delegations"]["1"]) == 2
    house.restart()
    assert house.is_good(token)


@pytest.mark.parametrize("cancel", [True, False])
async def test_a_submission_says_whether_its_tokens_end_with_it(door: Door, cancel: bool) -> None:
    token = await door.secrets.issue_delegation("ada", "oozie")
    context = records.ContainerLaunchContextProto(tokens=Credentials({"rm": token}).write())
    app = await door.submit(am_container_spec=context, cancel_tokens_when_complete=cancel)
    await door.clients.brought.look()
    door.secrets.delegation(token)
    await door.life.service.kill(app, by="ada")
    await door.life.ended(app)
    await door.clients.brought.look()
    if cancel:
        with pytest.raises(InvalidToken):
            door.secrets.delegation(token)
    else:
        door.secrets.delegation(token)
