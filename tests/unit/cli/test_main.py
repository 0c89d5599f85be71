"""The ``hrm`` command as a whole: what it costs to start, its help, how errors end it."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hrm.cli.completion import walk
from hrm.cli.main import COMMANDS, build
from hrm.model import errors
from hrm.model.errors import HrmError

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"
HEAVY = {"httpx", "http.client", "pydantic", "sqlalchemy", "yaml", "rich", "websockets", "fastapi", "msgspec", "numpy"}


def every_command():
    """(path, command) of each command that does something itself."""
    pending = [((), build())]
    while pending:
        path, command = pending.pop()
        names = command.list_commands(None) if hasattr(command, "list_commands") else []
        pending += [((*path, name), command.get_command(None, name)) for name in names]
        if not names or getattr(command, "invoke_without_command", False):
            yield path, command


EVERY_COMMAND = sorted(every_command(), key=lambda item: item[0])


def test_help_costs_less_than_a_third_of_a_second() -> None:
    def cpu_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "from hrm.cli.main import main; main()"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Processor time, and the best of several: what it costs, not what else the machine does.
    assert min(cpu_s() for _ in range(5)) < 0.3


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["ps", "--help"], ["up", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = "import sys, atexit\natexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n"
    code += f"sys.argv[1:] = {arguments!r}\nfrom hrm.cli.main import main; main()"

    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stderr.split()

    assert "typer" in modules
    # Typer reads a command's own options by pydantic from its version 0.29 on; the list of commands needs none.
    assert HEAVY & set(modules) <= (set() if arguments == ["--help"] else {"pydantic"})


def test_each_line_of_the_help_says_what_the_commands_own_help_says() -> None:
    for entry in COMMANDS:
        own = (entry.load().help or "").strip().splitlines()[0]
        assert own.startswith(entry.summary.rstrip(".")), entry


@pytest.mark.parametrize(("path", "command"), EVERY_COMMAND, ids=[" ".join(path) for path, _ in EVERY_COMMAND])
def test_every_command_has_examples_that_it_understands(path: tuple[str, ...], command: object) -> None:
    help_text = command.help or ""  # type: ignore[attr-defined]

    if path not in {("queues", "reload"), ("models", "list")}:
        assert "Examples:" in help_text, path
    for line in help_text.partition("Examples:")[2].splitlines():
        for word in re.findall(r"(?<= )--[a-z-]+", line.partition(" -- ")[0].partition("  hrm")[2]):
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--home"}  # type: ignore[attr-defined]
            assert word in known, line


def test_every_command_is_in_the_documentation() -> None:
    docs = DOCS.read_text(encoding="utf-8")

    assert [" ".join(path) for path, _ in EVERY_COMMAND if f"`hrm {' '.join(path)}" not in docs] == []


def test_every_exit_code_is_in_the_documentation() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HrmError)}
    table = DOCS.read_text(encoding="utf-8").partition("## Exit codes")[2]

    assert {str(kind.exit_code) for kind in kinds} <= set(re.findall(r"^\| (\d+)", table, re.M))


def test_a_wrong_command_exits_2_with_the_nearest_right_one(hrm) -> None:
    result = hrm("sumbit", "--", "true")

    assert result.code == 2
    assert "did you mean 'submit'?" in result.err


def test_a_wrong_option_exits_2(hrm) -> None:
    assert hrm("ps", "--everything").code == 2


def test_without_arguments_it_shows_its_help(hrm) -> None:
    result = hrm()

    assert (result.code, result.err) == (0, "")
    assert "Usage: hrm" in result.out


def test_the_version_is_shown(hrm) -> None:
    result = hrm("--version")

    assert (result.code, result.out.split()[0]) == (0, "hrm")


@pytest.mark.parametrize("command", ["status", "ps", "queues", "nodes", "history", "down"])
def test_without_a_server_it_exits_3_and_says_how_to_start_one(hrm, no_server, command: str) -> None:
    result = hrm(command)

    assert result.code == 3
    assert "no server is up" in result.err
    assert "hrm up" in result.err


def test_a_reader_that_has_gone_is_no_error() -> None:
    code = "import sys; sys.argv[1:] = ['completion', 'bash']; from hrm.cli.main import main; main()"

    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=180)

    assert error == b""
    assert process.returncode != 0


@pytest.mark.parametrize("command", [["completion", "bash"], ["--help"], ["config", "show"]])
def test_a_full_disk_under_its_output_is_told_in_one_line(command: list[str]) -> None:
    code = f"import sys; sys.argv[1:] = {command}; from hrm.cli.main import main; main()"

    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=180)

    assert (done.returncode, done.stderr) == (1, "hrm: No space left on device\n")


def test_no_help_offers_what_typer_would_add() -> None:
    offered = [" ".join(level.path) for level in walk(build()) if "--install-completion" in level.options]

    assert offered == []
