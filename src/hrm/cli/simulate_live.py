"""`hrm simulate --from-live`: what another configuration would do to what runs and waits now, or to what ran."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hrm.cli.output import Output, note, show
from hrm.cli.simulate_output import show_seconds
from hrm.cli.simulate_run import end_if_partial, load, run

if TYPE_CHECKING:
    from hrm.config import HrmConfig
    from hrm.sdk.client import Client
    from hrm.sim.report import SimulationReport
    from hrm.sim.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked on the command line."""

    config: Path | None
    today: Path | None
    add_nodes: str | None
    #: Replay what ran since then instead of what runs and waits now; None iff not.
    since: str | None
    until: str | None
    output: Output


def what_if(question: Question) -> None:
    """Simulate today's configuration and the other one, and print them side by side."""
    from hrm.sim.whatif import more_nodes
    from hrm.sim.workload import make_workload

    changed_config = load(question.config)
    workload, estimates = _live(question)
    reports = {"today": run(workload, until=question.until, title="as it is")[1]}
    if changed_config is not None or question.add_nodes is not None:
        nodes = workload.nodes if question.add_nodes is None else more_nodes(workload.nodes, question.add_nodes)
        other = make_workload(
            "changed",
            nodes,
            workload.jobs,
            root=workload.root if changed_config is None else changed_config.queues,
            options=workload.options if changed_config is None else changed_config.scheduler.options,
            closed=workload.closed,
        )
        if not reports["today"].partial:
            reports["changed"] = run(other, until=question.until, title="changed")[1]
    if question.output is not Output.TABLE:
        show({"estimates": estimates, **reports}, question.output)
    else:
        _show_beside(estimates, list(reports.items()))
    end_if_partial(any(report.partial for report in reports.values()))


def _live(question: Question) -> tuple[Workload, dict[str, int]]:
    from hrm.cli.connect import client
    from hrm.cli.history import attempts_of, submitted_at
    from hrm.model.errors import InvalidInput
    from hrm.model.units import parse_duration_s
    from hrm.sim.whatif import Estimator, closed_nodes, live_jobs, live_nodes, live_queues, past_jobs, with_queues_of
    from hrm.sim.workload import make_workload

    now = time.time()
    window_s = parse_duration_s(question.since or "7d", field="--since")
    with client() as server:
        node_reports, queue_reports, work = server.nodes(), server.queues(), server.work()
        history = attempts_of(server, None, now - window_s)
        submitted = submitted_at(server, {one.application_id for one in history}) if question.since else {}
        config = _configuration_of(server, question.today)
    nodes = live_nodes(node_reports)
    estimator = Estimator.of(history)
    jobs = past_jobs(history, submitted) if question.since else live_jobs(work, estimator, nodes, now)
    if not jobs:
        raise InvalidInput(
            "nothing runs or waits now" if not question.since else "nothing has run since then",
            next_step="`--since 7d` replays what ran in the last week",
        )
    workload = make_workload(
        "as it is",
        nodes,
        jobs,
        root=live_queues(queue_reports) if config is None else with_queues_of(config.queues, queue_reports),
        options=None if config is None else config.scheduler.options,
        closed=closed_nodes(node_reports),
    )
    return workload, {str(source): count for source, count in sorted(estimator.used.items())}


def _configuration_of(server: Client, file: Path | None) -> HrmConfig | None:
    """What is in force today: what the file says, else the server, else the home's own file; None where nobody does."""
    from hrm.cli.connect import home_directory
    from hrm.config import load_config
    from hrm.config.loader import parse_plain
    from hrm.model.errors import Forbidden

    if file is not None:
        return load_config(file)
    try:
        return parse_plain(server.queue_configuration(), "the server's configuration")
    except Forbidden:
        own = home_directory().config_file
        if own.is_file():
            return load_config(own)
    note(
        "hrm: today's queues are as the server tells everybody, without timeouts of preemption;"
        " an admin is told all, and --today FILE names all"
    )
    return None


def _show_beside(estimates: dict[str, int], reports: list[tuple[str, SimulationReport]]) -> None:
    if estimates:
        counted = ", ".join(f"{count} by {source.replace('_', ' ')}" for source, count in estimates.items())
        print(f"run times estimated: {counted}\n")
    rows: list[list[str]] = [["", *(name.upper() for name, _ in reports)]]
    rows += [[title, *(value(report) for _, report in reports)] for title, value in _ROWS]
    for queue in reports[0][1].queues:
        rows.append([f"queue {queue.queue}", *("" for _ in reports)])
        for title, of in _QUEUE_ROWS:
            rows.append([f"  {title}", *(_of_queue(report, queue.queue, of) for _, report in reports)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    for name, report in reports:
        for problem in report.problems:
            print(f"{name}: {problem.job}: {problem.reason}: {problem.message}")


def _of_queue(report: SimulationReport, name: str, of: Callable[[Any], str]) -> str:
    return next((of(queue) for queue in report.queues if queue.queue == name), "-")


_ROWS: tuple[tuple[str, Callable[[SimulationReport], str]], ...] = (
    ("jobs finished", lambda r: f"{r.finished}/{r.jobs}"),
    ("makespan", lambda r: show_seconds(r.makespan_s)),
    ("wait, mean", lambda r: show_seconds(r.wait_s.mean)),
    ("wait, p99", lambda r: show_seconds(r.wait_s.p99)),
    ("completion, mean", lambda r: show_seconds(r.completion_s.mean)),
    ("completion, p99", lambda r: show_seconds(r.completion_s.p99)),
    ("memory used", lambda r: f"{r.utilisation['memory']:.1%}"),
    ("vcores used", lambda r: f"{r.utilisation['vcores']:.1%}"),
    ("GPUs used", lambda r: f"{r.utilisation['gpus']:.1%}"),
    ("preempted", lambda r: str(r.preempted)),
    ("Jain index", lambda r: f"{r.jain_index:.2f}"),
)
_QUEUE_ROWS: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("share / fair share", lambda q: f"{q.share:.1%} / {q.fair_share:.1%}"),
    ("wait, mean", lambda q: show_seconds(q.wait_s.mean)),
    ("completion, mean", lambda q: show_seconds(q.completion_s.mean)),
)
