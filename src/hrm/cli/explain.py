"""`hrm explain`: why an application waits, why it runs where it runs, how it ended."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from hrm.cli.facts import UNITS, say_fact
from hrm.cli.language import LanguageOption, language
from hrm.cli.output import Column, Output, OutputOption, clean, show, show_amounts, show_list, show_time, wrapped
from hrm.cli.selectors import AppArgument, select_one
from hrm.model.explanations import Ended, Explanation, QueueStanding
from hrm.model.fact_phrases import SHOWN_OTHERWISE
from hrm.model.ids import short_id
from hrm.model.phrases import ENGLISH, Phrase, Value, phrase, say, say_as_told
from hrm.model.resources import MEMORY
from hrm.model.units import format_duration, format_memory, format_milli

_WIDTH = 100


def explain(
    app: AppArgument,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Node by node: what it has free, and what is missing.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Since when it has waited for what.")] = False,
    lang: LanguageOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why an application waits, runs or ended.

    \b
    Examples:
      hrm explain last
      hrm explain 17 --nodes
      hrm explain 17 --history
      hrm explain 17 --lang zh
      hrm explain 17 -o json
    """
    from hrm.cli.connect import client

    speaks = language(lang)
    with client() as server:
        explanation = server.explain(select_one(server, app), nodes=nodes)
    if output is not Output.TABLE:
        show(explanation, output)
    elif history:
        show_history(explanation, speaks)
    else:
        show_explanation(explanation, speaks)


def show_history(explanation: Explanation, speaks: str = ENGLISH) -> None:
    """For how long it waited for what."""
    words = _Words(speaks)
    if not explanation.history:
        print(words("explain.no_history", app=short_id(explanation.application_id)))
        return
    end = explanation.ended.ended_at if explanation.ended is not None else explanation.at
    columns = (
        words.column("since", lambda one: show_time(one.since)),
        words.column("for", lambda one: _span(one.since, one.until if one.until is not None else end), right=True),
        words.column("reason", lambda one: one.reason),
        words.column("words", lambda one: words.told(Phrase(f"reason.{one.reason}"), one.text), shrinks=True),
    )
    show_list(explanation.history, columns, Output.TABLE)


def show_explanation(explanation: Explanation, speaks: str = ENGLISH) -> None:
    """From the sentence down to what would change it."""
    words = _Words(speaks)
    name = short_id(explanation.application_id)
    _wrapped(f"{name}: {words.told(explanation.said, explanation.message)}")
    words.line("reason", explanation.reason or "-")
    if explanation.ended is not None:
        _show_end(words, explanation, explanation.ended)
        return
    if explanation.history and explanation.history[-1].until is None and explanation.at is not None:
        last = explanation.history[-1]
        spent, since = _span(last.since, explanation.at), show_time(last.since)
        words.line("waits", words("explain.waits_for", reason=last.reason, since=since, spent=spent))
    if explanation.queue is not None and explanation.requests:
        words.line("queue", _standing(words, explanation.queue))
    if explanation.forecast is not None:
        words.line("start", words.told(explanation.forecast.said, explanation.forecast.text))
    holders = [one for one in explanation.evidence if one["kind"] == "holder"]
    words.table("requests", explanation.requests if len(explanation.requests) > 1 else [], _requests(words))
    words.table("conditions", explanation.conditions, _conditions(words))
    words.table("gpus", explanation.gpus, _gpus(words))
    words.table("holders", holders, _holders(words))
    words.table("ahead", explanation.ahead, _ahead(words))
    words.table("nodes", explanation.nodes, _nodes(words))
    _facts(words, explanation.evidence)
    words.table("running", explanation.running, _running(words))
    words.table("preempted", explanation.preempted, _preempted(words))
    _changes(words, explanation)


class _Words:
    """What is said here and what the server said, in one language."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, code: str, /, **values: Value) -> str:
        return say(phrase(code, **values), self.language)

    def told(self, said: Phrase | None, text: str) -> str:
        return say_as_told(said, text, self.language, moment=show_time)

    def column(self, name: str, value: Any, **options: bool) -> Column:
        return Column(self(f"column.{name}"), value, **options)

    def line(self, name: str, text: str) -> None:
        _wrapped(f"{self(f'explain.{name}')}:".ljust(8) + text, " " * 8)

    def table(self, title: str, rows: Iterable[Any], columns: tuple[Column, ...]) -> None:
        if rows := list(rows):
            print(f"\n{self(f'explain.{title}')}:")
            show_list(rows, columns, Output.TABLE)


def _show_end(words: _Words, explanation: Explanation, ended: Ended) -> None:
    until = show_time(ended.ended_at)
    if ended.started_at is None:
        words.line("ran", words("explain.never_ran", until=until))
    else:
        words.line("ran", words("explain.ran_until", spent=_span(ended.started_at, ended.ended_at), until=until))
    if ended.exit_codes:
        codes = ", ".join(f"{count} × {code}" for code, count in ended.exit_codes.items())
        words.line("exits", words("explain.more_exits", codes=codes) if ended.more else codes)
    if (failure := ended.first_failure) is not None:
        code = words("explain.no_code") if failure.exit_code is None else words("explain.code", code=failure.exit_code)
        said = f": {failure.message}" if failure.message not in ("", f"exit code {failure.exit_code}") else ""
        where = words("explain.try_on", task=failure.task_index, attempt=failure.attempt, node=failure.node_id)
        words.line("first", f"{where}, {code}{said}")
    for change in explanation.changes:
        words.line("output", change.command)
    words.table("preempted", explanation.preempted, _preempted(words))


def _wrapped(text: str, indent: str = "  ") -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    print(wrapped(clean(text), max(width, 40), indent))


def _facts(words: _Words, evidence: list[dict[str, Any]]) -> None:
    rest = [fact for fact in evidence if fact.get("kind") not in SHOWN_OTHERWISE]
    if rest:
        print()
    for fact in rest:
        _wrapped(say_fact(fact, words.language))


def _changes(words: _Words, explanation: Explanation) -> None:
    if explanation.changes:
        print(f"\n{words('explain.changes')}:")
    for change in explanation.changes:
        _wrapped(f"  * {words.told(change.said, change.text)}", "    ")
        if change.command:
            print(f"      {clean(change.command)}")


def _standing(words: _Words, stands: QueueStanding) -> str:
    if stands.fair_share:
        used = words("explain.of_share", used=_of(stands.used, stands.fair_share, stands.resource))
    else:
        used = f"{_amount(stands.used, stands.resource)} {UNITS.get(stands.resource, stands.resource)}"
    said = words("explain.standing", queue=stands.queue, policy=stands.policy, used=used)
    if stands.max_share is not None:
        said += words("explain.at_most", amount=_amount(stands.max_share, stands.resource))
    if stands.position:
        said += words("explain.position", position=stands.position, waiting=stands.waiting)
    return said


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


def _requests(words: _Words) -> tuple[Column, ...]:
    def each(one: Any) -> str:
        return show_amounts(one.asked) + (f" ({one.gpu_model})" if one.gpu_model else "")

    return (
        words.column("tasks", lambda one: str(one.pending), right=True),
        words.column("each", each, shrinks=True),
        words.column("places", lambda one: ",".join(one.places) or words("explain.any"), shrinks=True),
        words.column("reason", lambda one: one.reason),
    )


def _conditions(words: _Words) -> tuple[Column, ...]:
    return (
        Column("#", lambda one: str(one.number), right=True),
        words.column("a_node", lambda one: words.told(one.said, one.text), shrinks=True),
        words.column("true_of", lambda one: str(one.passing), right=True),
        words.column("left", lambda one: str(one.remaining), right=True),
    )


def _gpus(words: _Words) -> tuple[Column, ...]:
    def used(one: Any) -> str:
        return f"{format_milli(one.used_milli)}/{format_milli(one.total_milli)}"

    return (
        words.column("model", lambda one: one.model, shrinks=True),
        words.column("used", used, right=True),
        words.column("free", lambda one: format_milli(one.free_milli), right=True),
        words.column("unavailable", lambda one: format_milli(one.unavailable_milli), right=True),
    )


def _holders(words: _Words) -> tuple[Column, ...]:
    return (
        words.column("id", lambda one: short_id(one["application"]), right=True),
        words.column("user", lambda one: one["user"], shrinks=True),
        words.column("queue", lambda one: one["queue"], shrinks=True),
        words.column("holds", lambda one: show_amounts({one["resource"]: one["amount"]}), right=True),
    )


def _ahead(words: _Words) -> tuple[Column, ...]:
    return (
        words.column("who", lambda one: _who(one.name)),
        words.column("user", lambda one: one.user or "-", shrinks=True),
        words.column("in", lambda one: f"{one.within} ({one.policy})", shrinks=True),
        words.column("holds", lambda one: show_amounts(one.used)),
        words.column("asks", lambda one: show_amounts(one.asks)),
        words.column("ends", lambda one: show_time(one.ends_at)),
    )


def _nodes(words: _Words) -> tuple[Column, ...]:
    return (
        words.column("node", lambda one: one.node_id, shrinks=True),
        words.column("rack", lambda one: one.rack, shrinks=True),
        words.column("free_of_total", _free_of_total, shrinks=True),
        words.column("gpus_free", lambda one: ",".join(format_milli(milli) for milli in one.device_free_milli) or "-"),
        words.column("verdict", lambda one: one.verdict),
    )


def _running(words: _Words) -> tuple[Column, ...]:
    return (
        words.column("container", lambda one: one.container_id.rpartition("_")[2], right=True),
        words.column("node", lambda one: one.node_id, shrinks=True),
        words.column("since", lambda one: show_time(one.granted_at)),
        words.column("why", lambda one: words.told(one.said, one.text), shrinks=True),
    )


def _preempted(words: _Words) -> tuple[Column, ...]:
    return (
        words.column("when", lambda one: show_time(one.at)),
        words.column("node", lambda one: one.node_id, shrinks=True),
        words.column("why", lambda one: words.told(one.said, one.text), shrinks=True),
    )
