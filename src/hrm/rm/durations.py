"""How long something took, each time since the start: counted in buckets, as Prometheus' histograms are."""

from __future__ import annotations

from bisect import bisect_left

from hrm.model.reports import DurationReport

#: Upper bounds in seconds: a turn may take 5 ms, a commit as long as the disk needs.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Durations:
    """One kind of thing. A third of a microsecond each."""

    __slots__ = ("_counts", "longest_s", "sum_s")

    def __init__(self) -> None:
        #: The last one is of all above the highest bound.
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.longest_s = 0.0

    def note(self, took_s: float) -> None:
        self._counts[bisect_left(BOUNDS_S, took_s)] += 1
        self.sum_s += took_s
        if took_s > self.longest_s:
            self.longest_s = took_s

    def report(self, name: str) -> DurationReport:
        """As it stands now."""
        return DurationReport(name=name, bounds_s=list(BOUNDS_S), counts=list(self._counts), sum_s=self.sum_s)
