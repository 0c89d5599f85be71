"""A client attached to an application, over a real WebSocket."""

from __future__ import annotations

import _thread
import json
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from hrm import Client
from hrm.api.settings import ApiSettings
from hrm.model.attach_codec import STDIN_WINDOW_BYTES
from hrm.model.containers import LogStream
from hrm.model.errors import CallerError, Conflict, Forbidden, NoServer, NotFound, TooManyRequests, Unauthenticated
from hrm.model.jobs import JobSpec, TaskGroupSpec, TerminalSize
from hrm.model.states import ApplicationState
from hrm.sdk.attachment import Attachment, Ended, Output
from hrm.testing import eventually

if TYPE_CHECKING:
    from tests.scenarios.api.running_server import RunningServer

CAT = JobSpec(groups=(TaskGroupSpec(command=("cat",)),), stdin=True, attached=True)
SHELL = JobSpec(groups=(TaskGroupSpec(command=("sh",)),), terminal=TerminalSize(rows=24, columns=80))
STDOUT, STDERR = LogStream.STDOUT, LogStream.STDERR


def outputs(items: list[Output | Ended]) -> dict[tuple[int, LogStream], bytes]:
    whole: dict[tuple[int, LogStream], bytes] = {}
    for item in items:
        if isinstance(item, Output):
            key = (item.task_index, item.stream)
            whole[key] = whole.get(key, b"") + item.data
    return whole


def settled(count: Callable[[], int]) -> int:
    """The count once it has not changed for a while."""
    last, since = count(), time.monotonic()

    def steady() -> bool:
        nonlocal last, since
        if count() != last:
            last, since = count(), time.monotonic()
        return time.monotonic() - since > 0.3

    eventually(steady)
    return last


def test_output_comes_as_it_is_written_and_then_the_end(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    with client.attach(application_id) as attachment:
        items = iter(attachment)
        server.do(lambda facade: facade.begin(application_id))
        server.do(lambda facade: facade.write(application_id, b"out"))
        assert next(items) == Output(STDOUT, 0, b"out")
        server.do(lambda facade: facade.write(application_id, b"err", stream="stderr"))
        assert next(items) == Output(STDERR, 0, b"err")

        server.do(lambda facade: facade.write(application_id, b"last words"))
        server.do(lambda facade: facade.end(application_id, 3))
        *rest, end = items

    assert rest == [Output(STDOUT, 0, b"last words")]
    assert isinstance(end, Ended)
    assert (end.report.state, end.report.exit_code) == (ApplicationState.FAILED, 3)


def test_output_comes_within_a_blink(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    server.do(lambda facade: facade.begin(application_id))
    with client.attach(application_id) as attachment:
        items = iter(attachment)

        def delay_s() -> float:
            server.do(lambda facade: facade.write(application_id, b"x"))
            written_at = time.monotonic()
            next(items)
            return time.monotonic() - written_at

        # One of them is not disturbed by what else the machine does.
        assert any(delay_s() < 0.05 for _ in range(100))


def test_all_output_of_all_tasks_is_there_before_the_end(client: Client, server: RunningServer) -> None:
    job = JobSpec(groups=(TaskGroupSpec(command=("work",), tasks=1200),))
    application_id = client.submit(job).application_id

    def work(index: int) -> None:
        server.facade.begin(application_id, index)
        server.facade.write(application_id, f"{index}\n".encode(), task_index=index)
        server.facade.end(application_id, task_index=index)

    with client.attach(application_id) as attachment:
        server.do(lambda facade: work(1199))  # the last begins first
        items = iter(attachment)
        assert next(items) == Output(STDOUT, 1199, b"1199\n")
        server.do(lambda facade: [work(index) for index in range(1199)])
        rest = list(items)

    assert outputs(rest) == {(index, STDOUT): f"{index}\n".encode() for index in range(1199)}
    assert isinstance(rest[-1], Ended)


def test_a_task_that_is_tried_again_shows_every_attempt(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    with client.attach(application_id) as attachment:
        for text, retry in ((b"first ", True), (b"second", False)):
            server.do(lambda facade: facade.begin(application_id))
            server.do(lambda facade, text=text: facade.write(application_id, text))
            server.do(lambda facade, retry=retry: facade.end(application_id, 1, retry=retry))
        items = list(attachment)

    assert outputs(items) == {(0, STDOUT): b"first second"}


def test_an_application_that_is_over_gives_its_output_and_its_end(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, b"was here"))
    server.do(lambda facade: facade.end(application_id))

    with client.attach(application_id) as attachment:
        items = list(attachment)

    assert outputs(items) == {(0, STDOUT): b"was here"}
    assert isinstance(items[-1], Ended)


def test_a_job_killed_before_it_began_just_ends(client: Client) -> None:
    application_id = client.submit(CAT).application_id
    with client.attach(application_id) as attachment:
        client.kill(application_id)
        (end,) = attachment

    assert isinstance(end, Ended)
    assert end.report.state is ApplicationState.KILLED


def test_standard_input_arrives_whole_and_is_closed(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    app = server.facade.apps[application_id]
    server.do(lambda facade: app.stdin_read.set())
    data = bytes(range(256)) * 8192  # 2 MiB: eight windows
    with client.attach(application_id) as attachment:
        attachment.send_stdin(data)
        attachment.close_stdin()
        eventually(lambda: app.stdin_closed)

    assert bytes(app.stdin) == data


def test_a_program_that_does_not_read_holds_its_client_up_but_not_its_signals(
    client: Client, server: RunningServer
) -> None:
    application_id = client.submit(CAT).application_id
    app = server.facade.apps[application_id]
    sent = 0

    def feed(attachment: Attachment) -> None:
        nonlocal sent
        for _ in range(64):
            attachment.send_stdin(b"x" * 16384)
            sent += 16384

    with client.attach(application_id) as attachment:
        reader = threading.Thread(target=lambda: list(attachment))
        feeder = threading.Thread(target=feed, args=(attachment,))
        reader.start()
        feeder.start()
        eventually(lambda: sent == STDIN_WINDOW_BYTES)
        attachment.signal(2)
        eventually(lambda: app.signals == [2])
        assert sent == STDIN_WINDOW_BYTES

        server.do(lambda facade: app.stdin_read.set())
        feeder.join(timeout=60)
        assert not feeder.is_alive()
        client.kill(application_id)
        reader.join(timeout=60)

    assert len(app.stdin) == 64 * 16384


def test_input_that_nobody_reads_does_not_outlive_the_application(client: Client) -> None:
    application_id = client.submit(CAT).application_id
    with client.attach(application_id) as attachment:
        feeder = threading.Thread(target=attachment.send_stdin, args=(b"x" * (4 * STDIN_WINDOW_BYTES),))
        feeder.start()
        client.kill(application_id)
        *_, end = attachment
        feeder.join(timeout=60)

    assert isinstance(end, Ended)
    assert not feeder.is_alive()


def test_signals_and_window_sizes_arrive(client: Client, server: RunningServer) -> None:
    application_id = client.submit(SHELL).application_id
    app = server.facade.apps[application_id]
    with client.attach(application_id) as attachment:
        attachment.resize(50, 132)
        attachment.signal(28)
        eventually(lambda: app.signals == [28])

    assert app.sizes == [(50, 132)]


def test_the_server_knows_who_is_attached(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    app = server.facade.apps[application_id]
    with client.attach(application_id):
        with client.attach(application_id):
            eventually(lambda: app.attachments == 2)
        eventually(lambda: app.attachments == 1)
    eventually(lambda: app.attachments == 0)


def test_a_client_that_dies_is_noticed(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    app = server.facade.apps[application_id]
    attachment = client.attach(application_id)
    eventually(lambda: app.attachments == 1)

    attachment._websocket.socket.close()  # no goodbye, as when a process is killed

    eventually(lambda: app.attachments == 0)


def test_a_slow_reader_keeps_the_server_small(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    server.do(lambda facade: facade.begin(application_id))
    server.do(lambda facade: facade.write(application_id, b"x" * (64 << 20)))
    reads = server.count_calls("read_log")
    with client.attach(application_id) as attachment:
        items = iter(attachment)
        next(items)
        held_up_at = settled(reads)
        server.do(lambda facade: facade.end(application_id))
        total = 65536 + sum(len(item.data) for item in items if isinstance(item, Output))

    assert total == 64 << 20
    assert held_up_at * 65536 < 16 << 20  # sockets' buffers and no more


def test_only_the_owner_attaches(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id

    with server.client("bob") as bob, pytest.raises(Forbidden):
        bob.attach(application_id)
    with pytest.raises(NotFound):
        client.attach("application_1763900000000_0099")
    with server.client("ada") as ada:
        ada._transport.headers["Authorization"] = "Bearer hrm1.x.y"
        with pytest.raises(Unauthenticated):
            ada.attach(application_id)
    assert server.facade.apps[application_id].attachments == 0


@pytest.mark.parametrize("settings", [ApiSettings(max_streams_per_user=1)])
def test_attached_clients_count_as_streams(client: Client) -> None:
    application_id = client.submit(CAT).application_id
    with client.attach(application_id), pytest.raises(TooManyRequests):
        client.attach(application_id)


def test_input_for_a_job_that_takes_none_is_refused(client: Client) -> None:
    application_id = client.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),))).application_id
    with client.attach(application_id) as attachment:
        attachment.send_stdin(b"x")
        with pytest.raises(Conflict, match="without an input"):
            list(attachment)


@pytest.mark.parametrize(
    "frame",
    ["{", "[]", '{"type": "dance"}', '{"type": "signal", "signum": 0}', '{"type": "resize", "rows": 0, "columns": 1}'],
)
def test_a_client_that_talks_nonsense_is_told_and_let_go(client: Client, frame: str) -> None:
    application_id = client.submit(CAT).application_id
    with client.attach(application_id) as attachment:
        attachment._send(frame)
        with pytest.raises(CallerError):
            list(attachment)


def test_a_client_that_ignores_the_window_is_let_go(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    uri = f"ws{server.address.removeprefix('http')}/api/v1/applications/{application_id}/attach"
    with connect(uri, additional_headers={"Authorization": f"Bearer {server.token('ada')}"}) as websocket:
        for _ in range(3):
            websocket.send(b"x" * (STDIN_WINDOW_BYTES // 2))
        assert json.loads(websocket.recv())["type"] == "attached"
        assert json.loads(websocket.recv())["error"]["code"] == "too_large"
        with pytest.raises(ConnectionClosed):
            websocket.recv()


def test_a_server_that_ends_lets_its_attached_clients_go(client: Client, server: RunningServer) -> None:
    application_id = client.submit(CAT).application_id
    attachment = client.attach(application_id)

    server.stop()

    with pytest.raises(NoServer, match="was lost"):
        list(attachment)
    assert server.facade.apps[application_id].attachments == 0


def test_a_signal_that_comes_just_before_a_client_waits_does_not_wait_for_the_next_output(
    client: Client, server: RunningServer
) -> None:
    application_id = client.submit(CAT).application_id
    seen, in_time = threading.Event(), []

    def play() -> None:
        # As such a signal is: noted, and no wait is interrupted.
        _thread.interrupt_main(signal.SIGUSR1)
        in_time.append(seen.wait(60))
        client.kill(application_id)

    before = signal.signal(signal.SIGUSR1, lambda *_: seen.set())
    try:
        with client.attach(application_id) as attachment:
            server.do(lambda facade: facade.begin(application_id))
            server.do(lambda facade: facade.write(application_id, b"out"))
            items = iter(attachment)
            next(items)
            player = threading.Timer(0.1, play)
            player.start()
            list(items)
            player.join()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert in_time == [True]


def test_a_client_that_lets_go_stops_iterating(client: Client) -> None:
    attachment = client.attach(client.submit(CAT).application_id)
    items: list[Output | Ended] = []
    reader = threading.Thread(target=lambda: items.extend(attachment))
    reader.start()

    attachment.close()
    reader.join(timeout=60)

    assert not reader.is_alive()
    assert items == []
