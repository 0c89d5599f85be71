"""`hrm completion`: scripts that know all commands and options by themselves.

The script is made once, from the commands as they are, so a Tab starts no Python at all. After an update of HRM it is
made again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer


class Shell(StrEnum):
    """Shells that a completion script can be printed for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@dataclass(frozen=True, slots=True)
class Level:
    """What may follow one command: ``()`` is ``hrm`` itself, ``("queues", "reload")`` a command below another."""

    path: tuple[str, ...]
    #: Subcommands with their summaries.
    commands: dict[str, str] = field(default_factory=dict)
    #: Options with their help.
    options: dict[str, str] = field(default_factory=dict)
    #: Options that take a value, with what may be chosen; None where it is a path.
    values: dict[str, list[str] | None] = field(default_factory=dict)


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print a completion script for a shell.

    \b
    Examples:
      hrm completion bash > ~/.local/share/bash-completion/completions/hrm
      hrm completion zsh > ~/.zfunc/_hrm          with fpath+=~/.zfunc before compinit
      hrm completion fish > ~/.config/fish/completions/hrm.fish
    """
    from hrm.cli.main import build

    levels = list(walk(build()))
    print({Shell.BASH: bash_script, Shell.ZSH: zsh_script, Shell.FISH: fish_script}[shell](levels), end="")


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[Level]:
    """The command and all below it."""
    level = Level(path)
    for parameter in command.params:
        if parameter.param_type_name != "option" or parameter.hidden:
            continue
        for word in (*parameter.opts, *parameter.secondary_opts):
            level.options[word] = parameter.help or ""
            if not parameter.is_flag:
                level.values[word] = _choices(parameter)
    level.options["--help"] = "Show how to use it."
    names = command.list_commands(None) if hasattr(command, "list_commands") else []
    children = {name: command.get_command(None, name) for name in names}
    level.commands.update({name: child.get_short_help_str(200) for name, child in children.items()})
    yield level
    for name, child in children.items():
        yield from walk(child, (*path, name))


def bash_script(levels: list[Level]) -> str:
    paths, words, values = [], [], []
    for level in levels:
        key = _key(level)
        paths += [
            f"      {shlex.quote(_key(level, name))}) path={shlex.quote(_key(level, name))};;"
            for name in level.commands
        ]
        words.append(f"    {shlex.quote(key)}) words={shlex.quote(' '.join([*level.commands, *level.options]))};;")
        for option, choices in level.values.items():
            action = "files=1" if choices is None else f"words={shlex.quote(' '.join(choices))}"
            values.append(f"    {shlex.quote(f'{key} {option}')}) {action}; value=1;;")
    return _BASH.format(paths="\n".join(paths), words="\n".join(words), values="\n".join(values))


def zsh_script(levels: list[Level]) -> str:
    paths, words, values = [], [], []
    for level in levels:
        key = _key(level)
        paths += [
            f"      {shlex.quote(_key(level, name))}) path_={shlex.quote(_key(level, name))};;"
            for name in level.commands
        ]
        described = [_zsh_word(word, text) for word, text in {**level.commands, **level.options}.items()]
        words.append(f"    {shlex.quote(key)}) words_=({' '.join(described)});;")
        for option, choices in level.values.items():
            action = "files=1" if choices is None else f"words_=({' '.join(map(shlex.quote, choices))})"
            values.append(f"    {shlex.quote(f'{key} {option}')}) {action}; value=1;;")
    return _ZSH.format(paths="\n".join(paths), words="\n".join(words), values="\n".join(values))


def fish_script(levels: list[Level]) -> str:
    lines = ["# Completion of hrm for fish; made by `hrm completion fish`."]
    for level in levels:
        condition = (
            " and ".join(f"__fish_seen_subcommand_from {name}" for name in level.path) or "__fish_use_subcommand"
        )
        condition = condition.replace(" and ", "; and ")
        if level.path and level.commands:
            condition_commands = f"{condition}; and not __fish_seen_subcommand_from {' '.join(level.commands)}"
        else:
            condition_commands = condition
        for name, text in level.commands.items():
            lines.append(f"complete -c hrm -n {shlex.quote(condition_commands)} -f -a {name} -d {shlex.quote(text)}")
        for option, text in level.options.items():
            flag = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
            line = f"complete -c hrm -n {shlex.quote(condition)} {flag} -d {shlex.quote(text)}"
            if option in level.values:
                choices = level.values[option]
                line += " -r" if choices is None else f" -x -a {shlex.quote(' '.join(choices))}"
            lines.append(line)
    return "\n".join(lines) + "\n"


def _choices(parameter: Any) -> list[str] | None:
    # Typer before 0.20 has click's types here, later ones a description of their own.
    kind = getattr(parameter, "type_descriptor", None) or parameter.type
    if getattr(kind, "is_path", False) or getattr(kind, "name", "") in ("path", "file", "directory"):
        return None
    return [str(getattr(choice, "value", choice)) for choice in getattr(kind, "choices", None) or ()]


def _key(level: Level, *more: str) -> str:
    return " ".join(("hrm", *level.path, *more))


def _zsh_word(word: str, text: str) -> str:
    return shlex.quote(word + ":" + text.replace(":", "\\:"))


_BASH = """\
# Completion of hrm for bash; made by `hrm completion bash`. It runs no program.
_hrm() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
  local path=hrm words= files= value= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${{COMP_WORDS[i]}} == -- ]]; then
      COMPREPLY=($(compgen -c -f -- "$current"))
      return
    fi
    case "$path ${{COMP_WORDS[i]}}" in
{paths}
    esac
  done
  case "$path $previous" in
{values}
  esac
  if [[ -z $value ]]; then
    case "$path" in
{words}
    esac
    [[ $current == -* ]] || files=1
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ -n $files && ${{#COMPREPLY[@]}} -eq 0 ]]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -F _hrm hrm
"""

_ZSH = """\
#compdef hrm
# Completion of hrm for zsh; made by `hrm completion zsh`. It runs no program.
_hrm() {{
  local path_=hrm files= value= i
  local -a words_
  for ((i = 2; i < CURRENT; i++)); do
    if [[ ${{words[i]}} == -- ]]; then
      _command_names -e || _files
      return
    fi
    case "$path_ ${{words[i]}}" in
{paths}
    esac
  done
  case "$path_ ${{words[CURRENT-1]}}" in
{values}
  esac
  if [[ -z $value ]]; then
    case "$path_" in
{words}
    esac
  fi
  if [[ -z $files ]]; then
    _describe hrm words_ && return
  fi
  _files
}}
if [[ ${{funcstack[1]}} == _hrm ]]; then
  _hrm "$@"
else
  compdef _hrm hrm
fi
"""
