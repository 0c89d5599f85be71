from __future__ import annotations

import asyncio
import contextlib
import gc
import struct
import threading
import tracemalloc

import pytest

from hrm.testing.conditions import eventually_async
from hrm.testing.hadoop_client import (
    PREAMBLE,
    SASL,
    SASL_ID,
    SIMPLE,
    HadoopClient,
    RemoteError,
    frame,
    request_header,
)
from hrm.yarn.proto.rpc_pb2 import RpcSaslProto
from hrm.yarn.proto.service_pb2 import (
    GetApplicationsRequestProto,
    GetNewApplicationRequestProto,
    KillApplicationRequestProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.limits import RpcLimits
from hrm.yarn.rpc.server import RpcServer
from tests.scenarios.yarn.running_rpc import ME, Echo, ask, gigabyte_header, open_door, running, said_to


async def held_call(client: HadoopClient) -> object:
    return await client.call(APPLICATION_CLIENT, "getNewApplication", GetNewApplicationRequestProto())


async def kill(client: HadoopClient, call_id: int) -> object:
    return await client.call(
        APPLICATION_CLIENT, "forceKillApplication", KillApplicationRequestProto(), call_id=call_id, retry_count=1
    )


async def test_one_connection_has_so_many_calls_under_way_and_the_others_wait() -> None:
    echo = Echo()
    limits = RpcLimits(max_calls_per_connection=3)
    async with (
        running(echo.service(), limits=limits) as server,
        await HadoopClient.connect(server.address, user=ME) as client,
    ):
        calls = [asyncio.create_task(held_call(client)) for _ in range(20)]
        await eventually_async(lambda: echo.begun == 3)
        async with await HadoopClient.connect(server.address, user=ME) as other:
            assert await other.call(APPLICATION_CLIENT, "getQueueInfo", ask()), "nobody else waits for them"
        assert echo.begun == 3

        echo.go_on.set()

        await asyncio.gather(*calls)
        assert echo.most_at_once == 3
        assert server.hub.calls == 0


async def test_all_connections_together_have_so_many_calls_under_way_and_each_gets_its_turn() -> None:
    echo = Echo()
    limits = RpcLimits(max_calls=2)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(echo.service(), limits=limits))
        clients = [
            await stack.enter_async_context(await HadoopClient.connect(server.address, user=ME)) for _ in range(5)
        ]
        calls = [asyncio.create_task(held_call(client)) for client in clients for _ in range(4)]
        await eventually_async(lambda: echo.begun == 2)

        echo.go_on.set()

        await asyncio.gather(*calls)
        assert echo.most_at_once == 2
        assert server.hub.calls == 0


async def test_a_call_that_takes_too_long_is_given_up_and_its_client_told_to_ask_again() -> None:
    echo = Echo()
    limits = RpcLimits(call_timeout_s=0.05)
    async with (
        running(echo.service(), limits=limits) as server,
        await HadoopClient.connect(server.address, user=ME) as client,
    ):
        with pytest.raises(RemoteError, match="getNewApplication was not done within") as raised:
            await held_call(client)

        assert raised.value.java_class == "org.apache.hadoop.ipc.RetriableException"
        assert echo.cancelled == 1
        assert await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())


async def test_a_call_whose_client_goes_is_given_up() -> None:
    echo = Echo()
    async with running(echo.service()) as server:
        client = await HadoopClient.connect(server.address, user=ME)
        call = asyncio.create_task(held_call(client))
        await eventually_async(lambda: echo.begun == 1)

        await client.close()

        await eventually_async(lambda: echo.cancelled == 1)
        await eventually_async(lambda: server.hub.calls == 0)
        with pytest.raises((ConnectionError, asyncio.CancelledError)):
            call.cancel()
            await call


async def test_a_client_that_takes_no_answers_is_not_read_from_and_then_let_go() -> None:
    echo = Echo()
    limits = RpcLimits(write_timeout_s=0.05)
    async with running(echo.service(), limits=limits) as server:
        client = await HadoopClient.open(server.address)
        client.writer.transport.pause_reading()
        client.writer.write(b"hrpc\x09\x00\x00")
        client.introduce(ME)
        ask_much = GetApplicationsRequestProto(limit=1 << 20)
        for call_id in range(200):
            client.writer.write(client.call_frame(APPLICATION_CLIENT, "getApplications", ask_much, call_id=call_id))

        await eventually_async(lambda: echo.large_answers > 0, 30)
        await eventually_async(lambda: not server.hub.guests, 30)
        assert echo.large_answers < 200
        client.writer.transport.abort()


async def test_an_answer_that_is_too_large_is_an_error_instead() -> None:
    limits = RpcLimits(max_frame_bytes=10_000)
    async with (
        running(Echo().service(), limits=limits) as server,
        await HadoopClient.connect(server.address, user=ME) as client,
    ):
        with pytest.raises(RemoteError, match="ask for less"):
            await client.call(APPLICATION_CLIENT, "getApplications", GetApplicationsRequestProto(limit=20_000))

        assert await client.call(APPLICATION_CLIENT, "getApplications", GetApplicationsRequestProto(limit=100))


async def is_served(server: RpcServer) -> bool:
    try:
        async with await HadoopClient.connect(server.address, user=ME) as client:
            await client.call(APPLICATION_CLIENT, "getQueueInfo", ask())
    except OSError:
        return False
    return True


@pytest.mark.parametrize("limits", [RpcLimits(max_connections=2), RpcLimits(max_connections_per_address=2)])
async def test_connections_are_so_many_and_one_that_ends_makes_room(limits: RpcLimits) -> None:
    async with running(Echo().service(), limits=limits) as server:
        first = await HadoopClient.connect(server.address, user=ME)
        second = await HadoopClient.connect(server.address, user=ME)
        await second.call(APPLICATION_CLIENT, "getQueueInfo", ask())
        assert not await is_served(server)

        await first.close()

        await eventually_async(lambda: is_served(server), 30)
        await second.close()


async def test_a_connection_that_is_idle_ends_and_one_with_a_call_under_way_does_not() -> None:
    echo = Echo()
    limits = RpcLimits(idle_timeout_s=0.05)
    async with running(echo.service(), limits=limits) as server:
        busy = await HadoopClient.connect(server.address, user=ME)
        call = asyncio.create_task(held_call(busy))
        await eventually_async(lambda: echo.begun == 1)
        idle = await HadoopClient.connect(server.address, user=ME)

        await eventually_async(lambda: idle.ended, 30)

        assert not call.done()
        echo.go_on.set()
        await call
        await idle.close()
        await busy.close()


async def test_a_call_that_is_repeated_is_done_once_and_answered_again() -> None:
    echo = Echo()
    echo.go_on.set()
    async with running(echo.service()) as server:
        first = await HadoopClient.connect(server.address, user=ME, client_id=b"c" * 16)
        answer = await kill(first, 5)
        await first.close()

        async with await HadoopClient.connect(server.address, user=ME, client_id=b"c" * 16) as second:
            assert await kill(second, 5) == answer
            assert echo.begun == 1
            await kill(second, 6)

    assert echo.begun == 2


async def test_a_call_that_is_repeated_while_it_is_under_way_is_waited_for() -> None:
    echo = Echo()
    async with running(echo.service()) as server:
        first = await HadoopClient.connect(server.address, user=ME, client_id=b"c" * 16)
        lost = asyncio.create_task(kill(first, 5))
        await eventually_async(lambda: echo.begun == 1)
        await first.close()
        async with await HadoopClient.connect(server.address, user=ME, client_id=b"c" * 16) as second:
            repeated = asyncio.create_task(kill(second, 5))
            await eventually_async(lambda: server.hub.calls == 1)

            echo.go_on.set()

            assert (await repeated).is_kill_completed  # type: ignore[attr-defined]
        lost.cancel()

    assert (echo.begun, echo.cancelled) == (1, 0)


async def test_nobody_gets_the_kept_answer_of_another_user() -> None:
    echo = Echo()
    echo.go_on.set()
    accounts_of_root = open_door(owner_of=lambda theirs, ours: 0)
    async with running(echo.service(), authentication=accounts_of_root) as server:
        async with await HadoopClient.connect(server.address, user="ada", client_id=b"c" * 16) as ada:
            await kill(ada, 5)
        async with await HadoopClient.connect(server.address, user="bob", client_id=b"c" * 16) as bob:
            await kill(bob, 5)

    assert echo.begun == 2


async def test_kept_answers_are_so_many_and_go_with_time() -> None:
    echo = Echo()
    echo.go_on.set()
    limits = RpcLimits(max_kept_answers=10, kept_s=0.5)
    async with (
        running(echo.service(), limits=limits) as server,
        await HadoopClient.connect(server.address, user=ME) as client,
    ):
        for call_id in range(30):
            await kill(client, call_id)
            assert len(server.hub.kept) <= 10

        await eventually_async(lambda: len(server.hub.kept) == 0, 30)
        assert server.hub.kept.size_bytes == 0


async def test_what_failed_is_tried_again_when_it_is_repeated() -> None:
    tries = 0

    def failing(request: object, caller: object) -> KillApplicationRequestProto:
        nonlocal tries
        tries += 1
        raise ValueError("no")

    async with (
        running(Echo().service(forceKillApplication=failing)) as server,
        await HadoopClient.connect(server.address, user=ME) as client,
    ):
        for _ in range(2):
            with pytest.raises(RemoteError):
                await kill(client, 5)

    assert tries == 2


async def test_who_goes_while_it_is_looked_up_who_it_is_makes_room_at_once() -> None:
    told = threading.Event()
    slow = open_door(owner_of=lambda theirs, ours: 0 if told.wait(60) else None)
    async with running(Echo().service(), authentication=slow) as server:
        clients = [await HadoopClient.connect(server.address, user=ME) for _ in range(5)]
        await eventually_async(lambda: len(server.hub.guests) == 5, 30)

        for client in clients:
            await client.close()

        await eventually_async(lambda: not server.hub.guests, 30)
        told.set()


async def test_what_is_sent_while_it_is_looked_up_who_it_is_has_a_limit_and_is_answered_after() -> None:
    told = threading.Event()
    slow = open_door(owner_of=lambda theirs, ours: 0 if told.wait(60) else None)
    limits = RpcLimits(max_handshake_frame_bytes=2000)
    async with running(Echo().service(), authentication=slow, limits=limits) as server:
        client = await HadoopClient.connect(server.address, user=ME)
        calls = [
            asyncio.create_task(client.call(APPLICATION_CLIENT, "getQueueInfo", ask("x" * 1_000_000)))
            for _ in range(10)
        ]
        await eventually_async(lambda: server.hub.buffered_bytes > 2000, 30)
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.hub.buffered_bytes < 1_000_000

        told.set()

        assert len(await asyncio.gather(*calls)) == 10
        await client.close()


def test_a_process_that_may_open_few_files_takes_fewer_connections() -> None:
    few = RpcLimits().within(1024)

    assert (few.max_connections, few.max_connections_per_address) == (256, 224)
    assert RpcLimits().within(20_000) == RpcLimits()
    assert RpcLimits().within(2).max_connections_per_address == 1


async def garbage_of_all_kinds(server: RpcServer) -> None:
    """What cannot be understood, at each step of a connection, and calls that are done once."""
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        PREAMBLE + SIMPLE + gigabyte_header(),
        PREAMBLE + SIMPLE + struct.pack(">i", 5) + b"\x02\xff\xff\xff\xff",
        PREAMBLE + SASL + frame(request_header(SASL_ID), RpcSaslProto(state=RpcSaslProto.RESPONSE, token=b"x" * 1000)),
    ):
        await said_to(server, data)
    async with await HadoopClient.connect(server.address, user=ME) as client:
        for method in ("getTheMoon" * 1000, "getClusterMetrics"):
            with pytest.raises(RemoteError):
                await client.call(APPLICATION_CLIENT, method, ask("y" * 10_000))
        await kill(client, 1)
        client.writer.write(client.call_frame(APPLICATION_CLIENT, "getQueueInfo", ask("z" * 50_000), call_id=2)[:-1])


async def test_garbage_takes_no_memory_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    echo.go_on.set()
    limits = RpcLimits(max_kept_answers=10, max_kept_bytes=10_000)
    async with running(echo.service(), limits=limits) as server:

        async def rounds(count: int) -> int:
            """Bytes that are held after so many rounds."""
            for _ in range(count):
                await garbage_of_all_kinds(server)
            await eventually_async(lambda: not server.hub.guests, 30)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            await rounds(10)
            before = await rounds(1)
            grown = await rounds(25) - before
        finally:
            tracemalloc.stop()
    # A round opens six connections and sends 80 KB.
    assert grown < 20_000, f"{grown} bytes stay"
