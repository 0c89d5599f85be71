from __future__ import annotations

import struct

import pytest

from hrm.testing.conditions import eventually_async
from hrm.testing.hadoop_client import (
    CONTEXT,
    PREAMBLE,
    SASL,
    SASL_ID,
    SIMPLE,
    HadoopClient,
    RemoteError,
    frame,
    request_header,
)
from hrm.yarn.proto.rpc_pb2 import (
    RPC_WRITABLE,
    IpcConnectionContextProto,
    RpcRequestHeaderProto,
    RpcResponseHeaderProto,
    RpcSaslProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.limits import RpcLimits
from tests.scenarios.yarn.running_rpc import (
    ME,
    Echo,
    ask,
    gigabyte_header,
    open_door,
    refusal,
    running,
    said_to,
    secrets,
)

INVALID_HEADER = RpcResponseHeaderProto.FATAL_INVALID_RPC_HEADER


async def test_a_browser_on_the_port_is_told_so_in_http() -> None:
    async with running(Echo().service()) as server:
        answer = await said_to(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Hadoop IPC port" in answer


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n", b"\x00" * 100, b"hrpx\x09\x00\x00"])
async def test_what_is_no_client_of_hadoop_is_refused_at_its_first_bytes(garbage: bytes) -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, garbage)

    assert error.java_class == "org.apache.hadoop.ipc.RPC$VersionMismatch"
    assert error.code == RpcResponseHeaderProto.FATAL_VERSION_MISMATCH


async def test_another_version_of_the_rpc_is_named() -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, b"hrpc\x0a\x00\x00")

    assert error.message == "Server IPC version 9 cannot communicate with client version 10"
    assert error.java_class == "org.apache.hadoop.ipc.RPC$VersionMismatch"


async def test_another_way_to_come_in_than_simple_and_sasl_is_refused() -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, PREAMBLE + b"\x51")

    assert error.code == RpcResponseHeaderProto.FATAL_UNAUTHORIZED
    assert error.java_class == "org.apache.hadoop.ipc.IpcException"


async def test_simple_is_refused_where_it_is_not_enabled() -> None:
    tokens_alone = Authentication(tokens=secrets().amrm_verifier(lambda attempt: True))
    async with running(Echo().service(), authentication=tokens_alone) as server:
        error = await refusal(server, PREAMBLE + SIMPLE)

    assert error.java_class == "org.apache.hadoop.security.AccessControlException"
    assert error.message == "SIMPLE authentication is not enabled.  Available:[TOKEN]"


async def test_a_frame_of_a_gigabyte_is_refused_by_its_header_and_costs_nothing() -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, PREAMBLE + SIMPLE + gigabyte_header())

        assert "longer than maximum" in error.message
        assert server.hub.buffered_bytes == 0


async def test_who_has_not_said_who_it_is_may_send_small_frames_alone() -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, PREAMBLE + SIMPLE + struct.pack(">i", 1 << 20))

    assert "longer than maximum" in error.message


async def test_a_frame_that_is_too_large_ends_the_connection_of_a_user_too() -> None:
    limits = RpcLimits(max_frame_bytes=1000)
    async with running(Echo().service(), limits=limits) as server:
        client = await HadoopClient.connect(server.address, user=ME)
        with pytest.raises(RemoteError, match="longer than maximum"):
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask("x" * 2000))
        await client.close()


@pytest.mark.parametrize("length", [0, -1, -(1 << 31)])
async def test_a_frame_without_a_length_above_zero_is_refused(length: int) -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, PREAMBLE + SIMPLE + struct.pack(">i", length))

    assert "not above zero" in error.message


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x80\x80\x80\x80\x80\x01",  # a length without an end
        b"\xff\xff\xff\xff\x07",  # of two gigabytes
        b"\x05ab",  # of more than there is
        b"\x02\xff\xff",  # no header
        b"\x02\x18\x05",  # one that lacks the id of its client
    ],
)
async def test_a_frame_that_cannot_be_read_ends_the_connection(content: bytes) -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, PREAMBLE + SIMPLE + struct.pack(">i", len(content)) + content)

    assert error.code == RpcResponseHeaderProto.FATAL_DESERIALIZING_REQUEST


def header_of_another_kind() -> RpcRequestHeaderProto:
    header = request_header(0)
    header.rpcKind = RPC_WRITABLE
    return header


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (frame(request_header(0), b"", b""), "Connection context not established"),
        (frame(request_header(-77)), "Unknown out of band call #-77"),
        (frame(RpcRequestHeaderProto(callId=0, clientId=b"")), "rpc header operation"),
        (
            frame(RpcRequestHeaderProto(callId=0, clientId=b"", rpcOp=RpcRequestHeaderProto.RPC_FINAL_PACKET)),
            "No rpc kind",
        ),
        (
            frame(RpcRequestHeaderProto(callId=0, clientId=b"", rpcOp=RpcRequestHeaderProto.RPC_CLOSE_CONNECTION)),
            "rpc header operation",
        ),
        (frame(request_header(SASL_ID), RpcSaslProto(state=RpcSaslProto.NEGOTIATE)), "SASL protocol not requested"),
    ],
)
async def test_a_client_that_does_not_keep_to_the_order_of_things_is_refused(sent: bytes, message: str) -> None:
    async with running(Echo().service()) as server:
        error = await refusal(server, PREAMBLE + SIMPLE + sent)

    assert message in error.message
    assert error.code == INVALID_HEADER


async def test_calls_of_another_kind_than_protobuf_are_refused() -> None:
    async with running(Echo().service()) as server:
        client = await HadoopClient.open(server.address)
        client.writer.write(PREAMBLE + SIMPLE)
        client.introduce(ME)
        client.writer.write(frame(header_of_another_kind(), b"", b""))
        with pytest.raises(RemoteError, match="Unknown rpc kind"):
            await client.answer()
        await client.close()


async def test_nobody_says_who_it_is_twice() -> None:
    async with running(Echo().service()) as server:
        client = await HadoopClient.open(server.address)
        client.writer.write(PREAMBLE + SIMPLE)
        client.introduce(ME)
        client.introduce("root")
        with pytest.raises(RemoteError, match="already processed"):
            await client.answer()
        await client.close()


async def test_a_context_before_the_proof_is_refused() -> None:
    async with running(Echo().service()) as server:
        error = await refusal(
            server, PREAMBLE + SASL + frame(request_header(CONTEXT), IpcConnectionContextProto(protocol="p"))
        )

    assert "during SASL negotiation" in error.message


@pytest.mark.parametrize("begun", [b"", b"hr", PREAMBLE, PREAMBLE + SIMPLE, PREAMBLE + SIMPLE + b"\x00\x00\x00\x40ab"])
async def test_who_begins_and_says_nothing_more_is_let_go(begun: bytes) -> None:
    limits = RpcLimits(handshake_timeout_s=0.05)
    async with running(Echo().service(), limits=limits) as server:
        assert await said_to(server, begun) == b""

        await eventually_async(lambda: not server.hub.guests)


async def test_half_a_frame_is_waited_for_so_long_and_no_longer() -> None:
    limits = RpcLimits(idle_timeout_s=0.05)
    async with running(Echo().service(), limits=limits) as server:
        client = await HadoopClient.connect(server.address, user=ME)
        client.writer.write(client.call_frame(APPLICATION_CLIENT, "getQueueInfo", ask(), call_id=0)[:-1])

        await eventually_async(lambda: not server.hub.guests, 30)
        await client.close()
        assert server.hub.buffered_bytes == 0


async def test_unfinished_frames_of_all_together_have_a_limit() -> None:
    limits = RpcLimits(max_buffered_bytes=100_000)
    async with running(Echo().service(), limits=limits) as server:
        client = await HadoopClient.connect(server.address, user=ME)
        client.writer.write(struct.pack(">i", 10_000_000) + b"x" * 200_000)
        with pytest.raises((RemoteError, OSError)):
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        await client.close()

        await eventually_async(lambda: server.hub.buffered_bytes == 0)


async def test_others_are_served_while_somebody_talks_nonsense() -> None:
    async with (
        running(Echo().service(), authentication=open_door()) as server,
        await HadoopClient.connect(server.address, user=ME) as client,
    ):
        for garbage in (b"x", gigabyte_header(), PREAMBLE + SASL + gigabyte_header(), b"GET / HTTP/1.0\r\n\r\n"):
            await said_to(server, garbage)

            assert await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
