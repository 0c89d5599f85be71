"""One user's haste does not slow the others down."""

from __future__ import annotations

from typing import Any

from hrm.api.guards import IDENTITY, RateLimit
from hrm.api.tokens import Identity


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Door:
    """A rate limit with nothing behind it, and the statuses it lets out."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self._guard = RateLimit(self._inside, clock=self.clock, **limits)

    async def _inside(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, user: str) -> int:
        statuses = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "path": "/", "headers": [], IDENTITY: Identity(user=user)}
        await self._guard(scope, None, send)  # type: ignore[arg-type]
        return statuses[0]


async def test_a_burst_passes_and_what_is_above_it_does_not() -> None:
    door = Door(requests_per_s=10, burst=3)

    assert [await door.ask("ada") for _ in range(5)] == [200, 200, 200, 429, 429]


async def test_room_comes_back_with_time_up_to_the_burst() -> None:
    door = Door(requests_per_s=10, burst=3)
    for _ in range(3):
        await door.ask("ada")

    door.clock.now += 0.1
    assert [await door.ask("ada") for _ in range(2)] == [200, 429]

    door.clock.now += 3600
    assert [await door.ask("ada") for _ in range(4)] == [200, 200, 200, 429]


async def test_each_user_has_a_limit_of_their_own() -> None:
    door = Door(requests_per_s=10, burst=1)

    assert [await door.ask(user) for user in ("ada", "bob", "ada")] == [200, 200, 429]


async def test_the_table_of_users_does_not_grow_without_end() -> None:
    door = Door(requests_per_s=10, burst=1, max_users=2)
    for user in ("ada", "bob", "cleo"):
        await door.ask(user)

    # ada was forgotten, so she begins anew; cleo was not.
    assert [await door.ask(user) for user in ("cleo", "ada")] == [429, 200]
