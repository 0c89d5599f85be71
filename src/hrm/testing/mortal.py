"""A real server over a real shepherd and a real database that can be killed and started again, and the truth about it.

The truth is a ledger: a file to which each task appends a line when it begins and another when it ends, by itself.
What the server reports is checked against that.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hrm.config.home import Home
from hrm.model.errors import HrmError
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import ApplicationReport, ContainerReport, TaskAttemptReport
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, TaskState
from hrm.nm.shepherd import faults
from hrm.sdk.client import Client
from hrm.testing.conditions import eventually
from hrm.testing.shepherds import kill_herd, kill_shepherd

_DEADLINE_S = 180.0
#: The lock is let go of by the kernel when the last process of the attempt is gone, however it went.
_SCRIPT = """\
exec 9>>"$LEDGER.$HRM_APPLICATION_ID.$HRM_TASK_INDEX"
flock -n 9 || echo "twice $HRM_CONTAINER_ID" >>"$LEDGER"
echo "began $HRM_CONTAINER_ID" >>"$LEDGER"
sleep "0.$((HRM_TASK_INDEX % 5 + 1))"
echo "ended $HRM_CONTAINER_ID" >>"$LEDGER"
"""


class MortalServer:
    """One server at a time over ``home``; what it started outlives it."""

    def __init__(self, home: Path, configuration: str = "") -> None:
        self.home = Home(home)
        self.home.create()
        self.home.config_file.write_text(configuration)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, fault: str = "") -> None:
        """Begin a life, planned to end as `hrm.nm.shepherd.faults` says; ready, or dead again, when this returns."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("HRM_")}
        if fault:
            env[faults.VARIABLE] = fault
        with self.home.log_file.open("ab") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hrm.server", "--home", str(self.home.path), "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
        eventually(lambda: process.poll() is not None or self._ready_pid() == process.pid, _DEADLINE_S)

    def _ready_pid(self) -> int | None:
        try:
            pid: int = json.loads(self.home.server_file.read_bytes())["pid"]
        except (FileNotFoundError, ValueError):
            return None
        return pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """``kill -9`` of the server; no error if it is dead."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_DEADLINE_S)

    def kill_shepherd(self) -> None:
        """``kill -9`` of the shepherd; no error if there is none. Containers run on."""
        kill_shepherd(self.home.node_dir)

    def close(self) -> None:
        """End everything."""
        self.kill()
        kill_herd(self.home.node_dir)

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with Client(home=self.home.path) as client:
            yield client

    def ended(self, application_id: str, timeout_s: float = _DEADLINE_S) -> ApplicationReport:
        """Its report when it is over, however often the server has to be started anew for that."""

        def over() -> ApplicationReport | None:
            if not self.alive:
                self.start()
            with contextlib.suppress(HrmError), self.client() as client:
                report = client.wait(application_id, timeout_s=0.1)
                return report if report.state.final else None
            return None

        report = eventually(over, timeout_s, describe=f"{application_id} ends")
        assert report is not None
        return report

    def submit(self, job: JobSpec, submit_id: str) -> str:
        """The id of the application, however often the server has to be started anew for that."""

        def accepted() -> str:
            if not self.alive:
                self.start()
            with contextlib.suppress(HrmError), self.client() as client:
                return client.submit(job, submit_id=submit_id).application_id
            return ""

        return eventually(accepted, _DEADLINE_S, describe="the submission is acknowledged")


class Ledger:
    """What tasks say of themselves."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def job(self, tasks: int) -> JobSpec:
        """Tasks of a core and a few tenths of a second each, which keep this ledger."""
        group = TaskGroupSpec(
            command=("sh", "-c", _SCRIPT),
            tasks=tasks,
            env={"LEDGER": str(self._path)},
            resources=Resources(memory_mib=16, vcores_milli=1000),
        )
        return JobSpec(groups=(group,))

    def lines(self) -> Counter[tuple[str, str]]:
        """How often each (``began``, ``ended`` or ``twice``; container id) was written."""
        return Counter((words[0], words[1]) for words in map(str.split, self._text().splitlines()))

    def _text(self) -> str:
        return self._path.read_text() if self._path.exists() else ""

    def count(self, word: str) -> int:
        return sum(times for (said, _), times in self.lines().items() if said == word)

    def check(self, server: MortalServer, applications: Sequence[str], *, losses: bool) -> None:
        """Every application succeeded, and what the server says of each attempt is what the attempt says.

        ``losses``: whether there may be attempts that ran and of which nobody saw the end. One that was decided and
        whose launch never left a dying server is lost, too, but never ran.

        Raises AssertionError, which tells of all attempts and all lines.
        """
        with server.client() as client:
            reports = [client.application(application_id) for application_id in applications]
            attempts = [one for application_id in applications for one in client.history(application_id)]
            left = client.containers()
        lines = self.lines()
        try:
            _check_server(reports, attempts, left)
            _check_runs(attempts, lines, losses=losses)
        except AssertionError as error:
            told = "\n".join([*map(_say_application, reports), *map(_say_attempt, attempts)])
            raise AssertionError(f"{error}\n{told}\n{self._path.name}:\n{self._text()}") from None


def _check_server(
    reports: Sequence[ApplicationReport], attempts: Sequence[TaskAttemptReport], left: Sequence[ContainerReport]
) -> None:
    for report in reports:
        assert report.state is ApplicationState.FINISHED, f"{report.application_id} has not succeeded"
        of_it = [one for one in attempts if one.application_id == report.application_id]
        succeeded = sorted(one.task_index for one in of_it if one.state is TaskState.SUCCEEDED)
        assert succeeded == list(range(report.tasks_total)), "not each task succeeded exactly once"
    assert not left, f"containers that are not over: {left}"


def _check_runs(attempts: Sequence[TaskAttemptReport], lines: Mapping[tuple[str, str], int], *, losses: bool) -> None:
    assert not [word for word, _ in lines if word == "twice"], "two attempts of a task ran at the same time"
    assert not [line for line, times in lines.items() if times > 1], "a container ran twice"
    for one in attempts:
        runs = [word for word in ("began", "ended") if (word, one.container_id) in lines]
        if one.state is TaskState.SUCCEEDED:
            assert runs == ["began", "ended"], f"{one.container_id} succeeded, and ran: {runs}"
        else:
            assert losses or not runs, f"{one.container_id} ran ({runs}), and its end was not heard of"
            assert (one.state, one.exit_code) == (TaskState.LOST, None), f"{one.container_id} was not lost"
    nobodys = {container_id for _, container_id in lines} - {one.container_id for one in attempts}
    assert not nobodys, f"these ran, and no attempt tells of them: {nobodys}"


def _say_application(report: ApplicationReport) -> str:
    counts = f"{report.tasks_succeeded} of {report.tasks_total} succeeded, {report.tasks_failed} failed"
    return f"{report.application_id} {report.state}: {counts} {report.message}"


def _say_attempt(one: TaskAttemptReport) -> str:
    times = f"allocated {one.allocated_at:.3f} started {one.started_at} ended {one.ended_at}"
    end = f"{one.state} exit code {one.exit_code} {one.message!r}"
    return f"  task {one.task_index} attempt {one.attempt} {one.container_id}: {end} {times}"
