"""Credentials: the tokens and secrets of a program, as they travel with it and lie in its file.

The form is that of Hadoop's `Credentials`: ``HDTS``, a version, then Writables (0) or a message (1). Masters hand over
the whole buffer that they wrote into, with zeros behind, so what follows the end is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from hrm.model.errors import InvalidInput
from hrm.yarn.proto.security_pb2 import CredentialsKVProto, CredentialsProto, TokenProto
from hrm.yarn.tokens.writables import BadWritable, Reader, write_data, write_number, write_text

_MAGIC = b"HDTS"
_WRITABLES = 0
_MESSAGE = 1


@dataclass(slots=True)
class Credentials:
    """By aliases: any names, for which Hadoop takes the service of a token."""

    tokens: dict[str, TokenProto] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes) -> Credentials:
        """None of both where ``data`` is empty. Raises InvalidInput."""
        if not data:
            return cls()
        reader = Reader(data)
        try:
            if reader.take(len(_MAGIC)) != _MAGIC:
                raise BadWritable(f"they do not begin with {_MAGIC.decode()}")
            version = reader.number()
            if version == _WRITABLES:
                return _read_writables(reader)
            if version == _MESSAGE:
                return _read_message(reader)
            raise BadWritable(f"their version is {version}")
        except (BadWritable, DecodeError) as error:
            raise InvalidInput(f"not Hadoop's credentials: {error}", field="tokens") from None

    def write(self, version: int = _WRITABLES) -> bytes:
        """In version 0, which every Hadoop reads, or 1."""
        if version == _MESSAGE:
            return _MAGIC + bytes((version,)) + _write_message(self)
        assert version == _WRITABLES, f"there is no version {version}"
        parts = [_MAGIC, bytes((version,)), write_number(len(self.tokens))]
        for alias, token in self.tokens.items():
            parts += [write_text(alias), write_data(token.identifier), write_data(token.password)]
            parts += [write_text(token.kind), write_text(token.service)]
        parts.append(write_number(len(self.secrets)))
        for alias, secret in self.secrets.items():
            parts += [write_text(alias), write_data(secret)]
        return b"".join(parts)


def _read_writables(reader: Reader) -> Credentials:
    found = Credentials()
    for _ in range(reader.count()):
        alias = reader.text()
        found.tokens[alias] = TokenProto(
            identifier=reader.data(), password=reader.data(), kind=reader.text(), service=reader.text()
        )
    for _ in range(reader.count()):
        alias = reader.text()
        found.secrets[alias] = reader.data()
    return found


def _read_message(reader: Reader) -> Credentials:
    length = shift = 0
    while True:  # a varint of protobuf's, which ends with the first byte below 0x80
        byte = reader.take(1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 28:
            raise BadWritable("a length without an end")
    message = CredentialsProto.FromString(reader.take(length))
    if not message.IsInitialized():
        raise BadWritable("an entry lacks what it must have")
    for entry in (*message.tokens, *message.secrets):
        if not isinstance(entry.alias, str):
            raise BadWritable("a text that is no UTF-8")
    return Credentials(
        {entry.alias: entry.token for entry in message.tokens}, {entry.alias: entry.secret for entry in message.secrets}
    )


def _write_message(credentials: Credentials) -> bytes:
    message = CredentialsProto(
        tokens=[CredentialsKVProto(alias=alias, token=token) for alias, token in credentials.tokens.items()],
        secrets=[CredentialsKVProto(alias=alias, secret=secret) for alias, secret in credentials.secrets.items()],
    )
    data = message.SerializeToString()
    length, rest = bytearray(), len(data)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes(length) + bytes((rest,)) + data
