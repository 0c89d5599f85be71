"""`hrm explain` on a real server: what it prints, word for word but for names, ids and times."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path

import pytest

from hrm.testing.conditions import eventually
from tests.acceptance.conftest import Hrm
from tests.golden import compare

GOLDEN = Path(__file__).with_name("golden")
CONFIGURATION = """\
node: {vcores: 4, memory: 4G, virtual_gpus: 2}
queues:
  research: {weight: 3, max_running_apps: 1}
  batch: {max_share: {cpus: 2, memory: 4G, gpus: 0}}
  default: {}
server: {port: 0}
"""


def without_what_differs(text: str) -> str:
    """Names of this machine, ids and times, which no two runs have in common; columns as wide as they are."""
    for pattern, name in (
        (rf"\b{re.escape(socket.gethostname().lower())}\b", "NODE"),
        (rf"\b{re.escape(getpass.getuser())}\b", "USER"),
        (r"application_\d+_", "application_T_"),
        (r"\b\d\d:\d\d:\d\d\b|\b\d\d-\d\d \d\d:\d\d\b", "TIME"),
        (r"\b(\d+m)?\d+(\.\d+)?s\b", "SPAN"),
    ):
        text = re.sub(pattern, name, text, flags=re.IGNORECASE)
    # Where a line is broken depends on the names in it.
    text = re.sub(r"\n {2,}(?!\*)", " ", text)
    return re.sub(r" {2,}", "  ", text)


@pytest.fixture
def busy(hrm: Hrm) -> Hrm:
    """Both GPUs of the only node are in use by application 1."""
    hrm.configure(CONFIGURATION)
    assert hrm("up", "--detach").code == 0
    hrm("submit", "--queue", "research", "--gpus", 2, "--timeout", "2h", "--", "sleep", 1000)
    eventually(lambda: hrm.state("1") == "RUNNING")
    return hrm


def told(hrm: Hrm, app: str, reason: str) -> str:
    """What is explained once the reason has been noted, at a tick, when shares are worked out too."""
    eventually(lambda: [one["reason"] for one in hrm("explain", app, "-o", "json").json["history"]] == [reason])
    return without_what_differs(hrm("explain", app).out)


def test_a_job_without_a_free_gpu(busy: Hrm) -> None:
    waiting = busy("submit", "--gpus", 1, "--", "true").out.strip()

    compare(GOLDEN / "no_free_gpu.txt", told(busy, waiting, "insufficient_gpus"))


def test_an_application_that_may_not_run_yet(busy: Hrm) -> None:
    waiting = busy("submit", "--queue", "research", "--", "sleep", 1000).out.strip()
    text = told(busy, waiting, "queue_max_running_apps")

    compare(GOLDEN / "too_many_running_apps.txt", text)
    assert busy("move", waiting, "--queue", "default").code == 0
    eventually(lambda: busy.state(waiting) == "RUNNING")


def test_a_queue_at_its_max_share(busy: Hrm) -> None:
    busy("submit", "--queue", "batch", "--cpus", 1, "--memory", "512M", "--tasks", 2, "--", "sleep", 1000)
    eventually(lambda: busy.apps("2")[0]["tasks_running"] == 2)
    waiting = busy("submit", "--queue", "batch", "--cpus", 1, "--memory", "512M", "--", "true").out.strip()

    compare(GOLDEN / "queue_at_max_share.txt", told(busy, waiting, "queue_max_share"))


def test_what_failed_says_how_and_where_its_output_is(busy: Hrm) -> None:
    failed = busy("submit", "--wait", "--", "sh", "-c", "exit 3").out.split()[0]

    compare(GOLDEN / "failed.txt", without_what_differs(busy("explain", failed).out))
    assert busy("explain", failed, "-o", "json").json["ended"]["exit_codes"] == {"3": 1}


def test_the_history_of_what_waits_says_since_when(busy: Hrm) -> None:
    waiting = busy("submit", "--gpus", 1, "--", "true").out.strip()

    eventually(lambda: "insufficient_gpus" in busy("explain", waiting, "--history").out)
