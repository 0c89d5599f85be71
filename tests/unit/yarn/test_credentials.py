from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.model.errors import InvalidInput
from hrm.yarn.proto.security_pb2 import CredentialsProto, TokenProto
from hrm.yarn.tokens.credentials import Credentials
from hrm.yarn.tokens.writables import Reader, write_number

TOKEN = TokenProto(identifier=b"\x0a\x02", password=b"p" * 20, kind="YARN_AM_RM_TOKEN", service="")
CREDENTIALS = Credentials({"rm": TOKEN}, {"shuffle": b"\x00secret"})


def test_version_0_is_written_as_hadoop_reads_it() -> None:
    assert CREDENTIALS.write() == (
        b"HDTS\x00\x01\x02rm\x02\x0a\x02\x14" + b"p" * 20 + b"\x10YARN_AM_RM_TOKEN\x00\x01\x07shuffle\x07\x00secret"
    )


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("behind", [b"", b"\x00" * 300], ids=["exact", "with the rest of a buffer"])
def test_what_was_written_is_read_whatever_comes_behind(version: int, behind: bytes) -> None:
    assert Credentials.read(CREDENTIALS.write(version) + behind) == CREDENTIALS


def test_nothing_is_no_credentials() -> None:
    assert Credentials.read(b"") == Credentials()


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "00"),
        (127, "7f"),
        (-112, "90"),
        (128, "8f80"),
        (-113, "8770"),
        (255, "8fff"),
        (256, "8e0100"),
        (-257, "860100"),
        (2**31 - 1, "8c7fffffff"),
        (-(2**63), "807fffffffffffffff"),
    ],
)
def test_numbers_are_written_as_hadoop_writes_them(number: int, written: str) -> None:
    assert write_number(number).hex() == written
    assert Reader(bytes.fromhex(written)).number() == number


@pytest.mark.parametrize(
    "data",
    [
        b"HDT",
        b"HDTX\x00\x00\x00",
        b"HDTS",
        b"HDTS\x02\x00\x00",
        b"HDTS\x00\xff",  # a count below zero
        b"HDTS\x00\x8c\x7f\xff\xff\xff",  # two thousand million tokens
        b"HDTS\x00\x01\x8c\x7f\xff\xff\xff",  # an alias of two gigabytes
        b"HDTS\x00\x01\x02\xff\xfe\x00\x00\x00\x00\x00",
        b"HDTS\x01\x05ab",
        b"HDTS\x01\xff\xff\xff\xff\xff\xff",
        b"HDTS\x01\x02\xff\xff",
        b"HDTS\x01\x02\x0a\x00",
    ],
)
def test_what_are_no_credentials_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not Hadoop's credentials"):
        Credentials.read(data)


@given(st.binary(max_size=200), st.sampled_from([b"", b"HDTS\x00", b"HDTS\x01"]))
def test_any_bytes_are_credentials_or_refused(data: bytes, begun: bytes) -> None:
    try:
        found = Credentials.read(begun + data)
    except InvalidInput:
        return
    assert Credentials.read(found.write(1)) == found


def test_a_message_may_have_no_tokens() -> None:
    assert Credentials.read(b"HDTS\x01\x00") == Credentials()
    assert not CredentialsProto().tokens
