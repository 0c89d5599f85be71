"""Processes as the doctor sees them: of recorded machines, and real ones of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hrm.doctor import processes
from hrm.doctor.processes import Running
from hrm.doctor.system import LocalSystem
from hrm.testing.machines import Machine

SHELL = "/usr/bin/gnome-shell --display :0"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_process_is_told_with_its_state_parent_and_command_line(machine: Machine) -> None:
    machine.process(3198, SHELL, state="D")

    one = processes.process(machine.system(), 3198)

    assert one == Running(3198, "gnome-shell", "D", 1, SHELL)
    assert one.hangs


def test_a_name_with_parentheses_and_spaces_does_not_shift_what_follows(machine: Machine) -> None:
    machine.file("/proc/77/stat", "77 (a) b (c) R 12 77 77 0\n").file("/proc/77/cmdline", "x\0")

    assert processes.process(machine.system(), 77) == Running(77, "a) b (c", "R", 12, "x")


def test_a_kernel_thread_is_shown_as_ps_does(machine: Machine) -> None:
    machine.file("/proc/2/stat", "2 (kthreadd) S 0 0 0 0\n").file("/proc/2/cmdline", "")

    (one,) = processes.processes(machine.system())

    assert (one.command_line, one.shown) == ("", "[kthreadd]")


def test_who_holds_a_file_is_told_with_the_files_as_lsof_does(machine: Machine) -> None:
    machine.process(3198, SHELL, holds=["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia0", "socket:[1]"])
    machine.process(40, "/usr/sbin/sshd -D", holds=["/dev/null", "/var/dev/nvidia0"])

    held = processes.holders(machine.system(), r"/dev/nvidia")

    assert [(one.process.pid, one.paths) for one in held.found] == [(3198, ("/dev/nvidia0", "/dev/nvidiactl"))]
    assert held.what_is_unseen == ""


def test_a_file_that_was_closed_and_is_still_mapped_is_held(machine: Machine) -> None:
    machine.process(50, "train").file(
        "/proc/50/maps",
        "7f0000000000-7f0000001000 rw-s 00000000 00:06 532   /dev/nvidia0\n"
        "7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n"
        "7f0000004000-7f0000005000 r-xp 00000000 08:01 99    /usr/lib/x/libnvidia-ml.so.418.39 (deleted)\n",
    )

    assert processes.holders(machine.system(), "/dev/nvidia").found == ()
    assert [one.paths for one in processes.holders(machine.system(), "/dev/nvidia", mapped=True).found] == [
        ("/dev/nvidia0",)
    ]


def test_processes_whose_files_only_root_may_see_are_counted(machine: Machine) -> None:
    machine.process(3198, SHELL, holds=["/dev/nvidia0"]).process(7, "mine", holds=["/dev/nvidia1"])
    machine.denied("/proc/3198/fd").seen_by(1000)

    held = processes.holders(machine.system(), "/dev/nvidia")

    assert [one.process.pid for one in held.found] == [7]
    assert held.what_is_unseen == "open files of 1 processes (needs root)"


def test_where_a_process_waits_in_the_kernel_is_told_where_the_kernel_says_it(machine: Machine) -> None:
    machine.process(9, "nvidia-smi", state="D").file("/proc/9/wchan", "os_acquire_rwlock_write")
    machine.process(10, "bash").file("/proc/10/wchan", "0")

    assert processes.waits_in(machine.system(), 9) == "os_acquire_rwlock_write"
    assert processes.waits_in(machine.system(), 10) == ""


def test_how_long_ago_a_process_began_is_told_by_the_kernels_clock(machine: Machine) -> None:
    machine.process(9, "nvidia-smi", began_s=1000.0).file("/proc/uptime", "1300.50 9000.00\n")
    machine.file("/proc/10/stat", "10 (short) S 1\n")

    assert processes.age_s(machine.system(), 9) == pytest.approx(300.5)
    assert processes.age_s(machine.system(), 10) is None


def test_a_real_process_is_found_by_the_file_that_it_holds_and_is_gone_when_it_has_ended(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("")
    program = "import sys; held = open(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"

        (holder,) = processes.holders(LocalSystem(), str(held)).found

        assert holder.process.pid == child.pid
        assert holder.process.command_line == " ".join([sys.executable, "-c", program, str(held)])
        assert processes.runs(LocalSystem(), child.pid)
    finally:
        child.kill()
        child.communicate()
    assert not processes.runs(LocalSystem(), child.pid)
    assert processes.holders(LocalSystem(), str(held)).found == ()


def test_a_process_that_ended_and_was_not_waited_for_does_not_run(machine: Machine) -> None:
    machine.process(12, "defunct", state="Z")

    assert not processes.runs(machine.system(), 12)
    assert not processes.runs(machine.system(), 13)
