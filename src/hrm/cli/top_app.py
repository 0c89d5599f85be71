"""`hrm top` as a program of the whole terminal: tables whose cells change in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Label, Static, TabbedContent, TabPane

from hrm.cli.output import clean
from hrm.cli.top_view import (
    APPLICATION_HEAD,
    NODE_HEAD,
    QUEUE_HEAD,
    Look,
    Row,
    application_rows,
    head,
    look,
    node_rows,
    queue_rows,
)
from hrm.model.errors import HrmError
from hrm.model.ids import short_id
from hrm.sdk.client import Client

#: Tabs: their id, heading, columns, and the rows of a look.
_TABS: tuple[tuple[str, str, tuple[str, ...], Callable[[Look], list[Row]]], ...] = (
    ("applications", "1 Applications", APPLICATION_HEAD, application_rows),
    ("queues", "2 Queues", QUEUE_HEAD, queue_rows),
    ("nodes", "3 Nodes", NODE_HEAD, node_rows),
)
_LOG_BYTES = 8192


class Question(ModalScreen[bool]):
    """Yes or no, before something ends."""

    BINDINGS: ClassVar = [Binding("y", "answer(True)", "yes"), Binding("n,escape", "answer(False)", "no")]
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question Label { padding: 1 2; border: round $warning; background: $surface; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Label(f"{self._text} (y/n)", markup=False)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class TopApp(App[None]):
    """Looks every ``interval_s`` seconds in a thread, and shows what it saw."""

    TITLE = "hrm top"
    CSS = """
    #head { height: auto; padding: 0 1; }
    #detail { height: 40%; display: none; border-top: solid $accent; padding: 0 1; }
    #filter { display: none; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar = [
        Binding("1", "show('applications')", "applications"),
        Binding("2", "show('queues')", "queues"),
        Binding("3", "show('nodes')", "nodes"),
        Binding("slash", "filter", "filter"),
        Binding("m", "mine", "mine"),
        Binding("e", "explain", "explain"),
        Binding("l", "log", "log"),
        Binding("c", "kill", "kill"),
        Binding("escape", "close", "close", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, server: Client, *, interval_s: float, mine: bool = False, read_only: bool = False) -> None:
        super().__init__()
        self._server = server
        self._interval_s = interval_s
        self._mine = mine
        self._read_only = read_only
        self._wanted = ""
        self._seen: Look | None = None

    def compose(self) -> ComposeResult:
        yield Static("…", id="head", markup=False)
        with TabbedContent(initial="applications"):
            for name, title, columns, _ in _TABS:
                with TabPane(title, id=name):
                    table: DataTable[str] = DataTable(id=f"table-{name}", cursor_type="row", zebra_stripes=True)
                    for column in columns:
                        table.add_column(column, key=column)
                    yield table
        yield Input(placeholder="show only what has this in it", id="filter")
        with VerticalScroll(id="detail"):
            yield Static("", id="text", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#table-applications").focus()
        self.set_interval(self._interval_s, self.look)
        self.look()

    @work(thread=True, exclusive=True, group="look")
    def look(self) -> None:
        try:
            seen = look(self._server, mine=self._mine)
        except (HrmError, OSError) as error:
            self.call_from_thread(self._tell, f"! {clean(str(error))}")
            return
        self.call_from_thread(self._show, seen)

    def _tell(self, line: str) -> None:
        for there in self.query("#head").results(Static):  # none while the program ends
            there.update(line)

    def _show(self, seen: Look) -> None:
        self._seen = seen
        self._tell("\n".join(head(seen)))
        for name, _, columns, rows_of in _TABS:
            rows = [row for row in rows_of(seen) if self._wanted in " ".join(row.cells).lower()]
            for table in self.query(f"#table-{name}").results(DataTable):
                self._fill(table, columns, rows)

    def _fill(self, table: DataTable[str], columns: tuple[str, ...], rows: list[Row]) -> None:
        """Cells that differ change where they are: a table that is made anew would lose its cursor, and flicker."""
        there = {str(key.value) for key in table.rows}
        wanted = {row.key for row in rows}
        for key in there - wanted:
            table.remove_row(key)
        for row in rows:
            if row.key not in there:
                table.add_row(*row.cells, key=row.key)
                continue
            for column, cell in zip(columns, row.cells, strict=True):
                if table.get_cell(row.key, column) != cell:
                    table.update_cell(row.key, column, cell, update_width=True)

    def _chosen(self) -> str | None:
        """The application under the cursor."""
        table = self.query_one("#table-applications", DataTable)
        if self.query_one(TabbedContent).active != "applications" or not table.row_count:
            return None
        return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)

    # --- keys

    def action_show(self, name: str) -> None:
        self.query_one(TabbedContent).active = name
        self.query_one(f"#table-{name}").focus()

    def action_mine(self) -> None:
        self._mine = not self._mine
        self.look()

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._wanted = event.value.lower()
        if self._seen is not None:
            self._show(self._seen)

    @on(Input.Submitted, "#filter")
    def _back_to_the_table(self) -> None:
        self.action_show(self.query_one(TabbedContent).active)

    def action_close(self) -> None:
        self.query_one("#detail").display = False
        field = self.query_one("#filter", Input)
        field.value, field.display = "", False
        self.action_show(self.query_one(TabbedContent).active)

    @on(DataTable.RowSelected, "#table-applications")
    def action_explain(self) -> None:
        if (app := self._chosen()) is not None:
            self._ask(app, self._explanation)

    def action_log(self) -> None:
        if (app := self._chosen()) is not None:
            self._ask(app, self._printed)

    def action_kill(self) -> None:
        app = self._chosen()
        if app is None:
            return
        if self._read_only:
            self.notify("--read-only: nothing is changed", severity="warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._ask(app, self._kill)

        self.push_screen(Question(f"End application {short_id(app)}?"), answered)

    @work(thread=True, exclusive=True, group="ask")
    def _ask(self, app: str, ask: Callable[[str], str]) -> None:
        try:
            text = ask(app)
        except (HrmError, OSError) as error:
            text = clean(str(error))
        self.call_from_thread(self._detail, text)

    def _detail(self, text: str) -> None:
        self.query_one("#text", Static).update(text)
        self.query_one("#detail").display = True

    def _explanation(self, app: str) -> str:
        why = self._server.explain(app)
        lines = [f"{short_id(app)}: {why.message}"]
        if why.forecast is not None:
            lines.append(f"expected: {why.forecast.text}")
        lines += [f"- {change.text}" + (f"\n    {change.command}" if change.command else "") for change in why.changes]
        return _lines("\n".join(lines))

    def _printed(self, app: str) -> str:
        data = b"".join(self._server.logs(app, offset=-_LOG_BYTES))
        return _lines(data.decode(errors="replace")) or "(nothing yet)"

    def _kill(self, app: str) -> str:
        self._server.kill(app)
        self.look()
        return f"{short_id(app)} was told to end"


def _lines(text: str) -> str:
    """Without characters that would steer the terminal, but for the ends of lines."""
    return "\n".join(clean(line.expandtabs()) for line in text.splitlines())
