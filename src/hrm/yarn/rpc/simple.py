"""Coming in by `simple`, where a client only says who it is, as far as something else proves it.

On this machine the kernel tells whose socket it is (`hrm.config.tcp_owner`), and the name has to be that user's. From
elsewhere nothing proves it: only users who are listed come in, from networks that are listed for them, and whoever is
in such a network can take on their names.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from hrm.config.tcp_owner import GONE, Address, socket_owner
from hrm.yarn.rpc.faults import AUTHORIZATION, RpcFault, unauthorized

_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]{0,255}\$?")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_THREADS = 2
#: Stands for all users in a list of who may come from where.
EVERYBODY = "*"


class Account(Protocol):
    """What is known of a process by its user id."""

    @property
    def user(self) -> str: ...
    @property
    def admin(self) -> bool: ...


class Accounts(Protocol):
    """The machine's accounts (`hrm.api.accounts.Accounts` is one)."""

    async def identity(self, uid: int) -> Account: ...

    async def may_bear_token_of(self, user: str, uid: int) -> bool:
        """Whether a process of ``uid`` may act as ``user``: the user's own, root's and the server's may."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who a connection is for."""

    user: str
    real_user: str | None = None
    admin: bool = False


class SimpleDoor:
    """Tells who may come in without a token. ``owner_of`` is asked in a thread, once for each connection."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        allowed: Mapping[str, Iterable[Network]] | None = None,
        owner_of: Callable[[Address, Address], int | None] = socket_owner,
    ) -> None:
        """``allowed``: from which networks users of other machines come, by names; `EVERYBODY` for all of them."""
        self._accounts = accounts
        self._allowed = {user: tuple(networks) for user, networks in (allowed or {}).items()}
        self._owner_of = owner_of
        # Of its own: those who come in by the thousand keep nobody waiting but each other.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="yarn-door")

    async def admit(self, user: str, real_user: str, theirs: Address, ours: Address) -> Admitted:
        """Raises RpcFault for whoever may not come in as ``user``; ``real_user`` is "" iff nobody acts for another."""
        for name in (user, real_user):
            if name and not _USER.fullmatch(name):
                raise unauthorized(f"not a user's name: {name[:40]!r}", java_class=AUTHORIZATION)
        if not user:
            raise unauthorized("the client does not say who it is", java_class=AUTHORIZATION)
        acting = real_user if real_user not in ("", user) else None
        looking = asyncio.get_running_loop().run_in_executor(self._threads, self._owner_of, theirs, ours)
        owner = await looking
        if owner is None:
            return self._admit_from_elsewhere(user, acting, theirs[0])
        if owner == GONE:
            raise unauthorized("the connecting socket is closed", java_class=AUTHORIZATION)
        # Acting for another is for whoever could become that user anyway: root, and the server's own user.
        claimed = user if acting is None else acting
        account = await self._accounts.identity(owner)
        if not await self._accounts.may_bear_token_of(claimed, owner):
            raise _not_theirs(claimed, account.user)
        if acting is not None and not account.admin:
            raise _no_proxy(acting, user)
        return Admitted(user, acting, admin=account.admin and acting is None and account.user == user)

    def _admit_from_elsewhere(self, user: str, acting: str | None, host: str) -> Admitted:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        networks = (*self._allowed.get(user, ()), *self._allowed.get(EVERYBODY, ()))
        if not any(address in network for network in networks):
            raise unauthorized(
                f"{user} may not come in from {address} without a token (yarn.users and yarn.hosts list who may)",
                java_class=AUTHORIZATION,
            )
        if acting is not None:
            raise _no_proxy(acting, user)
        return Admitted(user)


def _not_theirs(claimed: str, owner: str) -> RpcFault:
    return unauthorized(f"User: {owner} is not {claimed}, and may not say so", java_class=AUTHORIZATION)


def _no_proxy(acting: str, user: str) -> RpcFault:
    return unauthorized(f"User: {acting} is not allowed to impersonate {user}", java_class=AUTHORIZATION)
