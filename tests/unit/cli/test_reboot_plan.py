"""`hrm nodes reboot --plan`: slaves first, masters last, and nothing runs meanwhile."""

from __future__ import annotations

import json

import pytest

from hrm.cli.reboot_plan import RebootStep, masters_of, plan_reboot
from hrm.doctor.expected.storage import ExportExpected, IscsiExpected, MountExpected, StorageExpected
from hrm.model.errors import InvalidInput
from tests.unit.cli.cli_fakes import FakeClient, node_report

STORAGE = StorageExpected(
    iscsi=(IscsiExpected(node="master00", target="iqn.2004-12.com.inspur:x"),),
    exports=(ExportExpected(node="master00", path="/data"),),
)
NODES = [node_report(node_id=name) for name in ("master00", "slave01", "slave02")]


def restarts(steps: list[RebootStep]) -> list[str]:
    return [step.command for step in steps if step.command.endswith("systemctl reboot")]


def test_slaves_go_first_the_master_last_after_all_are_drained_and_before_they_are_used_again() -> None:
    steps = plan_reboot(NODES, (), STORAGE, "desk")

    assert restarts(steps) == [f"ssh {name} systemctl reboot" for name in ("slave01", "slave02", "master00")]
    assert steps[0].command == "hrm nodes drain master00 slave01 slave02 --reason restart"
    assert ".containers] | add" in steps[1].command
    assert [step.command for step in steps[-4:]] == [
        "until timeout 5 showmount -e master00; do sleep 5; done",
        "ssh slave01 hrm doctor --only nfs,disk",
        "ssh slave02 hrm doctor --only nfs,disk",
        "hrm nodes undrain master00 slave01 slave02",
    ]
    phases = list(dict.fromkeys(step.phase for step in steps))
    assert phases == ["drain", "restart slaves", "restart masters", "undrain"]


def test_each_restart_is_waited_for_before_the_next() -> None:
    commands = [step.command for step in plan_reboot(NODES, (), STORAGE, "desk")]

    for name in ("slave01", "slave02", "master00"):
        assert commands[commands.index(f"ssh {name} systemctl reboot") + 1].startswith(
            f"until ssh -o ConnectTimeout=5 {name} "
        )


def test_the_servers_own_machine_is_the_very_last_and_its_server_ends_first() -> None:
    commands = [step.command for step in plan_reboot(NODES, (), STORAGE, "slave01.cluster")]

    assert commands.index("ssh slave02 systemctl reboot") < commands.index("ssh master00 systemctl reboot")
    assert commands[commands.index("hrm down") :][:3] == ["hrm down", "systemctl reboot", "hrm up --detach"]
    assert commands.index("ssh master00 systemctl reboot") < commands.index("hrm down")


def test_of_slaves_alone_only_they_are_drained() -> None:
    steps = plan_reboot(NODES, ("slave02",), STORAGE, "desk")

    assert restarts(steps) == ["ssh slave02 systemctl reboot"]
    assert steps[0].command == "hrm nodes drain slave02 --reason restart"
    assert steps[-1].command == "hrm nodes undrain slave02"


def test_with_a_master_all_nodes_are_drained_because_all_use_it() -> None:
    steps = plan_reboot(NODES, ("master00",), STORAGE, "desk")

    assert restarts(steps) == ["ssh master00 systemctl reboot"]
    assert steps[0].command == "hrm nodes drain master00 slave01 slave02 --reason restart"


def test_what_was_drained_before_stays_drained() -> None:
    nodes = [*NODES[:2], node_report(node_id="slave02", drained_at=1.0, drained_by="ada")]

    steps = plan_reboot(nodes, (), STORAGE, "desk")

    assert "ssh slave02 systemctl reboot" in restarts(steps)
    assert steps[0].command == "hrm nodes drain master00 slave01 --reason restart"
    assert steps[-1].command == "hrm nodes undrain master00 slave01"


@pytest.mark.parametrize(
    ("storage", "masters"),
    [
        (StorageExpected(), []),
        (StorageExpected(mounts=(MountExpected(path="/data", source="slave02.cluster:/data"),)), ["slave02"]),
        (StorageExpected(mounts=(MountExpected(path="/data", source="UUID=1"),)), []),
        (STORAGE, ["master00"]),
    ],
)
def test_masters_are_those_that_configuration_says_serve_others(storage: StorageExpected, masters: list[str]) -> None:
    assert masters_of([node.node_id for node in NODES], storage) == masters


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="slave09"):
        plan_reboot(NODES, ("slave09",), STORAGE, "desk")


def test_the_command_prints_the_plan_as_text_and_as_json_and_restarts_nothing(hrm, server: FakeClient) -> None:
    server.node_reports = list(NODES)

    text, plain = hrm("nodes", "reboot", "--plan"), hrm("nodes", "reboot", "--plan", "-o", "json")
    without = hrm("nodes", "reboot")

    assert (text.code, plain.code) == (0, 0)
    assert "ssh master00 systemctl reboot   # 3. restart master00\n" in text.out
    assert {"phase", "about", "command"} == set(json.loads(plain.out)[0])
    assert server.drains == []
    assert without.code == 2 and "--plan" in without.err
