"""Cures against real things: processes, commands and files of this machine."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hrm.doctor.cures import Result, by_itself, cure
from hrm.doctor.hands import LocalHands
from hrm.doctor.processes import command_line, runs
from hrm.doctor.steps import by_hand, end_process, reboot, run, write
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Risk, Severity, Step, Text
from hrm.testing.machines import Machine

SYSTEM = LocalSystem()
SAFE = frozenset({Risk.SAFE})
ALL = frozenset({Risk.SAFE, Risk.DISRUPTIVE})
WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"
IGNORES_TERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
TEXT = Text("Do it.", "执行。")


def finding(*steps: Step) -> Finding:
    return Finding(code="HRM-X-001", check="x.x", severity=Severity.ERROR, title=TEXT, why=TEXT, cure=steps)


def results(*steps: Step, allowed: frozenset[Risk] = ALL, hands: LocalHands | None = None) -> list[Result]:
    return [done.result for done in cure(finding(*steps), hands or LocalHands(SYSTEM), allowed=allowed)]


class Child:
    """A real process that waits until its input ends."""

    def __init__(self, program: str = WAITS) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid
        self.command_line = command_line(SYSTEM, self.pid)


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.process.kill()
    child.process.communicate()


def no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unknown)


@pytest.mark.parametrize("kernel", ["new", "before 5.3"])
def test_a_process_is_ended(child: Child, monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    if kernel != "new":
        no_pidfd(monkeypatch)

    assert results(end_process(child.pid, child.command_line)) == [Result.DONE]
    assert child.process.wait(60) == -signal.SIGTERM


def test_a_process_that_does_not_heed_the_first_signal_is_ended_by_the_second() -> None:
    child = Child(IGNORES_TERM)
    try:
        hands = LocalHands(SYSTEM, grace_s=1.0)

        assert results(end_process(child.pid, child.command_line), hands=hands) == [Result.DONE]
        assert child.process.wait(60) == -signal.SIGKILL
    finally:
        child.process.kill()
        child.process.communicate()


@pytest.mark.parametrize("kernel", ["new", "before 5.3"])
def test_a_pid_that_is_another_process_now_is_left_alone(
    child: Child, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    if kernel != "new":
        no_pidfd(monkeypatch)

    (done,) = cure(finding(end_process(child.pid, "python train.py")), LocalHands(SYSTEM), allowed=ALL)

    assert done.result is Result.FAILED
    assert f"pid {child.pid} is now" in done.said
    assert "no longer 'python train.py'" in done.said
    assert runs(SYSTEM, child.pid)


@pytest.mark.parametrize("kernel", ["new", "before 5.3"])
def test_a_process_that_has_ended_already_is_done(child: Child, monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    if kernel != "new":
        no_pidfd(monkeypatch)
    step = end_process(child.pid, child.command_line)
    child.process.kill()
    child.process.communicate()

    assert results(step) == [Result.ALREADY]


def test_a_process_that_ended_and_was_not_waited_for_is_done(child: Child) -> None:
    step = end_process(child.pid, child.command_line)
    child.process.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert results(step) == [Result.ALREADY]


@pytest.mark.parametrize("whose", [os.getpid, os.getppid], ids=["its own", "its parent's"])
def test_the_doctor_ends_neither_itself_nor_what_it_was_started_by(whose: Callable[[], int]) -> None:
    pid = whose()
    (done,) = cure(finding(end_process(pid, command_line(SYSTEM, pid))), LocalHands(SYSTEM), allowed=ALL)

    assert done.result is Result.FAILED
    assert "the doctor itself" in done.said


def test_another_users_process_is_said_to_need_root(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)

    (done,) = cure(finding(end_process(child.pid, child.command_line)), LocalHands(SYSTEM), allowed=ALL)

    assert (done.result, done.said) == (Result.FAILED, f"pid {child.pid} is another user's (needs root)")


def test_a_file_is_written_whole_with_its_mode_and_a_second_time_it_is_so_already(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "modprobe.d" / "x.conf"
    step = write(str(path), "blacklist nouveau\n", about=TEXT, mode=0o640)

    assert (results(step), results(step)) == ([Result.DONE], [Result.ALREADY])
    assert path.read_text() == "blacklist nouveau\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert os.listdir(path.parent) == ["x.conf"]


def test_a_file_whose_mode_alone_differs_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a\n")
    (tmp_path / "x").chmod(0o600)

    assert results(write(str(tmp_path / "x"), "a\n", about=TEXT)) == [Result.DONE]
    assert (tmp_path / "x").stat().st_mode & 0o7777 == 0o644


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")

    assert results(write(str(tmp_path / "link"), "new\n", about=TEXT)) == [Result.DONE]
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()

    (done,) = cure(finding(write(str(tmp_path / "x"), "new\n", about=TEXT)), LocalHands(SYSTEM), allowed=ALL)

    assert (done.result, done.said) == (Result.FAILED, f"{tmp_path}/x: Is a directory")
    assert os.listdir(tmp_path) == ["x"]


def test_a_command_is_run_and_what_it_printed_is_kept(tmp_path: Path) -> None:
    (done,) = cure(finding(run("sh", "-c", "echo a; echo b >&2")), LocalHands(SYSTEM), allowed=ALL)

    assert (done.result, done.said) == (Result.DONE, "a\nb\n")


@pytest.mark.parametrize(
    ("said", "done_if"),
    [
        ("rmmod: ERROR: Module nvidia is not currently loaded", "not currently loaded"),
        ("umount: /data: not mounted.", "not mounted"),
    ],
)
def test_what_is_so_already_counts_as_done_by_the_commands_own_words(said: str, done_if: str) -> None:
    fails = ("sh", "-c", f"echo '{said}' >&2; exit 1")

    assert results(run(*fails, done_if=(done_if,)), run("true")) == [Result.ALREADY, Result.DONE]
    assert results(run(*fails, done_if=("something else",)), run("true")) == [Result.FAILED]


def test_the_first_step_that_fails_is_the_last_one(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    done = cure(finding(run("true"), run("false"), run("touch", str(mark))), LocalHands(SYSTEM), allowed=ALL)

    assert [one.result for one in done] == [Result.DONE, Result.FAILED]
    assert done[-1].said == "it ended with 1"
    assert not mark.exists()


def test_a_program_that_is_not_installed_fails_its_step() -> None:
    (done,) = cure(finding(run("no-such-program")), LocalHands(SYSTEM), allowed=ALL)

    assert (done.result, done.said) == (Result.FAILED, "no-such-program: not found")


def test_it_stops_before_what_only_a_person_can_do(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    assert results(run("true"), by_hand("Think.", "思考。"), run("touch", str(mark))) == [Result.DONE, Result.LEFT]
    assert not mark.exists()


def test_a_node_is_never_restarted_whatever_is_allowed() -> None:
    everything = frozenset(Risk)

    assert results(run("true"), reboot(), allowed=everything) == [Result.DONE, Result.LEFT]
    assert by_itself(finding(run("true"), reboot(), run("false"))) == (run("true"),)


def test_nothing_is_begun_that_may_not_be_finished(tmp_path: Path) -> None:
    """A package that is held, and not let go of, is worse than one that never was."""
    mark = tmp_path / "mark"
    steps = (run("touch", str(mark)), run("true", risk=Risk.DISRUPTIVE))

    assert results(*steps, allowed=SAFE) == [Result.LEFT]
    assert not mark.exists()
    assert results(*steps, allowed=ALL) == [Result.DONE, Result.DONE]


def test_who_listens_hears_of_each_step_before_and_after() -> None:
    heard: list[str] = []

    cure(
        finding(run("true"), run("false")),
        LocalHands(SYSTEM),
        allowed=ALL,
        on_step=lambda step: heard.append(f"begins {step.command}"),
        on_done=lambda done: heard.append(f"{done.result} {done.step.command}"),
    )

    assert heard == ["begins true", "done true", "begins false", "failed false"]


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 8:2 / /var rw,relatime - ext4 /dev/sda2 rw
40 22 0:40 / /home rw,relatime - nfs4 master00:/home rw,addr=172.19.0.200
41 22 8:16 / /data rw,relatime - ext4 /dev/sdb rw
42 30 0:41 / /var/lib/mesos/meta/shared rw,relatime - nfs4 master00:/opt rw
"""


@pytest.fixture
def mounted(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine").file("/proc/self/mountinfo", MOUNTS)


def delete(machine: Machine, path: str, *, real: str | None = None, hangs: bool = False) -> tuple[int, str]:
    directory = path.rpartition("/")[0] or "/"
    machine.command("realpath", "-m", "--", directory, stdout=f"{real or directory}\n", hangs=hangs)
    return LocalHands(machine.command("rm", "-f", path).system()).run(["rm", "-f", path])


@pytest.mark.parametrize("path", ["/etc/x.conf", "/var/lib/mesos/meta/slaves/latest", "/x"])
def test_a_file_of_the_machines_own_may_be_deleted(mounted: Machine, path: str) -> None:
    assert delete(mounted, path) == (0, "")


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/home/ada/x", "/home"),
        ("/data/x", "/data"),
        ("/home", "/home"),
        ("/var/lib/mesos/meta/shared/x", "/var/lib/mesos/meta/shared"),
        ("/var/lib/mesos/meta", "/var/lib/mesos/meta/shared"),
    ],
)
def test_nothing_is_ever_deleted_beneath_a_mount_point(mounted: Machine, path: str, point: str) -> None:
    status, said = delete(mounted, path)

    assert status != 0
    assert said == f"{path}: {point} is a mount point, and nothing is deleted beneath one"


def test_a_link_does_not_lead_a_deletion_beneath_a_mount_point(mounted: Machine) -> None:
    status, said = delete(mounted, "/soft/mesos/x", real="/data/mesos")

    assert status != 0
    assert "/data is a mount point" in said


def test_where_it_lies_must_be_known(mounted: Machine) -> None:
    status, said = delete(mounted, "/soft/x", hangs=True)

    assert status != 0
    assert "nobody can say where it lies" in said


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="/dev/shm is no mount point here")
def test_a_real_file_beneath_a_real_mount_point_stays() -> None:
    path = Path(f"/dev/shm/hrm-doctor-{os.getpid()}")
    path.write_text("")
    try:
        assert results(run("rm", "-f", str(path), risk=Risk.DISRUPTIVE)) == [Result.FAILED]
        assert path.exists()
    finally:
        path.unlink()
