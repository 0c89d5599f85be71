"""`hrm top` as a program of the whole terminal: tables whose cells change in place, and a pane beside them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from hrm.cli.output import clean
from hrm.cli.selectors import me
from hrm.cli.top_filter import jump_target, row_filter
from hrm.cli.top_pane import Pane
from hrm.cli.top_screens import Choice, Help, Prompt, Question, Several
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
from hrm.model.errors import HrmError, InvalidInput
from hrm.model.ids import short_id
from hrm.model.units import format_duration, parse_duration_s
from hrm.sdk.client import Client

#: Tabs: their id, heading, columns, and the rows of a look.
_TABS: tuple[tuple[str, str, tuple[str, ...], Callable[[Look], list[Row]]], ...] = (
    ("applications", "1 Applications", APPLICATION_HEAD, application_rows),
    ("queues", "2 Queues", QUEUE_HEAD, queue_rows),
    ("nodes", "3 Nodes", NODE_HEAD, node_rows),
)
_SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "CONT", "STOP", "KILL")
#: Narrower than this the pane stands below the tables instead of beside them.
_WIDE = 120
HELP = (
    ("1 2 3", "applications, queues, nodes with their GPUs"),
    ("-", "the table shown before"),
    ("/", "show only rows that a regular expression is found in; ! before it inverts; Escape shows all again"),
    (":", "jump to a table, application, queue or node by its name"),
    ("m", "mine, or everybody's"),
    ("a", "applications that are over, too"),
    ("f", "choose columns"),
    ("Enter, e", "why it waits, runs or ended; what a queue or node has"),
    ("l", "what its first task prints, beside the table, also after its end"),
    ("o", "its stderr instead of its stdout, and back"),
    ("w", "wrap long lines, or not"),
    ("Space", "tag it: c, C and t then mean all that are tagged"),
    ("c", "end it, after a question"),
    ("C", "send its tasks a signal"),
    ("t", "give it a time limit from now"),
    ("Escape", "close the pane, forget filter and tags"),
    ("?", "this"),
    ("q", "leave"),
)


class TopApp(App[None]):
    """Looks every ``interval_s`` seconds in a thread, and shows what it saw."""

    TITLE = "hrm top"
    CSS = """
    #head { height: auto; padding: 0 1; }
    #body { layout: vertical; height: 1fr; }
    #body.wide { layout: horizontal; }
    #tabs { height: 1fr; width: 1fr; }
    #line { display: none; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar = [
        Binding("1", "show('applications')", "applications", show=False),
        Binding("2", "show('queues')", "queues", show=False),
        Binding("3", "show('nodes')", "nodes", show=False),
        Binding("minus", "before", "before", show=False),
        Binding("slash", "filter", "filter"),
        Binding("colon", "jump", "jump"),
        Binding("m", "mine", "mine"),
        Binding("a", "over", "all"),
        Binding("f", "columns", "columns", show=False),
        Binding("e", "explain", "explain"),
        Binding("l", "log", "log"),
        Binding("o", "stream", "out/err", show=False),
        Binding("w", "wrap", "wrap", show=False),
        Binding("space", "tag", "tag"),
        Binding("c", "kill", "end"),
        Binding("C", "signal", "signal", show=False),
        Binding("t", "limit", "time limit", show=False),
        Binding("escape", "close", "close", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, server: Client, *, interval_s: float, mine: bool = False, read_only: bool = False) -> None:
        super().__init__()
        self._server = server
        self._interval_s = interval_s
        self._mine = mine
        self._over = False
        self._read_only = read_only
        self._me = me()
        self._wanted = ""
        #: True while the line at the bottom asks for a filter, False while it asks where to jump.
        self._filtering = True
        self._seen: Look | None = None
        self._tagged: set[str] = set()
        self._before = "applications"
        self._shown: dict[str, list[str]] = {name: list(columns) for name, _, columns, _ in _TABS}

    def compose(self) -> ComposeResult:
        yield Static("…", id="head", markup=False)
        with Container(id="body"):
            with TabbedContent(initial="applications", id="tabs"):
                for name, title, columns, _ in _TABS:
                    with TabPane(title, id=name):
                        table: DataTable[Text] = DataTable(id=f"table-{name}", cursor_type="row", zebra_stripes=True)
                        for column in columns:
                            table.add_column(column, key=column)
                        yield table
            yield Pane(self._server, id="pane")
        yield Input(id="line")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#table-applications").focus()
        self.set_interval(self._interval_s, self.look)
        self.look()

    def on_resize(self) -> None:
        self.query_one("#body").set_class(self.size.width >= _WIDE, "wide")

    # --- what is seen

    @work(thread=True, exclusive=True, group="look")
    def look(self) -> None:
        try:
            seen = look(self._server, mine=self._mine, over=self._over)
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
        matches = row_filter(self._wanted)
        for name, _, columns, rows_of in _TABS:
            for table in self.query(f"#table-{name}").results(DataTable):
                self._fill(table, columns, self._shown[name], [row for row in rows_of(seen) if matches(row)])
        for pane in self.query(Pane):
            pane.look_anew()

    def _fill(self, table: DataTable[Text], columns: Sequence[str], shown: Sequence[str], rows: list[Row]) -> None:
        """Cells that differ change where they are: a table that is made anew would lose its cursor, and flicker."""
        there = {str(key.value) for key in table.rows}
        for key in there - {row.key for row in rows}:
            table.remove_row(key)
        for row in rows:
            cells = [self._cell(row, columns.index(name), first=not at) for at, name in enumerate(shown)]
            if row.key not in there:
                table.add_row(*cells, key=row.key)
                continue
            for column, cell in zip(shown, cells, strict=True):
                if table.get_cell(row.key, column) != cell:
                    table.update_cell(row.key, column, cell, update_width=True)

    def _cell(self, row: Row, index: int, *, first: bool) -> Text:
        """What others have is dimmed; what is tagged is marked in its first column."""
        text, tagged = row.cells[index], row.key in self._tagged
        style = "bold reverse" if tagged else "dim" if row.user and row.user != self._me else ""
        return Text(f"*{text}" if tagged and first else text, style=style)

    @property
    def _tab(self) -> str:
        return self.query_one("#tabs", TabbedContent).active

    def _under_cursor(self) -> str | None:
        """The key of the row, whatever the table."""
        table = self.query_one(f"#table-{self._tab}", DataTable)
        return str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value) if table.row_count else None

    def _chosen(self) -> list[str]:
        """Applications that are tagged, else the one under the cursor."""
        if self._tab != "applications":
            return []
        if self._tagged:
            return sorted(self._tagged)
        app = self._under_cursor()
        return [] if app is None else [app]

    # --- keys: what is shown

    def action_show(self, name: str) -> None:
        if name != self._tab:
            self._before = self._tab
        self.query_one("#tabs", TabbedContent).active = name
        self.query_one(f"#table-{name}").focus()

    def action_before(self) -> None:
        self.action_show(self._before)

    def action_mine(self) -> None:
        self._mine = not self._mine
        self.look()

    def action_over(self) -> None:
        self._over = not self._over
        self.look()

    def action_help(self) -> None:
        self.push_screen(Help(HELP))

    def action_columns(self) -> None:
        name = self._tab
        columns = next(columns for tab, _, columns, _ in _TABS if tab == name)

        def answered(chosen: list[str] | None) -> None:
            if not chosen or self._seen is None:
                return
            self._shown[name] = [column for column in columns if column in chosen]
            table: DataTable[Text] = self.query_one(f"#table-{name}", DataTable)
            table.clear(columns=True)
            for column in self._shown[name]:
                table.add_column(column, key=column)
            self._show(self._seen)

        self.push_screen(Several("Columns (Space chooses, q is done)", columns, self._shown[name]), answered)

    def action_tag(self) -> None:
        if self._tab == "applications" and (app := self._under_cursor()) is not None:
            self._tagged ^= {app}
            self.query_one("#table-applications", DataTable).action_cursor_down()
            self._refresh()

    def _refresh(self) -> None:
        if self._seen is not None:
            self._show(self._seen)

    def action_close(self) -> None:
        self.query_one(Pane).close()
        self._tagged.clear()
        self._wanted = ""
        self._leave_line()
        self._refresh()

    # --- keys: the line at the bottom

    def action_filter(self) -> None:
        self._ask_line("regular expression; ! before it inverts", filtering=True)

    def action_jump(self) -> None:
        self._ask_line("table, application, queue or node", filtering=False)

    def _ask_line(self, placeholder: str, *, filtering: bool) -> None:
        self._filtering = filtering
        line = self.query_one("#line", Input)
        line.placeholder, line.display = placeholder, True
        line.value = self._wanted if filtering else ""
        line.focus()

    @on(Input.Changed, "#line")
    def _line_changed(self, event: Input.Changed) -> None:
        if self._filtering and event.input.display:
            self._wanted = event.value
            self._refresh()

    @on(Input.Submitted, "#line")
    def _line_said(self, event: Input.Submitted) -> None:
        text = event.value
        self._leave_line()
        if self._filtering or self._seen is None:
            return
        tabs = [(name, rows_of(self._seen)) for name, _, _, rows_of in _TABS]
        found = jump_target(text, sorted(tabs, key=lambda tab: tab[0] != self._tab))
        if found is None:
            self.notify(f"nothing is called {text!r}", severity="warning", markup=False)
            return
        name, key = found
        self.action_show(name)
        table = self.query_one(f"#table-{name}", DataTable)
        if key is not None and key in table.rows:
            table.move_cursor(row=table.get_row_index(key))

    def _leave_line(self) -> None:
        self.query_one("#line", Input).display = False
        self.query_one(f"#table-{self._tab}").focus()

    # --- keys: one row more closely

    @on(DataTable.RowSelected)
    def action_explain(self) -> None:
        key = self._under_cursor()
        if key is not None and self._tab == "applications":
            self.query_one(Pane).explain(key)
        elif key is not None and self._seen is not None:
            name, _, columns, rows_of = next(tab for tab in _TABS if tab[0] == self._tab)
            row = next(row for row in rows_of(self._seen) if row.key == key)
            width = max(map(len, columns))
            lines = [f"{column.lower().rjust(width)}  {cell}" for column, cell in zip(columns, row.cells, strict=True)]
            self.query_one(Pane).tell(f"{name.removesuffix('s')} {key}", "\n".join(lines))

    def action_log(self) -> None:
        if self._tab == "applications" and (app := self._under_cursor()) is not None:
            self.query_one(Pane).follow(app)

    def action_stream(self) -> None:
        self.query_one(Pane).other_stream()

    def action_wrap(self) -> None:
        self.query_one(Pane).wrap()

    # --- keys: what changes something

    def _may_change(self) -> bool:
        if self._read_only:
            self.notify("--read-only: nothing is changed", severity="warning")
        return not self._read_only

    def action_kill(self) -> None:
        apps = self._chosen()
        if not apps or not self._may_change():
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._change(apps, self._server.kill, "was told to end")

        self.push_screen(Question(f"End {_named(apps)}?"), answered)

    def action_signal(self) -> None:
        apps = self._chosen()
        if not apps or not self._may_change():
            return

        def answered(name: str | None) -> None:
            if name is not None:
                number = signal.Signals[f"SIG{name}"].value
                self._change(apps, lambda app: self._server.signal(app, number), f"was sent {name}")

        self.push_screen(Choice(f"Send {_named(apps)}", _SIGNALS), answered)

    def action_limit(self) -> None:
        apps = self._chosen()
        if not apps or not self._may_change():
            return

        def answered(text: str | None) -> None:
            if text is None:
                return
            try:
                left_s = None if text.strip() in ("", "none") else parse_duration_s(text, field="time limit")
            except InvalidInput as error:
                self.notify(str(error), severity="warning", markup=False)
                return
            at = None if left_s is None else time.time() + left_s
            told = "has no limit" if left_s is None else f"ends in {format_duration(left_s)} at the latest"
            self._change(apps, lambda app: self._server.set_deadline(app, at), told)

        self.push_screen(Prompt(f"Time limit of {_named(apps)} from now (2h, 90s; nothing: none)"), answered)

    @work(thread=True, group="change")
    def _change(self, apps: Sequence[str], change: Callable[[str], object], told: str) -> None:
        for app in apps:
            try:
                change(app)
            except (HrmError, OSError) as error:
                self.call_from_thread(self.notify, clean(str(error)), severity="error", markup=False)
            else:
                self.call_from_thread(self.notify, f"{short_id(app)} {told}", markup=False)
        self.call_from_thread(self.look)


def _named(apps: Sequence[str]) -> str:
    return f"application {short_id(apps[0])}" if len(apps) == 1 else f"{len(apps)} applications"
