"""Human forms of amounts: read ``4G``, ``512 mb``, ``0.5``, ``1:30:00``; print them back.

Amounts are exact integers inside (MiB, thousandths). A form that would need rounding is refused rather than rounded,
except sizes below one MiB, which are rounded up: nobody asks for less than they need.
"""

from __future__ import annotations

import re
from decimal import Decimal

from hrm.model.errors import InvalidInput

_MEMORY = re.compile(r"([0-9]+)(?:\.([0-9]+))?\s*([a-z]*)", re.IGNORECASE)
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
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|sec|m|min|h|d)", re.IGNORECASE)
#: Larger than any machine or run; keeps sums far inside 64 bits, which the store and the wire need.
LARGEST = 1 << 52
#: No amount needs more; a Decimal this long is still exact after any step below.
_MAX_CHARS = 24


def parse_memory_mib(text: str | int, *, field: str = "memory") -> int:
    """Memory in MiB from ``4G``, ``512 mb``, ``1.5GiB``; a bare number is MiB.

    Raises InvalidInput naming ``field``.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int)):
        raise InvalidInput(f"not an amount of memory: {text!r}", field=field, next_step="write for example 512M or 4G")
    raw = _as_text(text, field)
    match = _MEMORY.fullmatch(raw)
    unit = match and _BYTES.get(match.group(3).lower())
    if not match or not unit:
        hint = " (an amount cannot be negative)" if raw.startswith("-") else ""
        raise InvalidInput(
            f"not an amount of memory: {raw!r}{hint}", field=field, next_step="write for example 512M or 4G"
        )
    decimals = match.group(2) or ""
    # Integers to the end: a Decimal would round a long fraction of a large unit.
    scale: int = 10 ** len(decimals)
    mib = -(-int(match.group(1) + decimals) * unit // (scale << 20))
    if mib > LARGEST:
        raise InvalidInput(f"larger than any machine: {raw}", field=field, next_step="check the unit")
    return mib


def parse_milli(text: str | int | float, *, field: str) -> int:
    """Thousandths from ``0.5`` or ``2``: 500, 2000. At most three decimals. Raises InvalidInput naming ``field``."""
    raw = _as_text(text, field)
    try:
        amount = Decimal("NaN") if isinstance(text, bool) else Decimal(raw) * 1000
    except ArithmeticError:  # not a number, or one with an exponent beyond Decimal's
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise InvalidInput(f"not a number: {raw!r}", field=field, next_step="write for example 2 or 0.5")
    if amount < 0:
        raise InvalidInput(f"cannot be negative: {raw}", field=field, next_step="write for example 2 or 0.5")
    if amount != amount.to_integral_value():
        raise InvalidInput(f"finer than a thousandth: {raw}", field=field, next_step="use at most three decimals")
    if amount > LARGEST:
        raise InvalidInput(f"larger than any machine: {raw}", field=field, next_step="check the number")
    return int(amount)


def parse_duration_s(text: str | int | float, *, field: str) -> float:
    """Seconds from ``90s``, ``2h``, ``1.5m``, and Slurm's ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``.

    A bare number in text is minutes, as in Slurm; a number that is no text (from YAML or JSON) is seconds.
    Raises InvalidInput naming ``field``.
    """
    raw = _as_text(text, field)
    wrong = InvalidInput(
        f"not a duration: {raw!r}", field=field, next_step="write for example 90s, 2h, 10:30 (minutes:seconds) or 1-12"
    )
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise wrong
    if isinstance(text, (int, float)):
        if not text > 0:
            raise InvalidInput(f"must be above zero: {raw}", field=field, next_step="write for example 90s or 2h")
        if text > LARGEST:
            raise InvalidInput(f"longer than any run: {raw}", field=field, next_step="check the unit")
        return float(text)
    if match := _DURATION.fullmatch(raw):
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


def parse_age_s(text: str | int | float, *, field: str) -> float:
    """Seconds as `parse_duration_s` reads them; 0 is an age too."""
    if not isinstance(text, bool) and _as_text(text, field) in ("0", "0s", "0.0"):
        return 0.0
    return parse_duration_s(text, field=field)


def _as_text(value: object, field: str) -> str:
    """``value`` as somebody may have written it. Raises InvalidInput for what is too long to be an amount."""
    if isinstance(value, int) and abs(value) > LARGEST:
        raise InvalidInput("out of all range", field=field, next_step="check the number")
    text = str(value).strip()
    if len(text) > _MAX_CHARS:
        raise InvalidInput(f"not an amount: {text[:_MAX_CHARS]!r}…", field=field, next_step="check the number")
    return text


def format_memory(mib: int) -> str:
    """``4G``, ``1.5G``, ``512M``: the shortest exact form, at most two decimals, else MiB."""
    for unit, size in (("T", 1 << 20), ("G", 1 << 10)):
        if mib >= size and mib * 100 % size == 0:
            return f"{Decimal(mib) / size:f}{unit}"
    return f"{mib}M"


def short_memory(mib: int) -> str:
    """As `format_memory`, but with one decimal at most: for a column of figures whose exact MiB stand elsewhere."""
    for unit, size in (("T", 1 << 20), ("G", 1 << 10)):
        if mib >= size:
            return f"{mib / size:.1f}".removesuffix(".0") + unit
    return f"{mib}M"


def format_bytes(size_bytes: int) -> str:
    """``1.2 GiB``."""
    amount, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def format_milli(milli: int) -> str:
    """``2``, ``0.5``; a negative difference as ``-0.5``."""
    whole, rest = divmod(abs(milli), 1000)
    sign = "-" if milli < 0 else ""
    return f"{sign}{whole}.{rest:03d}".rstrip("0") if rest else f"{sign}{whole}"


def format_duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``3m05s``, ``2h10m``, ``3d04h``: two units at most, for people."""
    if seconds < 9.95:  # what is above would print as 10.0s
        return f"{seconds:.1f}s"
    total = round(seconds)
    if total < 60:
        return f"{total}s"
    for name, size, below, small in (("m", 60, 3600, "s"), ("h", 3600, 86400, "m")):
        if total < below:
            return f"{total // size}{name}{total % size // (size // 60):02d}{small}"
    return f"{total // 86400}d{total % 86400 // 3600:02d}h"
