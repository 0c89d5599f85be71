"""What always holds for vectors of resources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hrm.model.resources import ZERO, Resources

#: Small amounts of few resources, so that equal and overlapping vectors come up often.
signed = st.integers(min_value=-3, max_value=3)
names = st.sampled_from(["fpga", "licence", "tape"])


def vectors(amounts: st.SearchStrategy[int]) -> st.SearchStrategy[Resources]:
    return st.builds(
        lambda built_in, others: Resources.of(
            {"memory_mib": built_in[0], "vcores_milli": built_in[1], "gpus_milli": built_in[2], **others}
        ),
        st.tuples(amounts, amounts, amounts),
        st.dictionaries(names, amounts, max_size=3),
    )


any_vector = vectors(signed)
whole = vectors(st.integers(min_value=0, max_value=3))


def in_one_form(vector: Resources) -> bool:
    """Others sorted by name, none of them zero: what makes equality and hashing mean what they say."""
    found = [name for name, _ in vector.others]
    return found == sorted(set(found)) and all(amount for _, amount in vector.others)


@given(any_vector, any_vector)
def test_what_is_added_and_taken_away_leaves_nothing_behind(a: Resources, b: Resources) -> None:
    assert a + b - b == a
    assert a - a == ZERO
    assert a + b == b + a


@given(any_vector, any_vector, any_vector)
def test_the_order_of_adding_does_not_matter(a: Resources, b: Resources, c: Resources) -> None:
    assert (a + b) + c == a + (b + c)


@given(any_vector, st.integers(min_value=0, max_value=5))
def test_times_n_is_n_additions(a: Resources, times: int) -> None:
    total = ZERO
    for _ in range(times):
        total += a
    assert a * times == total


@given(any_vector, any_vector, st.integers(min_value=-2, max_value=3))
def test_every_result_is_in_the_one_normal_form(a: Resources, b: Resources, times: int) -> None:
    for result in (a + b, a - b, a * times, a.smallest(b), a.largest(b)):
        assert in_one_form(result)


@given(any_vector, any_vector, any_vector)
def test_fits_in_is_a_partial_order(a: Resources, b: Resources, c: Resources) -> None:
    assert a.fits_in(a)
    if a.fits_in(b) and b.fits_in(a):
        assert a == b
    if a.fits_in(b) and b.fits_in(c):
        assert a.fits_in(c)


@given(any_vector, any_vector)
def test_what_exceeds_is_exactly_what_keeps_it_from_fitting(a: Resources, b: Resources) -> None:
    exceeding = a.exceeding(b)
    assert a.fits_in(b) == (not exceeding)
    assert all(a.get(name) > b.get(name) for name in exceeding)
    assert len(set(exceeding)) == len(exceeding)


@given(any_vector, any_vector, any_vector)
def test_smallest_and_largest_are_the_meet_and_join_of_that_order(a: Resources, b: Resources, c: Resources) -> None:
    low, high = a.smallest(b), a.largest(b)
    assert low.fits_in(a) and low.fits_in(b)
    assert a.fits_in(high) and b.fits_in(high)
    if c.fits_in(a) and c.fits_in(b):
        assert c.fits_in(low)
    if a.fits_in(c) and b.fits_in(c):
        assert high.fits_in(c)


@given(any_vector, any_vector)
def test_the_lattice_laws_hold(a: Resources, b: Resources) -> None:
    assert a.smallest(b) == b.smallest(a)
    assert a.largest(b) == b.largest(a)
    assert a.smallest(a) == a == a.largest(a)
    assert a.smallest(a.largest(b)) == a == a.largest(a.smallest(b))
    assert a.smallest(b) + a.largest(b) == a + b


@given(any_vector)
def test_a_vector_reads_back_from_its_names_and_amounts(a: Resources) -> None:
    assert Resources.of(a.as_dict()) == a
    assert bool(a) == (a != ZERO)


@given(whole, whole)
def test_a_dominant_share_says_how_often_a_vector_is_contained(a: Resources, total: Resources) -> None:
    share = a.dominant_share(total)
    assert (share <= 1) == a.fits_in(total)
    assert (share == 0) == (a == ZERO)
    for name, amount in a.items():
        if total.get(name):
            assert share >= amount / total.get(name)


@given(whole, whole, whole)
def test_a_dominant_share_never_falls_when_more_is_used(a: Resources, more: Resources, total: Resources) -> None:
    assert (a + more).dominant_share(total) >= a.dominant_share(total)
