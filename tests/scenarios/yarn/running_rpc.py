"""An RPC server for tests, with methods that say who called and what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Mapping

from google.protobuf.message import Message

from hrm.api.accounts import Accounts
from hrm.model.ids import ApplicationId, AttemptId
from hrm.testing.hadoop_client import HadoopClient, RemoteError
from hrm.yarn.calls import Caller, Handler, Service
from hrm.yarn.proto.service_pb2 import (
    GetApplicationsRequestProto,
    GetApplicationsResponseProto,
    GetNewApplicationRequestProto,
    GetNewApplicationResponseProto,
    GetQueueInfoRequestProto,
    GetQueueInfoResponseProto,
    KillApplicationRequestProto,
    KillApplicationResponseProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.hub import Authentication
from hrm.yarn.rpc.limits import RpcLimits
from hrm.yarn.rpc.server import RpcServer
from hrm.yarn.rpc.simple import SimpleDoor
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import TokenState

ME = pwd.getpwuid(os.geteuid()).pw_name
ATTEMPT = AttemptId(ApplicationId(1763900000000, 17), 1)
NOW = 1_763_900_000.0


def ask(name: str = "x") -> GetQueueInfoRequestProto:
    """What `Echo` answers with who called, and ``name``."""
    return GetQueueInfoRequestProto(queueName=name)


class Echo:
    """Answers getQueueInfo; holds getNewApplication and forceKillApplication back until it is told to go on."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.begun = 0
        self.large_answers = 0
        self.most_at_once = 0
        self._at_once = 0
        self.cancelled = 0
        self.go_on = asyncio.Event()

    def service(self, **more: Handler) -> Service:
        handlers: Mapping[str, Handler] = {
            "getQueueInfo": self._queue_info,
            "getApplications": self._large,
            "getNewApplication": self._held,
            "forceKillApplication": self._held,
            **more,
        }
        return Service(APPLICATION_CLIENT, handlers, changes=frozenset({"forceKillApplication"}))

    def _queue_info(self, request: Message, caller: Caller) -> Message:
        assert isinstance(request, GetQueueInfoRequestProto)
        self.callers.append(caller)
        answer = GetQueueInfoResponseProto()
        answer.queueInfo.queueName = f"{caller.user} {request.queueName}"
        return answer

    def _large(self, request: Message, caller: Caller) -> Message:
        assert isinstance(request, GetApplicationsRequestProto)
        self.large_answers += 1
        answer = GetApplicationsResponseProto()
        answer.applications.add(name="x" * request.limit)
        return answer

    async def _held(self, request: Message, caller: Caller) -> Message:
        assert isinstance(request, (KillApplicationRequestProto, GetNewApplicationRequestProto))
        self.begun += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self._at_once -= 1
        if isinstance(request, GetNewApplicationRequestProto):
            return GetNewApplicationResponseProto()
        return KillApplicationResponseProto(is_kill_completed=True)


def secrets(clock: float = NOW) -> TokenSecrets:
    """Of a server that keeps nothing."""
    return TokenSecrets(TokenState.new(clock), lambda data: None, clock=lambda: clock)


def open_door(**more: object) -> Authentication:
    """`simple` alone, as on this machine."""
    return Authentication(simple=SimpleDoor(Accounts(), **more))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(
    *services: Service,
    authentication: Authentication | None = None,
    limits: RpcLimits | None = None,
) -> AsyncIterator[RpcServer]:
    """On a free port of the loopback; it looks for what has lasted too long a hundred times a second."""
    server = RpcServer(services, authentication or open_door(), limits, sweep_s=0.01)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    await server.start(listening)
    try:
        yield server
    finally:
        await server.close()


async def said_to(server: RpcServer, data: bytes) -> bytes:
    """All that the server says to these bytes until it closes the connection."""
    client = await HadoopClient.open(server.address)
    client.writer.write(data)
    try:
        async with asyncio.timeout(30):
            return await client.reader.read()
    except ConnectionResetError:
        return b""
    finally:
        await client.close()


async def refusal(server: RpcServer, data: bytes) -> RemoteError:
    """The error that the server ends the connection with."""
    client = await HadoopClient.open(server.address)
    client.writer.write(data)
    try:
        async with asyncio.timeout(30):
            await client.answer()
    except RemoteError as error:
        assert error.fatal
        with contextlib.suppress(ConnectionResetError):
            assert await client.reader.read() == b"", "it ends the connection"
        return error
    finally:
        await client.close()
    raise AssertionError("it was not refused")


def gigabyte_header() -> bytes:
    return struct.pack(">i", 1 << 30)
