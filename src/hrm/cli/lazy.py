"""A Typer group that imports a command's module only when that command is called.

`hrm --help` and each Tab stay fast however many commands there are and whatever they import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `hrm --help`."""

    name: str
    #: Heading it stands under.
    section: str
    #: First line of its own help; a test holds the two together.
    summary: str
    #: ``module:attribute`` of a function, or of a `typer.Typer` for a group of commands.
    target: str
    #: Passed on to the parser (see click's context settings).
    settings: dict[str, Any] | None = None

    def load(self) -> Any:
        """The command as Typer makes it."""
        module, _, attribute = self.target.partition(":")
        target: typer.Typer | Callable[..., None] = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(name=self.name, context_settings=self.settings)(target)
            target = app
        for info in target.registered_commands:
            info.cls = PlainCommand
        command = typer.main.get_command(target)
        command.name = self.name
        return command


class PlainCommand(TyperCommand):
    """A command whose help names its arguments as they are written, without Python's types."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [
            (parameter.metavar or str(parameter.name).upper(), parameter.help or "")
            for parameter in self.params
            if isinstance(parameter, TyperArgument)
        ]
        options = [
            record
            for parameter in self.get_params(ctx)
            if not isinstance(parameter, TyperArgument) and (record := parameter.get_help_record(ctx)) is not None
        ]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class LazyGroup(TyperGroup):
    """Looks commands up in ``entries``, which a subclass sets."""

    entries: ClassVar[tuple[Entry, ...]] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        return [entry.name for entry in self.entries]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = next((entry for entry in self.entries if entry.name == cmd_name), None)
        return None if entry is None else entry.load()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if not name.startswith("-") and all(entry.name != name for entry in self.entries):
            from hrm.config.keys import nearest

            near = nearest(name, [entry.name for entry in self.entries])
            ctx.fail(f"no such command: {name!r}" + (f"; did you mean {near!r}?" if near else "; see `hrm --help`"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(entry.name) for entry in self.entries)
        for section in dict.fromkeys(entry.section for entry in self.entries):
            rows = [(e.name.ljust(width), e.summary) for e in self.entries if e.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)
