"""Mesos on this machine's own processes, ports and directories; only the programs stand in for Mesos'."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.doctor.checks import Check
from hrm.doctor.cures import Result, cure
from hrm.doctor.expected import Expected
from hrm.doctor.expected.mesos import MesosExpected
from hrm.doctor.hands import LocalHands
from hrm.doctor.mesos import identity, lists, recovery
from hrm.doctor.mesos.settings import AGENT, MASTER, mesos
from hrm.doctor.mounts import mounts
from hrm.doctor.processes import process
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Risk
from hrm.model.mounts import mount_of
from hrm.testing import eventually
from tests.doctor_real.namespaces import do, doctor_in
from tests.unit.doctor.test_mesos_cluster import AGENT_1_4, AGENT_1_6

pytestmark = [pytest.mark.real, pytest.mark.doctor_real]

DAEMON = "#!/bin/sh\n# Stands in for a daemon of Mesos.\nexec 9>&1\nwhile :; do sleep 60 & wait $!; done\n"


class Installation:
    """An installation of Mesos in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc" / "mesos"
        self.work = root / "work"
        self.latest = self.work / "meta" / "slaves" / "latest"
        self._children: list[subprocess.Popen[bytes]] = []
        for place in (self.etc, self.latest.parent, root / "sbin", root / "log"):
            place.mkdir(parents=True)

    def env(self, role: str, **settings: object) -> None:
        lines = [f"export MESOS_{name}={value} # 设置\n" for name, value in settings.items()]
        (self.etc / f"mesos-{role}-env.sh").write_text("".join(lines))

    def start(self, role: str, *flags: str) -> int:
        program = self.root / "sbin" / f"mesos-{role}"
        program.write_text(DAEMON)
        program.chmod(0o755)
        self._children.append(subprocess.Popen([str(program), *flags], start_new_session=True))
        pid = self._children[-1].pid
        name = f"sbin/mesos-{role}"
        eventually(lambda: (one := process(LocalSystem(), pid)) is not None and name in one.command_line, timeout_s=30)
        return pid

    def found(self, check: Check) -> list[Finding]:
        expected = Expected(mesos=MesosExpected(directories=(str(self.etc),)))
        report = examine("here", LocalSystem(), expected, [check])
        assert [what for run in report.checks_run for what in run.unseen] == []
        return list(report.findings)

    def end(self) -> None:
        for child in self._children:
            os.killpg(child.pid, 9)
            child.wait(timeout=30)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "mesos")
    yield installation
    installation.end()


def test_settings_are_found_beside_a_master_that_runs(here: Installation) -> None:
    here.env("master", cluster="lab", work_dir=here.work)
    here.start("master", "--port=15050")

    told = mesos(LocalSystem(), Expected())

    assert str(here.etc) in told.directories
    assert told.runs(MASTER)
    assert (told.value(MASTER, "port"), told.value(MASTER, "cluster")) == ("15050", "lab")


def test_a_port_in_use_is_found_with_the_program_that_has_it(here: Installation) -> None:
    server = "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(600)"
    code = f"import socket, time; {server}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            here.env("agent", port=int(other.stdout.readline()), ip="127.0.0.1")

            (found,) = here.found(identity.ports_are_free_or_mesos)
        finally:
            other.kill()

    assert found.code == "HRM-MESOS-013"
    assert found.cure[0].ends is not None
    assert found.cure[0].ends.pid == other.pid
    assert here.found(identity.ports_are_free_or_mesos) == []


def test_listed_agents_that_run_that_do_not_and_that_are_no_machines_are_told_apart(here: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as agent:
        here.env("agent", port=agent.getsockname()[1])
        here.start("master")
        (here.etc / "slaves").write_text("127.0.0.1\n127.0.0.2\nno-such-machine.invalid\n#127.0.0.3\n")

        found = here.found(lists.listed_hosts_are_there)

    assert sorted((one.code, one.evidence[0].text) for one in found) == [
        ("HRM-MESOS-023", "127.0.0.2"),
        ("HRM-MESOS-024", "no-such-machine.invalid"),
    ]


@pytest.mark.root
def test_a_listed_agent_whose_machine_is_not_there_is_found(
    here: Installation, namespaces: tuple[str, str], tmp_path: Path
) -> None:
    for number, name in enumerate(namespaces, 1):
        do("ip", "-n", name, "address", "add", f"10.78.0.{number}/24", "dev", "eth0")
    here.start("master")
    (here.etc / "slaves").write_text("10.78.0.2\n10.78.0.9\n")
    config = f"doctor:\n  mesos:\n    directories: [{here.etc}]\n"

    found = doctor_in(namespaces[0], tmp_path / "home", lists.listed_hosts_are_there.name, config=config)

    assert sorted((one["code"], one["evidence"][0]["text"]) for one in found) == [
        ("HRM-MESOS-022", "10.78.0.9"),
        ("HRM-MESOS-023", "10.78.0.2"),
    ]


@pytest.mark.parametrize("log", [AGENT_1_4, AGENT_1_6])
def test_an_agent_that_its_past_keeps_from_starting_is_found_and_the_link_alone_is_removed(
    here: Installation, log: str
) -> None:
    old = here.latest.parent / "7c6e-S3"
    old.mkdir()
    (old / "slave.info").write_bytes(b"\0\1")
    here.latest.symlink_to(old)
    here.env("agent", work_dir=here.work, log_dir=here.root / "log", master="127.0.0.1:5050")
    (here.root / "log" / "mesos-agent.ERROR").write_text(log.format(latest=here.latest))
    master = here.start("master")

    (found,) = here.found(recovery.agent_is_not_kept_from_starting_by_its_past)

    assert found.code == "HRM-MESOS-050"
    removal = found.cure[2]
    mount = mount_of(str(here.latest), mounts(LocalSystem()))
    if mount is None or mount.point != "/":
        assert removal.by_hand
        return
    step = replace(found, cure=(removal,))
    for result in (Result.DONE, Result.DONE):
        done = cure(step, LocalHands(LocalSystem()), allowed=frozenset(Risk))
        assert [one.result for one in done] == [result]
    assert not here.latest.is_symlink()
    assert (old / "slave.info").exists()
    assert here.found(recovery.agent_is_not_kept_from_starting_by_its_past) == []
    assert process(LocalSystem(), master) is not None


def test_an_agent_that_runs_is_well_whatever_its_log_says(here: Installation) -> None:
    here.latest.symlink_to(here.root)
    here.env("agent", work_dir=here.work, log_dir=here.root / "log")
    (here.root / "log" / "mesos-agent.ERROR").write_text(AGENT_1_6.format(latest=here.latest))
    here.start("agent")

    assert here.found(recovery.agent_is_not_kept_from_starting_by_its_past) == []
    assert mesos(LocalSystem(), Expected()).runs(AGENT)
