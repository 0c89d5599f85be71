"""`hrm clean`: make room by clearing away what is over."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Output, OutputOption, note, show
from hrm.model.cleaning import Cleanable
from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.units import format_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from hrm.model.reports import CleanReport
    from hrm.sdk.client import Client


def clean(
    apps: Annotated[bool, typer.Option("--apps", help="Applications that are over, with their history.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Output of tasks of such applications.")] = False,
    scratch: Annotated[bool, typer.Option("--scratch", help="Directories of their containers.")] = False,
    uploads: Annotated[bool, typer.Option("--uploads", help="Uploads that no application needs any more.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Models that were pulled and not used since.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Only what is over for longer: 12h, 7d, 0 for all."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Clear away what is over.

    Says what would go, asks, and clears it away. Without --older-than that is what the server's retention does not
    keep; without a kind, all but models. What is not over is never touched.

    \b
    Examples:
      hrm clean --dry-run
      hrm clean --older-than 7d --logs --scratch
      hrm clean --apps --older-than 30d --yes -o json
    """
    from hrm.cli.connect import client
    from hrm.model.units import parse_age_s

    age_s = None if older_than is None else parse_age_s(older_than, field="--older-than")
    if models and age_s is None:
        raise InvalidInput("--models needs --older-than", next_step="for example --older-than 30d, or 0 for all models")
    chosen = {Cleanable.APPS: apps, Cleanable.LOGS: logs, Cleanable.SCRATCH: scratch, Cleanable.UPLOADS: uploads}
    kinds = [kind for kind, wanted in chosen.items() if wanted]
    if not kinds and not models:
        kinds = list(chosen)
    old_models = _unused_models(age_s) if models and age_s is not None else {}
    if not kinds:
        _clean(None, kinds, age_s, old_models, dry_run=dry_run, yes=yes, output=output)
        return
    with client() as server:
        _clean(server, kinds, age_s, old_models, dry_run=dry_run, yes=yes, output=output)


def _clean(
    server: Client | None,
    kinds: list[Cleanable],
    age_s: float | None,
    models: dict[Path, int],
    *,
    dry_run: bool,
    yes: bool,
    output: Output,
) -> None:
    if dry_run or not yes:
        told = _asked(server, kinds, age_s, dry_run=True)
        if dry_run:
            _tell(told, models, "would go", output)
            return
        _tell(told, models, "would go", Output.TABLE, quiet=output is not Output.TABLE)
        if _is_nothing(told) and not models:
            if output is not Output.TABLE:
                _tell(replace(told, dry_run=False), models, "", output)
            return
        _ask()
    done = _asked(server, kinds, age_s, dry_run=False)
    for directory in models:
        _remove_model(directory)
    _tell(done, models, "gone", output)
    if done.problems:
        problems = "; ".join(done.problems)
        raise ClusterError(f"not all could be cleared away: {problems}", next_step="see the server's log")


def _asked(server: Client | None, kinds: list[Cleanable], age_s: float | None, *, dry_run: bool) -> CleanReport:
    """The server does it in pieces, each a call that ends soon; their sum."""
    from hrm.model.reports import CleanReport

    total = CleanReport(
        dry_run=dry_run, applications=0, rows=0, events=0, logs=0, logs_bytes=0, scratch=0, scratch_bytes=0, more=False
    )
    while server is not None:
        report = server.clean(kinds, older_than_s=age_s, dry_run=dry_run)
        total = replace(
            report,
            applications=total.applications + report.applications,
            rows=total.rows + report.rows,
            events=total.events + report.events,
            logs=total.logs + report.logs,
            logs_bytes=total.logs_bytes + report.logs_bytes,
            scratch=total.scratch + report.scratch,
            scratch_bytes=total.scratch_bytes + report.scratch_bytes,
            uploads=total.uploads + report.uploads,
            uploads_bytes=total.uploads_bytes + report.uploads_bytes,
        )
        if dry_run or report.problems or not report.more:
            break
        note(f"… {total.applications} applications, {format_bytes(total.logs_bytes + total.scratch_bytes)} so far")
    return total


def _is_nothing(report: CleanReport) -> bool:
    return not (report.applications or report.events or report.logs or report.scratch or report.uploads)


def _tell(report: CleanReport, models: dict[Path, int], word: str, output: Output, *, quiet: bool = False) -> None:
    if output is not Output.TABLE:
        import msgspec

        plain = msgspec.to_builtins(report)
        show({**plain, "models": len(models), "models_bytes": sum(models.values())}, output)
        return
    lines = [
        f"{report.applications} applications with their history" if report.applications else "",
        f"output of {report.logs} containers, {format_bytes(report.logs_bytes)}" if report.logs else "",
        f"directories of {report.scratch} containers, {format_bytes(report.scratch_bytes)}" if report.scratch else "",
        f"{report.uploads} uploads, {format_bytes(report.uploads_bytes)}" if report.uploads else "",
        f"{report.events} lines of the event log" if report.events else "",
        f"{len(models)} models, {format_bytes(sum(models.values()))}" if models else "",
    ]
    say = note if quiet else print
    for line in filter(None, lines):
        say(f"{word}: {line}")
    if not any(lines):
        say("nothing to clear away")
    elif report.more and report.dry_run:
        say("… and more: the server did not look at everything within its time")
    if report.dry_run:
        for problem in report.problems:
            note(f"hrm: {problem}")


def _ask() -> None:
    """Raises InvalidInput where nobody can be asked, Exit where the answer is no."""
    if not sys.stdin.isatty():
        raise InvalidInput("nobody is there to say yes", next_step="add --yes, or --dry-run to look only")
    if not typer.confirm("clear it away?", err=True):
        raise typer.Exit(1)


def _unused_models(age_s: float) -> dict[Path, int]:
    """Directories of models that were neither pulled nor read for so long, with their bytes."""
    import time

    from hrm.cli.connect import home_directory

    found: dict[Path, int] = {}
    folder = home_directory().models_dir
    for directory in sorted(folder.iterdir()) if folder.is_dir() else []:
        if directory.is_symlink() or not directory.is_dir() or directory.name.startswith("."):
            continue
        files = [path.stat() for path in directory.iterdir() if path.is_file() and not path.is_symlink()]
        used_at = max((max(file.st_atime, file.st_mtime) for file in files), default=0.0)
        if time.time() - used_at >= age_s:
            found[directory] = sum(file.st_size for file in files)
    return found


def _remove_model(directory: Path) -> None:
    import shutil

    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise ClusterError(f"cannot remove {directory}: {error.strerror}", next_step="check whose it is") from None
