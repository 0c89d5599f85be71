"""Human forms of amounts: read ``4G``, ``512 mb``, ``0.5``, ``1:30:00``; print them back.

Amounts are exact integers inside (MiB, thousandths). A form that would need rounding is refused rather than rounded,
except sizes below one MiB, which are rounded up: nobody asks for less than they need.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from hrm.model.errors import InvalidInput

_MEMORY = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*$", re.IGNORECASE)
#: Bytes per unit. As in YARN, Slurm and Java, M and MB mean 2**20: nobody who writes 4G wants 3.73 GiB.
_BYTES = {
    "b": 1,
    "k": 1 << 10,
    "kb": 1 << 10,
    "kib": 1 << 10,
    "ki": 1 << 10,
    "": 1 << 20,
    "m": 1 << 20,
    "mb": 1 << 20,
    "mib": 1 << 20,
    "mi": 1 << 20,
    "g": 1 << 30,
    "gb": 1 << 30,
    "gib": 1 << 30,
    "gi": 1 << 30,
    "t": 1 << 40,
    "tb": 1 << 40,
    "tib": 1 << 40,
    "ti": 1 << 40,
}
_DURATION_UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_DURATION = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(ms|s|sec|m|min|h|d)$", re.IGNORECASE)
#: Larger than any machine or run; keeps sums far inside 64 bits, which the store and the wire need.
LARGEST = 1 << 52


def parse_memory_mib(text: str | int, *, field: str = "memory") -> int:
    """Memory in MiB from ``4G``, ``512 mb``, ``1.5GiB``; a bare number is MiB.

    Raises InvalidInput naming ``field``.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int)):
        raise InvalidInput(f"not an amount of memory: {text!r}", field=field, next_step="write for example 512M or 4G")
    match = _MEMORY.match(str(text))
    unit = match and _BYTES.get(match.group(2).lower())
    if not match or not unit:
        hint = " (an amount cannot be negative)" if str(text).strip().startswith("-") else ""
        raise InvalidInput(
            f"not an amount of memory: {str(text)!r}{hint}", field=field, next_step="write for example 512M or 4G"
        )
    size_bytes = Decimal(match.group(1)) * unit
    mib = int(-(-size_bytes // (1 << 20)))
    if mib > LARGEST:
        raise InvalidInput(f"larger than any machine: {text}", field=field, next_step="check the unit")
    return mib


def parse_milli(text: str | int | float, *, field: str) -> int:
    """Thousandths from ``0.5`` or ``2``: 500, 2000. At most three decimals. Raises InvalidInput naming ``field``."""
    try:
        if isinstance(text, bool):
            raise InvalidOperation
        amount = Decimal(str(text).strip()) * 1000
        finite = amount.is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise InvalidInput(f"not a number: {text!r}", field=field, next_step="write for example 2 or 0.5")
    if amount < 0:
        raise InvalidInput(f"cannot be negative: {text}", field=field, next_step="write for example 2 or 0.5")
    if amount != amount.to_integral_value():
        raise InvalidInput(f"finer than a thousandth: {text}", field=field, next_step="use at most three decimals")
    if amount > LARGEST:
        raise InvalidInput(f"larger than any machine: {text}", field=field, next_step="check the number")
    return int(amount)


def parse_duration_s(text: str | int | float, *, field: str) -> float:
    """Seconds from ``90s``, ``2h``, ``1.5m``, and Slurm's ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``.

    A bare number in text is minutes, as in Slurm; a number that is no text (from YAML or JSON) is seconds.
    Raises InvalidInput naming ``field``.
    """
    wrong = InvalidInput(
        f"not a duration: {text!r}", field=field, next_step="write for example 90s, 2h, 10:30 (minutes:seconds) or 1-12"
    )
    if isinstance(text, bool):
        raise wrong
    if isinstance(text, (int, float)):
        seconds = float(text)
        if not 0 < seconds <= LARGEST:
            raise InvalidInput(f"must be above zero: {text}", field=field, next_step="write for example 90s or 2h")
        return seconds
    raw = text.strip()
    if match := _DURATION.match(raw):
        unit = {"sec": "s", "min": "m"}.get(match.group(2).lower(), match.group(2).lower())
        return parse_duration_s(float(Decimal(match.group(1)) * _DURATION_UNITS[unit]), field=field)
    days, dash, clock = raw.partition("-")
    if not dash:
        days, clock = "0", raw
    parts = clock.split(":")
    if not days.isascii() or not days.isdigit() or not all(p.isascii() and p.isdigit() for p in parts):
        raise wrong
    numbers = [int(p) for p in parts]
    if dash and len(numbers) <= 3:
        hours, minutes, secs = [*numbers, 0, 0][:3]
    elif len(numbers) == 1:
        hours, minutes, secs = 0, numbers[0], 0
    elif len(numbers) == 2:
        hours, minutes, secs = 0, numbers[0], numbers[1]
    elif len(numbers) == 3:
        hours, minutes, secs = numbers
    else:
        raise wrong
    return parse_duration_s(float(int(days) * 86400 + hours * 3600 + minutes * 60 + secs), field=field)


def format_memory(mib: int) -> str:
    """``4G``, ``1.5G``, ``512M``: the shortest exact form, at most two decimals, else MiB."""
    for unit, size in (("T", 1 << 20), ("G", 1 << 10)):
        if mib >= size and mib * 100 % size == 0:
            return f"{Decimal(mib) / size:f}{unit}"
    return f"{mib}M"


def format_milli(milli: int) -> str:
    """``2``, ``0.5``."""
    whole, rest = divmod(milli, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)


def format_duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``3m05s``, ``2h10m``, ``3d04h``: two units at most, for people."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    total = round(seconds)
    if total < 60:
        return f"{total}s"
    for name, size, below, small in (("m", 60, 3600, "s"), ("h", 3600, 86400, "m")):
        if total < below:
            return f"{total // size}{name}{total % size // (size // 60):02d}{small}"
    return f"{total // 86400}d{total % 86400 // 3600:02d}h"
