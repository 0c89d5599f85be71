"""What must outlive a restart, or no token would: the keys of each kind, and which delegation tokens are good."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hrm.model.errors import InvalidInput
from hrm.yarn.calls import TokenKind
from hrm.yarn.tokens.keys import KeyLifetime, KeyRing, MasterKey

_VERSION = 1
SECRET_BYTES = 32
_DAY_S = 86_400.0
#: How long delegation tokens last at most, renewed or not (YARN's delegation.token.max-lifetime), and between renewals.
DELEGATION_MAX_S = 7 * _DAY_S
DELEGATION_RENEWAL_S = _DAY_S
#: As YARN's rolling intervals. An old key is good for as long as tokens of it may be in somebody's hands.
LIFETIMES: Mapping[TokenKind, KeyLifetime] = {
    TokenKind.AMRM: KeyLifetime(_DAY_S, _DAY_S),
    TokenKind.NM: KeyLifetime(_DAY_S, _DAY_S),
    TokenKind.CONTAINER: KeyLifetime(_DAY_S, _DAY_S),
    # Each attempt's own key is derived from this one, and masters are told theirs but once.
    TokenKind.CLIENT_TO_AM: KeyLifetime(float("inf"), 0.0),
    TokenKind.DELEGATION: KeyLifetime(_DAY_S, DELEGATION_MAX_S),
}


@dataclass(frozen=True, slots=True)
class Hold:
    """Of a delegation token that submissions brought along: it is renewed while one of ``applications`` lives."""

    applications: tuple[str, ...]
    #: Whether it is cancelled after the last of them; False once one of them said that it is to stay.
    cancel: bool
    #: Until then it can be renewed (epoch milliseconds).
    max_ms: int


@dataclass(frozen=True, slots=True)
class Delegation:
    """What is kept of a delegation token that was not cancelled."""

    owner: str
    #: It is good until then if nobody renews it (epoch milliseconds).
    until_ms: int
    #: None iff no application that lives brought it.
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class TokenState:
    """All of it. A change is a new value, which counts when it is on disk."""

    rings: Mapping[TokenKind, KeyRing]
    #: The number of the delegation token that was made last.
    delegations_made: int
    #: By their numbers.
    delegations: Mapping[int, Delegation]

    @classmethod
    def new(cls, now: float, *, random: Callable[[int], bytes] = os.urandom) -> TokenState:
        rings = {kind: KeyRing({1: MasterKey(1, random(SECRET_BYTES), now)}) for kind in TokenKind}
        return cls(rings, 0, {})

    def is_due(self, lifetimes: Mapping[TokenKind, KeyLifetime], now: float) -> bool:
        return any(ring.is_due(lifetimes[kind], now) for kind, ring in self.rings.items())

    def rolled(
        self, lifetimes: Mapping[TokenKind, KeyLifetime], now: float, *, random: Callable[[int], bytes] = os.urandom
    ) -> TokenState:
        """With new keys where they are due, without those that are good no more, and without ended delegations."""
        rings = {kind: ring.rolled(random(SECRET_BYTES), lifetimes[kind], now) for kind, ring in self.rings.items()}
        return replace(self, rings=rings, delegations=self.good_delegations(int(now * 1000)))

    def good_delegations(self, now_ms: int) -> dict[int, Delegation]:
        """Those that have not ended."""
        return {number: kept for number, kept in self.delegations.items() if kept.until_ms > now_ms}

    def encode(self) -> bytes:
        return json.dumps(
            {
                "version": _VERSION,
                "keys": {kind.value: [_plain(key) for key in ring.keys.values()] for kind, ring in self.rings.items()},
                "delegations_made": self.delegations_made,
                "delegations": {str(number): _plain_delegation(kept) for number, kept in self.delegations.items()},
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes, *, where: str) -> TokenState:
        """Raises InvalidInput, naming ``where`` it stands, for what `encode` did not write."""
        try:
            plain = json.loads(data)
            if plain["version"] != _VERSION:
                raise InvalidInput(
                    f"{where} was written by another version of HRM ({plain['version']!r})",
                    next_step="use that version, or delete the file: all of YARN's tokens end then",
                )
            keys = {TokenKind(kind): [_key(key) for key in found] for kind, found in plain["keys"].items()}
            rings = {kind: KeyRing({key.key_id: key for key in keys[kind]}) for kind in TokenKind}
            if not all(ring.keys for ring in rings.values()):
                raise ValueError("a kind of tokens has no key")
            delegations = {int(number): _delegation(*kept) for number, kept in plain["delegations"].items()}
            return cls(rings, int(plain["delegations_made"]), delegations)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise InvalidInput(
                f"{where} is damaged ({type(error).__name__}: {error})",
                next_step="delete it: new keys are made, and all of YARN's tokens end",
            ) from None


def _plain_delegation(kept: Delegation) -> list[Any]:
    plain: list[Any] = [kept.owner, kept.until_ms]
    if kept.hold is not None:
        hold = kept.hold
        plain.append({"applications": [*hold.applications], "cancel": hold.cancel, "max_ms": hold.max_ms})
    return plain


def _delegation(owner: str, until_ms: int, hold: dict[str, Any] | None = None) -> Delegation:
    held = None
    if hold is not None:
        held = Hold(tuple(map(str, hold["applications"])), bool(hold["cancel"]), int(hold["max_ms"]))
    return Delegation(str(owner), int(until_ms), held)


def _plain(key: MasterKey) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "secret": base64.b64encode(key.secret).decode("ascii"),
        "made_at": key.made_at,
        "superseded_at": key.superseded_at,
    }


def _key(plain: dict[str, Any]) -> MasterKey:
    secret = base64.b64decode(plain["secret"], validate=True)
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a key of {len(secret)} bytes")
    superseded_at = plain["superseded_at"]
    return MasterKey(
        int(plain["id"]), secret, float(plain["made_at"]), None if superseded_at is None else float(superseded_at)
    )
