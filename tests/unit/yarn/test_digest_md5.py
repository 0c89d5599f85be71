from __future__ import annotations

import pytest

from hrm.yarn.rpc.digest_md5 import BadDigest, DigestServer, digest, parse_directives

#: The example of RFC 2831, section 4: chris reads mail, and the password is "secret".
RFC_2831 = {
    "username": "chris",
    "realm": "elwood.innosoft.com",
    "nonce": "OA6MG9tEQGm2hh",
    "nc": "00000001",
    "cnonce": "OA6MHXh6VqTrRk",
    "digest-uri": "imap/elwood.innosoft.com",
    "qop": "auth",
}


def test_response_and_proof_of_the_server_are_those_of_the_example_in_the_rfc() -> None:
    assert digest("AUTHENTICATE", RFC_2831, "secret") == "d388dad90d4bbd760a152321f2143af7"
    assert digest("", RFC_2831, "secret") == "ea40f60335c427b5527b84dbabcdfffd"


def test_directives_are_quoted_or_not_and_separated_as_anybody_likes() -> None:
    text = 'charset=utf-8, username="a \\"b\\" c" ,nc=00000001,\n qop="auth",REALM="x,y=z"'

    assert parse_directives(text) == {
        "charset": "utf-8",
        "username": 'a "b" c',
        "nc": "00000001",
        "qop": "auth",
        "realm": "x,y=z",
    }


@pytest.mark.parametrize("text", ["a", "a=", '="b"', 'a="b', "a=b c", "a=1,a=2", "é=1"])
def test_what_are_no_directives_is_refused(text: str) -> None:
    with pytest.raises(BadDigest):
        parse_directives(text)


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    def no_password(user: str) -> str:
        raise AssertionError(user)

    challenges = {DigestServer(no_password).challenge for _ in range(100)}

    assert len(challenges) == 100
