"""Master keys: what passwords of tokens are made of, and how a new key takes the place of an old one.

As YARN's `MasterKey` and its managers of secrets: each kind has a ring of keys of its own, a token names the key that
it was made with, and an old key is good for a while after a new one came.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace

#: Hadoop's SecretManager makes passwords by HmacSHA1, and clients of masters compute them so.
_PASSWORD_HASH = "sha1"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One key. Times are epoch seconds."""

    key_id: int
    secret: bytes
    made_at: float
    #: When the next key took its place; None iff it is the one that tokens are made with.
    superseded_at: float | None = None

    def password(self, identifier: bytes) -> bytes:
        """Of the token with this identifier: who has it was given it by whoever has the key."""
        return hmac.digest(self.secret, identifier, _PASSWORD_HASH)


@dataclass(frozen=True, slots=True)
class KeyLifetime:
    """When keys of one kind change. ``overlap_s``: how long an old one is good after it was superseded."""

    interval_s: float
    overlap_s: float


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one kind that are good, by their numbers; the latest makes tokens."""

    keys: Mapping[int, MasterKey]

    @property
    def current(self) -> MasterKey:
        return self.keys[max(self.keys)]

    def good(self, key_id: int, lifetime: KeyLifetime, now: float) -> MasterKey | None:
        """None iff it never was, or was superseded too long ago."""
        key = self.keys.get(key_id)
        if key is None or (key.superseded_at is not None and now >= key.superseded_at + lifetime.overlap_s):
            return None
        return key

    def is_due(self, lifetime: KeyLifetime, now: float) -> bool:
        """Whether a new key should come, or an old one go."""
        return now >= self.current.made_at + lifetime.interval_s or len(self._still_good(lifetime, now)) < len(
            self.keys
        )

    def rolled(self, secret: bytes, lifetime: KeyLifetime, now: float) -> KeyRing:
        """The ring after its interval: a new key where one is due, and without those that are good no more."""
        keys = self._still_good(lifetime, now)
        current = self.current
        if now >= current.made_at + lifetime.interval_s:
            keys[current.key_id] = replace(current, superseded_at=now)
            keys[current.key_id + 1] = MasterKey(current.key_id + 1, secret, now)
        return KeyRing(keys)

    def _still_good(self, lifetime: KeyLifetime, now: float) -> dict[int, MasterKey]:
        return {key_id: key for key_id, key in self.keys.items() if self.good(key_id, lifetime, now) is not None}
