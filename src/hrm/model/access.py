"""Who may do what with a queue: lists of users and groups (YARN's AccessControlList)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessList:
    """Users and groups by name, or everybody; empty it is nobody."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    everybody: bool = False

    def allows(self, user: str, groups: Collection[str]) -> bool:
        """True iff it names the user or one of the ``groups`` they are in."""
        return self.everybody or user in self.users or any(group in groups for group in self.groups)

    def __str__(self) -> str:
        if self.everybody:
            return "everybody"
        named = [*self.users, *(f"group {group}" for group in self.groups)]
        return ", ".join(named) or "nobody"


EVERYBODY = AccessList(everybody=True)
NOBODY = AccessList()
