"""Completion scripts know all by themselves, and work in a real shell."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from hrm.cli.completion import bash_script, fish_script, walk, zsh_script
from hrm.cli.main import COMMANDS, build

LEVELS = list(walk(build()))


def complete(line: str, cwd: object = None) -> list[str]:
    """What bash offers at the end of ``line``."""
    words = line.split(" ")
    array = " ".join(f"'{word}'" for word in words)
    script = f"""{bash_script(LEVELS)}
COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _hrm; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, cwd=cwd)
    return done.stdout.split()


def test_all_commands_are_offered() -> None:
    assert set(complete("hrm ")) >= {entry.name for entry in COMMANDS}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hrm su", ["submit", "suspend"]),
        ("hrm submit --que", ["--queue"]),
        ("hrm queues rel", ["reload"]),
        ("hrm config ch", ["check"]),
        ("hrm ps -o ", ["table", "json", "yaml"]),
        ("hrm ps --output js", ["json"]),
        ("hrm completion --", ["--help"]),
        ("hrm run --cpus ", []),
    ],
)
def test_what_may_follow_is_offered(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_files_are_offered_where_a_path_is_wanted(tmp_path) -> None:
    (tmp_path / "job.yaml").touch()

    assert complete("hrm up --config jo", cwd=tmp_path) == ["job.yaml"]
    assert complete("hrm submit jo", cwd=tmp_path) == ["job.yaml"]


def test_after_two_dashes_programs_are_offered() -> None:
    assert "ls" in complete("hrm run -- l")


def complete_in_zsh(line: str) -> list[str]:
    """What zsh is asked to offer: the words, or FILES."""
    words = line.split(" ")
    script = f"""compdef() {{ }}; {zsh_script(LEVELS)}
_describe() {{ print -l ${{${{(P)2}}%%:*}}; (( ${{#${{(P)2}}}} )) }}; _files() {{ print FILES }}
_command_names() {{ print COMMANDS }}
words=({" ".join(f"'{word}'" for word in words)}); CURRENT={len(words)}; _hrm"""
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed here")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hrm queues ", ["reload", "--output", "-o", "--help"]),
        ("hrm ps -o ", ["table", "json", "yaml"]),
        ("hrm up --config ", ["FILES"]),
        ("hrm run -- ", ["COMMANDS"]),
    ],
)
def test_zsh_offers_the_same(line: str, offered: list[str]) -> None:
    assert complete_in_zsh(line) == offered


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed here")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hrm su", ["submit", "suspend"]),
        ("hrm submit --que", ["--queue"]),
        ("hrm queues rel", ["reload"]),
        ("hrm ps --output js", ["json"]),
        ("hrm up --config jo", ["job.yaml"]),
    ],
)
def test_fish_offers_the_same(tmp_path, line: str, offered: list[str]) -> None:
    (tmp_path / "job.yaml").touch()
    script = f"{fish_script(LEVELS)}complete -C '{line}'"

    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert [entry.partition("\t")[0] for entry in done.stdout.splitlines()] == offered


@pytest.mark.parametrize(("shell", "script"), [("zsh", zsh_script), ("fish", fish_script)])
def test_scripts_of_other_shells_know_every_command_and_option(shell: str, script) -> None:
    text = script(LEVELS)

    for level in LEVELS:
        for word in (*level.commands, *level.options):
            assert word.lstrip("-") in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_no_script_starts_hrm() -> None:
    for script in (bash_script, zsh_script, fish_script):
        assert "$(hrm" not in script(LEVELS)
        # It may be spoken of, as in what options say, but not be run.
        assert re.search(r"(\$\(|^\s*)python", script(LEVELS), re.MULTILINE) is None
