"""Whose socket it is, by the kernel's table of TCP connections."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm.api.peers import Peer
from hrm.config.tcp_owner import GONE, Address, listener_owners, socket_owner
from hrm.testing import eventually

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SERVER: Address = ("127.0.0.1", 8765)
CLIENT: Address = ("127.0.0.1", 40_000)
#: As a kernel of a little-endian machine printed them.
RECORDED = (
    HEAD
    + """\
   0: 0100007F:223D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 614880 1 8c1f9055
   1: 0100007F:223D 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000        0 614882 1 8c1f9056
   2: 0100007F:9C40 0100007F:223D 01 00000000:00000000 00:00000000 00000000  1001        0 614881 1 8c1f9057
   3: 0100007F:9C41 0100007F:223D 06 00000000:00000000 03:00000805 00000000     0        0 0 3 d807afd2
   4: 0100007F:9C42 0100007F:223D 05 00000000:00000000 00:00000000 00000000     0        0 0 1 d807afd3
"""
)
little_endian = pytest.mark.skipif(struct.pack("=I", 1)[0] != 1, reason="recorded on a little-endian machine")
six = st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None)
ports = st.integers(1, 65535)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tcp"
    path.write_text(RECORDED)
    return path


@little_endian
def test_the_owner_is_that_of_the_callers_end_not_of_ours(table: Path) -> None:
    assert socket_owner(CLIENT, SERVER, [table]) == 1001


@little_endian
@pytest.mark.parametrize("port", [40_001, 40_002], ids=["in TIME_WAIT", "an orphan"])
def test_a_socket_that_was_closed_is_nobodys_although_the_kernel_names_root(table: Path, port: int) -> None:
    assert socket_owner(("127.0.0.1", port), SERVER, [table]) == GONE


@little_endian
@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_loopback_socket_that_is_in_no_table_has_gone(table: Path, host: str) -> None:
    assert socket_owner((host, 50_000), SERVER, [table]) == GONE


@little_endian
@pytest.mark.parametrize("host", ["192.168.1.7", "2001:db8::7", "fe80::1%eth0"])
def test_of_a_socket_on_another_machine_nothing_is_told(table: Path, host: str) -> None:
    assert socket_owner((host, 40_000), SERVER, [table]) is None


def test_a_system_without_the_tables_tells_nothing(tmp_path: Path) -> None:
    assert socket_owner(CLIENT, SERVER, [tmp_path / "tcp", tmp_path / "tcp6"]) is None


def written(host: str, port: int, *, embedded: bool) -> str:
    """As the kernel prints it: whole words as numbers of this machine."""
    packed = ipaddress.ip_address(host).packed
    if embedded:
        packed = bytes(10) + b"\xff\xff" + packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


@given(
    hosts=st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(six, six),
    theirs=ports,
    ours=ports,
    uid=st.integers(0, 2**32 - 2),
    embedded=st.booleans(),
)
def test_every_address_is_found_as_the_kernel_writes_it(
    tmp_path_factory: pytest.TempPathFactory, hosts: tuple, theirs: int, ours: int, uid: int, embedded: bool
) -> None:
    them, us = (str(host) for host in hosts)
    embedded = embedded and hosts[0].version == 4
    one, other = written(them, theirs, embedded=embedded), written(us, ours, embedded=embedded)
    table = tmp_path_factory.getbasetemp() / "table"
    our_end, their_end = f"7: {other} {one} 01 0:0 00:0 0 {uid + 1} 0 11", f"71: {one} {other} 01 0:0 00:0 0 {uid} 0 12"
    table.write_text(f"{HEAD}   {our_end}\n  {their_end}\n")

    if (them, theirs) != (us, ours):
        assert socket_owner((them, theirs), (us, ours), [table]) == uid


@contextmanager
def connected(family: int, host: str, to: str | None = None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the client's and the server's."""
    try:
        listening = socket.create_server((host, 0), family=family, dualstack_ipv6=to is not None)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    with listening:
        client = socket.create_connection((to or host, listening.getsockname()[1]))
        accepted, _ = listening.accept()
        with client, accepted:
            yield client, accepted


CONNECTIONS = [
    (socket.AF_INET, "127.0.0.1", None),
    (socket.AF_INET, "127.0.0.77", None),
    (socket.AF_INET6, "::1", None),
    (socket.AF_INET6, "::", "127.0.0.1"),
]


@pytest.mark.parametrize(("family", "host", "to"), CONNECTIONS)
def test_a_real_socket_is_its_users_until_it_is_closed(family: int, host: str, to: str | None) -> None:
    with connected(family, host, to) as (client, accepted):
        ends = accepted.getpeername()[:2], accepted.getsockname()[:2]
        open_owner = socket_owner(*ends)
        client.close()

        assert open_owner == os.geteuid()
        eventually(lambda: socket_owner(*ends) == GONE)


async def test_the_owner_is_looked_up_once_for_each_connection() -> None:
    looks: list[None] = []

    def find() -> int:
        looks.append(None)
        return 7

    peer = Peer(find_owner=find)

    assert [await peer.owner() for _ in range(3)] == [7, 7, 7]
    assert (len(looks), peer.proven_uid) == (1, None)


async def test_over_the_unix_socket_nothing_has_to_be_looked_up() -> None:
    peer = Peer(proven_uid=1001)

    assert (await peer.owner(), peer.proven_uid) == (1001, 1001)


def listening_rows(*rows: tuple[str, int, int, str]) -> str:
    """A table with (host, port, user id, state)."""
    lines = [
        f"   {number}: {written(host, port, embedded=False)} {written('0.0.0.0', 0, embedded=False)} {state} "
        f"0:0 00:0 0 {uid} 0 1{number}"
        for number, (host, port, uid, state) in enumerate(rows)
    ]
    return HEAD + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("rows", "owners"),
    [
        ([("127.0.0.1", 80, 7, "0A")], {7}),
        ([("127.0.0.1", 81, 7, "0A")], set()),
        ([("127.0.0.1", 80, 7, "01")], set()),
        ([("127.0.0.2", 80, 7, "0A")], set()),
        ([("0.0.0.0", 80, 8, "0A")], {8}),
        ([("::", 80, 9, "0A")], {9}),
        ([("::ffff:127.0.0.1", 80, 6, "0A")], {6}),
        ([("0.0.0.0", 80, 8, "0A"), ("127.0.0.1", 80, 7, "0A")], {7}),
        ([("0.0.0.0", 80, 8, "0A"), ("::", 80, 9, "0A")], {8, 9}),
    ],
)
def test_who_listens_is_who_is_there_and_else_who_is_anywhere(
    tmp_path: Path, rows: list[tuple[str, int, int, str]], owners: set[int]
) -> None:
    (tmp_path / "tcp").write_text(listening_rows(*rows))
    for host in ("127.0.0.1", "::ffff:127.0.0.1"):
        assert listener_owners((host, 80), [tmp_path / "tcp", tmp_path / "no tcp6"]) == owners


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_socket_of_ours_that_listens_is_ours(family: int, host: str) -> None:
    with socket.create_server((host, 0), family=family) as listening:
        assert listener_owners(listening.getsockname()[:2]) == {os.geteuid()}
