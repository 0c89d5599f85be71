"""How results of simulations are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hrm.cli.output import Column, Output, clean, show, show_list
from hrm.model.units import format_duration

if TYPE_CHECKING:
    from hrm.sim.measure import Timing
    from hrm.sim.report import SimulationReport, Spread


def show_report(seed: int | None, report: SimulationReport, timing: Timing | None, output: Output) -> None:
    """As one flat object, or as lines and a table of queues."""
    import msgspec

    if output is not Output.TABLE:
        flat: dict[str, Any] = {} if seed is None else {"seed": seed}
        flat |= msgspec.to_builtins(report)
        if timing is not None:
            flat |= msgspec.to_builtins(timing)
        show(flat, output)
        return
    for title, text in _lines(seed, report, timing):
        print(f"{title:12} {text}")
    if report.queues:
        print()
        show_list(report.queues, _QUEUE_COLUMNS, output)
    for problem in report.problems:
        print(clean(f"{problem.job}: {problem.reason}: {problem.message}"))


def _lines(seed: int | None, report: SimulationReport, timing: Timing | None) -> list[tuple[str, str]]:
    lines = [] if seed is None else [("seed", str(seed))]
    lines += [("workload", clean(report.workload))]
    if report.partial:
        lines.append(("partial", "it was broken off: what follows is what had happened until then"))
    refused = f", {report.refused} that fit no node" if report.refused else ""
    lines += [
        ("jobs", f"{report.finished} of {report.jobs} finished, {report.unfinished} not{refused}"),
        ("containers", f"{report.allocations} granted, {report.preempted} preempted, {report.lost} lost"),
        ("makespan", show_seconds(report.makespan_s)),
        ("utilisation", _parts(report.utilisation if report.makespan_s else report.allocated_at_end)),
        *(
            [("fragmented", f"{report.fragmented_at_end:.1%} of all GPUs at the end")]
            if report.fragmented_at_end
            else []
        ),
        ("wait", show_spread(report.wait_s)),
        ("completion", show_spread(report.completion_s)),
        (
            "slowdown",
            f"{_figure(report.finish_time_fairness.mean)} of a fair cluster's time, "
            f"p99 {_figure(report.finish_time_fairness.p99)}",
        ),
        ("Jain index", _figure(report.jain_index)),
    ]
    if timing is not None:
        lines.append(
            ("speed", f"{timing.allocations_per_s:,.0f} allocations/s ({timing.wall_s:.2f} s, {timing.visits} visits)")
        )
        if timing.of_bare_heap is not None:
            lines.append(
                ("calibrated", f"{timing.of_bare_heap:.2f} of a bare heap loop ({timing.bare_heap_per_s:,.0f}/s)")
            )
        lines.append(("memory", f"{timing.peak_rss_mib:.0f} MiB at most"))
    return [*lines, ("digest", report.digest[:16])]


def show_seconds(seconds: float) -> str:
    """ "-" where there is no such time."""
    return "-" if seconds != seconds else format_duration(seconds)


def show_spread(spread: Spread) -> str:
    """Mean, median and the slowest."""
    if spread.mean != spread.mean:
        return "-"
    parts = [
        f"{name} {show_seconds(value)}"
        for name, value in (("mean", spread.mean), ("p50", spread.p50), ("p99", spread.p99), ("max", spread.max))
    ]
    return ", ".join(parts)


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"


def _parts(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {part:.1%}" for name, part in parts.items()) or "-"


def _mean(spread: Spread) -> str:
    return show_seconds(spread.mean)


_QUEUE_COLUMNS = (
    Column("QUEUE", lambda r: r.queue, shrinks=True),
    Column("JOBS", lambda r: f"{r.finished}/{r.jobs}", right=True),
    Column("SHARE", lambda r: f"{r.share:.1%}", right=True),
    Column("FAIR SHARE", lambda r: f"{r.fair_share:.1%}", right=True),
    Column("WAIT", lambda r: _mean(r.wait_s), right=True),
    Column("COMPLETION", lambda r: _mean(r.completion_s), right=True),
    Column("PREEMPTED", lambda r: str(r.preempted), right=True),
)
