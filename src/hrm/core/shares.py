"""Fair shares by water-filling: how much of one resource each claimant gets.

The level of the water is a ratio of resource to weight. Each claimant holds weight × ratio, at least its minimum, at
most its maximum; the ratio is the smallest (found by halving an interval) at which all of the resource is held. As
YARN's ComputeFairShares, the upper end of the interval is kept and shares are truncated to whole units, so that three
equal claimants of 10240 get 3414 each: the sum may be over the total by less than one unit per claimant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

#: As YARN. The ratio is then exact to one part in 2**24.
ITERATIONS = 25


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimant of one resource."""

    weight: float = 1.0
    min_share: int = 0
    #: None iff unlimited.
    max_share: int | None = None
    #: False iff it wants nothing now; steady shares are worked out with all claims active.
    active: bool = True

    def fixed_share(self) -> int | None:
        """Its share where that does not depend on the others: limited to nothing, inactive or without weight."""
        if self.max_share is not None and self.max_share <= 0:
            return 0
        if not self.active:
            return 0
        if self.weight <= 0:
            return max(self.min_share, 0)
        return None

    def share_at(self, ratio: float) -> int:
        """Its share where one unit of weight is worth ``ratio``: clamped to the minimum, then to the maximum."""
        share = int(max(self.weight * ratio, self.min_share))
        return share if self.max_share is None else min(share, self.max_share)


def compute_shares(claims: Sequence[Claim], total: int) -> list[int]:
    """The share of ``total`` that each claim gets, in their order."""
    fixed = [claim.fixed_share() for claim in claims]
    # A thousand claimants are mostly alike: each kind is worked out once.
    kinds = Counter(claim for claim, share in zip(claims, fixed, strict=True) if share is None)
    taken = sum(share for share in fixed if share is not None)
    plain = [(claim.weight, claim.min_share, claim.max_share, count) for claim, count in kinds.items()]
    ratio = _ratio(plain, max(total - taken, 0)) if kinds else 0.0
    shares = {claim: claim.share_at(ratio) for claim in kinds}
    return [shares[claim] if share is None else share for claim, share in zip(claims, fixed, strict=True)]


def share_of_each(count: int, total: int) -> int:
    """The share of ``total`` that each of ``count`` equal claims without limits gets."""
    return int(_ratio([(1.0, 0, None, count)], total)) if count else 0


#: (weight, min share, max share, number of such claims)
_Kind = tuple[float, int, int | None, int]


def _ratio(kinds: Sequence[_Kind], total: int) -> float:
    limits = [maximum * count for _, _, maximum, count in kinds if maximum is not None]
    if len(limits) == len(kinds):
        total = min(total, sum(limits))
    upper = 1.0
    while _held(kinds, upper) < total:
        upper *= 2.0
    lower = 0.0
    for _ in range(ITERATIONS):
        middle = (lower + upper) / 2.0
        planned = _held(kinds, middle)
        if planned == total:
            return middle
        if planned < total:
            lower = middle
        else:
            upper = middle
    return upper


def _held(kinds: Sequence[_Kind], ratio: float) -> int:
    """What all hold at this ratio. Asked dozens of times for one answer, so `Claim.share_at` is written out here."""
    held = 0
    for weight, minimum, maximum, count in kinds:
        share = weight * ratio
        whole = int(share) if share > minimum else minimum
        held += (whole if maximum is None or whole <= maximum else maximum) * count
    return held
