"""Settings of Mesos: where they stand, how they are spelt, and whether they fit the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hrm.doctor.expected import Expected
from hrm.doctor.expected.mesos import MesosExpected
from hrm.doctor.mesos import CHECKS, FACTS, identity, spelling
from hrm.doctor.mesos.settings import AGENT, MASTER, mesos
from hrm.testing.machines import Machine
from tests.unit.doctor.mesos_machines import AGENT_ENV, ETC, GPU_FLAGS, MASTER_ENV, agent, master, node

NOTHING = Expected()
LOCAL = Expected(mesos=MesosExpected(directories=(ETC,)))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def codes(machine: Machine, check: object, expected: Expected = LOCAL) -> list[str]:
    return [found.code for found in machine.findings(check, expected)]  # type: ignore[arg-type]


def test_settings_of_a_shell_file_are_read_without_comments_in_any_language(machine: Machine) -> None:
    told = mesos(agent(machine).system(), NOTHING)

    assert told.directories == (ETC,)
    assert {flag: told.value(AGENT, flag) for flag in ("master", "ip", "port", "hostname", "work_dir")} == {
        "master": "172.19.0.200:5050",
        "ip": "172.19.0.206",
        "port": "5051",
        "hostname": "slave06",
        "work_dir": "/soft/mesos-1.6.1/mesos_install/work",
    }


def test_what_runs_counts_more_than_what_files_say(machine: Machine) -> None:
    machine.process(7, "./mesos-agent --master=172.19.0.201:5050 --no-hostname_lookup --strict")
    machine.file("/proc/7/environ", "HOME=/root\0MESOS_work_dir=/data/mesos\0MESOS_master=10.0.0.1:5050\0")

    told = mesos(agent(machine).system(), NOTHING)

    assert told.value(AGENT, "master") == "172.19.0.201:5050"
    assert told.value(AGENT, "work_dir") == "/data/mesos"
    assert (told.value(AGENT, "hostname_lookup"), told.value(AGENT, "strict")) == ("false", "true")


def test_one_file_for_each_flag_and_defaults_of_packages_are_read(machine: Machine) -> None:
    machine.file("/etc/mesos-slave/work_dir", "/var/lib/mesos\n").file("/etc/mesos-slave/?no-switch_user", "")
    machine.file("/etc/mesos/zk", "zk://172.19.0.200:2181/mesos\n").file("/etc/mesos-master/quorum", "1\n")
    machine.file("/etc/default/mesos", "LOGS=/var/log/mesos\n").file("/etc/default/mesos-master", "PORT=5050\n")

    told = mesos(machine.system(), NOTHING)

    assert told.roles == (MASTER, AGENT)
    assert told.value(AGENT, "work_dir") == "/var/lib/mesos"
    assert told.value(AGENT, "switch_user") == "false"
    assert told.value(AGENT, "master") == "zk://172.19.0.200:2181/mesos"
    assert (told.value(MASTER, "port"), told.value(MASTER, "log_dir")) == ("5050", "/var/log/mesos")


def test_command_lines_of_scripts_are_read_over_several_lines(machine: Machine) -> None:
    machine.file("/etc/rc.local", f"#!/bin/sh\n# ./mesos-agent --port=1\n./sbin/mesos-agent \\\n  {GPU_FLAGS}\n")

    told = mesos(machine.system(), NOTHING)

    found = told.get(AGENT, "nvidia_gpu_devices")
    assert found is not None
    assert (found.value, found.evidence.line) == ("0", 3)
    assert told.value(AGENT, "isolation") == "filesystem/linux,cgroups/devices,gpu/nvidia"
    assert told.get(AGENT, "port") is None


def test_a_shell_that_was_told_to_look_at_mesos_is_none(machine: Machine) -> None:
    machine.process(8, "tail -f /var/log/mesos/mesos-agent.INFO").process(9, "vim mesos-master-env.sh")
    machine.process(10, "grep x mesos-agent")

    assert mesos(machine.system(), NOTHING).roles == ()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_machine_without_mesos_is_well(machine: Machine, check: object) -> None:
    node(machine, "vm", "10.0.0.2")

    assert codes(machine, check, NOTHING) == []


def test_what_lies_on_a_server_is_not_read_and_said_to_be_unseen(machine: Machine) -> None:
    line = "36 1 0:40 / /soft rw,relatime - nfs4 master00:/soft rw,addr=172.19.0.200\n"
    machine = agent(machine).file("/proc/self/mountinfo", line)

    report = machine.report([spelling.settings_are_spelt_as_mesos_reads_them], LOCAL)

    assert report.checks_run[0].unseen == (f"{ETC}: it lies on a server, which may not answer",)


@pytest.mark.parametrize(
    ("line", "code", "title"),
    [
        (
            "export MESOS_work_dir==/soft/work",
            "HRM-MESOS-001",
            "MESOS_work_dir has one = too many: Mesos reads the value =/soft/work",
        ),
        (
            "export MESOS_workdir=/soft/work",
            "HRM-MESOS-002",
            "Mesos has no setting MESOS_workdir; work_dir was probably meant",
        ),
        (
            "export MESOS_hostnmae=slave06",
            "HRM-MESOS-002",
            "Mesos has no setting MESOS_hostnmae; hostname was probably meant",
        ),
        ("export mesos_cluster=c", "HRM-MESOS-003", "mesos_cluster is not read: the prefix has to be MESOS_"),
        ("export Mesos_cluster=c", "HRM-MESOS-003", "Mesos_cluster is not read: the prefix has to be MESOS_"),
        (
            "export MESOS_PORT=5051",
            "HRM-MESOS-004",
            "MESOS_PORT is written in capitals, the settings around it are not",
        ),
        ("export MESOS_MASTER=172.19.0.201:5050", "HRM-MESOS-004", None),
        (
            "export MESOS_ip=172.19.0.207",
            "HRM-MESOS-005",
            "ip of the agent has two values: 172.19.0.206 and 172.19.0.207",
        ),
        ("MESOS_isolation=cgroups/devices", "HRM-MESOS-006", "MESOS_isolation is set without export"),
    ],
)
def test_a_setting_that_is_misspelt_is_found_with_its_line(
    machine: Machine, line: str, code: str, title: str | None
) -> None:
    agent(machine, AGENT_ENV + line + "\n")

    found = machine.findings(spelling.settings_are_spelt_as_mesos_reads_them, LOCAL)

    one = next(one for one in found if one.code == code)
    assert title is None or one.title.en == title
    assert line in [evidence.text for evidence in one.evidence]
    assert one.cure


def test_a_flag_with_two_equals_signs_is_found_as_it_was_typed(machine: Machine) -> None:
    typed = "./mesos-agent --master=192.19.0.205:5050 --work_dir==/soft/mesos-1.6.1/mesos_install/work"
    machine.file("/soft/start.sh", typed + "\n")
    expected = replace(LOCAL, mesos=MesosExpected(scripts=("/soft/start.sh",)))

    (found,) = machine.findings(spelling.settings_are_spelt_as_mesos_reads_them, expected)

    assert found.code == "HRM-MESOS-001"
    assert str(found.evidence[0]) == f"/soft/start.sh:1: {typed}"
    assert found.cure[0].about.en == (
        "In /soft/start.sh, line 1, write: --work_dir=/soft/mesos-1.6.1/mesos_install/work"
    )


@pytest.mark.parametrize(
    "env",
    [
        AGENT_ENV,
        AGENT_ENV + "MESOS_isolation=cgroups/devices\nexport MESOS_isolation\n",
        "set -a\n" + AGENT_ENV.replace("export ", ""),
    ],
)
def test_settings_that_reach_mesos_are_well(machine: Machine, env: str) -> None:
    assert codes(agent(machine, env), spelling.settings_are_spelt_as_mesos_reads_them) == []


def test_the_notebooks_master_has_one_name_in_capitals_which_works(machine: Machine) -> None:
    (found,) = master(machine).findings(spelling.settings_are_spelt_as_mesos_reads_them, LOCAL)

    assert (found.code, found.severity, found.evidence[0].line) == ("HRM-MESOS-004", "info", 5)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("export MESOS_port=50510", None),
        ("export MESOS_port=505100", "port of the agent cannot be 505100: it takes 5051"),
        ("export MESOS_port=505l", "port of the agent cannot be 505l: it takes 5051"),
        ("export MESOS_logging_level=info", "logging_level of the agent cannot be info: it takes INFO"),
        ("export MESOS_offer_timeout=60", "offer_timeout of the agent cannot be 60: it takes 60secs"),
        ("export MESOS_offer_timeout=60s", "offer_timeout of the agent cannot be 60s: it takes 60secs"),
        ("export MESOS_offer_timeout=1.5mins", None),
        ("export MESOS_work_dir=soft/work", "work_dir of the agent cannot be soft/work: it takes /soft/work"),
        ("export MESOS_containerizers=docker,mesos", None),
        ("export MESOS_containerizers=Mesos", "containerizers of the agent cannot be Mesos: it takes mesos"),
    ],
)
def test_values_that_mesos_does_not_take_are_found(machine: Machine, line: str, title: str | None) -> None:
    agent(machine, line + "\n")

    found = machine.findings(spelling.values_are_such_as_mesos_takes, LOCAL)

    assert [one.title.en for one in found] == ([title] if title else [])


def test_an_address_that_is_anothers_is_found_with_this_machines_own(machine: Machine) -> None:
    agent(machine, AGENT_ENV.replace("172.19.0.206", "172.19.0.205"))

    (found,) = machine.findings(identity.address_and_name_are_this_machines, LOCAL)

    assert found.code == "HRM-MESOS-010"
    assert found.title.en == "The Mesos agent is to listen at 172.19.0.205, which is no address of this machine"
    assert found.cure[0].about.en == f"In {ETC}/mesos-agent-env.sh:7 write: MESOS_ip=172.19.0.206"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("slave06", False), ("slave06.lab", False), ("172.19.0.206", False), ("slave05", True), ("lab1", True)],
)
def test_a_host_name_that_leads_elsewhere_is_found(machine: Machine, name: str, wrong: bool) -> None:
    agent(machine, AGENT_ENV.replace("hostname=slave06", f"hostname={name}"))
    machine.command("getent", "ahostsv4", "lab1", status=2)

    assert codes(machine, identity.address_and_name_are_this_machines) == (["HRM-MESOS-011"] if wrong else [])


def test_a_masters_address_that_differs_in_one_part_from_a_known_one_is_found(machine: Machine) -> None:
    agent(machine, AGENT_ENV.replace("172.19.0.200:5050", "192.19.0.205:5050"))

    (found,) = machine.findings(identity.addresses_are_those_that_are_known, LOCAL)

    assert found.code == "HRM-MESOS-012"
    assert found.title.en == ("master of the Mesos agent has the address 192.19.0.205; 172.19.0.205 was probably meant")
    assert "MESOS_master=172.19.0.205:5050" in found.cure[0].about.en


def test_masters_that_are_named_by_zookeeper_are_looked_at_one_by_one(machine: Machine) -> None:
    value = "zk://u:p@master00:2181,master0:2181,192.19.0.205:2181/mesos"
    agent(machine, AGENT_ENV.replace("172.19.0.200:5050", value)).command("getent", "ahostsv4", "master0", status=2)

    assert codes(machine, identity.addresses_are_those_that_are_known) == ["HRM-MESOS-016", "HRM-MESOS-012"]


def test_a_master_in_another_network_is_no_typing_error(machine: Machine) -> None:
    agent(machine, AGENT_ENV.replace("172.19.0.200:5050", "10.20.30.40:5050"))

    assert codes(machine, identity.addresses_are_those_that_are_known) == []


TCP = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000:13BA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0     0 222 1 0 100\n"
)


def test_a_port_that_another_program_has_is_found_with_that_program(machine: Machine) -> None:
    node(machine, "master00", "172.19.0.200").file(f"{ETC}/mesos-master-env.sh", MASTER_ENV)
    machine.file("/proc/net/tcp", TCP).process(99, "python3 -m http.server 5050", holds=["socket:[222]"])

    (found,) = machine.findings(identity.ports_are_free_or_mesos, LOCAL)

    assert found.code == "HRM-MESOS-013"
    assert found.title.en == "Port 5050 of the Mesos master is taken by python3 -m http.server 5050 (pid 99)"
    assert found.cure[0].command == "kill 99"


def test_a_port_that_mesos_itself_has_is_well(machine: Machine) -> None:
    master(machine).file("/proc/net/tcp", TCP)

    assert codes(machine, identity.ports_are_free_or_mesos) == []


def test_master_and_agent_with_one_port_are_found(machine: Machine) -> None:
    master(machine).file(f"{ETC}/mesos-agent-env.sh", AGENT_ENV.replace("5051", "5050"))

    assert codes(machine, identity.ports_are_free_or_mesos) == ["HRM-MESOS-014"]


@pytest.mark.parametrize(
    ("answer", "found"), [("open", []), ("refused", ["HRM-MESOS-015"]), ("timeout", ["HRM-MESOS-015"])]
)
def test_a_master_that_does_not_answer_is_found(machine: Machine, answer: str, found: list[str]) -> None:
    agent(machine).port("172.19.0.200:5050", answer)

    assert codes(machine, identity.the_master_answers) == found


def test_nodes_are_compared_by_what_a_cluster_has_alike(machine: Machine) -> None:
    system = agent(machine).file(f"{ETC}/masters", "master00\n").file(f"{ETC}/slaves", "slave05\nslave06\n").system()

    told = {fact.name: fact.tell(system) for fact in FACTS}

    assert told["mesos.master"] == "172.19.0.200:5050"
    assert told["mesos.work-dir"] == "/soft/mesos-1.6.1/mesos_install/work"
    assert (told["mesos.masters"], told["mesos.slaves"]) == ("master00", "slave05, slave06")
    assert told["mesos.cluster"] is None
