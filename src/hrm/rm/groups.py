"""Which groups a user is in, as the machine says (Hadoop's group mapping service).

What it says is kept for a while and asked for in a thread: where accounts come over the network, one question may take
seconds.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import time
from collections.abc import Callable

from hrm.model.errors import ClusterError

KEPT_S = 60.0
_MAX_KEPT = 10_000


def groups_in_system(user: str) -> tuple[str, ...]:
    """The user's groups by name, the primary one first; none for a user that the machine does not know.

    Raises OSError where the machine cannot say.
    """
    try:
        account = pwd.getpwnam(user)
    except (KeyError, ValueError):
        return ()
    ids = os.getgrouplist(account.pw_name, account.pw_gid)
    names = []
    for gid in dict.fromkeys((account.pw_gid, *ids)):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue  # a group without a name can be named by nobody
    return tuple(names)


class Groups:
    """Those of all users, looked up when they are asked for."""

    def __init__(
        self,
        look_up: Callable[[str], tuple[str, ...]] = groups_in_system,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        #: By user, with the time until which it counts.
        self._kept: dict[str, tuple[tuple[str, ...], float]] = {}

    async def of(self, user: str) -> tuple[str, ...]:
        """The primary group first. Raises ClusterError where the machine cannot say."""
        found = self._kept.get(user)
        if found is not None and self._clock() < found[1]:
            return found[0]
        try:
            groups = await asyncio.to_thread(self._look_up, user)
        except OSError as error:
            raise ClusterError(
                f"the groups of {user} cannot be looked up: {error.strerror or error}", next_step="try again"
            ) from None
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[user] = (groups, self._clock() + KEPT_S)
        return groups
