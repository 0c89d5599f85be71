"""A client and its job: output, input, signals, holding on."""

from __future__ import annotations

import asyncio
import signal

import pytest

from hrm.model.containers import LogChunk, LogStream
from hrm.model.errors import Conflict, NotFound
from hrm.model.jobs import TerminalSize
from hrm.model.states import ApplicationState
from hrm.testing.lives import Life, Lives, tasks


async def log(
    life: Life,
    app: str,
    task: int = 0,
    stream: LogStream = LogStream.STDOUT,
    offset: int = 0,
    attempt: int | None = None,
) -> LogChunk:
    return await life.service.read_log(app, task, stream, offset=offset, max_bytes=1000, attempt=attempt)


async def test_the_log_of_a_task_that_waits_is_empty_and_not_ended(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit()
    assert await log(life, app) == LogChunk(data=b"", next_offset=0, end=False)


async def test_the_log_of_a_running_task_is_not_ended(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo hello; sleep 1000000"))
    await life.settle()
    chunk = await log(life, app)
    assert (chunk.data, chunk.end) == (b"hello\n", False)
    assert (await log(life, app, offset=chunk.next_offset)).data == b""


async def test_the_log_of_a_task_that_is_over_ends(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo out; echo err >&2"))
    await life.ended(app)
    assert await log(life, app) == LogChunk(data=b"out\n", next_offset=4, end=True)
    assert (await log(life, app, stream=LogStream.STDERR)).data == b"err\n"


async def test_the_log_of_a_task_that_is_over_ends_while_others_run(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo out"), tasks(name="long"))
    await life.settle()
    assert await log(life, app) == LogChunk(data=b"out\n", next_offset=4, end=True)


async def test_the_latest_attempt_is_read_unless_one_is_named(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo $HRM_TASK_ATTEMPT; exit 1", retries=2))
    await life.ended(app)
    assert (await log(life, app)).data == b"3\n"
    assert [(await log(life, app, attempt=number)).data for number in (1, 2, 3)] == [b"1\n", b"2\n", b"3\n"]
    with pytest.raises(NotFound, match="no task 0, attempt 4"):
        await log(life, app, attempt=4)


async def test_an_earlier_attempt_can_be_read_while_the_task_tries_again(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo $HRM_TASK_ATTEMPT; sleep 1000000", retries=1))
    await life.settle()
    await life.finish(life.containers(app)[0], 1)
    assert (await log(life, app, attempt=1)) == LogChunk(data=b"1\n", next_offset=2, end=True)
    assert (await log(life, app)).data == b"2\n"


async def test_a_task_that_never_began_has_an_empty_log_that_ends(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "trap '' TERM; sleep 1000000"), tasks(name="large", cpus=4))
    await life.settle()
    await life.service.kill(app, by="ada")
    assert await log(life, app, task=1) == LogChunk(data=b"", next_offset=0, end=True)
    await life.pass_time(30)
    await life.ended(app)
    assert await log(life, app, task=1) == LogChunk(data=b"", next_offset=0, end=True)


async def test_a_task_that_does_not_exist_has_no_log(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=2))
    await life.settle()
    with pytest.raises(NotFound, match="has tasks 0 to 1, not 2"):
        await log(life, app, task=2)
    await life.service.kill(app, by="ada")
    await life.ended(app)
    with pytest.raises(NotFound, match="no task 2"):
        await log(life, app, task=2)


async def test_a_log_can_be_read_in_the_next_life(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sh", "-c", "echo kept"))
    await life.ended(app)
    await life.kill()
    life = await lives.begin()
    assert (await log(life, app)).data == b"kept\n"


async def test_input_reaches_the_task_also_when_it_was_sent_before_it_began(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit(tasks("cat"), stdin=True)
    writing = asyncio.create_task(life.service.write_stdin(app, b"hello"))
    await life.settle()
    assert not writing.done()
    await life.join_nodes()
    await writing
    await life.service.close_stdin(app)
    assert (await life.ended(app)).state is ApplicationState.FINISHED
    assert (await log(life, app)).data == b"hello"


async def test_input_to_a_job_that_ends_before_it_begins_is_dropped(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit(tasks("cat"), stdin=True)
    writing = asyncio.create_task(life.service.write_stdin(app, b"hello"))
    await life.settle()
    await life.service.kill(app, by="ada")
    await asyncio.wait_for(writing, 5)


async def test_input_to_a_job_without_one_is_refused(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    with pytest.raises(Conflict, match="without an input"):
        await life.service.write_stdin(app, b"hello")


async def test_a_signal_goes_to_every_running_task(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks(count=3))
    await life.settle()
    await life.service.signal(app, signal.SIGUSR1)
    report = await life.ended(app)
    assert (report.tasks_failed, report.exit_code) == (3, 128 + signal.SIGUSR1)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
async def test_a_signal_that_ends_programs_ends_a_job_that_has_not_begun(lives: Lives, signum: signal.Signals) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit()
    await life.service.signal(app, signum)
    report = await life.ended(app)
    assert (report.state, report.message) == (
        ApplicationState.KILLED,
        f"ended by signal {int(signum)} before it began",
    )


async def test_another_signal_to_a_job_that_has_not_begun_does_nothing(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit()
    await life.service.signal(app, signal.SIGWINCH)
    await life.settle()
    assert await life.states(app) == ["PENDING"]


async def test_an_attached_job_ends_when_its_last_client_is_gone_for_the_grace(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(attached=True)
    life.service.attach(app)
    life.service.attach(app)
    life.service.detach(app)
    await life.pass_time(100)
    assert await life.states(app) == ["RUNNING"]
    life.service.detach(app)
    await life.pass_time(9)
    assert await life.states(app) == ["RUNNING"]
    await life.pass_time(1)
    assert (await life.ended(app)).state is ApplicationState.KILLED


async def test_a_client_that_comes_back_within_the_grace_keeps_its_job(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(attached=True)
    life.service.attach(app)
    life.service.detach(app)
    await life.pass_time(9)
    life.service.attach(app)
    await life.pass_time(100)
    assert await life.states(app) == ["RUNNING"]


async def test_a_job_that_is_not_attached_needs_no_client(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit()
    life.service.attach(app)
    life.service.detach(app)
    await life.pass_time(1000)
    assert await life.states(app) == ["RUNNING"]


async def test_a_window_may_change_its_size_before_and_while_it_is_shown(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit(tasks("cat"), terminal=TerminalSize(rows=24, columns=80))
    life.service.resize_terminal(app, 30, 100)
    await life.join_nodes()
    await life.settle()
    life.service.resize_terminal(app, 40, 120)
    assert await life.states(app) == ["RUNNING"]


async def test_a_port_is_reached_that_the_task_listens_on_and_no_other(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("sleep", "1000000"), tasks(name="other"))
    await life.settle()
    container_id = (await life.service.ports(app, 0)).container_id
    life.engine.listen(container_id, 8888)

    stream = await life.service.connect(app, 0, 8888)
    await stream.write(b"hello")

    assert await stream.read() == b"hello"
    assert [(await life.service.ports(app, task)).ports for task in (0, 1)] == [[8888], []]
    for task, port, error in ((0, 8889, Conflict), (1, 8888, Conflict), (2, 8888, NotFound)):
        with pytest.raises(error):
            await life.service.connect(app, task, port)


async def test_a_task_that_waits_has_no_ports(lives: Lives) -> None:
    life = await lives.begin(nodes=False)
    app = await life.submit()

    with pytest.raises(Conflict, match="does not run"):
        await life.service.ports(app, 0)


async def test_an_application_that_is_over_has_no_ports(lives: Lives) -> None:
    life = await lives.begin()
    app = await life.submit(tasks("true"))
    await life.ended(app)

    with pytest.raises(Conflict, match="is over"):
        await life.service.ports(app, 0)
    with pytest.raises(NotFound):
        await life.service.ports("application_1_0099", 0)
