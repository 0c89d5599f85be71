"""`hrm config` and `hrm token`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from hrm.api.tokens import TokenAuthority
from hrm.config import load_config
from hrm.config.home import Home
from hrm.config.loader import default_text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HRM_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def test_init_writes_the_commented_defaults_into_the_home(hrm, home: Home) -> None:
    result = hrm("config", "init")

    assert (result.code, result.out) == (0, f"{home.config_file}\n")
    assert home.config_file.read_text() == default_text()


def test_init_does_not_overwrite_unless_told_to(hrm, home: Home) -> None:
    hrm("config", "init")
    home.config_file.write_text("queues: {mine: }\n")

    refused = hrm("config", "init")
    kept = home.config_file.read_text()
    forced = hrm("config", "init", "--force")

    assert (refused.code, kept) == (2, "queues: {mine: }\n")
    assert "--force" in refused.err
    assert (forced.code, home.config_file.read_text()) == (0, default_text())


def test_init_where_nothing_can_be_written_says_so(hrm, tmp_path: Path) -> None:
    result = hrm("config", "init", tmp_path / "no" / "such" / "file.yaml")

    assert result.code == 1
    assert "cannot be written: No such file or directory" in result.err


def test_check_shows_every_finding(hrm, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("queues: {a: {wait: 1}}\nserver: {port: x}\n")

    result = hrm("config", "check", path)

    assert result.code == 2
    assert result.err.splitlines() == [
        f"hrm: {path}:1: queues.a.wait: unknown key (did you mean 'weight'?)",
        f"{path}:2: server.port: must be a whole number, not 'x'",
    ]


def test_check_without_a_file_says_that_defaults_hold(hrm, home: Home) -> None:
    result = hrm("config", "check")

    assert result.code == 0
    assert "all defaults" in result.err


def test_what_show_prints_means_the_same_again(hrm, home: Home, tmp_path: Path) -> None:
    path = tmp_path / "hrm.yaml"
    path.write_text(
        "queues: {a: {weight: 0.5, min_share: 1 vcores, max_share: {memory: 8G, gpus: 0.5}, policy: drf, "
        "max_running_apps: 3, queues: {b: {policy: fifo}}},\n"
        "  p: {min_share: 12.5%, max_share: {memory: 33.3%}, max_am_share: none, max_running_apps_of_users: {ada: 2},\n"
        "    order: deficit, preemptable: false, min_share_preemption_timeout: never, min_run_before_preemption: 90},\n"
        "  q: {type: parent, max_child_share: 10%, max_container: {cpus: 2},\n"
        "    submit_acl: '*', admin_acl: {groups: [s]}}}\n"
        "scheduler: {order: deficit, root: {max_share: 50%, submit_acl: {}},\n"
        "  wait_before_kill: 1.5s, reservation_threshold: 1G,\n"
        "  rack_locality_delay: 0, max_assign: 2, master_timeout: 5m, undeclared_queues: false,\n"
        "  queue_defaults: {max_running_apps: 3, max_share: {cpus: 1}, max_am_share: none},\n"
        "  placement: [{rule: nested, parent: {rule: default, queue: q}}, {rule: default, queue: p}]}\n"
        "node: {vcores: 2.5, memory: 5G}\nserver: {idle_exit: 90s}\n"
    )

    meant = load_config(path)
    shown = hrm("config", "show", path).out
    path.write_text(shown)
    again = hrm("config", "show", "-o", "json", path).out

    assert yaml.safe_load(shown) == json.loads(again)
    assert meant == load_config(path)
    assert json.loads(again)["queues"]["a"]["max_share"] == {"memory": "8192M", "gpus": "0.5"}


def test_a_token_is_good_for_its_user_and_its_time(hrm, home: Home) -> None:
    home.create()
    secret = home.ensure_secret()

    token = hrm("token", "create", "ada", "--ttl", "1h").out.strip()

    identity = TokenAuthority(secret).verify(token)
    assert (identity.user, identity.admin) == ("ada", False)
    assert identity.expires_at is not None


def test_without_a_secret_there_is_no_token(hrm, home: Home) -> None:
    result = hrm("token", "create", "ada")

    assert result.code == 2
    assert "hrm up" in result.err
