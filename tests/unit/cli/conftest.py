"""A command line without a server: `hrm(…)` runs the real entry point against a client that is kept in memory."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hrm.cli import connect, main, selectors
from hrm.model.errors import NoServer
from tests.unit.cli.cli_fakes import FakeClient


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """A server is up; what it says is in the fake."""
    fake = FakeClient()
    monkeypatch.setattr(connect, "connect", lambda: fake)
    monkeypatch.setattr(selectors, "me", lambda: "me")
    monkeypatch.setattr("hrm.cli.applications.me", lambda: "me")
    return fake


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is up, and none may be started."""

    def refuse() -> FakeClient:
        raise NoServer("no server is up for /srv/hrm", next_step="`hrm up` starts one")

    monkeypatch.setattr(connect, "connect", refuse)


@pytest.fixture
def hrm(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process, and tell how it ended."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["hrm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        sys.stdout.flush()
        out, err = capfd.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else 1 if code else 0, out, err)

    return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> itertools.count[int]:
    """Waiting between tries takes no time, and each look at the clock is a second later."""
    ticks = itertools.count()
    monkeypatch.setattr(connect.time, "sleep", lambda _: None)
    monkeypatch.setattr(connect.time, "monotonic", lambda: float(next(ticks)))
    return ticks
