"""How long small jobs take while a large one runs, first come first served and by fair shares, in virtual time.

600 tasks of 60 s share 20 slots with 11 small jobs of ten tasks of 10 s. Predictions are worked out from the run times
alone (see `hrm.testing.small_jobs`).

    python benches/small_jobs.py
"""

from __future__ import annotations

import time

from hrm.model.queues import Policy
from hrm.testing.small_jobs import Crowd

CASES = (
    Crowd(name="fifo", policy=Policy.FIFO),
    Crowd(name="fair", policy=Policy.FAIR),
    Crowd(name="drf", policy=Policy.DRF),
    Crowd(name="fifo, in waves", policy=Policy.FIFO, staggered=False),
    Crowd(name="fair, in waves", policy=Policy.FAIR, staggered=False),
    Crowd(name="fair, in waves, preempting", policy=Policy.FAIR, staggered=False, preempt_after_s=5.0),
    Crowd(name="fifo, 200 slots", policy=Policy.FIFO, slots=200, large_tasks=6_000, small_tasks=100),
    Crowd(name="fair, 200 slots", policy=Policy.FAIR, slots=200, large_tasks=6_000, small_tasks=100),
)


def main() -> None:
    for crowd in CASES:
        began = time.perf_counter()
        seen = crowd.play()
        took_s = time.perf_counter() - began
        print(
            f"{crowd.name:27} predicted: {crowd.predicted:38} seen: large {seen.large_s:.0f} s;"
            f" small {seen.small_mean_s:.0f} s, the slowest {seen.small_max_s:.0f} s  ({took_s:.2f} s)"
        )


if __name__ == "__main__":
    main()
