"""`hrm service`: what the units say, where they go, and what is asked of systemd (played by a script)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hrm.cli import service
from hrm.cli.units import MARK, NODE, SERVER, SHEPHERD, SLICE, Installation


class Systemd:
    """Remembers what it was asked for; `answers` are what `systemctl show` prints."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.units = folder / "config" / "systemd" / "user"
        self._log = folder / "asked"
        self._answer = folder / "answer"
        self._fails = folder / "fails"
        (folder / "bin").mkdir()
        program = folder / "bin" / "systemctl"
        program.write_text(
            f'#!/bin/sh\necho "$*" >> {self._log}\n'
            f'case "$*" in *show*) cat {self._answer} 2>/dev/null;; esac\n'
            f"if test -e {self._fails}; then echo 'Access denied' >&2; exit 1; fi\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        monkeypatch.setenv("HRM_HOME", str(folder / "home"))
        monkeypatch.setattr(service, "BOOTED", folder)

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    def answers(self, **properties: str) -> None:
        self._answer.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def fails(self) -> None:
        self._fails.touch()

    def __getitem__(self, name: str) -> str:
        return (self.units / name).read_text()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    return Systemd(tmp_path, monkeypatch)


def installation(home: str = "/srv/hrm", user: str | None = None, config: str | None = None) -> Installation:
    return Installation(
        python=Path(sys.executable),
        shepherd=Path(service.__file__),
        home=Path(home),
        user=user,
        config=None if config is None else Path(config),
    )


# --- the units


@pytest.mark.parametrize("user", ["root", "daemon", None])
@pytest.mark.parametrize("home", ["/srv/hrm", '/srv/a b %x $y "z" \\ ;'])
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, user: str | None, home: str) -> None:
    for name, text in installation(home, user, config=f"{home}/hrm.yaml").units().items():
        (tmp_path / name).write_text(text)
    tmp_path.chmod(0o700)

    scope = ["--user"] if user is None else ["--system"]
    found = subprocess.run(
        ["systemd-analyze", *scope, "--man=no", "verify", *map(str, tmp_path.glob("hrm*"))],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=180,
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("user", ["root", None])
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
def test_systemd_finds_nothing_wrong_with_the_units_of_a_node(tmp_path: Path, user: str | None) -> None:
    for name, text in node_installation(user).units().items():
        (tmp_path / name).write_text(text)

    scope = ["--user"] if user is None else ["--system"]
    found = subprocess.run(
        ["systemd-analyze", *scope, "--man=no", "verify", *map(str, tmp_path.glob("hrm*"))],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=60,
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def node_installation(user: str | None = "root") -> Installation:
    return Installation(
        python=Path(sys.executable),
        shepherd=Path(service.__file__),
        home=Path("/srv/hrm"),
        user=user,
        join=("10.0.0.1:6379", "--node-id", "box2"),
    )


def test_a_node_comes_back_whatever_happens_but_by_leave_or_a_wrong_token_and_its_containers_are_elsewhere() -> None:
    units = node_installation().units()

    assert SERVER not in units
    assert "join 10.0.0.1:6379 --node-id box2 --token-file /srv/hrm/ray/token --foreground --external" in units[NODE]
    assert "Restart=on-failure" in units[NODE] and "RestartPreventExitStatus=2 4\n" in units[NODE]
    assert "StartLimitIntervalSec=0" in units[NODE] and "StartLimitIntervalSec=0" in installation().units()[SERVER]
    assert "Slice" not in units[NODE] and "Slice=hrm.slice\n" in units[SHEPHERD]


def test_the_shepherd_is_no_part_of_the_servers_unit() -> None:
    units = installation().units()

    assert "Slice=hrm.slice\nDelegate=yes\n" in units[SHEPHERD]
    assert "--external-shepherd" in units[SERVER]
    assert "KillMode=process\n" in units[SERVER] and "Slice" not in units[SERVER]
    assert f"Wants={SHEPHERD}\nAfter={SHEPHERD}" in units[SERVER]
    assert "PartOf" not in units[SHEPHERD] and "BindsTo" not in units[SHEPHERD]


def test_what_systemd_would_expand_is_written_so_that_it_does_not() -> None:
    text = installation('/srv/50% $HOME "x"').units()[SERVER]

    assert '--home "/srv/50%% $$HOME \\"x\\""' in text


def test_users_own_units_name_no_user_and_begin_with_their_sessions() -> None:
    own, machine = installation(user=None).units()[SERVER], installation(user="daemon").units()[SERVER]

    assert "User=" not in own and "WantedBy=default.target" in own
    assert "User=daemon" in machine and "WantedBy=multi-user.target" in machine


# --- install


def test_install_writes_the_units_and_enables_them(hrm, systemd: Systemd) -> None:
    result = hrm("service", "install", "--user")

    assert result.code == 0, result.err
    assert sorted(path.name for path in systemd.units.iterdir()) == [SHEPHERD, SERVER, SLICE]
    assert all(systemd[name].startswith(MARK) for name in (SERVER, SHEPHERD, SLICE))
    assert f"--home {os.environ['HRM_HOME']} " in systemd[SERVER]
    assert systemd.asked == ["--user daemon-reload", f"--user enable {SERVER}"]
    assert "systemctl --user start hrm" in result.out


def test_install_now_starts_it(hrm, systemd: Systemd) -> None:
    hrm("service", "install", "--user", "--now")

    assert systemd.asked[-1] == f"--user restart {SERVER}"


def test_install_again_writes_our_own_units_anew(hrm, systemd: Systemd) -> None:
    hrm("service", "install", "--user")
    (systemd.units / SERVER).write_text(f"{MARK}\n[Service]\nExecStart=/old/python -m hrm.server\n")

    assert hrm("service", "install", "--user").code == 0
    assert sys.executable in systemd[SERVER]


def test_print_shows_the_units_and_changes_nothing(hrm, systemd: Systemd) -> None:
    result = hrm("service", "install", "--user", "--print")

    assert result.code == 0
    assert all(f"# {name}\n" in result.out for name in (SERVER, SHEPHERD, SLICE))
    assert not systemd.units.exists()
    assert systemd.asked == []


def test_a_unit_that_is_not_ours_is_left_alone(hrm, systemd: Systemd) -> None:
    systemd.units.mkdir(parents=True)
    (systemd.units / SHEPHERD).write_text("[Unit]\nDescription=somebody's\n")

    result = hrm("service", "install", "--user")

    assert result.code == 2
    assert "is not HRM's" in result.err
    assert sorted(path.name for path in systemd.units.iterdir()) == [SHEPHERD]
    assert systemd.asked == []


def test_where_systemd_does_not_run_nothing_is_written(
    hrm, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(service, "BOOTED", tmp_path / "nothing")

    result = hrm("service", "install", "--user")

    assert result.code == 2
    assert "systemd does not run this machine" in result.err
    assert not systemd.units.exists()


def test_a_refusal_of_systemd_is_told_in_its_words(hrm, systemd: Systemd) -> None:
    systemd.fails()

    result = hrm("service", "install", "--user")

    assert result.code == 1
    assert "Access denied" in result.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--user", "--run-as", "daemon"], "--run-as"),
        (["--system", "--run-as", "nobody-of-that-name"], "no user"),
        (["--user", "--config", "/nowhere/hrm.yaml"], "/nowhere/hrm.yaml"),
    ],
)
def test_what_cannot_be_is_refused(hrm, systemd: Systemd, arguments: list[str], word: str) -> None:
    result = hrm("service", "install", *arguments)

    assert result.code == 2
    assert word in result.err
    assert systemd.asked == []


JOIN = ("service", "install", "--user", "--join", "10.0.0.1:6379")


def test_a_node_is_installed_with_its_token_which_nobody_else_can_read(hrm, systemd: Systemd, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")

    result = hrm(*JOIN, "--token-file", str(tmp_path / "token"), "--", "--node-id", "box2", "--cpus", "4")

    assert result.code == 0, result.err
    kept = Path(os.environ["HRM_HOME"]) / "ray" / "token"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("secret", 0o600)
    assert "secret" not in systemd[NODE]
    assert "--node-id box2 --cpus 4" in systemd[NODE]
    assert systemd.asked == ["--user daemon-reload", f"--user enable {NODE}"]
    assert "start hrm-node" in result.out
    assert hrm("service", "install", "--user").code == 2, "it has a server, or is a node"
    systemd.answers(ActiveState="active", SubState="running", UnitFileState="enabled", MainPID="42")
    assert [one["unit"] for one in json.loads(hrm("service", "status", "--user", "-o", "json").out)] == [NODE, SHEPHERD]
    assert hrm("service", "uninstall", "--user").code == 0
    assert f"--user disable --now {NODE}" in systemd.asked
    assert not (systemd.units / NODE).exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (JOIN, "a token is needed"),
        ((*JOIN, "--token-file", "/nowhere/token"), "/nowhere/token"),
        ((*JOIN, "--", "--no-such-option"), "No such option: --no-such-option"),
        ((*JOIN, "--", "--token", "x"), "an option of this command"),
        ((*JOIN, "--config", "/nowhere/hrm.yaml"), "is for a server"),
        (("service", "install", "--user", "--token-file", "x"), "--join HOST:PORT names the cluster"),
    ],
)
def test_what_cannot_be_a_node_is_refused(hrm, systemd: Systemd, arguments: tuple[str, ...], word: str) -> None:
    result = hrm(*arguments)

    assert result.code == 2
    assert word in result.err
    assert not (systemd.units / NODE).exists()


# --- uninstall and status


def test_uninstall_ends_the_server_tells_the_shepherd_alone_and_removes_our_units(hrm, systemd: Systemd) -> None:
    hrm("service", "install", "--user")
    (systemd.units / "other.service").write_text("[Unit]\n")
    before = len(systemd.asked)

    result = hrm("service", "uninstall", "--user")

    assert result.code == 0
    assert [path.name for path in systemd.units.iterdir()] == ["other.service"]
    assert systemd.asked[before:] == [
        f"--user disable --now {SERVER}",
        f"--user kill --kill-who=main --signal=TERM {SHEPHERD}",
        "--user daemon-reload",
    ]


def test_uninstall_where_nothing_is_installed_says_so(hrm, systemd: Systemd) -> None:
    result = hrm("service", "uninstall", "--user")

    assert result.code == 2
    assert "no units of HRM" in result.err


def test_status_shows_what_is_installed_and_what_runs(hrm, systemd: Systemd) -> None:
    hrm("service", "install", "--user")
    systemd.answers(ActiveState="active", SubState="running", UnitFileState="enabled", MainPID="42")

    result = hrm("service", "status", "--user", "-o", "json")

    assert result.code == 0
    assert json.loads(result.out)[0] == {
        "unit": SERVER,
        "file": "installed",
        "path": str(systemd.units / SERVER),
        "state": "active (running)",
        "enabled": "enabled",
        "pid": 42,
    }


def test_status_of_what_does_not_run_exits_3(hrm, systemd: Systemd) -> None:
    systemd.answers(ActiveState="inactive", SubState="dead", UnitFileState="", MainPID="0")

    result = hrm("service", "status", "--user")

    assert result.code == 3
    assert "not installed" in result.out


def test_status_says_when_a_unit_starts_another_python(hrm, systemd: Systemd) -> None:
    hrm("service", "install", "--user")
    (systemd.units / SERVER).write_text(systemd[SERVER].replace(sys.executable, "/old/bin/python"))

    result = hrm("service", "status", "--user")

    assert "outdated" in result.out
    assert "hrm service install" in result.err
