"""A Mesos cluster: its lists, the GPUs it lends, its working directories, and agents that do not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.mesos import MesosExpected
from hrm.doctor.mesos import gpus, lists, recovery
from hrm.testing.machines import Machine
from tests.unit.doctor.mesos_machines import AGENT_ENV, ETC, GPU_FLAGS, MASTER_ENV, agent, master, node

LOCAL = Expected(mesos=MesosExpected(directories=(ETC,)))
SLAVES = "slave05\nslave06\nslave07\n#master00\n"
WORK = "/soft/mesos-1.6.1/mesos_install/work"
LOG = "/soft/mesos-1.6.1/mesos_install/log/slave/mesos-agent.ERROR"
LATEST = f"{WORK}/meta/slaves/latest"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def codes(machine: Machine, check: object, expected: Expected = LOCAL) -> list[str]:
    return [found.code for found in machine.findings(check, expected)]  # type: ignore[arg-type]


def test_the_notebooks_lists_are_well(machine: Machine) -> None:
    master(machine).file(f"{ETC}/masters", "master00\n#slave01\n").file(f"{ETC}/slaves", SLAVES)

    assert codes(machine, lists.lists_name_each_host_once) == []


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("slave05 # the old one\nslave06\n", "HRM-MESOS-020", 1),
        ("1 slave05\n", "HRM-MESOS-020", 1),
        ("slave05\n  #slave06\n", "HRM-MESOS-020", 2),
        ("slave05\nslave06\nslave05\n", "HRM-MESOS-021", 1),
    ],
)
def test_lists_that_scripts_read_otherwise_than_people_are_found(
    machine: Machine, content: str, code: str, line: int
) -> None:
    master(machine).file(f"{ETC}/slaves", content)

    (found,) = machine.findings(lists.lists_name_each_host_once, LOCAL)

    assert (found.code, found.evidence[0].line) == (code, line)


def test_a_slave_that_carries_a_masters_settings_is_found(machine: Machine) -> None:
    settings = MASTER_ENV.replace("172.19.0.200", "172.19.0.206").replace("master00", "slave06")
    agent(machine).file(f"{ETC}/mesos-master-env.sh", settings)
    machine.file(f"{ETC}/masters", "master00\n").file(f"{ETC}/slaves", SLAVES)

    (found,) = machine.findings(lists.lists_name_each_host_once, LOCAL)

    assert (found.code, found.severity) == ("HRM-MESOS-025", "warning")
    assert found.evidence[0].source == f"{ETC}/mesos-master-env.sh"


def test_a_master_that_is_an_agent_too_may_have_both_files(machine: Machine) -> None:
    master(machine).file(f"{ETC}/mesos-agent-env.sh", AGENT_ENV)
    machine.file(f"{ETC}/masters", "master00\n").file(f"{ETC}/slaves", "master00\nslave05\n")

    assert codes(machine, lists.lists_name_each_host_once) == []


def test_another_master_than_agents_look_for_is_found(machine: Machine) -> None:
    agent(machine).file(f"{ETC}/masters", "slave05\n")

    (found,) = machine.findings(lists.lists_name_each_host_once, LOCAL)

    assert found.code == "HRM-MESOS-026"
    assert found.title.en == f"Agents look for the master 172.19.0.200, but {ETC}/masters has slave05"


def test_members_that_cannot_be_reached_do_not_run_or_have_no_address_are_told_on_the_master(machine: Machine) -> None:
    master(machine).file(f"{ETC}/masters", "master00\n")
    machine.file(f"{ETC}/slaves", "slave05\nslave06\nslave07\nslave08\n#slave09\n")
    machine.port("master00:5050").port("slave05:5051").port("slave06:5051", "refused")
    machine.port("slave07:5051", "timeout").port("slave07:22", "timeout")
    machine.command("getent", "ahostsv4", "slave08", status=2)

    found = machine.findings(lists.listed_hosts_are_there, LOCAL)

    assert sorted((one.code, one.evidence[0].text) for one in found) == [
        ("HRM-MESOS-022", "slave07"),
        ("HRM-MESOS-023", "slave06"),
        ("HRM-MESOS-024", "slave08"),
    ]


def test_agents_do_not_ask_after_each_other(machine: Machine) -> None:
    agent(machine).file(f"{ETC}/masters", "master00\n").file(f"{ETC}/slaves", SLAVES)

    assert codes(machine, lists.listed_hosts_are_there) == []


def test_flags_of_gpus_that_fit_are_well(machine: Machine) -> None:
    agent(machine, gpus=2).file("/etc/rc.local", f"mesos-agent {GPU_FLAGS}\n")

    assert codes(machine, gpus.settings_of_gpus_fit_each_other) == []
    assert codes(machine, gpus.gpus_are_lent_as_meant) == []


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (GPU_FLAGS.replace("gpus:1", "gpus:2"), "HRM-MESOS-030"),
        (GPU_FLAGS.replace("gpus:1", "cpus:4;gpus(*):2;mem:1024"), "HRM-MESOS-030"),
        (GPU_FLAGS.replace("gpu/nvidia", "cgroups/mem"), "HRM-MESOS-031"),
        (GPU_FLAGS.replace("gpus:1", "cpus:4"), "HRM-MESOS-032"),
        (GPU_FLAGS.replace('--nvidia_gpu_devices="0"', ""), "HRM-MESOS-032"),
        (GPU_FLAGS.replace("filesystem/linux,", ""), "HRM-MESOS-033"),
        (GPU_FLAGS.replace("cgroups/devices,", ""), "HRM-MESOS-033"),
        (GPU_FLAGS.replace('devices="0"', 'devices="2"'), "HRM-MESOS-034"),
        (GPU_FLAGS.replace('devices="0"', 'devices="0,0"').replace("gpus:1", "gpus:2"), "HRM-MESOS-035"),
        (GPU_FLAGS + " --containerizers=docker", "HRM-MESOS-039"),
    ],
)
def test_flags_of_gpus_with_which_the_agent_does_not_start_are_found(machine: Machine, flags: str, code: str) -> None:
    agent(machine, gpus=2).file("/etc/rc.local", f"mesos-agent {flags}\n")

    (found,) = machine.findings(gpus.settings_of_gpus_fit_each_other, LOCAL)

    assert (found.code, found.severity) == (code, "error")
    assert f"mesos-agent {flags}" in [evidence.text for evidence in found.evidence]
    assert GPU_FLAGS in found.cure[0].about.en


def test_gpus_in_json_are_counted(machine: Machine) -> None:
    resources = '[{"name": "gpus", "type": "SCALAR", "scalar": {"value": 2}}]'
    agent(machine, gpus=2).file("/etc/mesos-slave/resources", resources)
    machine.file("/etc/mesos-slave/nvidia_gpu_devices", "0\n").file(
        "/etc/mesos-slave/isolation", "filesystem/linux,cgroups/devices,gpu/nvidia\n"
    )

    assert codes(machine, gpus.settings_of_gpus_fit_each_other) == ["HRM-MESOS-030"]


def test_without_a_list_all_gpus_are_lent(machine: Machine) -> None:
    agent(machine, gpus=2).file("/etc/rc.local", f"mesos-agent --isolation={gpus.ISOLATION}\n")

    (found,) = machine.findings(gpus.gpus_are_lent_as_meant, LOCAL)

    assert (found.code, found.severity, found.title.en) == (
        "HRM-MESOS-036",
        "info",
        "Mesos lends all 2 GPUs of this machine",
    )


def test_without_the_isolator_no_gpu_is_kept_from_anybody(machine: Machine) -> None:
    assert codes(agent(machine, gpus=2), gpus.gpus_are_lent_as_meant) == ["HRM-MESOS-037"]


def test_other_gpus_than_are_to_be_lent_are_found(machine: Machine) -> None:
    agent(machine, gpus=2).file("/etc/rc.local", f"mesos-agent {GPU_FLAGS}\n")

    (found,) = machine.findings(gpus.gpus_are_lent_as_meant, Expected(mesos=MesosExpected(gpus=(1,))))

    assert (found.code, found.title.en) == ("HRM-MESOS-038", "Mesos lends the GPUs 0, and is to lend 1")
    assert '--nvidia_gpu_devices="1"' in found.cure[0].about.en


def test_a_machine_without_gpus_lends_none(machine: Machine) -> None:
    assert codes(agent(machine), gpus.gpus_are_lent_as_meant) == []


def test_one_directory_for_master_and_agent_is_found(machine: Machine) -> None:
    master(machine).file(f"{ETC}/mesos-agent-env.sh", AGENT_ENV)

    (found,) = machine.findings(recovery.each_daemon_has_a_directory_of_its_own, LOCAL)

    assert (found.code, found.severity) == ("HRM-MESOS-051", "warning")


def test_a_directory_that_other_machines_have_too_is_found(machine: Machine) -> None:
    line = f"36 1 0:40 / {WORK} rw,relatime - nfs4 master00:/work rw\n"
    agent(machine).file("/proc/self/mountinfo", line)

    (found,) = machine.findings(recovery.each_daemon_has_a_directory_of_its_own, LOCAL)

    assert found.title.en == f"The work_dir {WORK} of the Mesos agent lies on master00:/work (nfs4)"


def test_a_directory_below_tmp_is_found(machine: Machine) -> None:
    agent(machine, AGENT_ENV.replace(WORK, "/tmp/mesos"))

    assert codes(machine, recovery.each_daemon_has_a_directory_of_its_own) == ["HRM-MESOS-053"]


OLD_SLAVE = """E0802 10:11:12.131415 12345 slave.cpp:3722] EXIT with status 1: Failed to perform recovery: \
Incompatible slave info detected.
------------------------------------------------------------
Old slave info:
hostname: "slave06"
------------------------------------------------------------
To remedy this do as follows:
Step 1: rm -f {latest}
        This ensures slave doesn't recover old live executors.
Step 2: Restart the slave.
"""
AGENT_1_4 = """E0829 11:39:11.123456 12345 slave.cpp:6752] EXIT with status 1: Failed to perform recovery: \
Incompatible agent info detected.
------------------------------------------------------------
Old agent info:
hostname: "slave06"
resources {{ name: "gpus" }}
------------------------------------------------------------
To remedy this do as follows:
Step 1: rm -f {latest}
        This ensures agent doesn't recover old live executors.
Step 2: Restart the agent.
"""
AGENT_1_6 = """E1215 10:22:01.000001 777 slave.cpp:8130] EXIT with status 1: Failed to perform recovery: \
Incompatible agent info detected.

------------------------------------------------------------
Old agent info:
hostname: "slave06"
------------------------------------------------------------
If recovery failed due to a change in configuration and you want to
keep the current agent id, you might want to change the
`--reconfiguration_policy` flag to a more permissive value.

To restart this agent with a new agent id instead, do as follows:
rm -f {latest}
This ensures that the agent does not recover old live executors.
"""
ADDITIVE = """E1215 10:22:01.000001 777 slave.cpp:8130] EXIT with status 1: Failed to perform recovery: \
Configuration change not permitted under `additive` policy: Value of scalar resource 'gpus' decreased from 2 to 1
To restart this agent with a new agent id instead, do as follows:
rm -f {latest}
"""
CHECKPOINTED = """E0101 01:01:01.000001 777 slave.cpp:6000] EXIT with status 1: Failed to perform recovery: \
Checkpointed resources gpus(role):2 are incompatible with agent resources gpus(*):1: no
"""


@pytest.mark.parametrize("log", [OLD_SLAVE, AGENT_1_4, AGENT_1_6, ADDITIVE, CHECKPOINTED])
def test_an_agent_that_does_not_start_for_changed_resources_is_found_with_the_cure_in_its_order(
    machine: Machine, log: str
) -> None:
    node(machine, "slave06", "172.19.0.206").file(f"{ETC}/mesos-agent-env.sh", AGENT_ENV)
    machine.file(LOG, log.format(latest=LATEST)).link(LATEST, f"{WORK}/meta/slaves/7c6e-S3")

    (found,) = machine.findings(recovery.agent_is_not_kept_from_starting_by_its_past, LOCAL)

    assert found.code == "HRM-MESOS-050"
    assert found.evidence[0].source == LOG
    assert "Failed to perform recovery" in found.evidence[0].text
    start, stop, remove, again = found.cure
    assert "mesos-start-cluster.sh" in start.about.en
    assert "mesos-stop-agents.sh" in stop.about.en
    assert remove.command == f"rm -f {LATEST}"
    assert "--master='172.19.0.200:5050'" in again.about.en


def test_the_link_is_left_to_a_person_beneath_a_mount_point(machine: Machine) -> None:
    node(machine, "slave06", "172.19.0.206").file(f"{ETC}/mesos-agent-env.sh", AGENT_ENV)
    machine.file(LOG, AGENT_1_6.format(latest=LATEST)).link(LATEST, "7c6e-S3")
    machine.file("/proc/self/mountinfo", "36 1 8:17 / /soft rw,relatime - ext4 /dev/sdb1 rw\n")

    (found,) = machine.findings(recovery.agent_is_not_kept_from_starting_by_its_past, LOCAL)

    assert found.cure[2].by_hand
    assert f"rm -f {LATEST}" in found.cure[2].about.en


@pytest.mark.parametrize("case", ["running", "removed", "started since", "another reason"])
def test_an_agent_that_runs_or_may_start_is_well(machine: Machine, case: str) -> None:
    log = AGENT_1_6.format(latest=LATEST)
    if case == "running":
        agent(machine)
    else:
        node(machine, "slave06", "172.19.0.206").file(f"{ETC}/mesos-agent-env.sh", AGENT_ENV)
    if case != "removed":
        machine.link(LATEST, "7c6e-S3")
    if case == "started since":
        log += "I1215 10:25:00.1 800 slave.cpp:6760] Finished recovery\n"
    if case == "another reason":
        log = "E1215 10:22:01.1 777 slave.cpp:8130] EXIT with status 1: Failed to perform recovery: Collect failed\n"
    machine.file(LOG, log)

    assert codes(machine, recovery.agent_is_not_kept_from_starting_by_its_past) == []
