from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hrm.api.accounts import Accounts
from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.yarn.calls import Service
from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.proto.security_pb2 import (
    CancelDelegationTokenRequestProto,
    GetDelegationTokenRequestProto,
    RenewDelegationTokenRequestProto,
    TokenProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.rpc.simple import SimpleDoor
from tests.scenarios.yarn.running_rpc import ME, NOW, running, secrets

DAY_MS = 86_400_000


@pytest.fixture
async def clients() -> AsyncIterator[RpcServer]:
    issuer = secrets()
    service = Service(APPLICATION_CLIENT, ClientTokens(issuer, service="rm:8032").handlers)
    both = Authentication(tokens=issuer.delegation_verifier(), simple=SimpleDoor(Accounts()))
    async with running(service, authentication=both) as server:
        yield server


async def given(server: RpcServer, renewer: str = ME) -> TokenProto:
    async with await HadoopClient.connect(server.address, user=ME) as client:
        answer = await client.call(
            APPLICATION_CLIENT, "getDelegationToken", GetDelegationTokenRequestProto(renewer=renewer)
        )
    token: TokenProto = answer.token
    return token


async def test_a_user_gets_a_token_and_renews_it(clients: RpcServer) -> None:
    token = await given(clients)

    async with await HadoopClient.connect(clients.address, user=ME) as client:
        renewed = await client.call(
            APPLICATION_CLIENT, "renewDelegationToken", RenewDelegationTokenRequestProto(token=token)
        )

    assert renewed.newExpiryTime == NOW * 1000 + DAY_MS


@pytest.mark.parametrize("method", ["getDelegationToken", "renewDelegationToken"])
async def test_a_token_makes_no_tokens_and_does_not_make_itself_last(clients: RpcServer, method: str) -> None:
    token = await given(clients)
    request = (
        GetDelegationTokenRequestProto(renewer=ME)
        if method == "getDelegationToken"
        else RenewDelegationTokenRequestProto(token=token)
    )

    async with await HadoopClient.connect(clients.address, token=token) as client:
        with pytest.raises(RemoteError) as raised:
            await client.call(APPLICATION_CLIENT, method, request)

    assert raised.value.java_class == "org.apache.hadoop.security.AccessControlException"


async def test_its_holder_may_cancel_it(clients: RpcServer) -> None:
    token = await given(clients)
    async with await HadoopClient.connect(clients.address, token=token) as client:
        await client.call(APPLICATION_CLIENT, "cancelDelegationToken", CancelDelegationTokenRequestProto(token=token))

    with pytest.raises(RemoteError, match="cancelled"):
        await HadoopClient.connect(clients.address, token=token)


async def test_who_is_not_its_renewer_does_not_renew_it(clients: RpcServer) -> None:
    token = await given(clients, renewer="oozie")

    async with await HadoopClient.connect(clients.address, user=ME) as client:
        with pytest.raises(RemoteError, match="oozie may"):
            await client.call(APPLICATION_CLIENT, "renewDelegationToken", RenewDelegationTokenRequestProto(token=token))
