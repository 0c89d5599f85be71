"""Root's server and another user of the machine: who comes in by the socket, and what they get to see."""

from __future__ import annotations

import grp
import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.model.errors import Forbidden, NoServer
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.sdk.client import Client
from hrm.testing import eventually
from hrm.testing.other_user import OtherUser
from tests.acceptance.conftest import Hrm, hrm_home

pytestmark = pytest.mark.root
SECRET = "not-for-other-users"


@pytest.fixture(scope="module")
def root() -> Iterator[Hrm]:
    """A server of root's."""
    with hrm_home() as hrm:
        assert hrm("up", "--detach").code == 0
        yield hrm


@pytest.fixture
def other(nobody: OtherUser, root: Hrm) -> OtherUser:
    return nobody


@pytest.fixture
def kept(root: Hrm) -> Iterator[str]:
    """A job of root's that holds a secret in every place, and runs."""
    script = f"echo {SECRET}; echo {SECRET} >&2; exec sleep 600"
    app = root("submit", "--name", "kept", "--env", f"KEY={SECRET}", "--", "sh", "-c", script).out.strip()
    eventually(lambda: SECRET in root("logs", app).out)
    yield app
    root("kill", app)


# What the other user does. At the top of the module, because it is done in another process.


def run_job(home: Path) -> tuple[str, str, str]:
    """Whose it was, how it ended, and as whom it ran."""
    resources = Resources(memory_mib=32, vcores_milli=100)
    job = JobSpec(groups=(TaskGroupSpec(command=("id", "-un"), resources=resources),))
    with Client(home=home) as client:
        report = client.wait(client.submit(job).application_id, timeout_s=60)
        ran_as = b"".join(client.logs(report.application_id)).decode().strip()
        return report.user, str(report.state), ran_as


def submit_to(home: Path, queue: str) -> str:
    """The queue that it went to."""
    group = TaskGroupSpec(command=("sleep", "600"), resources=Resources(memory_mib=32, vcores_milli=100))
    with Client(home=home) as client:
        return client.submit(JobSpec(groups=(group,), queue=queue)).queue


def kill(home: Path, application_id: str) -> None:
    with Client(home=home) as client:
        client.kill(application_id)


def shut_down(home: Path) -> None:
    with Client(home=home) as client:
        client.shutdown()


def list_nodes(address: str, token: str) -> None:
    with Client(address, token=token) as client:
        client.nodes()


def answers(home: Path, targets: list[str]) -> dict[str, str]:
    """What the server says to each request, be it a refusal."""
    said = {}
    with Client(home=home) as client:
        for target in targets:
            connection = client._transport._connected(10.0)
            connection.request("GET", target)
            said[target] = connection.getresponse().read().decode()
            connection.close()
    return said


def events_until_it_runs(home: Path, application_id: str) -> str:
    told = []
    with Client(home=home) as client:
        for event in client.events():
            told.append(event)
            if (event.application_id, event.kind) == (application_id, "application_running"):
                break
    return repr(told)


def readable(paths: list[Path]) -> list[Path]:
    """Those that can be opened or listed."""
    found = []
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue
        found.append(path)
    return found


def test_they_come_in_by_the_socket_as_who_they_are(other: OtherUser, root: Hrm) -> None:
    assert other.do(run_job, root.home) == ("nobody", "FINISHED", "nobody")


def test_what_is_roots_they_can_neither_end_nor_stop(other: OtherUser, root: Hrm, kept: str) -> None:
    with pytest.raises(Forbidden, match="belongs to root"):
        other.do(kill, root.home, kept)
    with pytest.raises(Forbidden, match="nobody is no admin"):
        other.do(shut_down, root.home)

    assert root.state(kept) == "RUNNING"


def test_no_answer_tells_them_what_is_inside_a_job_of_roots(other: OtherUser, root: Hrm, kept: str) -> None:
    document = answers(root.home, ["/api/v1/openapi.json"])["/api/v1/openapi.json"]
    targets = [
        path.replace("{application_id}", kept) + ("?timeout_s=0" if path.endswith("wait") else "")
        for path, methods in json.loads(document)["paths"].items()
        if "get" in methods and not path.endswith("/events")
    ]
    targets += [f"/api/v1/applications/{kept}/logs?stream=stderr", f"/api/v1/applications/{kept}/logs?follow=true"]

    told = other.do(answers, root.home, targets)
    seen_by_root = answers(root.home, targets[:-1])

    assert [target for target, text in told.items() if SECRET in text] == []
    assert [target.rpartition("/")[2] for target, text in seen_by_root.items() if SECRET in text] == [
        "logs",
        "logs?stream=stderr",
    ]
    assert SECRET not in other.do(events_until_it_runs, root.home, kept)


def test_nothing_in_the_home_that_is_not_theirs_can_be_read_by_them(other: OtherUser, root: Hrm, kept: str) -> None:
    theirs = other.account.pw_uid
    inside = [path for path in (root.home, *root.home.rglob("*")) if path.lstat().st_uid != theirs]

    assert any(path.is_file() and SECRET in path.read_text(errors="replace") for path in inside)
    assert other.do(readable, inside) == []


def test_the_token_does_not_help_them(other: OtherUser, root: Hrm) -> None:
    token, address = (root.home / "token").read_text().strip(), root("status", "-o", "json").json["address"]

    with pytest.raises(Forbidden, match="token of root"):
        other.do(list_nodes, address, token)


def test_their_groups_of_the_machine_let_them_into_queues(nobody: OtherUser, hrm: Hrm) -> None:
    group = grp.getgrgid(nobody.account.pw_gid).gr_name
    hrm.configure(f"""\
        server: {{port: 0}}
        node: {{vcores: 4, memory: 4G}}
        queues:
          roots: {{}}
          theirs: {{submit_acl: {{groups: [{group}]}}}}
          run: {{submit_acl: {{users: [nobody]}}, admin_acl: {{users: [nobody]}}}}
          groups: {{type: parent, submit_acl: {{groups: [{group}]}}}}
        scheduler:
          root: {{submit_acl: {{}}}}
          placement:
            - {{rule: specified, create: false}}
            - {{rule: nested, parent: {{rule: default, queue: groups}}}}
        """)
    hrm("up", "--detach")
    roots = hrm("submit", "--queue", "run", "--", "sleep", "600").out.strip()

    assert nobody.do(submit_to, hrm.home, "theirs") == "theirs"
    assert nobody.do(submit_to, hrm.home, "default") == "groups.nobody"
    with pytest.raises(Forbidden, match="nobody may not submit to roots"):
        nobody.do(submit_to, hrm.home, "roots")
    nobody.do(kill, hrm.home, roots)
    eventually(lambda: hrm.state(roots) == "KILLED")


def test_jobs_of_no_user_of_the_machine_are_refused(root: Hrm) -> None:
    token, address = root("token", "create", "no-such-user").out.strip(), root("status", "-o", "json").json["address"]

    result = Hrm(root.home, HRM_ADDRESS=address, HRM_TOKEN=token)("submit", "--", "true")

    assert result.code == 4
    assert "no user 'no-such-user'" in result.err


def test_a_server_that_was_killed_leaves_a_socket_and_the_next_one_takes_its_place(nobody: OtherUser, hrm: Hrm) -> None:
    assert hrm("up", "--detach").code == 0
    pid = hrm.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: hrm("status").code == 3)

    left = (hrm.home / "hrm.sock").is_socket()
    with pytest.raises(NoServer, match=r"no server answers at .*hrm\.sock"):
        nobody.do(run_job, hrm.home)
    assert hrm("up", "--detach").code == 0

    assert left
    assert nobody.do(run_job, hrm.home) == ("nobody", "FINISHED", "nobody")
    assert stat.S_IMODE((hrm.home / "hrm.sock").stat().st_mode) == 0o666
    assert hrm("down").code == 0
    assert not (hrm.home / "hrm.sock").exists()
