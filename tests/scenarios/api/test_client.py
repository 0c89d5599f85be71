"""`hrm.Client` against a server on a real socket."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hrm import Client
from hrm.api.guards import RateLimit
from hrm.api.settings import ApiSettings
from hrm.model.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NoServer,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
)
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, NodeState, TaskState
from hrm.sdk import transport
from hrm.testing import eventually

if TYPE_CHECKING:
    from tests.scenarios.api.running_server import RunningServer

ECHO = JobSpec(
    groups=(TaskGroupSpec(command=("echo", "hi"), env={"A": "1"}, resources=Resources(1024, 2000, 500)),), name="greet"
)
ARRAY = JobSpec(groups=(TaskGroupSpec(command=("true",), tasks=3),))


def test_a_job_arrives_as_it_was_made(client: Client, server: RunningServer) -> None:
    submitted = client.submit(ECHO)

    assert submitted.created
    assert server.facade.apps[submitted.application_id].job == ECHO


def test_reports_come_back_as_the_servers_own_types(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ARRAY).application_id
    server.do(lambda facade: facade.begin(application_id, 1))

    report = client.application(application_id)
    assert (report.state, report.tasks_total, report.user) == (ApplicationState.RUNNING, 3, "ada")
    assert client.applications(("RUNNING",), user="ada", queue="default") == [report]
    assert client.applications(before=application_id) == []
    assert [task.state for task in client.tasks(application_id)] == [
        TaskState.PENDING,
        TaskState.RUNNING,
        TaskState.PENDING,
    ]
    assert [task.task_index for task in client.tasks(application_id, offset=2)] == [2]
    assert [row.task_index for row in client.history(application_id)] == [1]
    assert [container.task_index for container in client.containers()] == [1]
    assert [queue.name for queue in client.queues()] == ["root", "default"]
    assert [node.state for node in client.nodes()] == [NodeState.RUNNING]
    assert client.explain(application_id).evidence == [{"nodes": 1, "free": 0}]
    assert client.server().engine == "fake"


def test_what_the_server_raises_the_client_raises(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    bob = server.client("bob")

    with pytest.raises(NotFound, match="no application"):
        client.application("application_1763900000000_0099")
    with pytest.raises(Forbidden, match="belongs to ada"):
        bob.kill(application_id)
    with pytest.raises(Forbidden, match="no admin"):
        client.shutdown()
    with pytest.raises(InvalidInput) as caught:
        client.submit(JobSpec(groups=ECHO.groups, queue="nope"))
    assert (caught.value.field, caught.value.next_step) == ("queue", "choose: default")
    bob.close()


def test_an_id_with_a_path_in_it_stays_an_id(client: Client) -> None:
    with pytest.raises(InvalidInput, match="not an application id"):
        client.application("../../nodes")
    with pytest.raises(InvalidInput, match="not an application id"):
        client.application("x?limit=1#y\r\nHost: evil")


def test_killing_and_signalling(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id

    client.signal(application_id, 10)
    client.kill(application_id, "enough")
    client.kill(application_id)

    assert server.facade.apps[application_id].signals == [10]
    assert client.application(application_id).message == "enough"


def test_an_application_is_suspended_and_goes_on(client: Client) -> None:
    application_id = client.submit(ECHO).application_id

    assert client.suspend(application_id).suspended_at is not None
    assert client.resume(application_id).suspended_at is None
    client.kill(application_id)
    with pytest.raises(Conflict):
        client.suspend(application_id)


def test_an_application_is_moved_and_put_before_others(client: Client) -> None:
    application_id = client.submit(ECHO).application_id

    assert client.move(application_id, "batch").queue == "batch"
    assert client.set_priority(application_id, 7).priority == 7
    assert client.set_deadline(application_id, 1e10).deadline_at == 1e10
    assert client.set_deadline(application_id, None).deadline_at is None
    client.kill(application_id)
    with pytest.raises(Conflict):
        client.move(application_id, "default")


def test_a_client_learns_where_a_job_would_go_and_who_may_use_which_queue(client: Client) -> None:
    assert client.place(ECHO).queue == "default"
    assert [(row.name, row.administers) for row in client.queue_access()] == [("root", False), ("default", False)]
    assert client.applications() == []


def test_waiting_lasts_until_the_end(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    reports = []
    waiter = threading.Thread(target=lambda: reports.append(client.wait(application_id)))

    waiter.start()
    assert client.wait(application_id, timeout_s=0.05).state is ApplicationState.ACCEPTED
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.end(application_id, 7))
    waiter.join(timeout=60)

    assert [(report.state, report.exit_code) for report in reports] == [(ApplicationState.FAILED, 7)]


def test_an_admin_is_told_what_is_in_force_of_the_queues(server: RunningServer) -> None:
    with server.client("root", admin=True) as admin:
        assert admin.queue_configuration()["queues"] == {"batch": {"weight": 2.0}}
    with server.client("ada") as other, pytest.raises(Forbidden, match="ada is no admin"):
        other.queue_configuration()


def test_an_admin_reloads_queues_and_ends_the_server(server: RunningServer) -> None:
    with server.client("root", admin=True) as admin:
        assert admin.reload_queues().changed == ["batch"]
        admin.shutdown()

    assert server.facade.shutdown_requested


def test_a_log_in_pieces_is_the_log(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    text = bytes(range(256)) * 4096
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, text))

    assert b"".join(client.logs(application_id)) == text
    assert b"".join(client.logs(application_id, offset=-3)) == text[-3:]
    assert b"".join(client.logs(application_id, stream="stderr")) == b""


def test_a_wrong_question_about_a_log_is_answered_before_the_first_piece(client: Client) -> None:
    with pytest.raises(NotFound):
        client.logs("application_1763900000000_0099", follow=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client has the time to keep still after a refusal."""
    monkeypatch.setattr(transport, "_TOO_FAST_PAUSE_S", 1e6)


@pytest.mark.parametrize("settings", [ApiSettings(requests_per_s=20, burst=1)])
def test_a_client_that_asks_too_fast_waits_its_turn(client: Client) -> None:
    assert [len(client.nodes()) for _ in range(2)] == [1, 1]


@pytest.mark.usefixtures("impatient")
def test_a_client_that_has_no_time_to_wait_its_turn_is_told_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimit, "_take", lambda self, user: False)
    with pytest.raises(TooManyRequests):
        client.nodes()


def test_a_body_of_100_mb_is_refused_and_costs_no_memory(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=60)
    piece = b" " * (1 << 20)
    tracemalloc.start()
    try:
        connection.request(
            "POST",
            "/api/v1/applications",
            body=itertools.repeat(piece, 100),
            headers={"Authorization": f"Bearer {server.token('ada')}"},
            encode_chunked=True,
        )
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        connection.close()

    assert (answer.status, error["code"]) == (413, "too_large")
    assert peak_bytes < 40 << 20


def test_a_job_over_the_body_limit_is_refused_in_words(client: Client) -> None:
    huge = JobSpec(groups=tuple(TaskGroupSpec(command=("x" * 1_000_000,), name=f"g{n}") for n in range(9)))

    with pytest.raises(TooLarge, match="larger than 8388608 bytes"):
        client.submit(huge)


def test_text_that_is_no_unicode_is_refused_in_words(client: Client) -> None:
    with pytest.raises(InvalidInput, match="not valid Unicode"):
        client.submit(JobSpec(groups=ECHO.groups, queue="caf\udce9"))


def test_threads_may_share_a_client(client: Client) -> None:
    ids: list[str] = []

    def submit() -> None:
        ids.extend(client.submit(ECHO).application_id for _ in range(10))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(set(ids)) == 40


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    waiting = server.count_calls("wait")
    waiters = [threading.Thread(target=client.wait, args=(application_id,)) for _ in range(6)]
    for waiter in waiters:
        waiter.start()
    eventually(lambda: waiting() == 6)
    client.kill(application_id)
    for waiter in waiters:
        waiter.join(timeout=60)
    server.drop_connections()  # at least six of them are kept by the client

    assert client.submit(ECHO).created


def test_a_log_that_breaks_off_is_not_taken_for_whole(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, b"x" * (32 << 20)))
    pieces = client.logs(application_id)
    next(pieces)

    server.drop_connections()

    with pytest.raises(NoServer, match="broke the connection off"):
        list(pieces)


# --- finding the server


def write_home(home: Path, address: str, token: str | None) -> None:
    home.mkdir(exist_ok=True)
    (home / "server.json").write_text(json.dumps({"pid": 1, "address": address}))
    if token is not None:
        (home / "token").write_text(token + "\n")


def test_a_client_finds_the_server_of_its_home(server: RunningServer, tmp_path: Path) -> None:
    write_home(tmp_path, server.address, server.token("ada"))

    with Client(home=tmp_path) as client:
        assert client.address == server.address
        assert client.submit(ECHO).created


def test_without_a_server_the_client_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NoServer, match="no server is up") as caught:
        Client(home=tmp_path)
    assert "hrm up" in caught.value.next_step


def test_a_server_that_died_and_left_its_file_is_no_server(tmp_path: Path, unused_address: str) -> None:
    write_home(tmp_path, unused_address, "token")

    with pytest.raises(NoServer, match="no HRM server answers"):
        Client(home=tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_server_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)

    with pytest.raises(NoServer, match=r"server\.json"):
        Client(home=tmp_path)


def test_a_lost_token_is_named_with_its_path(server: RunningServer, tmp_path: Path) -> None:
    write_home(tmp_path, server.address, None)

    with pytest.raises(Unauthenticated, match=str(tmp_path / "token")):
        Client(home=tmp_path)


@pytest.mark.parametrize("token", ["", "tw\0o", "naïve", "a\r\nX-Evil: 1"])
def test_a_garbled_token_is_not_sent(server: RunningServer, token: str) -> None:
    with pytest.raises(Unauthenticated):
        Client(server.address, token=token or " ").nodes()


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:1", "http://", "http://127.0.0.1:99999", "127.0.0.1:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="not an address"):
        Client(address, token="t")


def test_something_else_that_answers_is_no_hrm_server(other_server: str) -> None:
    with pytest.raises(NoServer, match="is no HRM server"):
        Client(other_server, token="t").nodes()


def test_a_server_that_does_not_answer_is_not_waited_for_without_end(silent_server: str) -> None:
    with pytest.raises(NoServer, match=r"did not answer within 0\.2 s"):
        Client(silent_server, token="t", timeout_s=0.2).nodes()


def test_importing_the_client_brings_no_heavy_library() -> None:
    heavy = ("httpx", "websockets", "fastapi", "pydantic", "sqlalchemy", "asyncio")
    code = f"import sys, hrm.sdk.client; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


# --- following


def test_following_goes_on_until_the_task_has_ended(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    pieces = client.logs(application_id, follow=True)
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, b"one\n"))
    assert next(pieces) == b"one\n"

    server.do(lambda facade: facade.write(application_id, b"two\n"))
    assert next(pieces) == b"two\n"
    server.do(lambda facade: facade.write(application_id, b"three\n"))
    server.do(lambda facade: facade.end(application_id))

    assert list(pieces) == [b"three\n"]


def test_following_goes_through_the_attempts_of_a_task(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id

    def attempt(text: bytes, *, retry: bool) -> Callable[..., None]:
        def play(facade: object) -> None:
            server.facade.begin(application_id)
            server.facade.write(application_id, text)
            server.facade.end(application_id, 1, retry=retry)

        return play

    server.do(attempt(b"first", retry=True))
    pieces = client.logs(application_id, follow=True)
    assert next(pieces) == b"first"
    server.do(attempt(b"second", retry=False))

    assert list(pieces) == [b"second"]
    assert list(client.logs(application_id, follow=True, attempt=1)) == [b"first"]


def test_following_a_task_that_never_begins_ends_with_its_application(client: Client) -> None:
    application_id = client.submit(ECHO).application_id
    pieces = client.logs(application_id, follow=True)

    client.kill(application_id)

    assert list(pieces) == []


def test_a_follower_whose_connection_breaks_misses_and_repeats_nothing(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, b"before "))
    pieces = client.logs(application_id, follow=True)
    assert next(pieces) == b"before "

    server.drop_connections()
    server.do(lambda facade: facade.write(application_id, b"after"))
    server.do(lambda facade: facade.end(application_id))

    assert b"".join(pieces) == b"after"


def test_events_come_as_they_happen(client: Client, server: RunningServer) -> None:
    server.do(lambda facade: facade.record("node_registered"))
    events = client.events()
    assert next(events).kind == "node_registered"

    server.do(lambda facade: facade.record("queues_reloaded", queues=3))
    reloaded = next(events)

    assert (reloaded.seq, reloaded.kind, reloaded.detail) == (2, "queues_reloaded", {"queues": 3})
    assert next(client.events(after_seq=1)).seq == 2


def test_events_go_on_where_a_connection_broke(client: Client, server: RunningServer) -> None:
    server.do(lambda facade: facade.record("one"))
    events = client.events()
    next(events)

    server.drop_connections()
    server.do(lambda facade: facade.record("two"))

    assert next(events).kind == "two"


def test_others_see_that_something_happened_but_not_what_was_in_it(client: Client, server: RunningServer) -> None:
    application_id = client.submit(ECHO).application_id
    server.do(lambda facade: facade.record("application_failed", application_id, message="/home/ada/secret"))

    with server.client("bob") as bob, server.client("root", admin=True) as root:
        assert next(bob.events(application_id=application_id)).detail == {}
        assert next(root.events()).detail == {"message": "/home/ada/secret"}
    assert next(client.events()).detail == {"message": "/home/ada/secret"}


@pytest.mark.parametrize("settings", [ApiSettings(heartbeat_interval_s=0.02)])
def test_a_silent_stream_sends_heartbeats(server: RunningServer) -> None:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=60)
    connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {server.token('ada')}"})

    answer = connection.getresponse()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [answer.readline() for _ in range(4)] == [b":\n", b"\n", b":\n", b"\n"]
    connection.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("settings", [ApiSettings(max_streams_per_user=2, heartbeat_interval_s=0.02)])
def test_a_user_has_only_so_many_streams_and_gets_them_back(server: RunningServer) -> None:
    with server.client("ada") as ada, server.client("bob") as bob:
        server.do(lambda facade: facade.record("one"))
        first, second = ada.events(), ada.events()
        next(first), next(second)
        with pytest.raises(TooManyRequests, match="2 streams of ada"):
            next(ada.events())
        next(bob.events())

        first.close()

        def comes_in() -> bool:
            try:
                return next(ada.events()).kind == "one"
            except TooManyRequests:
                return False

        eventually(comes_in)


def test_a_server_that_ends_ends_its_streams_and_the_client_says_so(server: RunningServer) -> None:
    client = server.client("ada")
    server.do(lambda facade: facade.record("one"))
    events = client.events()
    next(events)

    server.stop()

    with pytest.raises(NoServer):
        next(events)


def test_no_stream_begins_on_a_server_that_is_about_to_end(server: RunningServer) -> None:
    with server.client("ada") as client:
        application_id = client.submit(ECHO).application_id
        server.do(lambda facade: server.app.state.streams.end_all())

        with pytest.raises(NoServer, match="about to end"):
            next(client.events())
        with pytest.raises(NoServer, match="about to end"):
            client.attach(application_id)


def test_a_server_that_ends_lets_those_who_wait_go(server: RunningServer) -> None:
    with server.client("ada") as client:
        application_id = client.submit(ECHO).application_id
        errors: list[NoServer] = []

        def wait() -> None:
            try:
                client.wait(application_id)
            except NoServer as error:
                errors.append(error)

        waiting = server.count_calls("wait")
        waiter = threading.Thread(target=wait)
        waiter.start()
        eventually(lambda: waiting() == 1)
        server.do(lambda facade: server.app.state.streams.end_all())
        waiter.join(timeout=60)

    assert ["about to end" in error.message for error in errors] == [True]
