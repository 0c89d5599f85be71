"""Delegation tokens over REST: given out, renewed, cancelled, and come in by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.texts import read_token, token_text
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest

DAY_MS = 86_400_000
HEADER = "Hadoop-YARN-RM-Delegation-Token"


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


async def given(rest: Rest, renewer: str = "bob") -> dict[str, Any]:
    told: dict[str, Any] = await rest.told("delegation-token", method="POST", json={"renewer": renewer})
    return told


async def test_a_token_is_given_out_with_whose_it_is_and_until_when(rest: Rest) -> None:
    told = await given(rest)
    assert (told["owner"], told["renewer"], told["kind"]) == ("ada", "bob", "RM_DELEGATION_TOKEN")
    now_ms = int(rest.door.life.manager.clock() * 1000)
    assert (told["expiration-time"], told["max-validity"]) == (now_ms + DAY_MS, now_ms + 7 * DAY_MS)


async def test_it_is_the_same_kind_of_token_that_clients_get_over_rpc(rest: Rest) -> None:
    token = read_token((await given(rest))["token"])
    assert (token.kind, token.service) == ("RM_DELEGATION_TOKEN", "rm:8032")
    assert rest.door.secrets.delegated(token).user == "ada"


async def test_who_may_renew_it_does_and_nobody_else(rest: Rest) -> None:
    token = (await given(rest))["token"]
    renewed = await rest("delegation-token/expiration", method="POST", user="bob", headers={HEADER: token})
    assert renewed.json() == {"expiration-time": int(rest.door.life.manager.clock() * 1000) + DAY_MS}
    refused = await rest("delegation-token/expiration", method="POST", user="ada", headers={HEADER: token})
    assert refused.status_code == 403


async def test_a_cancelled_one_is_good_for_nothing(rest: Rest) -> None:
    token = (await given(rest))["token"]
    assert (await rest("delegation-token", method="DELETE", headers={HEADER: token})).status_code == 200
    assert (await rest("info", user=None, headers={"X-Hadoop-Delegation-Token": token})).status_code == 401
    assert (await rest("delegation-token", method="DELETE", headers={HEADER: token})).status_code == 401


@pytest.mark.parametrize("way", ["header", "query"])
async def test_its_holder_comes_in_as_its_owner_from_anywhere(rest: Rest, way: str) -> None:
    app = await rest.door.submit()
    token = (await given(rest))["token"]
    headers = {"X-Hadoop-Delegation-Token": token} if way == "header" else {}
    query = f"?delegation={token}" if way == "query" else ""
    response = await rest(
        f"apps/{app}/state{query}", method="PUT", user=None, headers=headers, json={"state": "KILLED"}
    )
    assert response.status_code in (200, 202), response.text


@pytest.mark.parametrize("path", ["delegation-token", "delegation-token/expiration"])
async def test_tokens_make_no_tokens_and_do_not_make_each_other_last(rest: Rest, path: str) -> None:
    token = (await given(rest, renewer="ada"))["token"]
    body = {"json": {"renewer": "ada"}} if path == "delegation-token" else {}
    for proof in ({"X-Hadoop-Delegation-Token": token}, {"Authorization": "Bearer of-admin"}):
        response = await rest(path, method="POST", headers={HEADER: token, **proof}, **body)
        assert response.status_code == 403


@pytest.mark.parametrize("text", ["", "?", "AAAA", "x" * 20_000, "é"])
async def test_what_is_no_token_is_refused(rest: Rest, text: str) -> None:
    response = await rest("delegation-token", method="DELETE", headers={HEADER: text.encode()})
    assert response.status_code in (400, 401)


async def test_a_forged_one_is_refused(rest: Rest) -> None:
    token = read_token((await given(rest))["token"])
    forged = TokenProto(identifier=token.identifier, password=b"x" * 20, kind=token.kind, service=token.service)
    headers = {"X-Hadoop-Delegation-Token": token_text(forged)}
    assert (await rest("info", user=None, headers=headers)).status_code == 401


async def test_without_a_renewer_none_is_given(rest: Rest) -> None:
    assert (await rest("delegation-token", method="POST", json={})).status_code == 400


def test_a_token_reads_back_with_and_without_padding() -> None:
    token = TokenProto(identifier=bytes(range(256)), password=b"\xff" * 20, kind="K", service="h:1")
    text = token_text(token)
    assert "=" not in text
    assert read_token(text) == read_token(text + "=" * (-len(text) % 4)) == token
