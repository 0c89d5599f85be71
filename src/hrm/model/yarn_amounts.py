"""Amounts of resources as YARN writes them, for files and callers that come from there.

===========================  ===================================================================================
`Form.PLAIN`                 ``1024 mb, 2 vcores``: both, in any order and case
`Form.NAMED`                 ``memory-mb=1024, vcores=2, yarn.io/gpu=2``: any of them; other resources by name
`Form.PERCENT`               ``50%``: of each resource
`Form.PLAIN_PERCENT`         ``50% memory, 20% cpu``: both, in any order and case; nothing of other resources
`Form.NAMED_PERCENT`         ``vcores=20%, memory-mb=50%``: any of them; all of what is not named
===========================  ===================================================================================

What YARN reads is read alike (FairSchedulerConfiguration.parseResourceConfigValue, ConfigurableResource), but leftovers
that it skips in silence are refused. Named amounts may have units (``memory-mb=1Gi``), as in its requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import TypeVar

from hrm.model.errors import InvalidInput
from hrm.model.resources import BUILT_IN, GPUS, MEMORY, VCORES, Resources
from hrm.model.units import LARGEST, parse_memory_mib

#: What YARN calls the built-in resources.
YARN_NAMES = {MEMORY: "memory-mb", VCORES: "vcores", GPUS: "yarn.io/gpu"}
_NAMES = {theirs: ours for ours, theirs in YARN_NAMES.items()}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
_PLAIN = re.compile(r"\s*(-?[0-9]+)(\.[0-9]*)?\s*([A-Za-z]+)\s*(?:[,;]|\s|\Z)")
_PLAIN_PERCENT = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]*)?)\s*%\s*([A-Za-z]+)\s*(?:,|\Z)")
_PERCENT = re.compile(r"(-?[0-9]+(?:\.[0-9]*)?)\s*%")
_NAMED = re.compile(r"(-?[0-9]+)\s*([A-Za-z]*)")
_PLAIN_UNITS = {"mb": MEMORY, "vcores": VCORES}
_PERCENT_UNITS = {"memory": MEMORY, "cpu": VCORES}
#: Of resources that are neither memory, vcores nor GPUs (YARN's UnitsConversionUtil).
_FACTORS: dict[str, int] = {
    "": 1,
    **{letter: 1000 ** (power + 1) for power, letter in enumerate("kMGTP")},
    **{f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGTP")},
}
_MAX_CHARS = 1000
Value = TypeVar("Value")
_EXAMPLE = "write for example '1024 mb, 2 vcores', 'memory-mb=1024, vcores=2' or '50%'"


class Form(StrEnum):
    """In which way an amount was written."""

    PLAIN = "plain"
    NAMED = "named"
    PERCENT = "percent"
    PLAIN_PERCENT = "plain_percent"
    NAMED_PERCENT = "named_percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnAmounts:
    """What was written, by HRM's names of resources; of each at most one amount or part."""

    form: Form
    #: (resource, amount) in the units of `Resources`; others in single units. Only of the forms without percent.
    amounts: tuple[tuple[str, int], ...] = ()
    #: (resource, percent of the cluster), exactly as written. Only of the forms with percent; one without a name
    #: counts for every resource.
    percents: tuple[tuple[str, Fraction], ...] = ()
    #: Where YARN takes it otherwise than it looks.
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_percent(self) -> bool:
        """True iff these are parts of the cluster."""
        return self.form in (Form.PERCENT, Form.PLAIN_PERCENT, Form.NAMED_PERCENT)

    def resources(self, *, missing: int = 0) -> Resources:
        """The amounts, with ``missing`` of each built-in resource that the form leaves open.

        `Form.PLAIN` leaves nothing open: there YARN has 0 of all but memory and vcores. Raises InvalidInput for parts.
        """
        if self.is_percent:
            raise InvalidInput(
                "is a part of the cluster, not an amount", next_step="write for example 1024 mb, 2 vcores"
            )
        rest = 0 if self.form is Form.PLAIN else missing
        return Resources.of({**dict.fromkeys(BUILT_IN, rest), **dict(self.amounts)})


def parse_yarn_amounts(text: str, *, field: str = "") -> YarnAmounts:
    """Read any of the forms above. Raises InvalidInput naming ``field``, for everything else."""
    try:
        return _parse(text)
    except InvalidInput as error:
        raise InvalidInput(error.problem, field=field, next_step=error.next_step or _EXAMPLE) from None


def format_yarn_amounts(amounts: YarnAmounts) -> str:
    """In its form: `parse_yarn_amounts` reads the same back. Raises InvalidInput for what YARN cannot write."""
    if amounts.form is Form.PERCENT:
        return f"{_decimal(dict(amounts.percents)[''])}%"
    if amounts.form is Form.PLAIN_PERCENT:
        percents = dict(amounts.percents)
        return ", ".join(f"{_decimal(percents[name])}% {unit}" for unit, name in _PERCENT_UNITS.items())
    if amounts.form is Form.NAMED_PERCENT:
        return ", ".join(f"{YARN_NAMES.get(name, name)}={_decimal(part)}%" for name, part in amounts.percents)
    counts = {name: _count(name, amount) for name, amount in amounts.amounts}
    if amounts.form is Form.PLAIN:
        return ", ".join(f"{counts[name]} {unit}" for unit, name in _PLAIN_UNITS.items())
    return ", ".join(f"{YARN_NAMES.get(name, name)}={count}" for name, count in counts.items())


def single_units(value: int, unit: str) -> int:
    """``value`` of a unit (``k``, ``Mi`` …; "" for one) in single ones. Raises InvalidInput for what YARN has not."""
    if unit not in _FACTORS:
        raise InvalidInput(f"no such unit: {unit!r:.20}", next_step=f"one of {', '.join(filter(None, _FACTORS))}")
    return value * _FACTORS[unit]


def _parse(text: str) -> YarnAmounts:
    if len(text) > _MAX_CHARS:
        raise InvalidInput(f"too long for an amount: {text[:40]!r}…")
    text = text.strip()
    if not text:
        raise InvalidInput("is empty")
    if "=" in text:
        return _parse_named(text)
    if "%" in text:
        return _parse_percent(text) if "," not in text else _parse_plain_percent(text)
    return _parse_plain(text)


def _parse_plain(text: str) -> YarnAmounts:
    found: dict[str, int] = {}
    remarks: list[str] = []
    for number, decimals, unit in _pieces(_PLAIN, text):
        name = _PLAIN_UNITS.get(unit.lower())
        if name is None:
            raise InvalidInput(f"unknown unit {unit!r}", next_step="memory is in mb, CPUs are in vcores")
        _only_once(found, name, unit)
        found[name] = _amount(name, _whole(number, unit))
        if decimals and decimals.strip(".0"):
            remarks.append(f"YARN drops the decimals of {number}{decimals} {unit}")
    _all_named(found, _PLAIN_UNITS)
    return YarnAmounts(form=Form.PLAIN, amounts=_in_order(found), remarks=tuple(remarks))


def _parse_plain_percent(text: str) -> YarnAmounts:
    found: dict[str, Fraction] = {}
    for number, unit in _pieces(_PLAIN_PERCENT, text):
        name = _PERCENT_UNITS.get(unit.lower())
        if name is None:
            raise InvalidInput(f"unknown resource {unit!r}", next_step="write for example '50% memory, 20% cpu'")
        _only_once(found, name, unit)
        found[name] = _part(number)
    _all_named(found, _PERCENT_UNITS)
    return YarnAmounts(form=Form.PLAIN_PERCENT, percents=_in_order(found))


def _parse_percent(text: str) -> YarnAmounts:
    match = _PERCENT.fullmatch(text)
    if match:
        return YarnAmounts(form=Form.PERCENT, percents=(("", _part(match.group(1))),))
    named = _PLAIN_PERCENT.fullmatch(text)
    if not named or named.group(2).lower() not in _PERCENT_UNITS:
        raise InvalidInput(f"not a percentage: {text!r:.80}")
    remark = f"YARN takes {text!r} for every resource: without a comma the name does not count"
    return YarnAmounts(form=Form.PERCENT, percents=(("", _part(named.group(1))),), remarks=(remark,))


def _parse_named(text: str) -> YarnAmounts:
    amounts: dict[str, int] = {}
    percents: dict[str, Fraction] = {}
    as_percent = "%" in text
    for piece in text.split(","):
        written, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not written or not value:
            raise InvalidInput(f"not name=value: {piece.strip()!r:.80}")
        name = _resource(written)
        _only_once(percents if as_percent else amounts, name, written)
        if as_percent:
            match = _PERCENT.fullmatch(value)
            if not match:
                raise InvalidInput(
                    f"not a percentage: {value!r:.40}", next_step="write all of them in percent, or none"
                )
            percents[name] = _part(match.group(1))
        else:
            amounts[name] = _named_amount(name, written, value)
    form = Form.NAMED_PERCENT if as_percent else Form.NAMED
    return YarnAmounts(form=form, amounts=_in_order(amounts), percents=_in_order(percents))


def _resource(written: str) -> str:
    known = _NAMES.get(written.lower())
    if known is not None:
        return known
    if written.lower() in ("memory", "mb", "memory_mib"):
        raise InvalidInput(f"unknown resource {written!r}", next_step="YARN calls it memory-mb")
    if written in BUILT_IN or not _NAME.fullmatch(written):
        raise InvalidInput(f"not the name of a resource: {written!r:.80}")
    return written


def _named_amount(name: str, written: str, value: str) -> int:
    match = _NAMED.fullmatch(value)
    if not match:
        raise InvalidInput(f"{written} is not a whole number: {value!r:.40}")
    number, unit = match.groups()
    if name == MEMORY and unit:
        return parse_memory_mib(value, field="")
    factor = 1 if name in BUILT_IN and not unit else _FACTORS.get(unit)
    if factor is None or (name in BUILT_IN and unit):
        raise InvalidInput(f"{written} has no unit {unit!r}")
    return _amount(name, _whole(number, written) * factor)


def _pieces(pattern: re.Pattern[str], text: str) -> list[tuple[str, ...]]:
    pieces: list[tuple[str, ...]] = []
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        if not match:
            raise InvalidInput(f"cannot be read from {text[at : at + 40].strip()!r} on")
        pieces.append(match.groups())
        at = match.end()
    return pieces


def _only_once(found: Mapping[str, object], name: str, written: str) -> None:
    if name in found:
        raise InvalidInput(f"names {written} twice")


def _all_named(found: Mapping[str, object], units: Mapping[str, str]) -> None:
    missing = [unit for unit, name in units.items() if name not in found]
    if missing:
        raise InvalidInput(f"says nothing of {' and '.join(missing)}")


def _whole(number: str, what: str) -> int:
    if number.startswith("-") and number.strip("-0"):
        raise InvalidInput(f"{what} cannot be negative: {number:.40}")
    if len(number) > 20:
        raise InvalidInput(f"{what} is larger than any machine: {number:.20}…")
    return int(number)


def _amount(name: str, count: int) -> int:
    amount = count * 1000 if name in (VCORES, GPUS) else count
    if amount > LARGEST:
        raise InvalidInput(f"larger than any machine: {count}")
    return amount


def _part(number: str) -> Fraction:
    if number.startswith("-") and number.strip("-0."):
        raise InvalidInput(f"a percentage cannot be negative: {number:.40}%")
    if len(number) > 40:
        raise InvalidInput(f"not a percentage: {number:.40}…")
    return Fraction(number.removesuffix("."))


def _count(name: str, amount: int) -> int:
    count, rest = divmod(amount, 1000) if name in (VCORES, GPUS) else (amount, 0)
    if rest:
        raise InvalidInput("YARN has whole vcores and GPUs only", field=name)
    return count


def _decimal(part: Fraction) -> str:
    """Exact digits: what was parsed was a decimal."""
    digits = 0
    while part * 10**digits % 1 and digits < 40:
        digits += 1
    scaled = int(part * 10**digits)
    text = str(scaled).rjust(digits + 1, "0")
    return f"{text[:-digits]}.{text[-digits:]}" if digits else text


def _in_order(found: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    names = (*BUILT_IN, *sorted(name for name in found if name not in BUILT_IN))
    return tuple((name, found[name]) for name in names if name in found)
