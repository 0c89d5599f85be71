"""What `hrm top` asks and tells in front of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, SelectionList
from textual.widgets.option_list import Option


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


class Choice(ModalScreen[str | None]):
    """One of several; None iff none was chosen."""

    BINDINGS: ClassVar = [Binding("escape", "leave", "leave")]
    DEFAULT_CSS = """
    Choice { align: center middle; }
    Choice Vertical { width: 44; height: auto; max-height: 80%; padding: 0 1; border: round $warning; }
    """

    def __init__(self, title: str, options: Sequence[str]) -> None:
        super().__init__()
        self._title, self._options = title, options

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self._title, markup=False)
            yield OptionList(*(Option(one, id=one) for one in self._options))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_leave(self) -> None:
        self.dismiss(None)


class Several(ModalScreen[list[str] | None]):
    """Any of several; None iff they stay as they are."""

    BINDINGS: ClassVar = [Binding("escape", "leave", "leave"), Binding("q", "done", "done")]
    DEFAULT_CSS = """
    Several { align: center middle; }
    Several Vertical { width: 44; height: auto; max-height: 80%; padding: 0 1; border: round $accent; }
    """

    def __init__(self, title: str, options: Sequence[str], chosen: Sequence[str]) -> None:
        super().__init__()
        self._title, self._options, self._now = title, options, chosen

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self._title, markup=False)
            yield SelectionList[str](*((one, one, one in self._now) for one in self._options))

    def action_done(self) -> None:
        self.dismiss(list(self.query_one(SelectionList).selected))

    def action_leave(self) -> None:
        self.dismiss(None)


class Prompt(ModalScreen[str | None]):
    """A line of text; None iff it was left."""

    BINDINGS: ClassVar = [Binding("escape", "leave", "leave")]
    DEFAULT_CSS = """
    Prompt { align: center middle; }
    Prompt Vertical { width: 60; height: auto; padding: 0 1; border: round $warning; background: $surface; }
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self._title, markup=False)
            yield Input()

    @on(Input.Submitted)
    def _said(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)


class Help(ModalScreen[None]):
    """What keys do."""

    BINDINGS: ClassVar = [Binding("escape,question_mark,q", "leave", "leave")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help Label { padding: 1 2; border: round $accent; background: $surface; }
    """

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        width = max(len(key) for key, _ in self._lines)
        yield Label("\n".join(f"{key.rjust(width)}  {what}" for key, what in self._lines), markup=False)

    def action_leave(self) -> None:
        self.dismiss(None)
