"""Accounts of a machine that is made up, for tests of front doors."""

from __future__ import annotations

from collections.abc import Mapping

from hrm.api.accounts import Accounts


def made_up_accounts(uids: Mapping[str, int], *, own_uid: int = 0) -> Accounts:
    """A machine with just these users, by name; the server is that of ``own_uid``."""
    names = {uid: name for name, uid in uids.items()}
    return Accounts(own_uid=own_uid, name_of=lambda uid: names.get(uid, f"uid:{uid}"), uid_of=uids.get)
