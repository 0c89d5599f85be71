"""Random times as words: ``exponential:10m``, ``uniform:1m..2h``, ``lognormal:20m,1.5``, ``60s``, ``forever``."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import StrEnum

from hrm.model.errors import InvalidInput
from hrm.model.units import format_duration, parse_duration_s

_EXAMPLES = "write 60s, forever, exponential:10m, uniform:1m..2h, lognormal:20m,1.5 or pareto:1m,1.3"


class Kind(StrEnum):
    """The form of a distribution."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"  #: mean
    UNIFORM = "uniform"  #: from, to
    LOGNORMAL = "lognormal"  #: median, standard deviation of the logarithm
    PARETO = "pareto"  #: smallest, exponent


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of times, in seconds."""

    kind: Kind
    first: float
    second: float = 0.0

    def draw(self, rng: random.Random) -> float:
        """The next of it."""
        match self.kind:
            case Kind.CONSTANT:
                return self.first
            case Kind.EXPONENTIAL:
                return rng.expovariate(1.0 / self.first)
            case Kind.UNIFORM:
                return rng.uniform(self.first, self.second)
            case Kind.LOGNORMAL:
                return rng.lognormvariate(math.log(self.first), self.second)
            case Kind.PARETO:
                return self.first * rng.paretovariate(self.second)

    def __str__(self) -> str:
        if self.kind is Kind.CONSTANT:
            return "forever" if math.isinf(self.first) else format_duration(self.first)
        return f"{self.kind}:{self.first:g}s,{self.second:g}"


def parse_distribution(text: object, *, field: str) -> Distribution:
    """Raises InvalidInput naming ``field``."""
    raw = str(text).strip()
    word, colon, rest = raw.partition(":")
    if not colon:
        if word == "forever":
            return Distribution(Kind.CONSTANT, math.inf)
        return Distribution(Kind.CONSTANT, 0.0 if word in ("0", "0s") else parse_duration_s(word, field=field))
    if word not in [str(kind) for kind in Kind]:
        # A time of day's form is Slurm's: minutes and seconds.
        if word.isdigit():
            return Distribution(Kind.CONSTANT, parse_duration_s(raw, field=field))
        raise InvalidInput(f"not a distribution: {raw!r:.60}", field=field, next_step=_EXAMPLES)
    kind = Kind(word)
    separator = ".." if kind is Kind.UNIFORM else ","
    first, _, second = rest.partition(separator)
    first_s = parse_duration_s(first, field=field) if first not in ("0", "0s") or kind is not Kind.UNIFORM else 0.0
    if kind in (Kind.CONSTANT, Kind.EXPONENTIAL):
        if second:
            raise InvalidInput(f"{kind} takes one time: {raw!r:.60}", field=field, next_step=_EXAMPLES)
        return Distribution(kind, first_s)
    if kind is Kind.UNIFORM:
        second_s = parse_duration_s(second, field=field)
        if second_s < first_s:
            raise InvalidInput(f"ends before it begins: {raw!r:.60}", field=field)
        return Distribution(kind, first_s, second_s)
    try:
        shape = float(second)
    except ValueError:
        shape = math.nan
    if not (0 < shape < math.inf):
        raise InvalidInput(f"not a number above zero: {second!r:.40}", field=field, next_step=_EXAMPLES)
    return Distribution(kind, first_s, shape)
