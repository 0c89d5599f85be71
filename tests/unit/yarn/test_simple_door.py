from __future__ import annotations

import ipaddress

import pytest

from hrm.api.accounts import Accounts
from hrm.config.tcp_owner import GONE
from hrm.yarn.rpc.faults import RpcFault
from hrm.yarn.rpc.simple import EVERYBODY, SimpleDoor

SERVER, ADA, BOB, ROOT = 100, 1001, 1002, 0
NAMES = {ROOT: "root", SERVER: "hrm", ADA: "ada", BOB: "bob"}
ADDRESSES = ("127.0.0.1", 4711), ("127.0.0.1", 8032)
ACCOUNTS = Accounts(
    own_uid=SERVER,
    name_of=lambda uid: NAMES.get(uid, f"uid:{uid}"),
    uid_of=lambda name: {name: uid for uid, name in NAMES.items()}.get(name),
)


def door(owner: int | None, **allowed: list[str]) -> SimpleDoor:
    networks = {user: [ipaddress.ip_network(text) for text in texts] for user, texts in allowed.items()}
    return SimpleDoor(ACCOUNTS, allowed=networks, owner_of=lambda theirs, ours: owner)


async def test_on_this_machine_a_user_comes_in_under_the_own_name() -> None:
    admitted = await door(ADA).admit("ada", "", *ADDRESSES)

    assert (admitted.user, admitted.real_user, admitted.admin) == ("ada", None, False)


@pytest.mark.parametrize("claimed", ["bob", "root", "hrm", "dr.who", "Ada"])
async def test_on_this_machine_nobody_comes_in_under_another_name(claimed: str) -> None:
    with pytest.raises(RpcFault, match=rf"ada is not {claimed}") as raised:
        await door(ADA).admit(claimed, "", *ADDRESSES)

    assert raised.value.java_class == "org.apache.hadoop.security.authorize.AuthorizationException"
    assert raised.value.fatal


@pytest.mark.parametrize("owner", [ROOT, SERVER])
async def test_root_and_the_servers_own_user_may_be_anybody_and_are_admins_as_themselves(owner: int) -> None:
    as_ada = await door(owner).admit("ada", "", *ADDRESSES)
    as_itself = await door(owner).admit(NAMES[owner], "", *ADDRESSES)

    assert (as_ada.user, as_ada.admin) == ("ada", False)
    assert as_itself.admin


async def test_root_and_the_servers_own_user_may_act_for_others() -> None:
    admitted = await door(SERVER).admit("ada", "hrm", *ADDRESSES)

    assert (admitted.user, admitted.real_user, admitted.admin) == ("ada", "hrm", False)


async def test_others_may_not_act_for_anybody() -> None:
    with pytest.raises(RpcFault, match="ada is not allowed to impersonate bob"):
        await door(ADA).admit("bob", "ada", *ADDRESSES)


async def test_who_acts_for_another_must_be_who_it_says() -> None:
    with pytest.raises(RpcFault, match="ada is not hrm"):
        await door(ADA).admit("ada", "hrm", *ADDRESSES)


async def test_who_acts_for_itself_acts_for_nobody() -> None:
    assert (await door(ADA).admit("ada", "ada", *ADDRESSES)).real_user is None


async def test_a_socket_that_is_gone_is_nobodys() -> None:
    # The kernel says root of it.
    with pytest.raises(RpcFault, match="closed"):
        await door(GONE).admit("root", "", *ADDRESSES)


async def test_from_elsewhere_nobody_comes_in_who_is_not_listed() -> None:
    with pytest.raises(RpcFault, match=r"ada may not come in from 10\.1\.2\.3 .*yarn\.users"):
        await door(None).admit("ada", "", ("10.1.2.3", 4711), ("10.1.0.1", 8032))


async def test_from_elsewhere_who_is_listed_comes_in_from_the_networks_that_are_listed() -> None:
    listed = door(None, ada=["10.1.0.0/16"])

    assert (await listed.admit("ada", "", ("10.1.2.3", 4711), ("10.1.0.1", 8032))).user == "ada"
    assert (await listed.admit("ada", "", ("::ffff:10.1.2.3", 4711), ("::", 8032))).user == "ada"
    for user, host in (("ada", "10.2.0.1"), ("bob", "10.1.2.3"), (EVERYBODY, "10.1.2.3")):
        with pytest.raises(RpcFault):
            await listed.admit(user, "", (host, 4711), ("10.1.0.1", 8032))


async def test_from_elsewhere_everybody_may_be_listed_and_nobody_acts_for_others() -> None:
    listed = door(None, **{EVERYBODY: ["fd00::/8"]})

    assert not (await listed.admit("hrm", "", ("fd00::7", 4711), ("fd00::1", 8032))).admin
    with pytest.raises(RpcFault, match="impersonate"):
        await listed.admit("ada", "hrm", ("fd00::7", 4711), ("fd00::1", 8032))


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "*", "x" * 300, "a/b", "\x00"])
async def test_what_is_no_name_is_nobodys(name: str) -> None:
    with pytest.raises(RpcFault):
        await door(ROOT).admit(name, "", *ADDRESSES)
