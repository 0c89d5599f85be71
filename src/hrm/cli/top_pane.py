"""The pane of `hrm top`: why an application waits, or what it prints, beside the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import work
from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.widgets import Static

from hrm.cli.output import clean
from hrm.model.errors import HrmError
from hrm.model.ids import short_id

if TYPE_CHECKING:
    from hrm.sdk.client import Client

_LOG_BYTES = 32_768


class Pane(ScrollableContainer):
    """Hidden until something is asked for. What is printed is asked for again at each look."""

    DEFAULT_CSS = """
    Pane { display: none; width: 1fr; height: 1fr; border: solid $accent; padding: 0 1; }
    Pane #text { width: 1fr; }
    Pane.long #text { width: auto; }
    """

    def __init__(self, server: Client, *, id: str) -> None:
        super().__init__(id=id)
        self._server = server
        #: Whose output is followed; None iff something else is shown.
        self._app: str | None = None
        self._stream = "stdout"
        self._text = ""

    def compose(self) -> ComposeResult:
        yield Static("", id="text", markup=False)

    def tell(self, title: str, text: str) -> None:
        self._app = None
        self._put(title, text)

    def explain(self, app: str) -> None:
        self._app = None
        self._ask(f"application {short_id(app)}", lambda: _explanation(self._server, app), whose=None)

    def follow(self, app: str) -> None:
        """What its first task prints."""
        self._app = app
        self.look_anew()

    def look_anew(self) -> None:
        if (app := self._app) is not None:
            stream = self._stream
            title = f"{stream} of {short_id(app)}"
            self._ask(title, lambda: _printed(self._server, app, stream), whose=app)

    def other_stream(self) -> None:
        self._stream = "stderr" if self._stream == "stdout" else "stdout"
        self.look_anew()

    def wrap(self) -> None:
        self.toggle_class("long")

    def close(self) -> None:
        self._app = None
        self.display = False

    @work(thread=True, exclusive=True, group="pane")
    def _ask(self, title: str, ask: Callable[[], str], whose: str | None) -> None:
        try:
            text = ask()
        except (HrmError, OSError) as error:
            text = clean(str(error))
        self.app.call_from_thread(self._answered, title, text, whose)

    def _answered(self, title: str, text: str, whose: str | None) -> None:
        if whose == self._app:  # else something else was asked for meanwhile
            self._put(title, text)

    def _put(self, title: str, text: str) -> None:
        self.border_title = title
        at_end = self.scroll_offset.y >= self.max_scroll_y
        if text != self._text:
            self._text = text
            self.query_one("#text", Static).update(text)
        self.display = True
        if self._app is not None and at_end:
            self.call_after_refresh(self.scroll_end, animate=False)


def _explanation(server: Client, app: str) -> str:
    why = server.explain(app)
    lines = [f"{short_id(app)}: {why.message}"]
    if why.forecast is not None:
        lines.append(f"expected: {why.forecast.text}")
    lines += [f"- {change.text}" + (f"\n    {change.command}" if change.command else "") for change in why.changes]
    return _lines("\n".join(lines))


def _printed(server: Client, app: str, stream: str) -> str:
    data = b"".join(server.logs(app, stream=stream, offset=-_LOG_BYTES))
    return _lines(data.decode(errors="replace")) or "(nothing yet)"


def _lines(text: str) -> str:
    """Without characters that would steer the terminal, but for the ends of lines."""
    return "\n".join(clean(line.expandtabs()) for line in text.splitlines())
