"""One connection: from its first bytes over the proof of who is there to calls and their answers.

Nothing is made of a header's word: bytes are kept as they come, so a frame that says it has a gigabyte costs nothing. A
connection is not read from while it has as many calls under way as it may, while its client takes no answers, and while
others are due on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import time
from collections.abc import Awaitable, Coroutine

from google.protobuf.message import Message

from hrm.yarn.calls import Caller
from hrm.yarn.errors import YarnError
from hrm.yarn.proto.rpc_pb2 import (
    RPC_PROTOCOL_BUFFER,
    RequestHeaderProto,
    RpcRequestHeaderProto,
    RpcResponseHeaderProto,
)
from hrm.yarn.rpc import dispatch, frames, replies
from hrm.yarn.rpc.answers import CallKey
from hrm.yarn.rpc.faults import FATAL_RPC_SERVER_EXCEPTION, RPC_SERVER_EXCEPTION, RpcFault, bad_header
from hrm.yarn.rpc.frames import LENGTH_BYTES, Unpacker
from hrm.yarn.rpc.handshake import Handshake, Identity
from hrm.yarn.rpc.hub import Hub, Route

#: How long one connection may hold the loop before others come.
_TURN_S = 0.003
#: How long a connection that ends may take to send its last words.
_LAST_WORDS_S = 5.0
#: A client sends the same header with each call of a method, so what it says is read once.
_MAX_ROUTES_KEPT = 64
_MAX_HEADER_KEPT_BYTES = 512
_WRITE_BUFFER_BYTES = 1 << 20


class _Wait(enum.Enum):
    """Why a connection is not read from."""

    TURN = "others are due"
    ROOM = "as many calls are under way as may be"
    WRITES = "its client takes no answers"
    DOOR = "it is looked up who is there"


class _Call:
    """One that is under way."""

    __slots__ = ("answer", "began", "header", "route", "task", "timed_out")

    def __init__(
        self, header: RpcRequestHeaderProto, route: Route, answer: Awaitable[Message | bytes], began: float
    ) -> None:
        self.header = header
        self.route = route
        self.answer = answer
        self.began = began
        self.task: asyncio.Task[None]
        self.timed_out = False


class Connection(asyncio.Protocol):
    """See the module. Everything happens on the loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._limits = hub.limits
        self._buffer = bytearray()
        self._waits: set[_Wait] = set()
        self._out: list[bytes] = []
        self._calls: set[_Call] = set()
        self._identity: Identity | None = None
        self._routes: dict[bytes, Route] = {}
        self._ended_at: float | None = None
        self._unwritten_since: float | None = None
        self._admitting: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._handshake: Handshake
        self._theirs: tuple[str, int] = ("", 0)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        # asyncio does so only where the listening socket names its protocol.
        with contextlib.suppress(OSError):  # it is closed already
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened_at = self._heard_at = self._hub.clock()
        theirs, ours = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not theirs or not ours:
            # It was closed before it was taken.
            theirs = ours = ("", 0)
        self._theirs = theirs[0], theirs[1]
        self._handshake = Handshake(self._hub.authentication, self._hub.refusals, self._theirs, (ours[0], ours[1]))
        if not theirs[0] or not self._hub.enter(self, self._theirs[0]):
            self._ended_at = self._opened_at
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._hub.clock()
        if self._ended_at is not None:
            return
        self._buffer += data
        self._hub.buffered_bytes += len(data)
        if self._hub.buffered_bytes > self._limits.max_buffered_bytes:
            fault = RpcFault(
                RpcResponseHeaderProto.FATAL_UNKNOWN,
                "the server has more unfinished frames than it can hold",
                java_class=FATAL_RPC_SERVER_EXCEPTION,
                fatal=True,
            )
            self._refuse(None, fault)
        if self._waits and len(self._buffer) > self._limits.max_handshake_frame_bytes:
            self._pause()
        self._process()

    def pause_writing(self) -> None:
        self._unwritten_since = self._hub.clock()
        self._wait(_Wait.WRITES)

    def resume_writing(self) -> None:
        self._unwritten_since = None
        self._go_on(_Wait.WRITES)

    def connection_lost(self, error: Exception | None) -> None:
        self._ended_at = self._hub.clock()
        self._forget_buffer()
        self._hub.leave(self, self._theirs[0])
        for call in self._calls:
            call.task.cancel()
        if self._admitting is not None:
            self._admitting.cancel()

    # What the hub calls.

    def room_again(self) -> None:
        self._go_on(_Wait.ROOM)

    def abort(self) -> None:
        self._transport.abort()

    def sweep(self, now: float) -> None:
        limits = self._limits
        for call in self._calls:
            if now - call.began > limits.call_timeout_s and not call.timed_out:
                call.timed_out = True
                call.task.cancel()
        if self._ended_at is not None:
            if now - self._ended_at > _LAST_WORDS_S:
                self.abort()
        elif self._unwritten_since is not None:
            if now - self._unwritten_since > limits.write_timeout_s:
                self.abort()
        elif self._identity is None:
            if now - self._opened_at > limits.handshake_timeout_s:
                self.abort()
        elif not self._calls and not self._waits and now - self._heard_at > limits.idle_timeout_s:
            self._end()

    # From bytes to frames.

    def _process(self) -> None:
        if self._waits or self._ended_at is not None:
            return
        buffer, at = self._buffer, 0
        until = time.perf_counter() + _TURN_S
        while not self._waits and self._ended_at is None:
            end = self._next(buffer, at)
            if end is None:
                break
            at = end
            if time.perf_counter() > until and len(buffer) > at:
                self._wait(_Wait.TURN)
                asyncio.get_running_loop().call_soon(self._go_on, _Wait.TURN)
        if self._ended_at is None:
            del buffer[:at]
            self._hub.buffered_bytes -= at
        self._flush()

    def _next(self, buffer: bytearray, at: int) -> int | None:
        """Deal with what begins at ``at``; where it ends, or None iff it is not all there or may not begin yet."""
        header: RpcRequestHeaderProto | None = None
        try:
            if not self._handshake.greeted:
                return self._greeting(buffer, at)
            if len(buffer) - at < LENGTH_BYTES:
                return None
            length = frames.frame_length(buffer, at)
            self._check_length(length)
            end = at + LENGTH_BYTES + length
            if len(buffer) < end or not self._may_begin():
                return None
            unpacker = Unpacker(bytes(buffer[at + LENGTH_BYTES : end]))
            header = unpacker.take(RpcRequestHeaderProto)
            self._take(header, unpacker)
            return end
        except RpcFault as fault:
            self._refuse(header, fault)
            return None

    def _greeting(self, buffer: bytearray, at: int) -> int | None:
        if buffer.startswith(frames.HTTP_GET, at):
            self._out.append(frames.HTTP_ANSWER)
            self._end()
            return None
        first = bytes(buffer[at : at + len(frames.PREAMBLE)])
        if not frames.PREAMBLE.startswith(first) and not frames.HTTP_GET.startswith(first):
            raise self._handshake.not_hadoop()
        end = at + frames.PREAMBLE_BYTES
        if len(buffer) < end:
            return None
        self._handshake.greet(bytes(buffer[at:end]))
        return end

    def _check_length(self, length: int) -> None:
        most = self._limits.max_handshake_frame_bytes if self._identity is None else self._limits.max_frame_bytes
        if not 0 < length <= most:
            raise RpcFault(
                RpcResponseHeaderProto.FATAL_INVALID_RPC_HEADER,
                f"Requested data length {length} is "
                + (f"longer than maximum configured RPC length {most}" if length > 0 else "not above zero"),
                java_class=RPC_SERVER_EXCEPTION,
                fatal=True,
            )

    def _may_begin(self) -> bool:
        if len(self._calls) < self._limits.max_calls_per_connection and self._hub.room_for_call(self):
            return True
        self._wait(_Wait.ROOM)
        return False

    def _take(self, header: RpcRequestHeaderProto, unpacker: Unpacker) -> None:
        if header.rpcOp != RpcRequestHeaderProto.RPC_FINAL_PACKET or not header.HasField("rpcOp"):
            raise bad_header("IPC Server does not implement this rpc header operation, or there is none")
        if not header.HasField("rpcKind"):
            raise bad_header("IPC Server: No rpc kind in rpcRequestHeader")
        if header.callId >= 0:
            if self._identity is None:
                raise bad_header("Connection context not established")
            if header.rpcKind != RPC_PROTOCOL_BUFFER:
                raise bad_header("Unknown rpc kind in rpc header")
            self._begin(header, unpacker, self._identity)
        elif header.callId == frames.SASL_CALL_ID:
            if (reply := self._handshake.sasl(unpacker)) is not None:
                self._answer(header, reply.SerializeToString())
        elif header.callId == frames.CONTEXT_CALL_ID:
            self._introduce(unpacker)
        elif header.callId != frames.PING_CALL_ID:
            raise bad_header(f"Unknown out of band call #{header.callId}")

    # Who is there.

    def _introduce(self, unpacker: Unpacker) -> None:
        if self._identity is not None or self._admitting is not None:
            raise bad_header("Connection context already processed")
        found = self._handshake.introduce(unpacker)
        if isinstance(found, Identity):
            self._identity = found
            return
        self._wait(_Wait.DOOR)
        self._admitting = asyncio.create_task(self._admit(found))
        self._admitting.add_done_callback(lambda _: _never_awaited(found))

    async def _admit(self, looking: Awaitable[Identity]) -> None:
        try:
            self._identity = await looking
        except Exception as error:  # noqa: BLE001 (a client gets an answer, whatever the machine's accounts say)
            fault = dispatch.fault_of(error, "the connection context")
            self._refuse(None, RpcFault(fault.code, str(fault), java_class=fault.java_class, fatal=True))
            self._flush()
            return
        self._go_on(_Wait.DOOR)

    # Calls.

    def _begin(self, header: RpcRequestHeaderProto, unpacker: Unpacker, identity: Identity) -> None:
        method = "?"
        try:
            route = self._route(unpacker)
            method = route.method.name
            assert route.handler is not None, "a route without one is not found"
            request = dispatch.request_of(route.method.request, unpacker.raw(method))
            caller = Caller(
                user=identity.user,
                real_user=identity.real_user,
                token=identity.token,
                admin=identity.admin,
                address=self._theirs,
                client_id=header.clientId,
                call_id=header.callId,
                retry_count=header.retryCount,
            )
            if route.changes and (key := CallKey.of(caller, route.protocol, method)) is not None:
                answer: Awaitable[Message | bytes] = self._hub.kept.answer(
                    key, lambda: self._made(route, request, caller)
                )
            else:
                made = route.handler(request, caller)
                if isinstance(made, Message):
                    self._answer(header, self._payload(made, route))
                    return
                answer = made
        except (RpcFault, YarnError) as error:
            self._refuse(header, dispatch.fault_of(error, method))
            return
        except Exception as error:  # noqa: BLE001 (one call that fails must not end the others)
            self._refuse(header, dispatch.fault_of(error, method))
            return
        call = _Call(header, route, answer, self._hub.clock())
        self._hub.calls += 1
        self._calls.add(call)
        call.task = asyncio.create_task(self._finish(call))
        call.task.add_done_callback(lambda _: self._over(call))

    def _route(self, unpacker: Unpacker) -> Route:
        raw = unpacker.raw("RequestHeaderProto")
        route = self._routes.get(raw)
        if route is None:
            route = dispatch.route_of(frames.parse(RequestHeaderProto, raw), self._hub.routes)
            if len(self._routes) < _MAX_ROUTES_KEPT and len(raw) <= _MAX_HEADER_KEPT_BYTES:
                self._routes[raw] = route
        return route

    async def _made(self, route: Route, request: Message, caller: Caller) -> bytes:
        assert route.handler is not None
        made = route.handler(request, caller)
        return self._payload(made if isinstance(made, Message) else await made, route)

    def _payload(self, response: Message, route: Route) -> bytes:
        return dispatch.payload_of(response, route, max_bytes=self._limits.max_frame_bytes)

    async def _finish(self, call: _Call) -> None:
        try:
            made = await call.answer
            self._answer(call.header, self._payload(made, call.route) if isinstance(made, Message) else made)
        except asyncio.CancelledError:
            if call.timed_out:
                self._refuse(call.header, dispatch.too_long(call.route.method.name, self._limits.call_timeout_s))
        except Exception as error:  # noqa: BLE001 (see `_begin`)
            self._refuse(call.header, dispatch.fault_of(error, call.route.method.name))

    def _over(self, call: _Call) -> None:
        # Not at the end of `_finish`, of which nothing is run if the client goes in this very moment.
        _never_awaited(call.answer)
        self._calls.discard(call)
        self._flush()
        self._hub.end_call()
        self._go_on(_Wait.ROOM)

    # Answers.

    def _answer(self, header: RpcRequestHeaderProto, payload: bytes) -> None:
        self._out.append(replies.answer(header, payload))

    def _refuse(self, header: RpcRequestHeaderProto | None, fault: RpcFault) -> None:
        self._out.append(replies.refusal(header, fault))
        if fault.fatal:
            self._end()

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
            if self._transport.get_write_buffer_size() > 2 * self._limits.max_frame_bytes:
                self.abort()
        self._out.clear()

    def _end(self) -> None:
        """No more is read; what was to be said is sent."""
        if self._ended_at is None:
            self._ended_at = self._hub.clock()
            self._forget_buffer()
            self._flush()
            self._transport.close()

    def _forget_buffer(self) -> None:
        self._hub.buffered_bytes -= len(self._buffer)
        self._buffer = bytearray()

    def _wait(self, why: _Wait) -> None:
        self._waits.add(why)
        # At the door it is read from on, a little: who goes while it waits need not be looked up.
        if why is not _Wait.DOOR or len(self._buffer) > self._limits.max_handshake_frame_bytes:
            self._pause()

    def _go_on(self, why: _Wait) -> None:
        if why not in self._waits:
            return
        self._waits.discard(why)
        if not self._waits and self._ended_at is None and not self._transport.is_closing():
            if not self._transport.is_reading():
                self._transport.resume_reading()
            self._process()

    def _pause(self) -> None:
        if self._transport.is_reading():
            self._transport.pause_reading()


def _never_awaited(answer: Awaitable[object]) -> None:
    """A coroutine that was given up before its first step would be warned of; what has ended does not mind."""
    if isinstance(answer, Coroutine):
        answer.close()
