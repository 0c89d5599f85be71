"""`hrm demo`: a small cluster of its own, two queues that compete, real photographs."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hrm.cli.output import Column, Output, OutputOption, note, show, show_list
from hrm.model.errors import NoServer

if TYPE_CHECKING:
    from rich.table import Table

    from hrm.demo import DemoReport, Look
    from hrm.sdk.client import Client

BAR_CELLS = 30
PLAIN_LINE_EVERY_S = 5.0


def demo(
    out: Annotated[Path, typer.Option(help="Where the annotated pictures go.")] = Path("hrm-demo"),
    window_s: Annotated[float, typer.Option("--window", min=20, help="Seconds over which shares are measured.")] = 20,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what HRM does: fair shares between two queues, and objects found in photographs.

    Starts a cluster of its own with a queue `research` (weight 3) and a queue `batch` (weight 1), floods `batch`,
    then detects objects in `research`. Takes about a minute; leaves nothing behind but the pictures.

    \b
    Examples:
      hrm demo
      hrm demo --out pictures -o json
    """
    from hrm.config.home import Home
    from hrm.detect.extra import require_extra

    require_extra()
    from hrm.cli.models import pull_shown
    from hrm.demo import CONFIGURATION, Demo
    from hrm.detect.job import DEFAULT_MODEL
    from hrm.detect.photos import sample_photos

    models = Home.locate()
    models.create()
    pull_shown(DEFAULT_MODEL)
    photos = sample_photos()
    with _own_cluster(CONFIGURATION) as client, _watcher(output) as watch:
        report = Demo(client, photos, out.absolute(), models=models.path, window_s=float(window_s), watch=watch).run()
    if output is not Output.TABLE:
        show(report, output)
    else:
        _print(report, out)
    if report.tasks_failed or not report.boxes:
        raise typer.Exit(1)


@contextmanager
def _own_cluster(configuration: str) -> Iterator[Client]:
    """A server with a home of its own, both gone afterwards."""
    from hrm.cli.connect import start_server
    from hrm.config.home import Home

    before = os.environ.get("HRM_HOME")
    with tempfile.TemporaryDirectory(prefix="hrm-demo-home-") as directory:
        home = Home.locate(Path(directory))
        home.create()
        home.write_private(home.config_file, configuration.encode())
        os.environ["HRM_HOME"] = directory
        try:
            client = start_server(home, ["--port", "0"])
            try:
                yield client
            finally:
                _end(client)
        finally:
            if before is None:
                del os.environ["HRM_HOME"]
            else:
                os.environ["HRM_HOME"] = before


def _end(client: Client) -> None:
    """End the server with all its work, and wait until it is gone."""
    try:
        for report in client.applications(states=("SUBMITTED", "ACCEPTED", "RUNNING")):
            client.kill(report.application_id, "the demonstration is over")
            client.wait(report.application_id, timeout_s=40)
        pid = client.server().pid
        client.shutdown()
    except NoServer:
        return
    finally:
        client.close()
    # It is our child: until it is waited for, its pid does not go away.
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


@contextmanager
def _watcher(output: Output) -> Iterator[Callable[[Look], None]]:
    """Shows shares as they develop: in place on a terminal, else a line now and then."""
    if output is not Output.TABLE:
        yield lambda look: None
    elif sys.stdout.isatty():
        from rich.live import Live

        with Live(refresh_per_second=4, transient=True) as live:
            yield lambda look: live.update(_table(look))
    else:
        yield _line_now_and_then()


def _line_now_and_then() -> Callable[[Look], None]:
    last = 0.0

    def watch(look: Look) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_LINE_EVERY_S:
            last = time.monotonic()
            running = ", ".join(f"{q.name} {q.containers_running} running" for q in look.queues if _competes(q.name))
            shares = "".join(f", {queue} {percent:.0f} %" for queue, percent in sorted(look.measured_percent.items()))
            note(f"hrm demo: {running}{shares}")

    return watch


def _table(look: Look) -> Table:
    from rich.table import Table

    from hrm.model.resources import VCORES

    phase = "filling the queues" if look.measured_for_s is None else f"measuring for {look.measured_for_s:.0f} s"
    table = Table(title=f"hrm demo: {phase}", title_justify="left")
    for title in ("queue", "weight", "running", "waiting", "fair share", "measured", ""):
        table.add_column(title, justify="left" if title in ("queue", "") else "right")
    total = sum(queue.fair_share[VCORES] for queue in look.queues if _competes(queue.name))
    for queue in look.queues:
        if _competes(queue.name):
            measured = look.measured_percent.get(queue.name, 0.0)
            fair = 100 * queue.fair_share[VCORES] / total if total else 0.0
            table.add_row(
                queue.name,
                f"{queue.weight:g}",
                str(queue.containers_running),
                str(queue.containers_pending),
                f"{fair:.0f} %",
                f"{measured:.0f} %",
                "█" * round(BAR_CELLS * measured / 100),
            )
    return table


def _competes(queue: str) -> bool:
    from hrm.demo import BATCH, RESEARCH

    return queue in (RESEARCH, BATCH)


def _print(report: DemoReport, out: Path) -> None:
    print(f"\nShares over {report.window_s:.0f} s in which both queues had work waiting:")
    show_list(
        list(report.shares.items()),
        [
            Column("QUEUE", lambda item: item[0]),
            Column("MEASURED", lambda item: f"{item[1].measured_percent:.1f} %", right=True),
            Column("FAIR", lambda item: f"{item[1].fair_percent:.1f} %", right=True),
        ],
        Output.TABLE,
    )
    print("\nWhat ran where:")
    show_list(
        report.ran,
        [
            Column("TASK", lambda row: str(row["task_index"]), right=True),
            Column("NODE", lambda row: str(row["node_id"])),
            Column("QUEUE", lambda row: str(row["queue"])),
            Column("RAN", lambda row: f"{row['ended_at'] - row['started_at']:.1f} s", right=True),
        ],
        Output.TABLE,
    )
    print("\nWhat was found:")
    show_list(
        report.boxes,
        [
            Column("PHOTO", lambda box: str(box["photo"])),
            Column("OBJECT", lambda box: str(box["label"])),
            Column("SCORE", lambda box: f"{box['score']:.2f}", right=True),
            Column("AT", lambda box: f"{box['x']:.0f},{box['y']:.0f} {box['width']:.0f}×{box['height']:.0f}"),
        ],
        Output.TABLE,
    )
    print(f"\n{len(report.boxes)} boxes in {len(report.pictures)} photographs; the pictures are in {out}/")
