"""`hrm up`, `down`, `status`, `submit`, `wait` and the lists, with a real server."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat

from hrm.testing import eventually
from tests.acceptance.conftest import Hrm


def test_up_returns_when_ready_and_status_says_where(hrm: Hrm) -> None:
    up = hrm("up", "--detach")
    status = hrm("status", "-o", "json").json

    assert up.code == 0, up.err
    assert status["address"] in up.out
    assert (status["pid"], status["home"]) == (hrm.pid, str(hrm.home))
    assert {"version", "engine"} <= set(status)


def test_status_without_a_server_exits_3(hrm: Hrm) -> None:
    assert hrm("status", "-o", "json").code == 3


def test_secrets_are_the_owners_alone(up: Hrm) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in up.home.iterdir() if path.is_file()}

    assert {name: mode for name, mode in modes.items() if mode & 0o077} in ({}, {"hrm.yaml": 0o644})
    assert {"token", "secret", "server.json", "server.log"} <= set(modes)


def test_a_second_server_in_one_home_is_told_who_holds_it(up: Hrm) -> None:
    for arguments in (["up"], ["up", "--detach"]):
        second = up(*arguments)
        assert second.code == 2
        assert str(up.pid) in second.err
    assert up("status").code == 0


def test_a_taken_port_is_named(hrm: Hrm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        for arguments in (["up", "--port", port], ["up", "--detach", "--port", port]):
            result = hrm(*arguments)
            assert result.code == 2
            assert str(port) in result.err
    assert hrm("status").code == 3


def test_a_bad_configuration_starts_nothing_and_shows_every_finding(hrm: Hrm) -> None:
    hrm.configure("queue: {}\nserver: {port: http}\n")

    for arguments in (["up"], ["up", "--detach"], ["config", "check"]):
        result = hrm(*arguments)
        assert result.code == 2
        assert "hrm.yaml:1: queue: unknown key (did you mean 'queues'?)" in result.err
        assert "hrm.yaml:2: server.port: must be a whole number, not 'http'" in result.err
    assert hrm("status").code == 3


def test_the_default_configuration_is_written_once_and_checks_well(hrm: Hrm) -> None:
    (hrm.home / "hrm.yaml").unlink()

    first, second, forced = hrm("config", "init"), hrm("config", "init"), hrm("config", "init", "--force")

    assert (first.code, second.code, forced.code) == (0, 2, 0)
    assert hrm("config", "check").code == 0
    shown = hrm("config", "show", "-o", "json").json
    (hrm.home / "shown.yaml").write_text(json.dumps(shown))
    assert hrm("config", "show", "-o", "json", hrm.home / "shown.yaml").json == shown


def test_a_bad_file_does_not_change_queues_and_a_good_one_does(hrm: Hrm) -> None:
    hrm("up", "--detach")
    before = hrm("queues", "-o", "json").json
    hrm.configure("queues: {research: {wait: 3}}\n")
    bad = hrm("queues", "reload")
    unchanged = hrm("queues", "-o", "json").json
    hrm.configure("server: {port: 0}\nqueues: {research: {weight: 5}, batch: {weight: 1}, late: {}}\n")
    good = hrm("queues", "reload", "-o", "json")
    after = {queue["name"]: queue["weight"] for queue in hrm("queues", "-o", "json").json}
    hrm.configure(
        "scheduler: {max_assign: 3, master_timeout: 9s}\nserver: {port: 0}\nqueues: {late: {max_share: 50%}}\n"
    )
    told = hrm("queues", "reload").out

    assert bad.code == 2
    assert "did you mean 'weight'?" in bad.err
    assert [queue["name"] for queue in unchanged] == [queue["name"] for queue in before]
    assert (good.json["added"], good.json["changed"]) == (["late"], ["research"])
    assert after == {"root": 1.0, "default": 1.0, "research": 5.0, "batch": 1.0, "late": 1.0}
    assert "removed: batch, research\nchanged: late, scheduler.max_assign\n" in told
    assert "changed, but only a restart of the server takes it: scheduler.master_timeout" in told


def test_a_placement_strategy_places_and_is_exchanged_without_a_restart(hrm: Hrm) -> None:
    hrm.configure("scheduler: {placement_strategy: fgd}\nserver: {port: 0}\n")
    hrm("up", "--detach", "--virtual-gpus", "2")
    first = hrm("run", "--gpus", "0.5", "--", "true")
    hrm.configure("scheduler: {placement_strategy: spread}\nserver: {port: 0}\n")
    told = hrm("queues", "reload").out
    second = hrm("submit", "--wait", "--tasks", "5", "--", "true")

    assert (first.code, second.code) == (0, 0)
    assert "changed: scheduler.placement_strategy" in told


def test_down_leaves_containers_running_and_the_next_up_adopts_them(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm("submit", "--", "sh", "-c", f"while ! test -e {hrm.home}/go; do sleep 0.05; done; echo adopted; exit 6")
    eventually(lambda: hrm.state("1") == "RUNNING")

    down = hrm("down")
    assert (down.code, hrm.pid) == (0, None)
    assert "1 containers go on running" in down.err
    hrm("up", "--detach")
    (hrm.home / "go").touch()

    assert hrm("wait", "1").code == 6
    assert hrm("logs", "1").out == "adopted\n"


def test_after_kill_9_of_the_server_nothing_is_lost(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm(
        "submit", "--name", "runs", "--cpus", 4, "--", "sh", "-c", f"while ! test -e {hrm.home}/go; do sleep 0.05; done"
    )
    eventually(lambda: hrm.state("1") == "RUNNING")
    for number in range(3):
        hrm("submit", "--name", f"waits {number}", "--queue", "batch", "--", "true")
    pid = hrm.pid
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    assert hrm("up", "--detach").code == 0
    (hrm.home / "go").touch()
    result = hrm("wait", "1-4")

    assert (result.code, result.err) == (0, "")
    assert sorted(app["name"] for app in hrm.apps()) == ["runs", "waits 0", "waits 1", "waits 2"]


def test_down_kill_leaves_nothing_running(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm("submit", "--", "sh", "-c", f"echo $$ > {hrm.home}/pid; exec sleep 600")
    eventually(lambda: (hrm.home / "pid").exists() and (hrm.home / "pid").read_text().strip())

    result = hrm("down", "--kill")
    pid = int((hrm.home / "pid").read_text())

    assert result.code == 0
    assert "go on running" not in result.err
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_an_ephemeral_server_gives_way_to_one_that_stays(hrm: Hrm) -> None:
    hrm("run", "--", "true")
    ephemeral = hrm("status", "-o", "json").json

    up = hrm("up", "--detach", "-o", "json")

    assert ephemeral["ephemeral"]
    assert not up.json["ephemeral"]
    assert up.json["pid"] != ephemeral["pid"]
    assert [app["state"] for app in hrm.apps()] == ["FINISHED"]


# --- submit, wait, and what the lists say


def test_submit_wait_says_how_many_tasks_ended_how(up: Hrm) -> None:
    result = up("submit", "--wait", "-o", "json", "--tasks", 4, "--", "sh", "-c", "test $HRM_TASK_INDEX -lt 3")
    report = result.json

    assert result.code == 1
    assert (report["state"], report["tasks_succeeded"], report["tasks_failed"]) == ("FAILED", 3, 1)
    assert "--task 3 --stderr" in result.err


def test_a_request_larger_than_any_node_is_refused_with_the_largest_named(up: Hrm) -> None:
    node = up("nodes", "-o", "json").json[0]["node_id"]

    result = up("submit", "--memory", "1T", "--", "true")

    assert result.code == 2
    assert node in result.err
    assert "4G" in result.err


def test_an_unknown_queue_is_refused_with_those_there_are(up: Hrm) -> None:
    result = up("submit", "--queue", "reserch", "--", "true")

    assert result.code == 2
    assert "reserch" in result.err
    assert "research" in result.err


def test_the_lists_carry_what_others_build_on(up: Hrm) -> None:
    app = up("submit", "--wait", "--name", "listed", "--queue", "research", "--", "true").out.strip()

    (listed,) = [entry for entry in up.apps() if entry["application_id"] == app]
    (attempt,) = up("history", "-o", "json", app).json
    nodes = up("nodes", "-o", "json").json

    assert (listed["name"], listed["queue"], listed["state"]) == ("listed", "research", "FINISHED")
    assert (attempt["application_id"], attempt["task_index"], attempt["attempt"]) == (app, 0, 1)
    assert (attempt["exit_code"], attempt["state"], attempt["queue"]) == (0, "SUCCEEDED", "research")
    assert attempt["started_at"] <= attempt["ended_at"]
    assert nodes[0]["total"]["vcores_milli"] == 4000
    assert {queue["name"] for queue in up("queues", "-o", "json").json} == {"root", "default", "research", "batch"}


def test_explain_says_why_something_waits(up: Hrm) -> None:
    blocker = up("submit", "--cpus", 4, "--", "sleep", "600").out.strip()
    waiting = up("submit", "--", "true").out.strip()
    try:
        explanation = up("explain", waiting, "-o", "json").json

        assert explanation["reason"]
        assert explanation["message"]
        assert explanation["evidence"]
    finally:
        up("kill", f"{waiting},{blocker}")


def test_another_user_may_not_kill_and_a_wrong_token_may_nothing(up: Hrm) -> None:
    app = up("submit", "--", "sleep", "600").out.strip()
    token = up("token", "create", "ada", "--ttl", "1h").out.strip()
    address = up("status", "-o", "json").json["address"]
    ada = Hrm(up.home, HRM_TOKEN=token, HRM_ADDRESS=address)

    try:
        assert ada("kill", app).code == 4
        assert up.state(app) in ("ACCEPTED", "RUNNING")
        assert Hrm(up.home, HRM_TOKEN="wrong", HRM_ADDRESS=address)("ps").code == 4
    finally:
        up("kill", app)


def test_a_lost_token_is_named_with_what_brings_it_back(up: Hrm) -> None:
    address = up("status", "-o", "json").json["address"]
    token = up.home / "token"
    text = token.read_text()
    token.unlink()
    try:
        result = Hrm(up.home, HRM_ADDRESS=address)("ps")
        by_socket = up("ps")
    finally:
        token.write_text(text)
        token.chmod(0o600)

    assert (result.code, by_socket.code) == (4, 0)
    assert str(token) in result.err
    assert "hrm down" in result.err


def test_a_drained_node_takes_nothing_until_it_is_undrained_whatever_becomes_of_the_server(hrm: Hrm) -> None:
    hrm("up", "--detach")
    node = hrm("nodes", "-o", "json").json[0]["node_id"]

    drained = hrm("nodes", "drain", node, "--reason", "new disk")
    hrm("submit", "--", "true")
    hrm("down")
    hrm("up", "--detach")

    assert (drained.code, drained.err) == (0, "")
    assert "new disk" in hrm("nodes").out
    assert hrm.state("1") == "ACCEPTED"
    assert "nodes_not_schedulable" in hrm("explain", "1").out
    assert hrm("nodes", "undrain", node).out == f"{node} is RUNNING\n"
    assert hrm("wait", "1").code == 0


def test_down_drain_waits_for_what_runs_and_keeps_what_waits(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm("submit", "--cpus", 4, "--", "sh", "-c", f"while ! test -e {hrm.home}/go; do sleep 0.05; done")
    hrm("submit", "--", "true")
    eventually(lambda: hrm.state("1") == "RUNNING")

    with hrm.started("down", "--drain") as down:
        eventually(lambda: hrm("status", "-o", "json").json["drained_by"])
        assert down.poll() is None
        (hrm.home / "go").touch()
        out, err = down.communicate(timeout=180)

    assert (down.returncode, hrm.pid) == (0, None)
    assert "1 containers run" in err and "the server has ended" in out
    hrm("up", "--detach")
    assert hrm("wait", "1", "2").code == 0


def test_ctrl_c_ends_the_waiting_for_a_drain_and_the_server_goes_on(hrm: Hrm) -> None:
    hrm("up", "--detach")
    hrm("submit", "--", "sleep", "600")
    eventually(lambda: hrm.state("1") == "RUNNING")

    with hrm.started("down", "--drain") as down:
        eventually(lambda: hrm("status", "-o", "json").json["drained_by"])
        down.send_signal(signal.SIGINT)
        _, err = down.communicate(timeout=180)

    assert down.returncode == 130
    assert "goes on as before" in err
    assert hrm("status", "-o", "json").json["drained_by"] == ""
    assert hrm("run", "--", "true").code == 0
