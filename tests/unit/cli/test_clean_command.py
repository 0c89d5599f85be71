"""`hrm clean`: it says what would go, asks, and says what went."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from hrm.cli import clean as clean_module
from tests.unit.cli.cli_fakes import FakeClient, clean_report

FULL = clean_report(applications=2, rows=9, events=5, logs=3, logs_bytes=5000, scratch=1, scratch_bytes=3 << 30)
ALL = ["apps", "logs", "scratch", "uploads"]


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch):
    """Somebody is there, and says this when asked."""

    def say(word: str) -> None:
        monkeypatch.setattr(clean_module.sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(clean_module.typer, "confirm", lambda *_, **__: word == "y")

    return say


def test_a_dry_run_says_what_would_go_and_asks_for_nothing_more(hrm, server: FakeClient) -> None:
    server.told = [FULL]

    result = hrm("clean", "--dry-run")

    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "would go: 2 applications with their history",
        "would go: output of 3 containers, 4.9 KiB",
        "would go: directories of 1 containers, 3.0 GiB",
        "would go: 5 lines of the event log",
    ]
    assert server.cleanings == [(ALL, None, True)]


def test_kinds_and_age_are_passed_on(hrm, server: FakeClient) -> None:
    hrm("clean", "--logs", "--scratch", "--older-than", "7d", "--yes")

    assert server.cleanings == [(["logs", "scratch"], 7 * 86400.0, False)]


def test_after_a_yes_it_is_cleared_away_and_told(hrm, server: FakeClient, answer) -> None:
    server.told, server.cleaned = [FULL], [clean_report(logs=3, logs_bytes=5000)]
    answer("y")

    result = hrm("clean")

    assert result.code == 0
    assert result.out.splitlines()[-1] == "gone: output of 3 containers, 4.9 KiB"
    assert [dry for _, _, dry in server.cleanings] == [True, False]


def test_after_a_no_nothing_is_done(hrm, server: FakeClient, answer) -> None:
    server.told = [FULL]
    answer("n")

    assert hrm("clean").code == 1
    assert [dry for _, _, dry in server.cleanings] == [True]


def test_where_nobody_can_be_asked_it_wants_a_word(hrm, server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    server.told = [FULL]
    monkeypatch.setattr(clean_module.sys.stdin, "isatty", lambda: False, raising=False)

    result = hrm("clean")

    assert result.code == 2
    assert "--yes" in result.err
    assert [dry for _, _, dry in server.cleanings] == [True]


def test_where_there_is_nothing_nobody_is_asked(hrm, server: FakeClient) -> None:
    result = hrm("clean")

    assert (result.code, result.out) == (0, "nothing to clear away\n")


def test_it_goes_on_while_the_server_has_more(hrm, server: FakeClient) -> None:
    server.cleaned = [clean_report(logs=2, logs_bytes=10, more=True), clean_report(logs=1, logs_bytes=5)]

    result = hrm("clean", "--yes", "-o", "json")

    report = json.loads(result.out)
    assert (report["logs"], report["logs_bytes"], report["more"]) == (3, 15, False)


def test_what_cannot_be_done_exits_1_and_says_what(hrm, server: FakeClient) -> None:
    server.cleaned = [clean_report(logs=1, problems=["node box does not answer"])]

    result = hrm("clean", "--yes")

    assert result.code == 1
    assert "gone: output of 1 containers" in result.out
    assert "node box does not answer" in result.err


def test_a_bad_age_is_named(hrm, server: FakeClient) -> None:
    result = hrm("clean", "--older-than", "soon")

    assert result.code == 2
    assert "--older-than" in result.err
    assert server.cleanings == []


def test_models_go_by_when_they_were_last_used(hrm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HRM_HOME", str(tmp_path))
    for name, days in (("old", 40), ("used", 1)):
        (tmp_path / "models" / name).mkdir(parents=True)
        file = tmp_path / "models" / name / "m.weights"
        file.write_bytes(b"x" * 2048)
        at = time.time() - days * 86400
        os.utime(file, (at, at))
    (tmp_path / "models" / "link").symlink_to(tmp_path / "models" / "used")

    told = hrm("clean", "--models", "--older-than", "30d", "--dry-run")
    done = hrm("clean", "--models", "--older-than", "30d", "--yes")

    assert told.out == "would go: 1 models, 2.0 KiB\n"
    assert done.out == "gone: 1 models, 2.0 KiB\n"
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["link", "used"]


def test_models_without_an_age_are_refused(hrm, server: FakeClient) -> None:
    result = hrm("clean", "--models")

    assert result.code == 2
    assert "--older-than" in result.err
