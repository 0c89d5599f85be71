"""A client of Hadoop's RPC made by hand: what Java's does, as far as tests need it, and what it would never do.

It shares the messages with the server and nothing else: frames and DIGEST-MD5 are written here once more.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import struct
from types import TracebackType
from typing import Any

from google.protobuf.message import Message

from hrm.yarn.calls import RpcProtocol
from hrm.yarn.proto.rpc_pb2 import (
    RPC_PROTOCOL_BUFFER,
    IpcConnectionContextProto,
    RequestHeaderProto,
    RpcRequestHeaderProto,
    RpcResponseHeaderProto,
    RpcSaslProto,
    UserInformationProto,
)
from hrm.yarn.proto.security_pb2 import TokenProto

PREAMBLE = b"hrpc\x09\x00"
SIMPLE, SASL = b"\x00", b"\xdf"
CONTEXT, PING, SASL_ID = -3, -4, -33
_CALL_S = 60.0


class RemoteError(Exception):
    """What the server answered in place of a response."""

    def __init__(self, java_class: str, message: str, *, fatal: bool, code: int) -> None:
        super().__init__(f"{java_class}: {message}")
        self.java_class = java_class
        self.message = message
        self.fatal = fatal
        self.code = code


def delimited(*messages: Message | bytes) -> bytes:
    out = b""
    for message in messages:
        data = message if isinstance(message, bytes) else message.SerializePartialToString()
        length, rest = b"", len(data)
        while rest >= 0x80:
            length += bytes((rest & 0x7F | 0x80,))
            rest >>= 7
        out += length + bytes((rest,)) + data
    return out


def frame(*messages: Message | bytes) -> bytes:
    data = delimited(*messages)
    return struct.pack(">i", len(data)) + data


def request_header(call_id: int, client_id: bytes = b"", retry_count: int = -1) -> RpcRequestHeaderProto:
    return RpcRequestHeaderProto(
        rpcKind=RPC_PROTOCOL_BUFFER,
        rpcOp=RpcRequestHeaderProto.RPC_FINAL_PACKET,
        callId=call_id,
        clientId=client_id,
        retryCount=retry_count,
    )


def split(data: bytes) -> list[bytes]:
    """The messages of a frame's content."""
    found = []
    while data:
        length = shift = at = 0
        while True:
            length |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                break
        found.append(data[at : at + length])
        data = data[at + length :]
    return found


class HadoopClient:
    """One connection. As a context manager it is closed at the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client_id: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.client_id = client_id
        self._next_call = 0
        self._waiting: dict[int, asyncio.Future[list[bytes]]] = {}
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, address: tuple[str, int], *, client_id: bytes | None = None) -> HadoopClient:
        """A connection on which nothing was said."""
        reader, writer = await asyncio.open_connection(*address)
        return cls(reader, writer, os.urandom(16) if client_id is None else client_id)

    @classmethod
    async def connect(
        cls,
        address: tuple[str, int],
        *,
        user: str | None = None,
        real_user: str | None = None,
        token: TokenProto | None = None,
        client_id: bytes | None = None,
    ) -> HadoopClient:
        """By ``token``, or as ``user`` who says so. Raises RemoteError where the server refuses at once."""
        client = await cls.open(address, client_id=client_id)
        try:
            client.writer.write(PREAMBLE + (SIMPLE if token is None else SASL))
            if token is not None:
                await client.prove(token)
            client.introduce(user, real_user)
        except BaseException:
            await client.close()
            raise
        client.listen()
        return client

    async def __aenter__(self) -> HadoopClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    @property
    def ended(self) -> bool:
        """Whether the server has closed the connection, to one that listens."""
        return self._reading is not None and self._reading.done()

    def introduce(self, user: str | None, real_user: str | None = None) -> None:
        context = IpcConnectionContextProto(protocol="org.example.Protocol")
        if user is not None:
            context.userInfo.CopyFrom(UserInformationProto(effectiveUser=user, realUser=real_user))
        self.writer.write(frame(request_header(CONTEXT, self.client_id), context))

    def listen(self) -> None:
        """From now on answers go to the calls that wait for them."""
        self._reading = asyncio.create_task(self._read())

    async def sasl(self, message: RpcSaslProto) -> RpcSaslProto:
        self.writer.write(frame(request_header(SASL_ID), message))
        return RpcSaslProto.FromString((await self.answer())[1])

    async def prove(self, token: TokenProto, **changed: str) -> None:
        """By DIGEST-MD5; ``changed`` takes the place of directives of the response. Checks that the server knows the
        password as well."""
        offer = await self.sasl(RpcSaslProto(state=RpcSaslProto.NEGOTIATE))
        auth = next(auth for auth in offer.auths if auth.method == "TOKEN")
        given, response = digest_response(auth.challenge, token, **changed)
        chosen = RpcSaslProto(state=RpcSaslProto.INITIATE, token=response)
        chosen.auths.add().CopyFrom(auth)
        chosen.auths[0].ClearField("challenge")
        done = await self.sasl(chosen)
        assert done.state == RpcSaslProto.SUCCESS, f"the server goes on with {done.state}"
        assert done.token == f"rspauth={_digest('', given)}".encode(), "the server does not know the password"

    async def call(
        self,
        protocol: RpcProtocol,
        method: str,
        request: Message,
        *,
        call_id: int | None = None,
        retry_count: int = 0,
        timeout_s: float = _CALL_S,
    ) -> Any:
        """The response. Raises RemoteError, and ConnectionError where the connection ends without an answer."""
        if self.ended:
            raise ConnectionError("the connection has ended")
        if call_id is None:
            call_id, self._next_call = self._next_call, self._next_call + 1
        waiting = self._waiting[call_id] = asyncio.get_running_loop().create_future()
        self.writer.write(self.call_frame(protocol, method, request, call_id=call_id, retry_count=retry_count))
        messages = await asyncio.wait_for(waiting, timeout_s)
        response = next(found.response for found in protocol.methods if found.name == method)
        return response.FromString(messages[1])

    def call_frame(
        self, protocol: RpcProtocol, method: str, request: Message | bytes, *, call_id: int, retry_count: int = 0
    ) -> bytes:
        header = RequestHeaderProto(
            methodName=method, declaringClassProtocolName=protocol.name, clientProtocolVersion=1
        )
        return frame(request_header(call_id, self.client_id, retry_count), header, request)

    async def answer(self) -> list[bytes]:
        """The messages of the next frame. Raises RemoteError for one that bears an error."""
        header, messages = await self._next_frame()
        _raise(header)
        return messages

    async def _next_frame(self) -> tuple[RpcResponseHeaderProto, list[bytes]]:
        try:
            length = struct.unpack(">i", await self.reader.readexactly(4))[0]
            messages = split(await self.reader.readexactly(length))
        except asyncio.IncompleteReadError:
            raise ConnectionError("the server closed the connection") from None
        return RpcResponseHeaderProto.FromString(messages[0]), messages

    async def _read(self) -> None:
        try:
            while True:
                header, messages = await self._next_frame()
                waiting = self._waiting.pop(header.callId, None)
                try:
                    _raise(header)
                except RemoteError as error:
                    if waiting is None:
                        raise
                    waiting.set_exception(error)
                else:
                    assert waiting is not None, f"an answer to no call: {header}"
                    waiting.set_result(messages)
        except (OSError, RemoteError) as error:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(error)
            self._waiting.clear()


def digest_response(challenge: bytes, token: TokenProto, **changed: str) -> tuple[dict[str, str], bytes]:
    """What a client answers to a challenge, as directives and as it is sent."""
    said = dict(part.split("=", 1) for part in challenge.decode().split(","))
    given = {
        "username": base64.b64encode(token.identifier).decode(),
        "password": base64.b64encode(token.password).decode(),
        "realm": said["realm"].strip('"'),
        "nonce": said["nonce"].strip('"'),
        "nc": "00000001",
        "cnonce": base64.b64encode(os.urandom(24)).decode(),
        "digest-uri": "/default",
        "qop": "auth",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    response = given.get("response") or _digest("AUTHENTICATE", given)
    sent = (
        f'charset=utf-8,username="{given["username"]}",realm="{given["realm"]}",nonce="{given["nonce"]}",'
        f'nc={given["nc"]},cnonce="{given["cnonce"]}",digest-uri="{given["digest-uri"]}",maxbuf=65536,'
        f"response={response},qop={given['qop']}"
    )
    if "authzid" in given:
        sent += f',authzid="{given["authzid"]}"'
    return given, sent.encode()


def _digest(method: str, given: dict[str, str]) -> str:
    def md5(data: bytes) -> bytes:
        return hashlib.md5(data, usedforsecurity=False).digest()

    first = md5(f"{given['username']}:{given['realm']}:{given['password']}".encode())
    first += f":{given['nonce']}:{given['cnonce']}".encode()
    if "authzid" in given:
        first += f":{given['authzid']}".encode()
    second = f"{method}:{given['digest-uri']}".encode()
    between = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}"
    return md5(f"{md5(first).hex()}:{between}:{md5(second).hex()}".encode()).hex()


def _raise(header: RpcResponseHeaderProto) -> None:
    if header.status != RpcResponseHeaderProto.SUCCESS:
        raise RemoteError(
            header.exceptionClassName,
            header.errorMsg,
            fatal=header.status == RpcResponseHeaderProto.FATAL,
            code=header.errorDetail,
        )
