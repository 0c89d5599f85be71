from __future__ import annotations

import asyncio
import re

import pytest

from hrm.model.errors import Forbidden, StoreError
from hrm.testing.hadoop_client import PING, PREAMBLE, SIMPLE, HadoopClient, RemoteError, frame, request_header
from hrm.yarn.calls import RpcProtocol, Service
from hrm.yarn.errors import ApplicationNotFound
from hrm.yarn.proto.rpc_pb2 import RequestHeaderProto, RpcResponseHeaderProto
from hrm.yarn.proto.service_pb2 import (
    GetClusterMetricsRequestProto,
    GetClusterNodesRequestProto,
    GetQueueInfoRequestProto,
    GetQueueInfoResponseProto,
    KillApplicationRequestProto,
    MoveApplicationAcrossQueuesRequestProto,
    MoveApplicationAcrossQueuesResponseProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT
from tests.scenarios.yarn.running_rpc import ME, Echo, ask, running


async def test_a_call_is_answered_to_who_made_it() -> None:
    echo = Echo()
    async with running(echo.service()) as server, await HadoopClient.connect(server.address, user=ME) as client:
        answer = await client.call(APPLICATION_CLIENT, "getQueueInfo", ask("research"), retry_count=3)

    assert answer.queueInfo.queueName == f"{ME} research"
    (caller,) = echo.callers
    assert (caller.user, caller.real_user, caller.token, caller.attempt) == (ME, None, None, None)
    assert (caller.client_id, caller.call_id, caller.retry_count) == (client.client_id, 0, 3)
    assert caller.address[0] == "127.0.0.1"


async def test_the_header_of_an_answer_repeats_what_the_client_numbers_its_calls_by() -> None:
    async with running(Echo().service()) as server:
        client = await HadoopClient.open(server.address)
        client.writer.write(PREAMBLE + SIMPLE)
        client.introduce(ME)
        client.writer.write(client.call_frame(APPLICATION_CLIENT, "getQueueInfo", ask(), call_id=7, retry_count=2))
        header = RpcResponseHeaderProto.FromString((await client.answer())[0])
        await client.close()

    assert (header.callId, header.clientId, header.retryCount) == (7, client.client_id, 2)
    assert header.serverIpcVersionNum == 9


async def test_calls_of_one_connection_are_answered_as_they_are_done_not_in_their_order() -> None:
    echo = Echo()
    async with running(echo.service()) as server, await HadoopClient.connect(server.address, user=ME) as client:
        held = asyncio.create_task(
            client.call(APPLICATION_CLIENT, "forceKillApplication", KillApplicationRequestProto())
        )
        await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        assert not held.done()

        echo.go_on.set()

        assert (await held).is_kill_completed


async def test_bytes_may_come_one_by_one() -> None:
    async with running(Echo().service()) as server:
        client = await HadoopClient.open(server.address)
        written = PREAMBLE + SIMPLE
        client.writer.write(written[:1])
        for byte in written[1:]:
            client.writer.write(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        client.introduce(ME)
        for byte in client.call_frame(APPLICATION_CLIENT, "getQueueInfo", ask("slow"), call_id=0):
            client.writer.write(bytes((byte,)))
            await asyncio.sleep(0)

        answer = GetQueueInfoResponseProto.FromString((await client.answer())[1])
        await client.close()

    assert answer.queueInfo.queueName == f"{ME} slow"


async def test_a_ping_is_no_call_and_has_no_answer() -> None:
    async with running(Echo().service()) as server, await HadoopClient.connect(server.address, user=ME) as client:
        client.writer.write(frame(request_header(PING)))

        assert await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())


def raising(error: Exception) -> Service:
    def handler(request: object, caller: object) -> GetQueueInfoResponseProto:
        raise error

    return Service(APPLICATION_CLIENT, {"getQueueInfo": handler})


@pytest.mark.parametrize(
    ("error", "java_class", "message"),
    [
        (
            ApplicationNotFound("application_1_0001 is not known"),
            "org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException",
            "application_1_0001 is not known",
        ),
        (
            Forbidden("ada may not", next_step="ask"),
            "org.apache.hadoop.security.AccessControlException",
            "ada may not",
        ),
        (StoreError("the disk is full"), "org.apache.hadoop.ipc.RetriableException", "the disk is full"),
        (
            ZeroDivisionError("secret detail"),
            "org.apache.hadoop.yarn.exceptions.YarnException",
            r"incident [0-9a-f]{12}",
        ),
    ],
)
async def test_errors_reach_the_client_as_exceptions_that_it_knows_and_end_nothing(
    error: Exception, java_class: str, message: str
) -> None:
    async with running(raising(error)) as server, await HadoopClient.connect(server.address, user=ME) as client:
        for _ in range(2):
            with pytest.raises(RemoteError) as raised:
                await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())

            assert raised.value.java_class == java_class
            assert re.search(message, raised.value.message)
            assert "secret detail" not in raised.value.message
            assert not raised.value.fatal


async def test_a_method_that_is_not_supported_fails_at_once_at_the_client() -> None:
    # RpcNoSuchMethodException would have it ask again for minutes.
    async with running(Echo().service()) as server, await HadoopClient.connect(server.address, user=ME) as client:
        with pytest.raises(RemoteError) as raised:
            await client.call(APPLICATION_CLIENT, "getClusterMetrics", GetClusterMetricsRequestProto())

    assert raised.value.java_class == "java.lang.UnsupportedOperationException"


async def test_a_method_that_nobody_knows_is_answered_alike() -> None:
    async with running(Echo().service()) as server, await HadoopClient.connect(server.address, user=ME) as client:
        with pytest.raises(RemoteError) as raised:
            await client.call(APPLICATION_CLIENT, "getTheMoon", ask())

        assert raised.value.java_class == "java.lang.UnsupportedOperationException"
        assert await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())


async def test_a_protocol_that_nobody_knows_is_named_in_the_error() -> None:
    other = RpcProtocol("org.example.OtherPB", ())
    async with running(Echo().service()) as server, await HadoopClient.connect(server.address, user=ME) as client:
        with pytest.raises(RemoteError, match=r"org\.example\.OtherPB") as raised:
            await client.call(other, "getQueueInfo", ask())

        assert raised.value.java_class == "org.apache.hadoop.ipc.RpcNoSuchProtocolException"
        assert await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())


async def test_another_version_of_a_protocol_is_refused() -> None:
    async with running(Echo().service()) as server:
        client = await HadoopClient.open(server.address)
        client.writer.write(PREAMBLE + SIMPLE)
        client.introduce(ME)
        header = RequestHeaderProto(
            methodName="getQueueInfo", declaringClassProtocolName=APPLICATION_CLIENT.name, clientProtocolVersion=2
        )
        client.writer.write(frame(request_header(0), header, ask()))
        with pytest.raises(RemoteError) as raised:
            await client.answer()
        await client.close()

    assert raised.value.java_class == "org.apache.hadoop.ipc.RPC$VersionMismatch"


async def test_a_request_without_what_it_must_have_is_refused_and_the_connection_goes_on() -> None:
    service = Echo().service(moveApplicationAcrossQueues=lambda request, caller: request)
    async with running(service) as server, await HadoopClient.connect(server.address, user=ME) as client:
        with pytest.raises(RemoteError, match="lacks application_id, target_queue") as raised:
            await client.call(
                APPLICATION_CLIENT, "moveApplicationAcrossQueues", MoveApplicationAcrossQueuesRequestProto()
            )

        assert not raised.value.fatal
        assert await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())


async def test_text_that_is_no_utf8_is_refused() -> None:
    broken = b"\x0a\x02\xff\xfe"
    async with running(Echo().service()) as server:
        client = await HadoopClient.connect(server.address, user=ME)
        waiting = client._waiting[0] = asyncio.get_running_loop().create_future()
        client.writer.write(client.call_frame(APPLICATION_CLIENT, "getQueueInfo", broken, call_id=0))
        with pytest.raises(RemoteError, match="no UTF-8"):
            await waiting
        await client.close()


async def test_an_answer_that_lacks_what_it_must_have_is_an_error_not_silence() -> None:
    incomplete = MoveApplicationAcrossQueuesRequestProto()
    service = Echo().service(getResourceProfiles=lambda request, caller: incomplete)
    async with running(service) as server, await HadoopClient.connect(server.address, user=ME) as client:
        with pytest.raises(RemoteError, match="target_queue"):
            await client.call(APPLICATION_CLIENT, "getResourceProfiles", GetClusterNodesRequestProto())


async def test_an_answer_may_be_awaited() -> None:
    async def later(request: object, caller: object) -> MoveApplicationAcrossQueuesResponseProto:
        await asyncio.sleep(0)
        return MoveApplicationAcrossQueuesResponseProto()

    service = Echo().service(moveApplicationAcrossQueues=later)
    request = MoveApplicationAcrossQueuesRequestProto(target_queue="a")
    request.application_id.id = 1
    async with running(service) as server, await HadoopClient.connect(server.address, user=ME) as client:
        await client.call(APPLICATION_CLIENT, "moveApplicationAcrossQueues", request)


def test_a_service_has_no_handlers_for_methods_that_are_not_in_its_protocol() -> None:
    with pytest.raises(ValueError, match="getTheMoon"):
        Service(APPLICATION_CLIENT, {"getTheMoon": lambda request, caller: GetQueueInfoRequestProto()})
