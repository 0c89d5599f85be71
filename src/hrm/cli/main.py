"""The ``hrm`` command: its list of commands, its global options, and how errors end it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hrm import __version__
from hrm.cli.lazy import Entry, LazyGroup
from hrm.model.errors import ClusterError, HrmError, NoServer

# Options end where the command begins, as with srun and ssh: `hrm run --cpus 2 python train.py --epochs 3`.
_COMMAND_LINE = {"allow_interspersed_args": False}

COMMANDS = (
    Entry("run", "Work", "Run a command and wait for it, as if it ran here.", "hrm.cli.run:run", _COMMAND_LINE),
    Entry("shell", "Work", "Your shell in a container.", "hrm.cli.shell:shell"),
    Entry("exec", "Work", "Run a program beside a task, in its container.", "hrm.cli.execution:exec_"),
    Entry("notebook", "Work", "A Jupyter of your own in a container.", "hrm.cli.notebook:notebook", _COMMAND_LINE),
    Entry("port-forward", "Work", "Bring ports of a task to this machine.", "hrm.cli.port_forward:port_forward"),
    Entry("submit", "Work", "Submit a command or a job file and return.", "hrm.cli.submit:submit", _COMMAND_LINE),
    Entry("wait", "Work", "Wait until applications have ended.", "hrm.cli.submit:wait"),
    Entry("kill", "Work", "End applications.", "hrm.cli.kill:kill"),
    Entry("suspend", "Work", "Halt applications that run; what they hold stays theirs.", "hrm.cli.suspend:suspend"),
    Entry("resume", "Work", "Let suspended applications go on.", "hrm.cli.suspend:resume"),
    Entry("move", "Work", "Move applications to another queue.", "hrm.cli.move:move"),
    Entry("update", "Work", "Change applications that are not over.", "hrm.cli.move:update"),
    Entry("logs", "Work", "Show what a task printed.", "hrm.cli.logs:logs"),
    Entry("get", "Work", "Fetch what tasks left in their directories.", "hrm.cli.get:get"),
    Entry("detect", "Work", "Find things in photographs.", "hrm.cli.detect:detect"),
    Entry("models", "Work", "Pull models for `hrm detect`, or list them.", "hrm.cli.models:app"),
    Entry("ps", "See", "List applications.", "hrm.cli.applications:ps"),
    Entry("explain", "See", "Say why an application waits, runs or ended.", "hrm.cli.explain:explain"),
    Entry("history", "See", "List attempts of tasks, or export them.", "hrm.cli.history:app"),
    Entry("queues", "See", "List queues with their shares, or who may use them; reload them.", "hrm.cli.queues:app"),
    Entry("nodes", "See", "List nodes, drain them, or say what jobs may choose them by.", "hrm.cli.cluster:nodes_app"),
    Entry("top", "See", "Watch queues, GPUs and applications.", "hrm.cli.top:top"),
    Entry("page", "See", "Print a link to the web page that logs you in.", "hrm.cli.page:page"),
    Entry("events", "See", "Follow the event log.", "hrm.cli.logs:events"),
    Entry("up", "Server", "Start the server.", "hrm.cli.server:up"),
    Entry("down", "Server", "Stop the server; containers go on.", "hrm.cli.server:down"),
    Entry("doctor", "Server", "Find what is wrong with this node, and what cures it.", "hrm.cli.doctor:doctor"),
    Entry("join", "Server", "Make this machine a node of another's server.", "hrm.cli.membership:join"),
    Entry("leave", "Server", "Take this machine out of the cluster.", "hrm.cli.membership:leave"),
    Entry("clean", "Server", "Clear away what is over.", "hrm.cli.clean:clean"),
    Entry("status", "Server", "Show the server.", "hrm.cli.server:status"),
    Entry("service", "Server", "Have systemd run the server.", "hrm.cli.service:app"),
    Entry("config", "Server", "Write, import, show or check the configuration.", "hrm.cli.config:app"),
    Entry("yarn", "Server", "Let clients of YARN find the server.", "hrm.cli.yarn:app"),
    Entry("token", "Server", "Make tokens for users.", "hrm.cli.token:app"),
    Entry("demo", "Try", "Show what HRM does.", "hrm.cli.demo:demo"),
    Entry("simulate", "Try", "Try queues, work and machines out under virtual time.", "hrm.cli.simulate:app"),
    Entry("bench", "Try", "Measure throughput and latency.", "hrm.cli.bench:app"),
    Entry("completion", "Server", "Print a completion script for a shell.", "hrm.cli.completion:completion"),
)


class Commands(LazyGroup):
    """The commands of `COMMANDS`, found by name."""

    entries = COMMANDS


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hrm {__version__}")
        raise typer.Exit


def root(
    home: Annotated[
        Path | None, typer.Option(help="Home directory of the server [default: $HRM_HOME, else ~/.hrm].", metavar="DIR")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """HRM shares machines with CPUs and GPUs fairly between people, programs and frameworks.

    \b
    Examples:
      hrm run -- python train.py                  run it now, or in turn
      hrm submit --gpus 1 --tasks 8 -- ./sweep    submit eight tasks and return
      hrm ps                                      what runs and what waits
      hrm explain last                            why my newest one waits
    """
    if home is not None:
        # One place that everything below looks into: the client, the server that is started, the configuration.
        os.environ["HRM_HOME"] = str(home.absolute())


def build() -> LazyGroup:
    """The command as Typer makes it from `root` and `COMMANDS`."""
    app = typer.Typer(
        cls=Commands,
        name="hrm",
        add_completion=False,
        # Plain help: a third of Rich's time, and the same in a pipe.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(root)
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    return group


def main() -> None:
    """Entry point of the console script. Ends the process; the exit codes are listed in ``docs/cli.md``."""
    _open_missing_streams()
    try:
        build().main(args=sys.argv[1:] or ["--help"], prog_name="hrm")
    except HrmError as error:
        fail(error)
    except BrokenPipeError:
        # Whoever read our output has gone, which is no error (`hrm ps | head -1`). Python flushes stdout once more at
        # exit, which must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(128 + signal.SIGPIPE)
    except ConnectionError as error:  # of a stream that broke off; what can be asked again was
        fail(
            NoServer(f"the connection to the server was lost: {error}", next_step="`hrm status` shows whether it is up")
        )
    except OSError as error:  # the disk under our own output is full, or the directory we stand in is gone
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        fail(ClusterError(f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror or error}"))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _open_missing_streams() -> None:
    """Open what the caller closed (`hrm ps >&-`): else the next file or socket would take the number of stdout."""
    for fd, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
            setattr(sys, name, os.fdopen(fd, mode))


def fail(error: HrmError, *, code: int | None = None) -> NoReturn:
    """Say what went wrong and what to do next, and exit with ``code`` or the error's own."""
    print(f"hrm: {error}", file=sys.stderr)
    sys.exit(error.exit_code if code is None else code)


if __name__ == "__main__":
    main()
