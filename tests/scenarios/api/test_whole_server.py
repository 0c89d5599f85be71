"""The client against the whole server: real processes, their output, the examples as they stand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm import Client
from hrm.model.errors import NoServer
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState
from hrm.sdk.attachment import Ended, Output
from hrm.testing import eventually

EXAMPLES = Path(__file__).parents[3] / "examples"
SMALL = Resources(memory_mib=32, vcores_milli=250)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a server that is up."""
    path = tmp_path_factory.mktemp("home")
    path.chmod(0o700)
    with (path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hrm.server", "--home", str(path), "--port", "0"], stdout=out, stderr=out
        )
    try:
        eventually(lambda: (path / "server.json").exists() or process.poll() is not None)
        assert process.poll() is None, (path / "out").read_text()
        yield path
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=180)


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with Client(home=home) as connected:
        yield connected


#: A server whose first heartbeat finds a bug.
BROKEN = """
import sys
import hrm.server
from hrm.rm.listener import Listener

def fail(*_):
    raise RuntimeError("the books are wrong")

Listener._beat = fail
sys.exit(hrm.server.main(["--home", sys.argv[1], "--port", "0"]))
"""


def test_a_server_that_cannot_go_on_says_so_last_and_does_not_exit_with_success(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    ended = subprocess.run([sys.executable, "-c", BROKEN, str(home)], capture_output=True, text=True, timeout=180)

    assert ended.returncode == 1
    *_, what, next_step = ended.stderr.strip().splitlines()
    assert what == "hrm: the server ended because it could not go on (a turn failed: the books are wrong)"
    assert "start it again" in next_step
    assert not (home / "server.json").exists()


def shell(script: str, **fields: int) -> TaskGroupSpec:
    return TaskGroupSpec(command=("sh", "-c", script), resources=SMALL, **fields)


def test_every_byte_of_every_task_comes_before_the_end(client: Client) -> None:
    # Tasks that end at once, while the store is still busy with their beginnings, are the hard ones.
    job = JobSpec(groups=(shell("echo $HRM_TASK_INDEX; echo e$HRM_TASK_INDEX >&2", tasks=60),))
    with client.attach(client.submit(job).application_id) as attachment:
        *outputs, end = attachment

    assert isinstance(end, Ended)
    assert end.report.state is ApplicationState.FINISHED
    seen = sorted(
        (item.task_index, str(item.stream), item.data.decode()) for item in outputs if isinstance(item, Output)
    )
    assert seen == sorted(
        row for index in range(60) for row in ((index, "stdout", f"{index}\n"), (index, "stderr", f"e{index}\n"))
    )


def test_what_goes_into_cat_comes_out_of_it(client: Client) -> None:
    data = os.urandom(1 << 20)
    group = TaskGroupSpec(command=("cat",), resources=SMALL)
    with client.attach(client.submit(JobSpec(groups=(group,), stdin=True, attached=True)).application_id) as attachment:
        attachment.send_stdin(data)
        attachment.close_stdin()
        *outputs, end = attachment

    assert b"".join(item.data for item in outputs if isinstance(item, Output)) == data
    assert isinstance(end, Ended)
    assert end.report.exit_code == 0


def test_a_signal_reaches_the_program_through_the_attachment(client: Client) -> None:
    script = "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    with client.attach(client.submit(JobSpec(groups=(shell(script),), attached=True)).application_id) as attachment:
        items = iter(attachment)
        assert isinstance(first := next(items), Output)
        assert first.data == b"ready\n"
        attachment.signal(signal.SIGUSR1)
        *rest, end = items

    # The shell's own remark on its sleep, which the signal ended too, goes to stderr.
    assert [item.data for item in rest if isinstance(item, Output) and item.stream == "stdout"] == [b"got it\n"]
    assert isinstance(end, Ended)
    assert end.report.exit_code == 5


def test_a_log_is_followed_from_before_its_task_begins_to_its_end(client: Client) -> None:
    application_id = client.submit(
        JobSpec(groups=(shell("for n in 1 2 3; do echo $n; sleep 0.05; done"),))
    ).application_id

    assert b"".join(client.logs(application_id, follow=True)) == b"1\n2\n3\n"


def test_a_repeated_submit_is_one_application_on_disk(client: Client, home: Path) -> None:
    job = JobSpec(groups=(shell("true"),))

    with Client(home=home) as other:
        reports = [client.submit(job, submit_id="once"), other.submit(job, submit_id="once")]

    assert [report.created for report in reports] == [True, False]
    assert reports[0].application_id == reports[1].application_id


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ("submit_and_wait.py", "FINISHED, exit code 0"),
        ("follow_logs.py", "3\n2\n1\nlift-off\n"),
        ("array_of_tasks.py", "FINISHED: [0, 1, 4, 9, 16, 25, 36, 49]"),
        ("talk_to_a_job.py", "4\n30\n100\n"),
    ],
)
def test_the_examples_do_what_they_say(home: Path, example: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / example],
        env={**os.environ, "HRM_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout


def test_every_example_is_tried() -> None:
    tried = {"submit_and_wait.py", "follow_logs.py", "array_of_tasks.py", "talk_to_a_job.py"}
    tried_elsewhere = {
        "own_master.py",  # as a submitted master: tests/acceptance/test_own_masters.py
        "drive_the_core.py",  # tests/scenarios/core/test_driver.py
        "checkpointed_task.py",  # tests/acceptance/test_preemption.py
        "four_machines.py",  # with real raylets and root: .ci/run --real
        "all_reduce.py",  # tests/acceptance/test_gangs.py
        "ray_job.py",  # tests/acceptance/test_ray_jobs.py
    }

    assert {path.name for path in EXAMPLES.glob("*.py")} == tried | tried_elsewhere


def test_the_server_goes_when_an_admin_says_so_and_open_streams_do_not_hold_it_up(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hrm.server", "--home", str(tmp_path), "--port", "0"], stdout=out, stderr=out
        )
    try:
        eventually(lambda: (tmp_path / "server.json").exists())
        with Client(home=tmp_path) as client:
            events = client.events()
            next(events)
            client.shutdown()
            with pytest.raises(NoServer):
                list(events)
        assert process.wait(timeout=180) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
