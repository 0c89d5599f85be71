"""Who starts a server again whose engine went away (played by a script that counts its lives)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.config.home import Home
from hrm.config.keeper import Keeper
from hrm.model.errors import EngineAway, NoServer
from hrm.sdk.client import Client
from hrm.testing import eventually

LIVES = """
import json, os, sys, time
from pathlib import Path
home, ends = Path(sys.argv[1]), sys.argv[2].split(",")
lives = home / "lives"
with lives.open("a") as file:
    file.write("I")
end = ends[len(lives.read_text()) - 1]
if end.startswith("up"):
    (home / "server.new").write_text(json.dumps({"pid": os.getpid()}))
    (home / "server.new").rename(home / "server.json")
if end == "up":
    time.sleep(1000)
if end == "killed":
    os.kill(os.getpid(), 9)
sys.exit(int(end.removeprefix("up")))
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path / "home")
    found.create()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield found
    for number, handler in handlers.items():
        signal.signal(number, handler)


def kept(home: Home, *ends: str) -> int:
    """The keeper's exit code over servers that end so, one after another: after being up, or not."""
    keeper = Keeper(home, [])
    keeper._command = [sys.executable, "-c", LIVES, str(home.path), ",".join(ends)]
    return keeper.run()


def lives(home: Home) -> int:
    return len((home.path / "lives").read_text())


def test_a_server_that_ends_with_its_engine_is_started_until_the_engine_is_back(home: Home) -> None:
    assert kept(home, f"up{EngineAway.exit_code}", "1", "up0") == 0
    assert lives(home) == 3
    assert home.away() is None


@pytest.mark.parametrize("code", [0, 2, 4])
def test_one_that_was_told_to_end_or_cannot_begin_for_reasons_that_stay_is_not(home: Home, code: int) -> None:
    assert kept(home, f"up{EngineAway.exit_code}", str(code)) == code
    assert lives(home) == 2


def test_one_that_never_was_up_is_not_and_its_exit_code_is_told(home: Home) -> None:
    assert kept(home, "1") == 1
    assert lives(home) == 1


def test_one_that_was_killed_is_not(home: Home) -> None:
    assert kept(home, "up75", "killed") == 137
    assert lives(home) == 2


def test_meanwhile_clients_are_told_what_is_waited_for_and_it_can_be_ended(home: Home) -> None:
    program = (
        "import sys; from tests.unit.config.test_keeper import Home, Path, kept; "
        f"sys.exit(kept(Home(Path({str(home.path)!r})), 'up75', *['1'] * 99))"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stderr=subprocess.DEVNULL) as keeper:
        away = eventually(home.away, timeout_s=60)
        assert away[0] == keeper.pid
        with pytest.raises(NoServer, match="waits for its engine to be back, since") as raised:
            Client(home=home.path)
        assert "containers go on" in raised.value.next_step
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(60) in (0, 1)
    assert home.away() is None


def test_a_note_of_a_keeper_that_is_gone_counts_for_nothing(home: Home) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    home.away_file.write_text(json.dumps({"pid": gone.pid, "since": 0.0, "why": "it ended"}))
    assert home.away() is None
    home.away_file.write_text("{")
    assert home.away() is None
    assert os.path.exists(home.away_file)
