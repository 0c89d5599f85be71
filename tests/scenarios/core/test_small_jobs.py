"""Small jobs that come while a large one runs: Zaharia et al.'s reason for fair sharing, with numbers."""

from __future__ import annotations

import pytest

from hrm.model.queues import Policy
from hrm.testing.small_jobs import Crowd


def test_first_come_first_served_small_jobs_wait_for_the_last_wave_of_the_large_one() -> None:
    seen = Crowd(name="fifo", policy=Policy.FIFO).play()

    # The last of 600 × 60 s / 20 slots begins at 1740 s, the small ones came at 900 s on average.
    assert seen.large_s == 1800
    assert 1740 - 900 <= seen.small_mean_s <= 1740 - 900 + 80


@pytest.mark.parametrize("policy", [Policy.FAIR, Policy.DRF])
def test_by_fair_shares_they_take_a_twentieth_of_that_and_the_large_one_three_percent_more(policy: Policy) -> None:
    first_come = Crowd(name="fifo", policy=Policy.FIFO).play()
    fair = Crowd(name="fair", policy=policy).play()

    # Its half of the slots gets free within the 60 s of a large task, and then it runs for 10 s.
    assert fair.small_max_s <= 60 + 10
    assert fair.small_mean_s <= first_come.small_mean_s / 20
    # Their own work, 11 × 10 × 10 s on 20 slots, is all that the large one loses.
    assert fair.large_s <= 1800 + 55


def test_where_all_tasks_of_the_large_one_end_together_preemption_bounds_the_wait() -> None:
    waits = Crowd(name="waves", policy=Policy.FAIR, staggered=False).play()
    preempts = Crowd(name="preempting", policy=Policy.FAIR, staggered=False, preempt_after_s=5.0).play()

    assert waits.small_max_s == 60
    # Timeout 5 s, warning 5 s, own run time 10 s; each look may come a second late.
    assert preempts.small_max_s <= 5 + 5 + 10 + 2
    # It pays with work that is done twice: at most 10 tasks of 60 s each time.
    assert waits.large_s < preempts.large_s <= waits.large_s + 11 * 10 * 60 / 20
