"""Who comes in with a token, and who does not: by a client made by hand, which also does what Java's never would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from hrm.api.accounts import Accounts
from hrm.model.ids import ApplicationId, AttemptId
from hrm.testing.hadoop_client import (
    PREAMBLE,
    SASL,
    SASL_ID,
    HadoopClient,
    RemoteError,
    digest_response,
    frame,
    request_header,
)
from hrm.yarn.calls import TokenKind
from hrm.yarn.proto.identifiers_pb2 import AMRMTokenIdentifierProto
from hrm.yarn.proto.records_pb2 import NodeIdProto
from hrm.yarn.proto.rpc_pb2 import RpcSaslProto
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.rpc.simple import SimpleDoor
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import TokenState
from tests.scenarios.yarn.running_rpc import ATTEMPT, ME, NOW, Echo, ask, running, secrets

SASL_EXCEPTION = "javax.security.sasl.SaslException"
INVALID_TOKEN = "org.apache.hadoop.security.token.SecretManager$InvalidToken"
ACCESS_CONTROL = "org.apache.hadoop.security.AccessControlException"
OTHER_ATTEMPT = AttemptId(ApplicationId(1763900000000, 17), 2)
NODE = NodeIdProto(host="node1", port=45454)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def issuer() -> TokenSecrets:
    return secrets()


@pytest.fixture
async def masters(echo: Echo, issuer: TokenSecrets) -> AsyncIterator[RpcServer]:
    """A port for masters; those of the first attempt may speak."""
    authentication = Authentication(tokens=issuer.amrm_verifier(lambda attempt: attempt == ATTEMPT))
    async with running(echo.service(), authentication=authentication) as server:
        yield server


async def refused(server: RpcServer, token: TokenProto, **changed: str) -> RemoteError:
    client = await HadoopClient.open(server.address)
    client.writer.write(PREAMBLE + SASL)
    try:
        with pytest.raises(RemoteError) as raised:
            await client.prove(token, **changed)
        assert raised.value.fatal
        assert await client.reader.read() == b""
        return raised.value
    finally:
        await client.close()


async def test_a_master_comes_in_with_its_token_and_is_its_attempt(
    masters: RpcServer, issuer: TokenSecrets, echo: Echo
) -> None:
    async with await HadoopClient.connect(masters.address, token=issuer.issue_amrm(ATTEMPT)) as client:
        await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())

    (caller,) = echo.callers
    assert caller.attempt == ATTEMPT
    assert caller.user == "appattempt_1763900000000_0017_000001"
    assert caller.token is not None and caller.token.kind == TokenKind.AMRM
    assert not caller.admin


async def test_the_offer_is_a_challenge_and_never_success(masters: RpcServer) -> None:
    # Clients would take success, and then two masters of one user could not be told apart.
    client = await HadoopClient.open(masters.address)
    client.writer.write(PREAMBLE + SASL)
    offer = await client.sasl(RpcSaslProto(state=RpcSaslProto.NEGOTIATE))
    await client.close()

    assert offer.state == RpcSaslProto.NEGOTIATE
    (auth,) = offer.auths
    assert (auth.method, auth.mechanism, auth.protocol, auth.serverId) == ("TOKEN", "DIGEST-MD5", "", "default")
    assert auth.challenge.startswith(b'realm="default",nonce="')
    assert auth.challenge.endswith(b',qop="auth",charset=utf-8,algorithm=md5-sess')


async def test_a_wrong_password_is_refused(masters: RpcServer, issuer: TokenSecrets) -> None:
    token = issuer.issue_amrm(ATTEMPT)
    token.password = b"x" * 20

    error = await refused(masters, token)

    assert error.java_class == SASL_EXCEPTION
    assert "not made with this token's password" in error.message


async def test_a_token_of_another_server_is_refused(masters: RpcServer) -> None:
    assert (await refused(masters, secrets().issue_amrm(ATTEMPT))).java_class == SASL_EXCEPTION


async def test_an_attempt_cannot_take_on_the_name_of_another(masters: RpcServer, issuer: TokenSecrets) -> None:
    token = issuer.issue_amrm(OTHER_ATTEMPT)
    token.identifier = issuer.issue_amrm(ATTEMPT).identifier

    assert (await refused(masters, token)).java_class == SASL_EXCEPTION


async def test_the_token_of_an_attempt_that_is_over_is_refused(masters: RpcServer, issuer: TokenSecrets) -> None:
    error = await refused(masters, issuer.issue_amrm(OTHER_ATTEMPT))

    assert error.java_class == INVALID_TOKEN
    assert "appattempt_1763900000000_0017_000002" in error.message


async def test_a_token_of_a_key_that_is_not_there_is_refused(masters: RpcServer, issuer: TokenSecrets) -> None:
    token = issuer.issue_amrm(ATTEMPT)
    identifier = AMRMTokenIdentifierProto.FromString(token.identifier)
    identifier.keyId = 99
    token.identifier = identifier.SerializeToString()

    assert (await refused(masters, token)).java_class == INVALID_TOKEN


@pytest.mark.parametrize(
    "issue",
    [
        lambda issuer: issuer.issue_nm(ATTEMPT, NODE, "ada"),
        lambda issuer: issuer.issue_client_to_am(ATTEMPT, "ada"),
    ],
    ids=["NM", "client to AM"],
)
async def test_tokens_of_another_kind_are_refused(
    masters: RpcServer, issuer: TokenSecrets, issue: Callable[[TokenSecrets], TokenProto]
) -> None:
    assert (await refused(masters, issue(issuer))).java_class in (SASL_EXCEPTION, INVALID_TOKEN)


@pytest.mark.parametrize("identifier", [b"", b"\xff\xff", b"\x0a\x00", b"\x10\x01"])
async def test_an_identifier_that_says_nothing_is_refused(masters: RpcServer, identifier: bytes) -> None:
    assert (await refused(masters, TokenProto(identifier=identifier, password=b"x"))).java_class in (
        INVALID_TOKEN,
        SASL_EXCEPTION,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"nc": "00000002"},
        {"nonce": "another"},
        {"realm": "elsewhere"},
        {"qop": "auth-conf"},
        {"digest_uri": "/elsewhere"},
        {"authzid": "root"},
        {"response": "0" * 32},
        {"response": "é"},
        {"username": "no base64!"},
        {"cnonce": ""},
    ],
    ids=str,
)
async def test_a_response_that_differs_in_anything_is_refused(
    masters: RpcServer, issuer: TokenSecrets, changed: dict[str, str]
) -> None:
    error = await refused(masters, issuer.issue_amrm(ATTEMPT), **changed)

    assert error.java_class in (SASL_EXCEPTION, INVALID_TOKEN)


async def test_a_response_that_was_overheard_is_of_no_use_on_another_connection(
    masters: RpcServer, issuer: TokenSecrets
) -> None:
    token = issuer.issue_amrm(ATTEMPT)
    overheard = await HadoopClient.open(masters.address)
    overheard.writer.write(PREAMBLE + SASL)
    offer = await overheard.sasl(RpcSaslProto(state=RpcSaslProto.NEGOTIATE))
    _, response = digest_response(offer.auths[0].challenge, token)
    await overheard.close()

    thief = await HadoopClient.open(masters.address)
    thief.writer.write(PREAMBLE + SASL)
    await thief.sasl(RpcSaslProto(state=RpcSaslProto.NEGOTIATE))
    again = RpcSaslProto(state=RpcSaslProto.INITIATE, token=response)
    again.auths.add(method="TOKEN", mechanism="DIGEST-MD5", protocol="", serverId="default")
    with pytest.raises(RemoteError, match="another nonce"):
        await thief.sasl(again)
    await thief.close()


async def test_with_a_token_nobody_is_somebody_else(masters: RpcServer, issuer: TokenSecrets) -> None:
    client = await HadoopClient.connect(masters.address, token=issuer.issue_amrm(ATTEMPT), user="root")
    with pytest.raises(RemoteError, match="doesn't match") as raised:
        await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    await client.close()

    assert raised.value.java_class == ACCESS_CONTROL


async def test_a_call_without_the_proof_is_refused(masters: RpcServer) -> None:
    client = await HadoopClient.open(masters.address)
    client.writer.write(PREAMBLE + SASL)
    await client.sasl(RpcSaslProto(state=RpcSaslProto.NEGOTIATE))
    client.introduce(ME)
    with pytest.raises(RemoteError, match="during SASL negotiation"):
        await client.answer()
    await client.close()


def choosing(method: str, mechanism: str = "") -> RpcSaslProto:
    message = RpcSaslProto(state=RpcSaslProto.INITIATE)
    message.auths.add(method=method, mechanism=mechanism)
    return message


NEGOTIATE = RpcSaslProto(state=RpcSaslProto.NEGOTIATE)


@pytest.mark.parametrize(
    ("messages", "java_class"),
    [
        ([NEGOTIATE, NEGOTIATE], ACCESS_CONTROL),
        ([NEGOTIATE, choosing("SIMPLE")], ACCESS_CONTROL),
        ([NEGOTIATE, choosing("KERBEROS", "GSSAPI")], ACCESS_CONTROL),
        ([NEGOTIATE, choosing("TOKEN", "DIGEST-MD5")], SASL_EXCEPTION),
        ([NEGOTIATE, RpcSaslProto(state=RpcSaslProto.INITIATE)], SASL_EXCEPTION),
        ([RpcSaslProto(state=RpcSaslProto.RESPONSE, token=b"x")], SASL_EXCEPTION),
        ([RpcSaslProto(state=RpcSaslProto.SUCCESS)], SASL_EXCEPTION),
        ([RpcSaslProto(state=RpcSaslProto.WRAP, token=b"x")], SASL_EXCEPTION),
        ([NEGOTIATE, RpcSaslProto(state=RpcSaslProto.RESPONSE, token=b"x" * 20_000)], SASL_EXCEPTION),
        ([NEGOTIATE, RpcSaslProto(state=RpcSaslProto.RESPONSE, token=b'username="a",username="b"')], SASL_EXCEPTION),
        ([NEGOTIATE, RpcSaslProto(state=RpcSaslProto.RESPONSE, token=b"\xff")], SASL_EXCEPTION),
    ],
)
async def test_steps_out_of_order_end_the_exchange(
    masters: RpcServer, messages: list[RpcSaslProto], java_class: str
) -> None:
    client = await HadoopClient.open(masters.address)
    client.writer.write(PREAMBLE + SASL)
    for message in messages[:-1]:
        await client.sasl(message)
    with pytest.raises(RemoteError) as raised:
        await client.sasl(messages[-1])
    await client.close()

    assert raised.value.java_class == java_class


async def test_a_proof_is_made_once(masters: RpcServer, issuer: TokenSecrets) -> None:
    client = await HadoopClient.open(masters.address)
    client.writer.write(PREAMBLE + SASL)
    await client.prove(issuer.issue_amrm(ATTEMPT))
    client.writer.write(frame(request_header(SASL_ID), NEGOTIATE))
    with pytest.raises(RemoteError, match="already complete"):
        await client.answer()
    await client.close()


async def test_a_client_without_a_fitting_token_goes_on_by_simple_where_that_is_enabled(echo: Echo) -> None:
    # A program that has tokens for something else begins with SASL all the same.
    both = Authentication(tokens=secrets().delegation_verifier(), simple=SimpleDoor(Accounts()))
    async with running(echo.service(), authentication=both) as server:
        client = await HadoopClient.open(server.address)
        client.writer.write(PREAMBLE + SASL)
        offer = await client.sasl(NEGOTIATE)
        assert [auth.method for auth in offer.auths] == ["TOKEN", "SIMPLE"]
        client.writer.write(frame(request_header(SASL_ID), choosing("SIMPLE")))
        client.introduce(ME)
        client.listen()
        answer = await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        await client.close()

    assert answer.queueInfo.queueName == f"{ME} x"


async def test_a_delegation_token_is_its_owner_until_it_is_cancelled(echo: Echo, issuer: TokenSecrets) -> None:
    token = await issuer.issue_delegation("ada", "oozie", real_user="gateway")
    by_token = Authentication(tokens=issuer.delegation_verifier())
    async with running(echo.service(), authentication=by_token) as server:
        async with await HadoopClient.connect(server.address, token=token) as client:
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        assert (echo.callers[0].user, echo.callers[0].real_user) == ("ada", "gateway")
        assert echo.callers[0].attempt is None

        await issuer.cancel_delegation(token, by="ada")

        assert (await refused(server, token)).java_class == INVALID_TOKEN


async def test_a_node_knows_the_masters_of_its_own_tokens_alone(echo: Echo, issuer: TokenSecrets) -> None:
    elsewhere = NodeIdProto(host="node2", port=45454)
    by_token = Authentication(tokens=issuer.nm_verifier(NODE))
    async with running(echo.service(), authentication=by_token) as server:
        async with await HadoopClient.connect(server.address, token=issuer.issue_nm(ATTEMPT, NODE, "ada")) as client:
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        assert echo.callers[0].attempt == ATTEMPT

        error = await refused(server, issuer.issue_nm(ATTEMPT, elsewhere, "ada"))

    assert error.java_class == INVALID_TOKEN
    assert "node2:45454" in error.message


async def test_tokens_outlive_their_key_for_a_while_and_then_expire(echo: Echo) -> None:
    now = NOW
    issuer = TokenSecrets(TokenState.new(NOW), lambda data: None, clock=lambda: now)
    token = issuer.issue_amrm(ATTEMPT)
    day_s = 86_400.0
    by_token = Authentication(tokens=issuer.amrm_verifier(lambda attempt: True))
    running_server: AbstractAsyncContextManager[RpcServer] = running(echo.service(), authentication=by_token)
    async with running_server as server:
        now = NOW + day_s
        await issuer.roll()
        async with await HadoopClient.connect(server.address, token=token) as client:
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        held = echo.callers[0].token
        assert held is not None
        renewed = issuer.renew_amrm(held)
        assert renewed is not None, "its master is given one of the new key"

        now = NOW + 2 * day_s

        assert (await refused(server, token)).java_class == INVALID_TOKEN
        async with await HadoopClient.connect(server.address, token=renewed) as client:
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
