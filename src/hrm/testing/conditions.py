"""Waiting in tests: for a condition with a deadline, never for a time that hopes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")
_POLL_S = 0.005
#: For a machine that is ten times slower than it should be. Nobody waits for it but who has failed.
_DEADLINE_S = 60.0


def eventually(condition: Callable[[], T], timeout_s: float = _DEADLINE_S, *, describe: str = "") -> T:
    """The first true value of ``condition()``. Raises AssertionError after ``timeout_s``.

    An AssertionError raised by the condition counts as "not yet" and is the cause of the last one.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value, failure = _try(condition)
        if value:
            return cast("T", value)
        if time.monotonic() > deadline:
            raise _given_up(condition, timeout_s, describe, value) from failure
        time.sleep(_POLL_S)


async def eventually_async(condition: Callable[[], Any], timeout_s: float = _DEADLINE_S, *, describe: str = "") -> Any:
    """As `eventually`, on a loop that goes on meanwhile; the condition may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        value, failure = _try(condition)
        if isinstance(value, Awaitable):
            try:
                value = await value
            except AssertionError as error:
                value, failure = None, error
        if value:
            return value
        if time.monotonic() > deadline:
            raise _given_up(condition, timeout_s, describe, value) from failure
        await asyncio.sleep(_POLL_S)


def _try(condition: Callable[[], object]) -> tuple[object, AssertionError | None]:
    try:
        return condition(), None
    except AssertionError as error:
        return None, error


def _given_up(condition: Callable[[], object], timeout_s: float, describe: str, last: object) -> AssertionError:
    what = describe or getattr(condition, "__qualname__", repr(condition))
    return AssertionError(f"not within {timeout_s:g} s: {what} (last: {last!r})")
