"""Frames and what is in them: a length of four bytes, then messages, each after its own length as a varint."""

from __future__ import annotations

import struct
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from hrm.yarn.rpc.faults import unreadable

PREAMBLE = b"hrpc"
HTTP_GET = b"GET "
PREAMBLE_BYTES = 7
VERSION = 9
LENGTH_BYTES = 4
NO_AUTHENTICATION = 0x00
SASL = 0xDF
#: What Hadoop answers to a browser that was given the wrong port.
HTTP_ANSWER = (
    b"HTTP/1.1 404 Not Found\r\nContent-type: text/plain\r\n\r\n"
    b"It looks like you are making an HTTP request to a Hadoop IPC port. "
    b"This is not the correct port for the web interface on this daemon.\r\n"
)
#: Numbers of calls that are none.
CONTEXT_CALL_ID = -3
PING_CALL_ID = -4
SASL_CALL_ID = -33
NO_CALL_ID = -1

_LENGTH = struct.Struct(">i")
_MAX_VARINT_BYTES = 5
M = TypeVar("M", bound=Message)


def frame_length(buffer: bytes | bytearray, at: int) -> int:
    """What the four bytes at ``at`` say; may be below zero."""
    length: int = _LENGTH.unpack_from(buffer, at)[0]
    return length


class Unpacker:
    """Takes the messages of one frame, in order."""

    __slots__ = ("_at", "_frame")

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._at = 0

    def raw(self, what: str) -> bytes:
        """The next message as it came. Raises RpcFault (there is none, or less than its length says)."""
        frame, at = self._frame, self._at
        length = shift = 0
        for _ in range(_MAX_VARINT_BYTES):
            if at >= len(frame):
                raise unreadable(f"{what}: the frame ends before it")
            byte = frame[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        else:
            raise unreadable(f"{what}: its length has no end")
        end = at + length
        if end > len(frame):
            raise unreadable(f"{what}: it has {length} bytes, and the frame ends after {len(frame) - at}")
        self._at = end
        return frame[at:end]

    def take(self, kind: type[M]) -> M:
        """The next message. Raises RpcFault."""
        return parse(kind, self.raw(kind.__name__))


def parse(kind: type[M], data: bytes) -> M:
    """Raises RpcFault for what is no such message, or lacks what it must have."""
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise unreadable(kind.__name__) from None
    if not message.IsInitialized():
        raise unreadable(f"{kind.__name__}: it lacks {', '.join(message.FindInitializationErrors())}")  # type: ignore[attr-defined]
    if not data.isascii():
        _check_text(message)
    return message


def _check_text(message: Message) -> None:
    # The runtime gives text that is no UTF-8 as bytes, which nobody expects there.
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if isinstance(value, Message):
                _check_text(value)
            else:
                for element in value:
                    _check_text(element)
        elif field.type == FieldDescriptor.TYPE_STRING:
            for text in (value,) if isinstance(value, (str, bytes)) else value:
                if isinstance(text, bytes):
                    raise unreadable(f"{message.DESCRIPTOR.name}.{field.name}: it is no UTF-8")


def pack(*messages: bytes) -> bytes:
    """A whole frame of messages, in order."""
    parts = [b""]
    for message in messages:
        parts.append(_varint(len(message)))
        parts.append(message)
    parts[0] = _LENGTH.pack(sum(map(len, parts)))
    return b"".join(parts)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
