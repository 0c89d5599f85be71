"""Whatever bytes come, in whatever pieces: an answer, an error or an end, and nothing is left behind."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from google.protobuf.message import Message
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from hrm.testing.conditions import eventually_async
from hrm.testing.hadoop_client import CONTEXT, PING, SASL_ID, delimited, request_header, split
from hrm.yarn.calls import Caller, Service
from hrm.yarn.proto.rpc_pb2 import (
    IpcConnectionContextProto,
    RequestHeaderProto,
    RpcRequestHeaderProto,
    RpcResponseHeaderProto,
    RpcSaslProto,
    UserInformationProto,
)
from hrm.yarn.proto.service_pb2 import (
    GetQueueInfoRequestProto,
    GetQueueInfoResponseProto,
    KillApplicationRequestProto,
    KillApplicationResponseProto,
)
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rpc.connection import Connection
from hrm.yarn.rpc.frames import HTTP_ANSWER
from hrm.yarn.rpc.hub import Authentication, Hub
from hrm.yarn.rpc.limits import RpcLimits
from hrm.yarn.rpc.simple import Account, SimpleDoor
from tests.scenarios.yarn.running_rpc import ATTEMPT, secrets

LIMITS = RpcLimits(
    max_frame_bytes=4096,
    max_handshake_frame_bytes=1024,
    max_buffered_bytes=8192,
    max_calls_per_connection=3,
    max_kept_answers=5,
    max_kept_bytes=1000,
)
ISSUER = secrets()


class OneAccount:
    """The user x, whose every socket is."""

    user = "x"
    admin = False

    async def identity(self, uid: int) -> Account:
        return self

    async def may_bear_token_of(self, user: str, uid: int) -> bool:
        return user == "x"


class Wire(asyncio.Transport):
    """What the connection says; calls back as asyncio's does."""

    def __init__(self, connection: Connection) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2), "socket": self})
        self.connection = connection
        self.said = b""
        self.ended = False
        self.paused = False

    def setsockopt(self, *option: int) -> None: ...

    def write(self, data: Any) -> None:
        assert not self.ended, "it speaks after its end"
        self.said += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.ended

    def is_reading(self) -> bool:
        return not self.paused and not self.ended

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    abort = close


def info(request: Message, caller: Caller) -> Message:
    answer = GetQueueInfoResponseProto()
    answer.queueInfo.queueName = caller.user
    return answer


async def kill(request: Message, caller: Caller) -> Message:
    await asyncio.sleep(0)
    return KillApplicationResponseProto(is_kill_completed=True)


SERVICE = Service(
    APPLICATION_CLIENT,
    {"getQueueInfo": info, "forceKillApplication": kill, "getApplicationReport": kill},
    changes=frozenset({"forceKillApplication"}),
)


def messages(*kinds: bytes | Message) -> bytes:
    content = delimited(*kinds)
    return struct.pack(">i", len(content)) + content


numbers = st.sampled_from([0, 1, 2, CONTEXT, PING, SASL_ID, -1, -77, 2**31 - 1, -(2**31)])
names = st.sampled_from(["getQueueInfo", "forceKillApplication", "getApplicationReport", "nothing", ""])
protocols = st.sampled_from([APPLICATION_CLIENT.name, "other"])
anything = st.binary(max_size=40)
headers = st.builds(
    request_header, numbers, st.sampled_from([b"", b"c" * 16, b"d" * 16]), st.integers(-1, 3)
) | st.builds(RpcRequestHeaderProto, callId=numbers, clientId=anything)
methods = st.builds(
    RequestHeaderProto,
    methodName=names,
    declaringClassProtocolName=protocols,
    clientProtocolVersion=st.sampled_from([1, 1, 1, 2]),
)
requests = st.sampled_from([GetQueueInfoRequestProto(queueName="q"), KillApplicationRequestProto()]) | anything
contexts = st.builds(
    IpcConnectionContextProto,
    userInfo=st.builds(
        UserInformationProto, effectiveUser=st.sampled_from(["x", "y", "", "a b"]), realUser=st.sampled_from(["", "x"])
    ),
)
auths = st.builds(
    RpcSaslProto.SaslAuth,
    method=st.sampled_from(["TOKEN", "SIMPLE", "KERBEROS"]),
    mechanism=st.sampled_from(["DIGEST-MD5", "", "GSSAPI"]),
)
sasl = st.builds(
    RpcSaslProto,
    state=st.sampled_from(list(RpcSaslProto.SaslState.values())),
    token=anything | st.just(b'username="eA==",realm="default",nonce="n",cnonce="c",nc=00000001,response=x'),
    auths=st.lists(auths, max_size=2),
)
good_calls = st.builds(
    messages,
    st.builds(request_header, st.integers(0, 3), st.just(b"c" * 16), st.just(0)),
    st.builds(
        RequestHeaderProto,
        methodName=st.sampled_from(["getQueueInfo", "forceKillApplication", "getApplicationReport"]),
        declaringClassProtocolName=st.just(APPLICATION_CLIENT.name),
        clientProtocolVersion=st.just(1),
    ),
    st.just(b""),
)
frames = st.one_of(
    good_calls,
    good_calls,
    good_calls,
    st.builds(messages, headers, methods, requests),
    st.builds(messages, st.builds(request_header, numbers, st.just(b"c" * 16)), methods, requests),
    st.builds(messages, st.just(request_header(CONTEXT)), contexts),
    st.builds(messages, st.just(request_header(CONTEXT)), contexts),
    st.builds(messages, st.just(request_header(SASL_ID)), sasl),
    st.just(messages(request_header(PING))),
    st.builds(messages, headers, anything),
    st.builds(lambda length, data: struct.pack(">i", length) + data, st.integers(-(2**31), 2**31 - 1), anything),
    anything,
)
introduced = b"hrpc\x09\x00\x00" + messages(
    request_header(CONTEXT), IpcConnectionContextProto(userInfo=UserInformationProto(effectiveUser="x"))
)
beginnings = st.one_of(
    st.just(introduced),
    st.just(introduced),
    st.sampled_from(
        [
            b"hrpc\x09\x00\x00",
            b"hrpc\x09\x00\xdf",
            b"hrpc\x09\x00\xdf" + messages(request_header(SASL_ID), RpcSaslProto(state=RpcSaslProto.NEGOTIATE)),
            b"hrpc\x08\x00\x00",
            b"GET /",
            b"",
        ]
    ),
)
talks = st.builds(lambda beginning, said: beginning + b"".join(said), beginnings, st.lists(frames, max_size=8))


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """A talk as it comes: cut anywhere, and with a byte changed now and then."""
    data = bytearray(draw(talks))
    if data and draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


def check_answers(said: bytes) -> None:
    """All that was said are whole frames with a header that can be read."""
    if said == HTTP_ANSWER:
        event("http")
        return
    while said:
        length = struct.unpack(">i", said[:4])[0]
        content, said = said[4 : 4 + length], said[4 + length :]
        assert len(content) == length
        header = RpcResponseHeaderProto.FromString(split(content)[0])
        assert header.IsInitialized()
        event(f"{RpcResponseHeaderProto.RpcStatusProto.Name(header.status)} {header.exceptionClassName.split('.')[-1]}")
        if header.status == RpcResponseHeaderProto.FATAL:
            assert not said, "a fatal answer is the last"


async def talk(heard: list[bytes], *, simple: bool) -> None:
    now = 0.0
    door = SimpleDoor(OneAccount(), owner_of=lambda theirs, ours: 1) if simple else None
    authentication = Authentication(tokens=ISSUER.amrm_verifier(lambda attempt: attempt == ATTEMPT), simple=door)
    hub = Hub([SERVICE], authentication, LIMITS, lambda: now)
    connection = Connection(hub)
    wire = Wire(connection)
    connection.connection_made(wire)
    for piece in heard:
        await eventually_async(lambda: not wire.paused or wire.ended, 60)
        if wire.ended:
            break
        connection.data_received(piece)
        assert hub.buffered_bytes <= LIMITS.max_buffered_bytes
        assert hub.calls <= LIMITS.max_calls_per_connection
    await eventually_async(lambda: not hub.calls and (not wire.paused or wire.ended), 60)
    check_answers(wire.said)
    assert len(hub.kept) <= LIMITS.max_kept_answers

    now = 1e6
    for guest in list(hub.guests):
        guest.sweep(now)
    hub.kept.sweep()
    await eventually_async(lambda: not hub.guests, 60)
    assert (hub.buffered_bytes, hub.calls, len(hub.kept), hub.kept.size_bytes) == (0, 0, 0, 0)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces(), st.sampled_from([True, True, True, False]))
def test_any_bytes_are_answered_refused_or_waited_for_and_leave_nothing_behind(
    heard: list[bytes], simple: bool
) -> None:
    asyncio.run(talk(heard, simple=simple))
