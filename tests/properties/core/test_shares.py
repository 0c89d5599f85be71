"""What is always true of water-filling."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hrm.core.shares import Claim, compute_shares

TOTALS = st.integers(0, 1 << 30)


@st.composite
def claims(draw: st.DrawFn) -> list[Claim]:
    made = []
    for _ in range(draw(st.integers(1, 8))):
        minimum = draw(st.sampled_from([0, 0, 0, 1, 1000, 1 << 20]))
        spare = draw(st.one_of(st.none(), st.integers(0, 1 << 22)))
        made.append(
            Claim(
                weight=draw(st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 3.0, 100.0])),
                min_share=minimum,
                max_share=None if spare is None else minimum + spare,
                active=draw(st.booleans()),
            )
        )
    return made


def slack(of: list[Claim], total: int) -> float:
    """How far the sum may be over the total: one unit each, and what the last halving of the interval leaves open."""
    weight = sum(claim.weight for claim in of)
    return len(of) + weight * (total + 1) / min((c.weight for c in of if c.weight > 0), default=1.0) / (1 << 23)


@given(claims(), TOTALS)
def test_shares_keep_to_the_limits_of_each_claim(of: list[Claim], total: int) -> None:
    for claim, share in zip(of, compute_shares(of, total), strict=True):
        assert claim.max_share is None or share <= claim.max_share
        assert share >= claim.min_share or not claim.active or claim.max_share == 0
        assert share >= 0


@given(claims(), TOTALS)
def test_shares_sum_to_at_most_the_total_unless_minimums_alone_are_more(of: list[Claim], total: int) -> None:
    minimums = sum(claim.min_share for claim in of)

    assert sum(compute_shares(of, total)) <= max(total, minimums) + minimums + slack(of, total)


@given(claims(), TOTALS)
def test_nothing_is_left_while_somebody_may_take_more(of: list[Claim], total: int) -> None:
    shares = compute_shares(of, total)
    hungry = any(
        claim.active and claim.weight > 0 and (claim.max_share is None or share < claim.max_share)
        for claim, share in zip(of, shares, strict=True)
    )

    assert not hungry or sum(shares) >= total


@given(claims(), TOTALS, st.integers(0, 1 << 20))
def test_a_larger_total_makes_no_share_noticeably_smaller(of: list[Claim], total: int, more: int) -> None:
    before, after = compute_shares(of, total), compute_shares(of, total + more)

    assert all(later >= earlier - slack(of, total + more) for earlier, later in zip(before, after, strict=True))


@given(st.integers(1, 50), TOTALS)
def test_equal_claims_get_equal_shares_rounded_up_at_most_by_one(count: int, total: int) -> None:
    shares = compute_shares([Claim()] * count, total)

    assert len(set(shares)) == 1
    assert total <= shares[0] * count <= total + count + total / (1 << 22)


@given(TOTALS, st.integers(1, 9))
def test_without_limits_shares_are_in_proportion_to_weights(total: int, weight: int) -> None:
    light, heavy = compute_shares([Claim(weight=1.0), Claim(weight=float(weight))], total)

    assert abs(heavy - weight * light) <= weight + 1
