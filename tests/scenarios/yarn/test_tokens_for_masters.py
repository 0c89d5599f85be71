"""A master checks its clients by itself, with nothing but the key that it was told at its registration."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hrm.model.ids import AttemptId
from hrm.testing.hadoop_client import PREAMBLE, SASL, HadoopClient, RemoteError
from hrm.testing.lives import Lives
from hrm.yarn.calls import TokenKind, VerifiedToken
from hrm.yarn.proto.identifiers_pb2 import ClientToAMTokenIdentifierProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.proto.service_pb2 import GetApplicationReportRequestProto
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.tokens.secrets import Expected
from tests.scenarios.yarn.client_door import id_message
from tests.scenarios.yarn.running_rpc import ME, Echo, ask, running
from tests.scenarios.yarn.wire_masters import WireMaster, Yarn, opened


@pytest.fixture
async def yarn(lives: Lives, tmp_path: Path) -> AsyncIterator[Yarn]:
    async with opened(await lives.begin(), tmp_path) as yarn:
        yield yarn


@dataclass
class MasterPort:
    """Where a master's clients come in: it knows ``key`` and its own attempt, and nobody of the server's."""

    key: bytes
    attempt: AttemptId

    def expected(self, data: bytes) -> Expected:
        identifier = ClientToAMTokenIdentifierProto.FromString(data)
        held = VerifiedToken(kind=TokenKind.CLIENT_TO_AM, identifier=identifier, attempt=self.attempt)
        password = hmac.digest(self.key, data, hashlib.sha1)
        return Expected(password=password, user=identifier.clientName, token=held)


async def token_of(yarn: Yarn, master: WireMaster) -> TokenProto:
    host, _, port = yarn.front.addresses["clients"].rpartition(":")
    request = GetApplicationReportRequestProto(application_id=id_message(str(master.attempt.application)))
    async with await HadoopClient.connect((host, int(port)), user=ME) as client:
        answer = await client.call(APPLICATION_CLIENT, "getApplicationReport", request)
    return answer.application_report.client_to_am_token


async def registered(master: WireMaster) -> MasterPort:
    answer = await master.register(host="n1", rpc_port=4711)
    return MasterPort(answer.client_to_am_token_master_key, master.attempt)


async def refused(server: RpcServer, token: TokenProto) -> str:
    client = await HadoopClient.open(server.address)
    client.writer.write(PREAMBLE + SASL)
    try:
        with pytest.raises(RemoteError) as raised:
            await client.prove(token)
        return raised.value.java_class
    finally:
        await client.close()


async def test_a_client_comes_in_at_the_master_by_the_token_of_the_report(yarn: Yarn) -> None:
    master = yarn.master(await yarn.submit())
    port = await registered(master)
    token = await token_of(yarn, master)
    echo = Echo()
    async with (
        running(echo.service(), authentication=Authentication(tokens=port.expected)) as server,
        await HadoopClient.connect(server.address, token=token) as client,
    ):
        await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    assert [caller.user for caller in echo.callers] == [ME]


async def test_a_wrong_a_foreign_and_an_earlier_attempts_token_are_refused_by_it(yarn: Yarn) -> None:
    first = yarn.master(await yarn.submit(maxAppAttempts=2))
    await registered(first)
    earlier = await token_of(yarn, first)
    other = yarn.master(await yarn.submit())
    foreign = await token_of(yarn, other)
    await first.exit(1)
    await yarn.life.settle()
    second = yarn.master(str(first.attempt.application), attempt=2)
    port = await registered(second)
    own = await token_of(yarn, second)
    wrong = TokenProto()
    wrong.CopyFrom(own)
    wrong.password = bytes(20)
    claims = ClientToAMTokenIdentifierProto.FromString(own.identifier)
    claims.clientName = "eve"
    forged = TokenProto()
    forged.CopyFrom(own)
    forged.identifier = claims.SerializeToString(deterministic=True)
    echo = Echo()
    async with running(echo.service(), authentication=Authentication(tokens=port.expected)) as server:
        for token in (wrong, forged, foreign, earlier):
            assert await refused(server, token) == "javax.security.sasl.SaslException"
        async with await HadoopClient.connect(server.address, token=own) as client:
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    assert len(echo.callers) == 1
