"""`hrm explain`: why an application waits, why it runs where it runs, how it ended."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from hrm.cli.facts import UNITS, say_fact
from hrm.cli.output import Column, Output, OutputOption, clean, show, show_amounts, show_list, show_time
from hrm.cli.selectors import AppArgument, select_one
from hrm.model.explanations import Change, Ended, Explanation, QueueStanding
from hrm.model.ids import short_id
from hrm.model.resources import MEMORY
from hrm.model.units import format_duration, format_memory, format_milli

#: Kinds of evidence that have a table or a line of their own.
_SHOWN = frozenset({"nodes", "room", "holder", "application", "application_ahead", "queue_ahead"})
_WIDTH = 100


def explain(
    app: AppArgument,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Node by node: what it has free, and what is missing.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Since when it has waited for what.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why an application waits, runs or ended.

    \b
    Examples:
      hrm explain last
      hrm explain 17 --nodes
      hrm explain 17 --history
      hrm explain 17 -o json
    """
    from hrm.cli.connect import client

    with client() as server:
        explanation = server.explain(select_one(server, app), nodes=nodes)
    if output is not Output.TABLE:
        show(explanation, output)
    elif history:
        show_history(explanation)
    else:
        show_explanation(explanation)


def show_history(explanation: Explanation) -> None:
    """For how long it waited for what."""
    if not explanation.history:
        print(f"{short_id(explanation.application_id)} has not waited for anything that was noted")
        return
    end = explanation.ended.ended_at if explanation.ended is not None else explanation.at
    columns = (
        Column("SINCE", lambda one: show_time(one.since)),
        Column("FOR", lambda one: _span(one.since, one.until if one.until is not None else end), right=True),
        Column("REASON", lambda one: one.reason),
        Column("IN WORDS", lambda one: one.text, shrinks=True),
    )
    show_list(explanation.history, columns, Output.TABLE)


def show_explanation(explanation: Explanation) -> None:
    """From the sentence down to what would change it."""
    _wrapped(f"{short_id(explanation.application_id)}: {explanation.message}")
    _line("reason", explanation.reason or "-")
    if explanation.ended is not None:
        _show_end(explanation, explanation.ended)
        return
    if explanation.history and explanation.history[-1].until is None and explanation.at is not None:
        last = explanation.history[-1]
        _line("waits", f"for {last.reason} since {show_time(last.since)} ({_span(last.since, explanation.at)})")
    if explanation.queue is not None and explanation.requests:
        _line("queue", _standing(explanation.queue))
    if explanation.forecast is not None:
        _line("start", explanation.forecast.text)
    _table("What is asked for", explanation.requests if len(explanation.requests) > 1 else [], _REQUESTS)
    _table("Nodes that are left, condition by condition", explanation.conditions, _CONDITIONS)
    _table("GPUs", explanation.gpus, _GPUS)
    _table("Who holds it", [one for one in explanation.evidence if one["kind"] == "holder"], _HOLDERS)
    _table("Who comes first", explanation.ahead, _AHEAD)
    _table("Node by node", explanation.nodes, _NODES)
    _facts(explanation.evidence)
    _table("Why what runs is where it is", explanation.running, _RUNNING)
    _table("What of it others took", explanation.preempted, _PREEMPTED)
    _changes(explanation.changes)


def _show_end(explanation: Explanation, ended: Ended) -> None:
    ran = _span(ended.started_at, ended.ended_at) if ended.started_at is not None else "never"
    _line("ran", f"{ran}, until {show_time(ended.ended_at)}")
    if ended.exit_codes:
        more = " (and more)" if ended.more else ""
        codes = ", ".join(f"{count} × {code}" for code, count in ended.exit_codes.items())
        _line("exits", f"{codes}{more}")
    if (failure := ended.first_failure) is not None:
        code = "no exit code" if failure.exit_code is None else f"exit code {failure.exit_code}"
        said = f": {failure.message}" if failure.message not in ("", f"exit code {failure.exit_code}") else ""
        _line("first", f"task {failure.task_index} (try {failure.attempt}) on {failure.node_id}, {code}{said}")
    for change in explanation.changes:
        _line("output", change.command)
    _table("What of it others took", explanation.preempted, _PREEMPTED)


def _wrapped(text: str, indent: str = "") -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    print(textwrap.fill(clean(text), max(width, 40), subsequent_indent=indent or "  ", break_on_hyphens=False))


def _line(name: str, text: str) -> None:
    _wrapped(f"{name + ':':<8}{text}", " " * 8)


def _table(title: str, rows: Iterable[Any], columns: tuple[Column, ...]) -> None:
    if rows := list(rows):
        print(f"\n{title}:")
        show_list(rows, columns, Output.TABLE)


def _facts(evidence: list[dict[str, Any]]) -> None:
    rest = [fact for fact in evidence if fact.get("kind") not in _SHOWN]
    if rest:
        print()
    for fact in rest:
        _wrapped(say_fact(fact))


def _changes(changes: list[Change]) -> None:
    if changes:
        print("\nWhat would change it:")
    for change in changes:
        _wrapped(f"  * {change.text}", "    ")
        if change.command:
            print(f"      {clean(change.command)}")


def _standing(stands: QueueStanding) -> str:
    share = (
        f"{_of(stands.used, stands.fair_share, stands.resource)} of its fair share"
        if stands.fair_share
        else f"{_amount(stands.used, stands.resource)} {UNITS.get(stands.resource, stands.resource)}"
    )
    most = f", at most {_amount(stands.max_share, stands.resource)}" if stands.max_share is not None else ""
    place = f"; number {stands.position} of {stands.waiting} that wait" if stands.position else ""
    return f"{stands.queue} ({stands.policy}) uses {share}{most}{place}"


def _amount(amount: int, resource: str) -> str:
    if resource == MEMORY:
        return format_memory(amount)
    return format_milli(amount) if resource in UNITS else str(amount)


def _of(used: int, total: int, resource: str) -> str:
    return f"{_amount(used, resource)}/{_amount(total, resource)} {UNITS.get(resource, resource)}"


def _span(since: float | None, until: float | None) -> str:
    return "-" if since is None or until is None else format_duration(max(until - since, 0.0))


def _who(name: str) -> str:
    return short_id(name) if name.startswith("application_") else name


def _free_of_total(row: Any) -> str:
    named = {name: whole for name, whole in row.total.items() if whole}
    return " ".join(_of(row.free.get(name, 0), whole, name) for name, whole in named.items())


_REQUESTS = (
    Column("TASKS", lambda one: str(one.pending), right=True),
    Column(
        "EACH", lambda one: show_amounts(one.asked) + (f" ({one.gpu_model})" if one.gpu_model else ""), shrinks=True
    ),
    Column("PLACES", lambda one: ",".join(one.places) or "any", shrinks=True),
    Column("REASON", lambda one: one.reason),
)
_CONDITIONS = (
    Column("#", lambda one: str(one.number), right=True),
    Column("A NODE", lambda one: one.text, shrinks=True),
    Column("TRUE OF", lambda one: str(one.passing), right=True),
    Column("LEFT", lambda one: str(one.remaining), right=True),
)
_GPUS = (
    Column("MODEL", lambda one: one.model, shrinks=True),
    Column("USED", lambda one: f"{format_milli(one.used_milli)}/{format_milli(one.total_milli)}", right=True),
    Column("FREE", lambda one: format_milli(one.free_milli), right=True),
    Column("NOT TO BE HAD", lambda one: format_milli(one.unavailable_milli), right=True),
)
_HOLDERS = (
    Column("ID", lambda one: short_id(one["application"]), right=True),
    Column("USER", lambda one: one["user"], shrinks=True),
    Column("QUEUE", lambda one: one["queue"], shrinks=True),
    Column("HOLDS", lambda one: show_amounts({one["resource"]: one["amount"]}), right=True),
)
_AHEAD = (
    Column("WHO", lambda one: _who(one.name)),
    Column("USER", lambda one: one.user or "-", shrinks=True),
    Column("IN", lambda one: f"{one.within} ({one.policy})", shrinks=True),
    Column("HOLDS", lambda one: show_amounts(one.used)),
    Column("ASKS", lambda one: show_amounts(one.asks)),
    Column("ENDS", lambda one: show_time(one.ends_at)),
)
_NODES = (
    Column("NODE", lambda one: one.node_id, shrinks=True),
    Column("RACK", lambda one: one.rack, shrinks=True),
    Column("FREE/TOTAL", _free_of_total, shrinks=True),
    Column("GPUS FREE", lambda one: ",".join(format_milli(milli) for milli in one.device_free_milli) or "-"),
    Column("VERDICT", lambda one: one.verdict),
)
_RUNNING = (
    Column("CONTAINER", lambda one: one.container_id.rpartition("_")[2], right=True),
    Column("NODE", lambda one: one.node_id, shrinks=True),
    Column("SINCE", lambda one: show_time(one.granted_at)),
    Column("WHY", lambda one: one.text, shrinks=True),
)
_PREEMPTED = (
    Column("WHEN", lambda one: show_time(one.at)),
    Column("NODE", lambda one: one.node_id, shrinks=True),
    Column("WHY", lambda one: one.text, shrinks=True),
)
