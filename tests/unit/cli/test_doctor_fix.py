"""`hrm doctor --fix`, on faults of real files and processes that checks of the site find."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from hrm.doctor import registry
from hrm.doctor.checks import Check, Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.processes import command_line, process, runs
from hrm.doctor.steps import by_hand, end_process, reboot, run
from hrm.doctor.system import LocalSystem, System
from hrm.model.findings import Finding, Risk, Severity, Step, Text
from tests.unit.cli.conftest import Run

WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


def fault(number: int, severity: Severity = Severity.ERROR) -> Fault:
    text = Text(f"Fault {number}: {{what}}", f"故障 {number}:{{what}}")
    plain = Text("It matters.", "有影响。")
    return Fault(code=f"HRM-SITE-{number:03d}", severity=severity, title=text, why=plain, cure=plain)


class Site:
    """A machine on which files are missing; what cures that is said for each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checks: list[Check] = []

    def missing(self, name: str, *cure: Step, severity: Severity = Severity.ERROR, blind_after: str = "") -> Path:
        """A fault that is there as long as a file is not. It cannot be seen any more once ``blind_after`` is there."""
        path = self.root / name
        kind = fault(len(self.checks) + 1, severity)

        @check(f"site.{name}", kind)
        def look(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
            """A file is there."""
            if blind_after and system.stat(str(self.root / blind_after)) is not None:
                yield Unseen("everything")
            elif system.stat(str(path)) is None:
                yield kind.found(what=f"no {name}", cure=cure)

        self.checks.append(look)
        return path

    def add(self, one: Check) -> None:
        self.checks.append(one)

    def touch(self, name: str, risk: Risk = Risk.SAFE) -> Step:
        return run("touch", str(self.root / name), risk=risk)

    def has(self, name: str) -> bool:
        return (self.root / name).exists()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HRM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def site(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    monkeypatch.setattr(registry, "all_checks", lambda: tuple(site.checks))
    monkeypatch.setattr(registry, "all_facts", lambda: ())
    return site


class Person:
    """At the terminal; answers what is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says = True
        self.asked = 0
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(typer, "confirm", self._confirm)

    def _confirm(self, *_: object, **__: object) -> bool:
        self.asked += 1
        return self.says


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    return Person(monkeypatch)


def log_of(home: Path) -> list[str]:
    """Without the times."""
    return [line.partition(" ")[2] for line in (home / "doctor.log").read_text().splitlines()]


def test_the_plan_is_shown_and_asked_for_then_done_and_looked_at_again(
    hrm: Run, site: Site, person: Person, home: Path
) -> None:
    site.missing("a", site.touch("a"))

    result = hrm("doctor", "--fix")

    assert (result.code, person.asked) == (0, 1)
    lines = [line for line in result.err.splitlines() if not line.startswith("Not root")]
    assert lines == [
        "HRM-SITE-001  Fault 1: no a",
        f"  1. touch {site.root}/a   # Run it.",
        f"+ touch {site.root}/a   # Run it.",
        "HRM-SITE-001 is cured.",
        "Nothing is left to cure.",
    ]
    assert log_of(home) == [
        f"HRM-SITE-001 begins touch {site.root}/a",
        f"HRM-SITE-001 done touch {site.root}/a",
    ]
    assert (home / "doctor.log").stat().st_mode & 0o777 == 0o600


def test_who_says_no_has_nothing_done(hrm: Run, site: Site, person: Person) -> None:
    site.missing("a", site.touch("a"))
    person.says = False

    result = hrm("doctor", "--fix")

    assert (result.code, site.has("a")) == (1, False)
    assert result.err.endswith("Findings that are left: 1.\n")


def test_without_a_terminal_nobody_can_be_asked_and_nothing_is_done(
    hrm: Run, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    site.missing("a", site.touch("a"))

    result = hrm("doctor", "--fix")

    assert (result.code, site.has("a")) == (2, False)
    assert "--fix asks, and there is no terminal to ask at" in result.err
    assert "add --yes" in result.err


def test_yes_does_what_is_safe_and_leaves_the_rest_whole(hrm: Run, site: Site) -> None:
    site.missing("a", site.touch("a"))
    site.missing("b", site.touch("half"), site.touch("b", Risk.DISRUPTIVE))

    result = hrm("doctor", "--fix", "--yes")

    assert (result.code, site.has("a"), site.has("half"), site.has("b")) == (1, True, False, False)
    assert "--disruptive allows it" in result.err


def test_disruptive_allows_the_rest(hrm: Run, site: Site) -> None:
    site.missing("b", site.touch("half"), site.touch("b", Risk.DISRUPTIVE))

    result = hrm("doctor", "--fix", "--yes", "--disruptive")

    assert (result.code, site.has("half"), site.has("b")) == (0, True, True)


def test_what_a_person_must_do_is_said_and_the_next_finding_is_still_cured(hrm: Run, site: Site) -> None:
    site.missing("a", by_hand("Plug it in.", "插上电源。"))
    site.missing("b", site.touch("b"))

    result = hrm("doctor", "--fix", "--yes")

    assert (result.code, site.has("b")) == (1, True)
    assert "Nothing of this goes by itself: it is left to you." in result.err


def test_a_restart_of_the_node_is_left_to_the_person(hrm: Run, site: Site) -> None:
    site.missing("a", site.touch("prepared"), reboot())

    result = hrm("doctor", "--fix", "--yes", "--disruptive")

    assert (result.code, site.has("prepared")) == (1, True)
    assert "HRM-SITE-001: left to you: systemctl reboot [reboot]" in result.err


def test_it_stops_at_the_first_step_that_fails(hrm: Run, site: Site, home: Path) -> None:
    site.missing("a", run("false"), site.touch("a"), severity=Severity.CRITICAL)
    site.missing("b", site.touch("b"))

    result = hrm("doctor", "--fix", "--yes")

    assert (result.code, site.has("a"), site.has("b")) == (1, False, False)
    assert "failed: false: it ended with 1\nStopped: nothing more is done.\n" in result.err
    assert log_of(home)[-1] == "HRM-SITE-001 failed false it ended with 1"


def test_it_stops_where_a_cure_did_not_help(hrm: Run, site: Site) -> None:
    site.missing("a", run("true"), severity=Severity.CRITICAL)
    site.missing("b", site.touch("b"))

    result = hrm("doctor", "--fix", "--yes")

    assert (result.code, site.has("b")) == (1, False)
    assert "HRM-SITE-001 is still there after its cure.\nStopped: nothing more is done.\n" in result.err


def test_it_stops_where_it_cannot_be_seen_whether_a_cure_helped(hrm: Run, site: Site) -> None:
    site.missing("a", site.touch("curtain"), severity=Severity.CRITICAL, blind_after="curtain")
    site.missing("b", site.touch("b"))

    result = hrm("doctor", "--fix", "--yes")

    assert site.has("b") is False
    assert "HRM-SITE-001: whether it is cured cannot be seen: everything\nStopped" in result.err


def test_it_stops_where_a_cure_brought_something_else(hrm: Run, site: Site) -> None:
    first, second = fault(1, Severity.CRITICAL), fault(9)

    @check("site.moody", first, second)
    def look(system: System, expected: Expected) -> Iterator[Finding]:
        """One thing or the other."""
        if system.stat(str(site.root / "moved")) is None:
            yield first.found(what="here", cure=(site.touch("moved"),))
        else:
            yield second.found(what="there")

    site.add(look)
    site.missing("b", site.touch("b"))

    result = hrm("doctor", "--fix", "--yes")

    assert site.has("b") is False
    assert "HRM-SITE-001: after its cure there is something else: Fault 9: there\nStopped" in result.err


def test_a_fault_that_is_told_in_other_words_afterwards_is_still_there(hrm: Run, site: Site) -> None:
    kind = fault(1)

    @check("site.counts", kind)
    def look(system: System, expected: Expected) -> Iterator[Finding]:
        """Nothing is counted."""
        yield kind.found(what=len(system.list(str(site.root))), cure=(site.touch("one-more"),))

    site.add(look)

    result = hrm("doctor", "--fix", "--yes")

    assert result.code == 1
    assert "HRM-SITE-001 is still there after its cure." in result.err


def test_of_two_faults_of_one_kind_each_is_cured_by_itself(hrm: Run, site: Site) -> None:
    kind = fault(1)

    @check("site.both", kind)
    def look(system: System, expected: Expected) -> Iterator[Finding]:
        """Both are there."""
        for name in ("a", "b"):
            if system.stat(str(site.root / name)) is None:
                yield kind.found(what=name, cure=(site.touch(name),))

    site.add(look)

    result = hrm("doctor", "--fix", "--yes")

    assert (result.code, result.err.count("HRM-SITE-001 is cured.")) == (0, 2)


def test_what_another_cure_has_mended_meanwhile_is_left_alone(hrm: Run, site: Site, home: Path) -> None:
    site.missing("a", site.touch("a"), site.touch("b"), severity=Severity.CRITICAL)
    site.missing("b", site.touch("never"))

    result = hrm("doctor", "--fix", "--yes")

    assert (result.code, site.has("never")) == (0, False)
    assert "HRM-SITE-002 has gone meanwhile." in result.err


def test_done_once_there_is_nothing_to_do_a_second_time(hrm: Run, site: Site, home: Path) -> None:
    site.missing("a", site.touch("a"))
    first = hrm("doctor", "--fix", "--yes")
    written = (home / "doctor.log").read_text()

    second = hrm("doctor", "--fix", "--yes")

    assert (first.code, second.code, second.err) == (0, 0, "")
    assert (home / "doctor.log").read_text() == written


def test_a_healthy_machines_remarks_are_cured_for_who_is_asked_and_not_by_yes(
    hrm: Run, site: Site, person: Person
) -> None:
    site.missing("a", site.touch("a"), severity=Severity.INFO)

    assert hrm("doctor", "--fix", "--yes").code == 0
    assert not site.has("a")
    assert hrm("doctor", "--fix").code == 0
    assert site.has("a")


def test_programs_get_what_was_done_with_what_is_left(hrm: Run, site: Site) -> None:
    site.missing("a", run("sh", "-c", f"touch {site.root}/a; echo made"))
    site.missing("b", by_hand("Plug it in.", "插上电源。"))

    told = json.loads(hrm("doctor", "--fix", "--yes", "-o", "json").out)

    command = f"sh -c 'touch {site.root}/a; echo made'"
    steps = [{"command": command, "result": "done", "said": "made"}]
    assert told["cures"] == [{"code": "HRM-SITE-001", "steps": steps}]
    assert [finding["code"] for finding in told["findings"]] == ["HRM-SITE-002"]


def test_two_at_once_do_not_get_in_each_others_way(hrm: Run, site: Site, home: Path) -> None:
    site.missing("a", site.touch("a"))
    home.mkdir()
    with open(home / "doctor.log", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        result = hrm("doctor", "--fix", "--yes")

    assert (result.code != 0, site.has("a")) == (True, False)
    assert "another hrm doctor --fix is at work" in result.err


def test_a_recorded_machine_is_not_cured(hrm: Run, site: Site, tmp_path: Path) -> None:
    result = hrm("doctor", "--fix", "--yes", "--root", tmp_path)

    assert result.code == 2
    assert "--fix and --root exclude each other" in result.err


@pytest.fixture
def stray() -> Iterator[subprocess.Popen[str]]:
    """A real process that should not be there."""
    child = subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.communicate()


def strays(pid: int, line: str) -> Check:
    kind = fault(7)

    @check("site.strays", kind)
    def look(system: System, expected: Expected) -> Iterator[Finding]:
        """No stray process."""
        if runs(system, pid):
            yield kind.found(what=pid, cure=(end_process(pid, line),))

    return look


def test_a_real_process_is_ended_and_seen_to_be_gone(
    hrm: Run, site: Site, stray: subprocess.Popen[str], home: Path
) -> None:
    site.add(strays(stray.pid, command_line(LocalSystem(), stray.pid)))

    result = hrm("doctor", "--fix", "--yes", "--disruptive")

    assert (result.code, stray.wait(60)) == (0, -15)
    assert log_of(home)[-1] == f"HRM-SITE-007 done kill {stray.pid}"


def test_a_real_process_that_became_another_one_is_left_alone_and_that_is_a_surprise(
    hrm: Run, site: Site, stray: subprocess.Popen[str]
) -> None:
    site.add(strays(stray.pid, "what it was when it was found"))
    site.missing("b", site.touch("b"))

    result = hrm("doctor", "--fix", "--yes", "--disruptive")

    assert (result.code, site.has("b")) == (1, False)
    assert process(LocalSystem(), stray.pid) is not None
    assert "no longer 'what it was when it was found'" in result.err
