"""Single values of YARN's files, as text of their keys in ``hrm.yaml``. All raise InvalidInput for what is wrong."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

from hrm.config.keys import suggest
from hrm.config.yarn.yaml_text import flow_list, flow_map
from hrm.model.errors import InvalidInput
from hrm.model.queues import Policy
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import LARGEST, format_memory, format_milli
from hrm.model.yarn_amounts import Form, YarnAmounts

NEVER = "never"
_CLASSES = "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fair.policies"
_POLICIES = {
    f"{_CLASSES}.FifoPolicy": Policy.FIFO,
    f"{_CLASSES}.FairSharePolicy": Policy.FAIR,
    f"{_CLASSES}.DominantResourceFairnessPolicy": Policy.DRF,
}
_WHOLE = re.compile(r"[-+]?[0-9]{1,19}")
#: As Java reads them, with its suffixes.
_NUMBER = re.compile(r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?)[fFdD]?")
_KEYS = (("cpus", VCORES), ("memory", MEMORY), ("gpus", GPUS))
_MAX_CHARS = 40


def whole(text: str, *, least: int = 0) -> int:
    """A whole number that is at least ``least``."""
    if not _WHOLE.fullmatch(text):
        raise InvalidInput(f"not a whole number: {text!r:.60}")
    number = int(text)
    if number < least:
        raise InvalidInput(f"must be at least {least}, not {number}")
    return number


def number(text: str) -> float:
    """A finite number."""
    match = _NUMBER.fullmatch(text) if len(text) <= _MAX_CHARS else None
    value = float(match.group(1)) if match else math.nan
    if not math.isfinite(value):
        raise InvalidInput(f"not a number: {text!r:.60}")
    return value


def zero_or_more(text: str) -> float:
    """A finite number that is not negative."""
    value = number(text)
    if value < 0:
        raise InvalidInput(f"cannot be negative: {text}")
    return value


def true_or_false(text: str) -> bool:
    """``true`` or ``false`` in any case. YARN takes other words for one of them in silence; here they are refused."""
    if text.lower() not in ("true", "false"):
        raise InvalidInput(f"neither true nor false: {text!r:.60}")
    return text.lower() == "true"


def policy(text: str) -> Policy:
    """By name in any case, or by class (SchedulingPolicy.parse)."""
    if text in _POLICIES:
        return _POLICIES[text]
    try:
        return Policy(text.lower())
    except ValueError:
        known = [str(name) for name in Policy]
        raise InvalidInput(f"unknown policy: {text!r:.120}", next_step=suggest(text, known)) from None


def show_number(value: float) -> str:
    """``0.5``, ``3``."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")


def show_flag(value: bool) -> str:
    return "true" if value else "false"


def show_seconds(seconds: Fraction | int) -> str:
    """``30s``, ``0.5s``; as ``never`` what no run lasts."""
    if seconds > LARGEST:
        return NEVER
    return f"{show_number(float(seconds))}s"


def show_amounts(amounts: YarnAmounts, *, no_gpus: bool) -> str:
    """A share; ``no_gpus`` iff it means none of them where it does not name them."""
    if amounts.form is Form.PERCENT:
        return _show_percent(dict(amounts.percents)[""])
    named: dict[str, str] = {name: _show_percent(part) for name, part in amounts.percents}
    for name, amount in amounts.amounts:
        named[name] = format_memory(amount) if name == MEMORY else format_milli(amount)
    if no_gpus:
        named.setdefault(GPUS, "0%" if amounts.is_percent else "0")
    return flow_map([(key, named[name]) for key, name in _KEYS if name in named])


def others(amounts: YarnAmounts) -> list[str]:
    """Names of resources that HRM does not share out."""
    known = ("", *(name for _, name in _KEYS))
    return [name for name, _ in (*amounts.amounts, *amounts.percents) if name not in known]


def show_acl(text: str) -> str:
    """``user1,user2 group1,group2`` (AccessControlList): users before the first space, groups after it."""
    users, _, groups = text.partition(" ")
    if "*" in (text.strip(), users.strip(), groups.strip()):
        return '"*"'
    pairs = [("users", _names(users)), ("groups", _names(groups))]
    return flow_map([(key, flow_list(names)) for key, names in pairs if names] or [("users", "[]")])


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _show_percent(part: Fraction) -> str:
    """As `ShareOfCluster` has it: nothing is above all of the cluster."""
    return f"{show_number(float(min(part, Fraction(100))))}%"
