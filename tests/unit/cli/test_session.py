"""`hrm run`: staying with one application; `hrm.cli.session`, `writer` and `terminal`."""

from __future__ import annotations

import os
import pty
import signal
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hrm.cli import connect, run
from hrm.cli.session import Session
from hrm.cli.terminal import RawMode, in_background, terminal_size
from hrm.cli.writer import LineWriter, Writer
from hrm.model.containers import LogStream
from hrm.model.errors import NoServer
from hrm.model.explanations import Explanation
from hrm.model.jobs import TerminalSize
from hrm.model.reports import ApplicationReport
from hrm.model.states import ApplicationState
from hrm.sdk.attachment import Ended, Output
from hrm.testing import eventually
from tests.unit.cli.cli_fakes import FakeClient, app_id, application

DONE = application(1, ApplicationState.FINISHED)


def out(data: bytes, task: int = 0) -> Output:
    return Output(LogStream.STDOUT, task, data)


def err(data: bytes, task: int = 0) -> Output:
    return Output(LogStream.STDERR, task, data)


class FakeAttachment:
    """Plays ``script``: a function in it is called (to wait for something), an error raised, the rest given."""

    def __init__(self, script: list[Any]) -> None:
        self.script = script
        self.stdin: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []

    def __enter__(self) -> FakeAttachment:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
            else:
                yield step

    def send_stdin(self, data: bytes) -> None:
        self.stdin.append(data)

    def close_stdin(self) -> None:
        self.stdin.append(b"<end>")

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))


class AttachedClient(FakeClient):
    """One application, played by attachments one after the other."""

    def __init__(self, *attachments: FakeAttachment, state: ApplicationReport | None = None) -> None:
        super().__init__(apps=[state or application(1)])
        self.attachments = list(attachments)
        self.signals: list[int] = []

    def attach(self, application_id: str) -> FakeAttachment:
        assert application_id == app_id(1)
        return self.attachments.pop(0)

    def signal(self, application_id: str, signum: int) -> None:
        self.signals.append(signum)


class Recorder(Writer):
    def __init__(self) -> None:
        self.written: list[tuple[str, int, bytes]] = []

    def write(self, stream: str, task_index: int, data: bytes) -> None:
        self.written.append((stream, task_index, data))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ApplicationReport, Recorder]]:
    """Run a session over a client; what a reconnect finds is the same client."""

    def run_session(client: AttachedClient, *, stdin: int | None = None) -> tuple[ApplicationReport, Recorder]:
        monkeypatch.setattr(connect, "connect", lambda: client)
        recorder = Recorder()
        session = Session(connect.Connection(client), app_id(1), recorder, stdin=stdin, terminal=None)  # type: ignore[arg-type]
        return session.run(), recorder

    return run_session


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def until(condition: Callable[[], Any]) -> Callable[[], None]:
    return lambda: eventually(condition)


# --- output


def test_output_comes_in_order_and_the_end_ends_it(play) -> None:
    report, recorder = play(AttachedClient(FakeAttachment([out(b"a"), err(b"b"), out(b"c"), Ended(DONE)])))

    assert recorder.written == [("stdout", 0, b"a"), ("stderr", 0, b"b"), ("stdout", 0, b"c")]
    assert report is DONE


def test_output_that_was_not_kept_is_told(play, capsys: pytest.CaptureFixture[str]) -> None:
    play(AttachedClient(FakeAttachment([out(b"a"), Ended(DONE, dropped_bytes=42)])))

    assert capsys.readouterr().err == "hrm: 42 bytes of output beyond the node's log_limit were not kept\n"


def test_after_a_restart_of_the_server_nothing_is_shown_twice(play) -> None:
    first = FakeAttachment([out(b"one\ntw"), err(b"x"), out(b"task 1\n", task=1), NoServer("gone")])
    second = FakeAttachment([out(b"one\n"), out(b"two\n"), err(b"xy"), out(b"task 1\n", task=1), Ended(DONE)])

    _, recorder = play(AttachedClient(first, second))

    assert recorder.written[3:] == [("stdout", 0, b"o\n"), ("stderr", 0, b"y")]


def test_a_server_that_does_not_come_back_ends_it(
    play, monkeypatch: pytest.MonkeyPatch, clock, capsys: pytest.CaptureFixture[str]
) -> None:
    client = AttachedClient(FakeAttachment([NoServer("gone")]))

    def refuse() -> None:
        raise NoServer("still gone")

    session = Session(connect.Connection(client), app_id(1), Recorder(), stdin=None, terminal=None)  # type: ignore[arg-type]
    monkeypatch.setattr(connect, "connect", refuse)

    with pytest.raises(NoServer, match="still gone"):
        session.run()
    assert capsys.readouterr().err.count("waiting up to 30 s") == 1


def test_a_server_that_lets_nobody_attach_is_given_up(play, monkeypatch: pytest.MonkeyPatch, clock) -> None:
    def refuse(self: AttachedClient, application_id: str) -> None:
        raise NoServer("no way in")

    monkeypatch.setattr(AttachedClient, "attach", refuse)

    with pytest.raises(NoServer, match="no way in"):
        play(AttachedClient())


def test_when_nobody_reads_the_output_the_application_is_killed(play, monkeypatch: pytest.MonkeyPatch) -> None:
    client = AttachedClient(FakeAttachment([out(b"y\n"), Ended(DONE)]))

    def broken(self: Recorder, stream: str, task_index: int, data: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Recorder, "write", broken)

    with pytest.raises(BrokenPipeError):
        play(client)
    assert [killed for killed, _ in client.killed] == [app_id(1)]


# --- input


def test_standard_input_is_fed_to_its_end(play) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hello\n")
    os.close(writing)
    attachment = FakeAttachment([])
    attachment.script = [until(lambda: b"<end>" in attachment.stdin), Ended(DONE)]

    play(AttachedClient(attachment), stdin=reading)

    assert b"".join(attachment.stdin) == b"hello\n<end>"


# --- signals


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2]
)
def test_signals_are_passed_on(play, number: int) -> None:
    client = AttachedClient()
    client.attachments = [FakeAttachment([send(number), until(lambda: client.signals), Ended(DONE)])]

    play(client)

    assert client.signals == [number]
    assert client.killed == []


def test_a_second_interrupt_kills(play) -> None:
    client = AttachedClient()
    script = [
        send(signal.SIGINT),
        until(lambda: client.signals),
        send(signal.SIGINT),
        until(lambda: client.killed),
        Ended(DONE),
    ]
    client.attachments = [FakeAttachment(script)]

    play(client)

    assert client.signals == [signal.SIGINT]
    assert client.killed == [(app_id(1), "interrupted twice")]


def test_what_still_waits_is_killed_by_an_interrupt_but_not_by_usr1(play) -> None:
    client = AttachedClient(state=application(1, ApplicationState.ACCEPTED, tasks_running=0))
    script = [
        send(signal.SIGUSR1),
        until(lambda: client.signals),
        send(signal.SIGINT),
        until(lambda: client.killed),
        Ended(DONE),
    ]
    client.attachments = [FakeAttachment(script)]

    play(client)

    assert client.signals == [signal.SIGUSR1]
    assert client.killed == [(app_id(1), "SIGINT while it waited")]


def test_handlers_are_as_before_afterwards(play) -> None:
    before = signal.getsignal(signal.SIGINT)

    play(AttachedClient(FakeAttachment([Ended(DONE)])))

    assert signal.getsignal(signal.SIGINT) is before


# --- waiting


def test_why_it_waits_is_said_on_a_terminal_once_per_reason(
    play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = AttachedClient(state=application(1, ApplicationState.ACCEPTED, tasks_running=0))
    looks = iter(["busy", "busy", "busy", "over its share"])
    said: list[str] = []

    def explain(application_id: str) -> Explanation:
        said.append(next(looks, "over its share"))
        return Explanation(
            application_id=application_id, reason=said[-1], message=f"{said[-1]} ({len(said)})", evidence=[]
        )

    monkeypatch.setattr(client, "explain", explain)
    monkeypatch.setattr("hrm.cli.session.SAY_WHY_AFTER_S", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    client.attachments = [FakeAttachment([until(lambda: len(said) > 5), Ended(DONE)])]

    play(client)

    assert capsys.readouterr().err == (
        "hrm: 1 waits in default: busy (1)\nhrm: 1 waits in default: over its share (4)\n"
    )  # fmt: skip


# --- exit codes


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (DONE, 0, ""),
        (application(1, ApplicationState.FAILED, exit_code=3, message="exit code 3"), 3, ""),
        (
            application(1, ApplicationState.FAILED, exit_code=127, message="xyz: not found"),
            127,
            "hrm: xyz: not found\n",
        ),
        (application(1, ApplicationState.KILLED, exit_code=143, message="killed by ada"), 143, "hrm: killed by ada\n"),
        (application(1, ApplicationState.KILLED, exit_code=None), 1, "hrm: 1 is KILLED\n"),
        (application(1, ApplicationState.FAILED, exit_code=0, message="time is up"), 1, "hrm: time is up\n"),
    ],
)
def test_the_exit_code_is_the_commands_and_only_what_it_cannot_say_is_said(
    report: ApplicationReport, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.exit_code(report) == code
    assert capsys.readouterr().err == said


# --- hrm run as a whole


def run_job(hrm, server: FakeClient, *arguments: str):
    hrm("run", *arguments, "--", "true")
    ((job, _),) = server.submitted
    return job


@pytest.fixture
def attached(server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    monkeypatch.setattr(
        FakeClient, "attach", lambda self, _: FakeAttachment([Ended(self.apps[0])]), raising=False
    )  # fmt: skip
    return server


def test_run_stays_attached_and_exits_with_the_commands_code(hrm, attached: FakeClient) -> None:
    attached.ends_as = application(0, ApplicationState.FAILED, exit_code=5, message="exit code 5")

    result = hrm("run", "--", "sh", "-c", "exit 5")

    assert (result.code, result.out, result.err) == (5, "", "")
    assert attached.submitted[0][0].attached


def test_run_detached_prints_the_id_and_returns(hrm, attached: FakeClient) -> None:
    result = hrm("run", "--detach", "--", "true")

    assert (result.code, result.out) == (0, f"{app_id(1)}\n")
    assert not attached.submitted[0][0].attached


def test_several_tasks_read_nothing(hrm, attached: FakeClient) -> None:
    job = run_job(hrm, attached, "--tasks", "2")

    assert (job.stdin, job.terminal) == (False, None)


def test_no_stdin_leaves_it_to_others(hrm, attached: FakeClient) -> None:
    assert not run_job(hrm, attached, "--no-stdin").stdin


# --- lines of several tasks


def test_lines_of_several_tasks_do_not_run_into_each_other(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    writer = LineWriter(label=False)

    writer.write("stdout", 0, b"one ")
    writer.write("stdout", 1, b"two\nthree")
    writer.write("stdout", 0, b"line\n")
    writer.flush()

    assert capfdbinary.readouterr().out == b"two\none line\nthree\n"


def test_labels_stand_before_every_line_in_one_column(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    writer = LineWriter(label=True, digits=2)

    writer.write("stdout", 3, b"a\nb\n")
    writer.write("stderr", 12, b"c")
    writer.flush()

    assert capfdbinary.readouterr() == (b" 3: a\n 3: b\n", b"12: c\n")


def test_a_line_without_end_does_not_grow_in_memory(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    writer = LineWriter(label=False)

    for _ in range(100):
        writer.write("stdout", 0, b"x" * 4096)

    assert len(capfdbinary.readouterr().out) > 5 * 64 * 1024


# --- terminals


@pytest.fixture
def terminal() -> Iterator[int]:
    leader, follower = pty.openpty()
    yield follower
    os.close(leader)
    os.close(follower)


def test_raw_mode_passes_every_key_and_is_always_taken_back(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    raw = RawMode(terminal)

    raw.enter()
    during = termios.tcgetattr(terminal)
    raw.leave()

    assert before[3] & termios.ISIG
    assert not during[3] & (termios.ISIG | termios.ICANON | termios.ECHO)
    assert termios.tcgetattr(terminal) == before


def test_raw_mode_does_not_begin_after_the_end(terminal: int) -> None:
    before = termios.tcgetattr(terminal)
    raw = RawMode(terminal)

    raw.leave()
    raw.enter()

    assert termios.tcgetattr(terminal) == before


def test_a_terminal_that_does_not_know_its_size_has_the_usual_one(terminal: int) -> None:
    assert terminal_size(terminal) == TerminalSize(rows=24, columns=80)

    termios.tcsetwinsize(terminal, (50, 132))

    assert terminal_size(terminal) == TerminalSize(rows=50, columns=132)


def test_a_terminal_that_is_not_ours_to_read_is_left_alone(terminal: int) -> None:
    reading, writing = os.pipe()

    assert not in_background(reading)
    os.close(reading)
    os.close(writing)
